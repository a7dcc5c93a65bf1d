// Reads samples from standard input, one JSON object a line, and decodes each with the generated decoders.
// Answers a line per sample: `ok`, or what is wrong with it.

import { createInterface } from "node:readline";

import * as protocol from "../src/index.js";

interface Sample {
  kind: "frame" | "params" | "result" | "event" | "connect";
  name: string;
  value: unknown;
}

function decoderOf({ kind, name }: Sample): protocol.Decoder<unknown> {
  const tables: { [kind: string]: { [name: string]: protocol.Decoder<unknown> } } = {
    frame: { frame: protocol.decodeFrame },
    params: protocol.params,
    result: protocol.results,
    event: protocol.events,
    connect: protocol.connect,
  };
  const found = tables[kind]?.[name];
  if (found === undefined) throw new Error(`no decoder for ${kind} ${name}`);
  return found;
}

for await (const line of createInterface({ input: process.stdin })) {
  const sample = JSON.parse(line) as Sample;
  try {
    decoderOf(sample)(sample.value);
    console.log("ok");
  } catch (error) {
    console.log(error instanceof Error ? error.message : String(error));
  }
}
