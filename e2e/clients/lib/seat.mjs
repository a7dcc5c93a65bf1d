// What an action works with: one release in front of one gateway, and clients of it with homes of their own.

import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';

import { TOKEN, writeConfig } from './gateways.mjs';
import { bareEnvironment, run, start } from './process.mjs';
import { startTee } from './tee.mjs';

export class Seat {
  constructor({ release, node, modules, folder, gateway, model, tools, record }) {
    Object.assign(this, { release, node, modules, folder, gateway, model, tools, record });
    this.endings = [];
    this.shared = {};
  }

  /** Where clients connect to: the gateway, or the recorder in front of it. */
  get port() {
    return this.tee ? this.tee.port : this.gateway.port;
  }

  get token() {
    return TOKEN;
  }

  /** Something to do when the seat is given up. */
  atEnd(ending) {
    this.endings.push(ending);
  }

  async end() {
    for (const ending of this.endings.reverse()) await Promise.resolve(ending()).catch(() => {});
    this.endings = [];
  }

  /** Puts a recorder in front of the gateway, where one was asked for. */
  async begin() {
    if (!this.record) return;
    this.tee = await startTee({ target: this.gateway.port });
    this.atEnd(() => this.tee.stop());
  }

  /** Does one action, and writes down its frames where that was asked for. */
  async recording(action, work) {
    this.tee?.record(join(this.record, `${this.release.label}--${action}--${this.gateway.kind}.jsonl`));
    try {
      return await work();
    } finally {
      this.tee?.record(undefined);
    }
  }

  /** A way to the gateway on which every client seems to come from another machine. */
  async far() {
    if (!this.shared.far) {
      this.shared.far = await startTee({ target: this.gateway.port, forwardedFor: '192.0.2.7' });
      this.atEnd(() => this.shared.far.stop());
    }
    return this.shared.far.port;
  }

  /** A client with a home of its own; the same name is the same client. */
  client(name, { token = TOKEN } = {}) {
    this.clients ??= new Map();
    if (!this.clients.has(name)) {
      const home = join(this.folder, `home-${name}`);
      mkdirSync(home, { recursive: true });
      this.clients.set(name, new Client(this, home, token));
    }
    return this.clients.get(name);
  }
}

/** One person's installation. */
class Client {
  constructor(seat, home, token) {
    Object.assign(this, { seat, home, token });
  }

  /** Settings as a person has them: a gateway on this machine, with its port and token. */
  prepare() {
    const { seat } = this;
    const config = { gateway: { mode: 'local', port: seat.port, auth: { mode: 'token', token: this.token } } };
    writeConfig(this.home, seat.release, config);
    const { prefix } = seat.release;
    return bareEnvironment(this.home, { [`${prefix}_GATEWAY_TOKEN`]: this.token, [`${prefix}_NO_RESPAWN`]: '1' });
  }

  get entry() {
    return join(this.seat.modules, this.seat.release.package, this.seat.release.entry);
  }

  /** Runs one command of the program to its end. */
  run(args, { timeoutMs = 90_000 } = {}) {
    const env = this.prepare();
    return run(this.seat.node, [this.entry, ...args], { env, cwd: this.home, timeoutMs });
  }

  /** Runs a command that must succeed and say JSON. */
  async json(args, options) {
    const done = await this.run([...args, '--json'], options);
    if (done.code !== 0) throw new Error(`${args.join(' ')}: ${brief(done)}`);
    return parseJson(done.stdout);
  }

  /** Starts a command that goes on. */
  start(args, name) {
    const env = this.prepare();
    const log = join(this.seat.folder, `${name}.log`);
    const child = start(this.seat.node, [this.entry, ...args], { env, cwd: this.home, log });
    this.seat.atEnd(() => child.stop());
    return child;
  }
}

/** The last thing a command said, on one line. */
export function brief(done) {
  if (done.timedOut) return 'did not end in time';
  const lines = done.text.split('\n').map((line) => line.trim()).filter((line) => line !== '');
  const telling =
    lines.find((line) => /unauthorized|refused|missing|pairing/i.test(line)) ?? lines.find((line) => /error|fail/i.test(line));
  return `exit ${done.code}: ${(telling ?? lines.at(-1) ?? 'silent').slice(0, 200)}`;
}

/** JSON from an output that may have other lines in front. */
export function parseJson(text) {
  for (let at = text.search(/[[{]/); at !== -1; ) {
    try {
      return JSON.parse(text.slice(at));
    } catch {
      const next = text.slice(at + 1).search(/^\s*[[{]/m);
      if (next === -1) break;
      at += 1 + next;
    }
  }
  throw new Error(`no JSON in: ${text.trim().slice(0, 200)}`);
}

/** Throws unless it holds. */
export function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

/** A folder that is thrown away, unless somebody wants to look. */
export function throwaway(parent, name) {
  mkdirSync(parent, { recursive: true });
  return mkdtempSync(join(parent, `${name}-`));
}
