#!/usr/bin/env node
// Drives unmodified programs of the OpenClaw family against a gateway and prints a line for each action.
//
//   node run.mjs --gateway-bin PATH --lab-bin PATH [--release now,fork,jan26] [--only ACTION,…] [--cache DIR]
//                [--record DIR] [--chromium PATH] [--original] [--keep]
//
// Ends with 0 when every action succeeded, 1 when one failed, 2 when it could not begin.

import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import * as cli from './actions/cli.mjs';
import * as nodes from './actions/nodes.mjs';
import * as tui from './actions/tui.mjs';
import * as ui from './actions/ui.mjs';
import { findChromium } from './lib/browser.mjs';
import { startAdjutant, startModel, startOriginal } from './lib/gateways.mjs';
import { install, installRuntime } from './lib/install.mjs';
import { run } from './lib/process.mjs';
import { RELEASES } from './lib/releases.mjs';
import { Seat, throwaway } from './lib/seat.mjs';

const ACTIONS = [
  cli.callHealth, cli.health, cli.status, cli.callUnknown, cli.wrongToken, cli.agent, cli.cronList, cli.devicesList,
  tui.start, tui.chat, tui.abort, tui.approval,
  ui.load, ui.connect, ui.chat, ui.approval,
  nodes.nodePair, nodes.nodesStatus, nodes.nodesDescribe, nodes.nodesInvoke, nodes.nodesInvokeRefused, nodes.devicesApprove,
];

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

function options() {
  const { values } = parseArgs({
    options: {
      release: { type: 'string', default: 'now,fork' },
      only: { type: 'string' },
      'gateway-bin': { type: 'string' },
      'lab-bin': { type: 'string' },
      cache: { type: 'string', default: join(root, 'target', 'clients') },
      record: { type: 'string' },
      chromium: { type: 'string' },
      original: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
    },
  });
  const releases = values.release.split(',').map((label) => {
    if (!RELEASES[label]) throw new Error(`no release "${label}"; there are ${Object.keys(RELEASES).join(', ')}`);
    return RELEASES[label];
  });
  const names = ACTIONS.map((action) => action.name);
  const only = values.only?.split(',');
  for (const name of only ?? []) {
    if (!names.some((it) => it.startsWith(name))) throw new Error(`no action "${name}"; there are ${names.join(', ')}`);
  }
  const wanted = ACTIONS.filter((action) => !only || only.some((name) => action.name.startsWith(name)));
  // Some actions need what an earlier one made.
  const actions = ACTIONS.filter((action) => wanted.includes(action) || wanted.some((it) => it.needs && action === nodes.nodePair));
  if (!values['lab-bin']) throw new Error('--lab-bin is missing: the model that the gateway asks (cargo xtask clients gives it)');
  if (!values.original && !values['gateway-bin']) throw new Error('--gateway-bin is missing (or --original)');
  return { ...values, releases, actions };
}

/** Everything for one release. Returns the results. */
async function drive(release, options, tools) {
  const modules = await install(options.cache, release.label);
  const folder = throwaway(join(options.cache, 'runs'), release.label);
  const endings = [];
  const results = [];
  try {
    const model = await startModel(resolve(options['lab-bin']), folder);
    endings.push(() => model.stop());
    const gateway = options.original
      ? await startOriginal({ release, node: tools.node, modules, folder, model })
      : await startAdjutant({
          binary: resolve(options['gateway-bin']), folder, model, controlUi: join(modules, release.package, release.controlUi),
        });
    endings.push(() => gateway.stop());
    const record = options.record && resolve(options.record);
    if (record) mkdirSync(record, { recursive: true });
    const seat = new Seat({ release, node: tools.node, modules, folder, gateway, model, tools, record });
    endings.push(() => seat.end());
    await seat.begin();
    for (const action of options.actions) results.push(await one(seat, action));
  } finally {
    for (const ending of endings.reverse()) await ending();
    if (options.keep) process.stderr.write(`kept ${folder}\n`);
    else rmSync(folder, { recursive: true, force: true });
  }
  return results;
}

async function one(seat, action) {
  const skipped = action.skip?.(seat);
  if (skipped) {
    process.stdout.write(`skip  ${seat.release.label.padEnd(5)}  ${action.name.padEnd(15)}  ${skipped}\n`);
    return { release: seat.release.label, action: action.name, ok: true, skipped: true };
  }
  const begun = Date.now();
  let ok = true;
  let detail;
  try {
    if (action.needs && !seat.shared[action.needs]) throw new Error(`there is no ${action.needs}`);
    detail = await seat.recording(action.name, () => action.run(seat));
  } catch (error) {
    ok = false;
    detail = error.message;
  }
  const seconds = ((Date.now() - begun) / 1000).toFixed(1);
  const words = [ok ? 'ok  ' : 'FAIL', seat.release.label.padEnd(5), action.name.padEnd(15)];
  process.stdout.write(`${words.join('  ')}  ${detail.replace(/\s+/g, ' ')} (${seconds} s)\n`);
  return { release: seat.release.label, action: action.name, ok };
}

async function main() {
  let chosen;
  let tools;
  try {
    chosen = options();
    const tmux = await run('tmux', ['-V'], { env: process.env });
    if (tmux.code !== 0) throw new Error('tmux is missing (sudo apt-get install tmux)');
    tools = {
      node: await installRuntime(chosen.cache),
      browserModules: await install(chosen.cache, 'browser'),
      chromium: findChromium(chosen.chromium),
    };
  } catch (error) {
    process.stderr.write(`error: ${error.message}\n`);
    process.exit(2);
  }
  const results = [];
  for (const release of chosen.releases) {
    try {
      results.push(...(await drive(release, chosen, tools)));
    } catch (error) {
      process.stdout.write(`FAIL  ${release.label.padEnd(5)}  ${'begin'.padEnd(15)}  ${error.message.replace(/\s+/g, ' ')}\n`);
      results.push({ release: release.label, action: 'begin', ok: false });
    }
  }
  const failed = results.filter((it) => !it.ok);
  const against = chosen.original ? 'the gateway of the same release' : 'adjutant';
  const tried = results.filter((it) => !it.skipped);
  process.stdout.write(`\n${tried.length - failed.length} of ${tried.length} actions succeeded against ${against}\n`);
  process.exit(failed.length === 0 ? 0 : 1);
}

await main();
