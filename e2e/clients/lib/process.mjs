// Processes: each is the head of its own group, has a bare environment, and is gone when the driver is.

import { spawn } from 'node:child_process';
import { openSync, closeSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const OUTPUT_MAX = 4 * 1024 * 1024;
const living = new Set();

function endGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Gone already.
  }
}

process.on('exit', () => {
  for (const child of living) endGroup(child, 'SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

/** Nothing of the caller's environment but what every program needs; above all no keys. */
export function bareEnvironment(home, more = {}) {
  return {
    PATH: process.env.PATH,
    HOME: home,
    LANG: 'C.UTF-8',
    TERM: 'xterm-256color',
    NO_COLOR: '1',
    ...more,
  };
}

/** Runs a command to its end, or kills it after `timeoutMs`. Never throws for what the command does. */
export function run(command, args, { env, cwd, timeoutMs = 60_000 }) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env, cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    living.add(child);
    const out = { stdout: '', stderr: '' };
    let timedOut = false;
    for (const name of ['stdout', 'stderr']) {
      child[name].setEncoding('utf8');
      child[name].on('data', (text) => {
        if (out[name].length < OUTPUT_MAX) out[name] += text;
      });
    }
    const timer = setTimeout(() => {
      timedOut = true;
      endGroup(child, 'SIGKILL');
    }, timeoutMs);
    const done = (code) => {
      clearTimeout(timer);
      living.delete(child);
      resolve({ code, timedOut, ...out, text: `${out.stdout}\n${out.stderr}` });
    };
    child.on('error', (error) => {
      out.stderr += String(error);
      done(127);
    });
    child.on('close', (code) => done(code ?? 1));
  });
}

/** Starts a command that goes on. Its output goes into the file `log`. */
export function start(command, args, { env, cwd, log }) {
  const file = openSync(log, 'a');
  const child = spawn(command, args, { env, cwd, detached: true, stdio: ['ignore', file, file] });
  closeSync(file);
  living.add(child);
  let ended = false;
  const end = new Promise((resolve) => {
    const over = (code) => {
      ended = true;
      living.delete(child);
      resolve(code);
    };
    child.on('error', () => over(127));
    child.on('close', (code) => over(code ?? 1));
  });
  return {
    log,
    get ended() {
      return ended;
    },
    async stop() {
      endGroup(child, 'SIGTERM');
      const late = sleep(8_000, undefined, { ref: false }).then(() => endGroup(child, 'SIGKILL'));
      await Promise.race([end, late]);
      await end;
    },
  };
}

/** A loopback port that is free now. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Asks until the answer is not null or undefined; after `timeoutMs` throws, with what was waited for. */
export async function until(what, ask, { timeoutMs = 30_000, everyMs = 200 } = {}) {
  const begun = Date.now();
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== undefined && answer !== false) return answer;
    if (Date.now() - begun > timeoutMs) throw new Error(`no ${what} within ${timeoutMs / 1000} s`);
    await sleep(everyMs);
  }
}

/** Waits until `GET url` answers with 200. */
export async function untilHttp(url, { timeoutMs = 60_000, headers } = {}) {
  return until(`answer of ${url}`, async () => {
    try {
      const answer = await fetch(url, { headers, signal: AbortSignal.timeout(5_000) });
      await answer.arrayBuffer();
      return answer.ok || null;
    } catch {
      return null;
    }
  }, { timeoutMs });
}
