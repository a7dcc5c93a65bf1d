export * from "./gen.js";
export { DecodeError, type Decoder } from "./decode.js";
