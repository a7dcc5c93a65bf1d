"""The official Python client against a gateway, as its documentation shows it."""

import openai

client = openai.OpenAI(max_retries=0)

models = client.models.list()
assert [m.id for m in models] == ["adjutant/main"], models
assert client.models.retrieve("adjutant/main").object == "model"

HELLO = [{"role": "user", "content": "how many files?"}]

done = client.chat.completions.create(model="adjutant/main", messages=HELLO)
assert done.choices[0].message.content == "There are two.", done
assert done.choices[0].finish_reason == "stop"
assert done.usage.total_tokens == 28, done.usage
assert done.adjutant["tool_calls"][0]["name"] == "file_list"

words, tools, usage = "", [], None
stream = client.chat.completions.create(
    model="main", messages=HELLO, stream=True, stream_options={"include_usage": True}
)
for chunk in stream:
    if chunk.choices:
        words += chunk.choices[0].delta.content or ""
    if (chunk.model_extra or {}).get("adjutant", {}).get("type"):
        tools.append(chunk.adjutant["type"])
    usage = chunk.usage or usage
assert words == "Let me look.\n\nThere are two.", words
assert tools == ["tool_call.started", "tool_call.ended"], tools
assert usage.completion_tokens == 8, usage

first = client.responses.create(model="adjutant/main", input="how many files?")
assert first.status == "completed" and first.output_text.endswith("There are two."), first
assert [item.type for item in first.output] == ["message", "mcp_call", "message"]
assert first.output[1].output == "two files"
assert first.usage.total_tokens == 28

with client.responses.stream(
    model="adjutant/main", input="really?", previous_response_id=first.id
) as events:
    kinds = [event.type for event in events]
    final = events.get_final_response()
assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
assert "response.output_text.delta" in kinds and "response.mcp_call.completed" in kinds, kinds
assert final.output_text.endswith("There are two."), final

for wrong, call in [
    (openai.NotFoundError, lambda: client.chat.completions.create(model="gpt-4o", messages=HELLO)),
    (openai.BadRequestError, lambda: client.chat.completions.create(model="main", messages=HELLO, n=2)),
    (openai.AuthenticationError, lambda: client.with_options(api_key="wrong-wrong-wrong-wrong-1").models.list()),
]:
    try:
        call()
    except wrong as error:
        assert error.code, error
    else:
        raise AssertionError(f"{wrong.__name__} did not come")

print("all fine")
