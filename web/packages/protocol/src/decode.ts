// Decoders: each takes what JSON.parse gave, and returns it as its type or says what is wrong and where.

export type Decoder<T> = (value: unknown, at?: string) => T;

export class DecodeError extends Error {
  constructor(
    readonly at: string,
    readonly expected: string,
  ) {
    super(`${at === "" ? "/" : at}: expected ${expected}`);
    this.name = "DecodeError";
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export const any: Decoder<unknown> = (value) => value;

export const text: Decoder<string> = (value, at = "") => {
  if (typeof value !== "string") throw new DecodeError(at, "a string");
  return value;
};

export function matching(pattern: RegExp): Decoder<string> {
  return (value, at = "") => {
    if (!pattern.test(text(value, at))) throw new DecodeError(at, `a string like ${pattern.source}`);
    return value as string;
  };
}

export const boolean: Decoder<boolean> = (value, at = "") => {
  if (typeof value !== "boolean") throw new DecodeError(at, "true or false");
  return value;
};

export const number: Decoder<number> = (value, at = "") => {
  if (typeof value !== "number") throw new DecodeError(at, "a number");
  return value;
};

export function integer(min: number, max: number): Decoder<number> {
  return (value, at = "") => {
    if (!Number.isInteger(value) || (value as number) < min || max < (value as number)) {
      throw new DecodeError(at, `an integer from ${min} to ${max}`);
    }
    return value as number;
  };
}

export function words<W extends string>(all: readonly W[]): Decoder<W> {
  return (value, at = "") => {
    if (!all.includes(value as W)) throw new DecodeError(at, all.join(", "));
    return value as W;
  };
}

export function list<T>(item: Decoder<T>): Decoder<T[]> {
  return (value, at = "") => {
    if (!Array.isArray(value)) throw new DecodeError(at, "a list");
    value.forEach((it, index) => item(it, `${at}/${index}`));
    return value as T[];
  };
}

export function map<T>(item: Decoder<T>): Decoder<{ [name: string]: T }> {
  return (value, at = "") => {
    if (!isRecord(value)) throw new DecodeError(at, "an object");
    for (const [name, it] of Object.entries(value)) item(it, `${at}/${name}`);
    return value as { [name: string]: T };
  };
}

export function nullable<T>(inner: Decoder<T>): Decoder<T | null> {
  return (value, at = "") => (value === null ? null : inner(value, at));
}

/** A member that may be absent. */
export function optional<T>(inner: Decoder<T>): Decoder<T | undefined> {
  return (value, at = "") => (value === undefined ? undefined : inner(value, at));
}

/** A type that is declared elsewhere, perhaps later. */
export function lazy<T>(inner: () => Decoder<T>): Decoder<T> {
  return (value, at = "") => inner()(value, at);
}

type Members<T> = { [K in keyof T]-?: {} extends Pick<T, K> ? Decoder<T[K] | undefined> : Decoder<T[K]> };

/** `closed`: other members are refused, as they are in parameters. `open`: they are left alone. */
export function object<T>(members: Members<T>, rest: "open" | "closed"): Decoder<T> {
  const known = Object.entries(members) as [string, Decoder<unknown>][];
  return (value, at = "") => {
    if (!isRecord(value)) throw new DecodeError(at, "an object");
    for (const [name, member] of known) {
      member(Object.hasOwn(value, name) ? value[name] : undefined, `${at}/${name}`);
    }
    if (rest === "closed") {
      for (const name of Object.keys(value)) {
        if (!Object.hasOwn(members, name)) throw new DecodeError(`${at}/${name}`, "no such member");
      }
    }
    return value as T;
  };
}

/** Objects that `type` tells apart. */
export function union<T>(variants: { [word: string]: Decoder<T> }): Decoder<T> {
  return (value, at = "") => {
    if (!isRecord(value)) throw new DecodeError(at, "an object");
    const word = value["type"];
    const variant = typeof word === "string" && Object.hasOwn(variants, word) ? variants[word] : undefined;
    if (variant === undefined) throw new DecodeError(`${at}/type`, Object.keys(variants).join(", "));
    return variant(value, at);
  };
}
