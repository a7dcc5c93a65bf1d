// Installs what is driven from the npm registry into a folder outside of the source, by lock files, without scripts.

import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { run } from './process.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const wanted = join(here, '..', 'releases');
// Peers are left out: they are for features that no action here touches, and some need a compiler.
const FLAGS = ['ci', '--ignore-scripts', '--legacy-peer-deps', '--no-audit', '--no-fund', '--loglevel=error'];
const INSTALL_TIMEOUT_MS = 15 * 60_000;

/** Installs one set of packages (a folder of `releases/`) unless this very set is there. Returns its `node_modules`. */
export async function install(cache, name) {
  const source = join(wanted, name);
  const target = join(cache, name);
  const lock = readFileSync(join(source, 'package-lock.json'), 'utf8');
  const mark = join(target, 'installed.lock');
  if (!existsSync(mark) || readFileSync(mark, 'utf8') !== lock) {
    mkdirSync(target, { recursive: true });
    for (const file of ['package.json', 'package-lock.json']) cpSync(join(source, file), join(target, file));
    process.stderr.write(`installing ${name} (npm ci)\n`);
    // npm needs its own settings (registry, proxy), so this is the one command that keeps the environment.
    const done = await run('npm', FLAGS, { env: process.env, cwd: target, timeoutMs: INSTALL_TIMEOUT_MS });
    if (done.code !== 0) throw new Error(`npm ci failed for ${name}:\n${done.text.slice(-2_000)}`);
    writeFileSync(mark, lock);
  }
  return join(target, 'node_modules');
}

/** The Node.js that the releases run on; the newest of them wants a newer one than most machines have. */
export async function installRuntime(cache) {
  const modules = await install(cache, 'runtime');
  const node = join(modules, `node-${process.platform}-${process.arch}`, 'bin', 'node');
  if (!existsSync(node)) throw new Error(`there is no Node.js for ${process.platform} ${process.arch} in releases/runtime`);
  return node;
}
