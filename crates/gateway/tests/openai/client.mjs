// The official npm client against a gateway, as its documentation shows it.

import assert from "node:assert/strict";

import OpenAI from "openai";

// Node's fetch marks its requests as a browser's (`Sec-Fetch-Mode`), and a browser must name an origin that is listed. The
// gateway's own is.
const origin = new URL(process.env.OPENAI_BASE_URL).origin;
await assert.rejects(new OpenAI({ maxRetries: 0 }).models.list(), OpenAI.PermissionDeniedError);
const client = new OpenAI({ maxRetries: 0, defaultHeaders: { Origin: origin } });

const models = await client.models.list();
assert.deepEqual(models.data.map((it) => it.id), ["adjutant/main"]);

const messages = [{ role: "user", content: "how many files?" }];

const done = await client.chat.completions.create({ model: "adjutant/main", messages });
assert.equal(done.choices[0].message.content, "There are two.");
assert.equal(done.usage.total_tokens, 28);
assert.equal(done.adjutant.tool_calls[0].name, "file_list");

let words = "";
const tools = [];
const stream = await client.chat.completions.create({ model: "main", messages, stream: true });
for await (const chunk of stream) {
  words += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.adjutant?.type) tools.push(chunk.adjutant.type);
}
assert.equal(words, "Let me look.\n\nThere are two.");
assert.deepEqual(tools, ["tool_call.started", "tool_call.ended"]);

const first = await client.responses.create({ model: "adjutant/main", input: "how many files?" });
assert.equal(first.status, "completed");
assert.ok(first.output_text.endsWith("There are two."));
assert.deepEqual(first.output.map((it) => it.type), ["message", "mcp_call", "message"]);

const kinds = [];
const events = client.responses.stream({
  model: "adjutant/main",
  input: "really?",
  previous_response_id: first.id,
});
for await (const event of events) kinds.push(event.type);
const final = await events.finalResponse();
assert.equal(kinds[0], "response.created");
assert.equal(kinds.at(-1), "response.completed");
assert.ok(kinds.includes("response.mcp_call.completed"));
assert.ok(final.output_text.endsWith("There are two."));

await assert.rejects(client.chat.completions.create({ model: "gpt-4o", messages }), OpenAI.NotFoundError);
await assert.rejects(client.chat.completions.create({ model: "main", messages, n: 2 }), OpenAI.BadRequestError);

console.log("all fine");
