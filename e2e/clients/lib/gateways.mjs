// What the clients are driven against: Adjutant, or the gateway of the same release (which shows that the driver is right).

import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { bareEnvironment, freePort, run, start, untilHttp } from './process.mjs';
import { FAR_PROXY } from './tee.mjs';

/** Only ever on loopback, in a throwaway home. */
export const TOKEN = 'e2e-clients-0123456789abcdef0123456789abcdef';

/** The stand-in model of the lab. */
export async function startModel(lab, folder) {
  const port = await freePort();
  const env = bareEnvironment(folder);
  const child = start(lab, ['mock', '--port', String(port)], { env, log: join(folder, 'model.log') });
  await untilHttp(`http://127.0.0.1:${port}/counts`);
  return { port, stop: child.stop };
}

/** Adjutant with a throwaway state directory. */
export async function startAdjutant({ binary, folder, model, controlUi }) {
  const home = join(folder, 'adjutant');
  const port = await freePort();
  const env = bareEnvironment(folder, {
    ADJUTANT_HOME: home,
    ADJUTANT_GATEWAY_TOKEN: TOKEN,
    OPENAI_API_KEY: 'stand-in',
  });
  const base = `http://127.0.0.1:${model.port}/v1`;
  const setup = ['setup', '--non-interactive', '--provider', 'openai', '--model', 'mock', '--base-url', base];
  const done = await run(binary, setup, { env });
  if (done.code !== 0) throw new Error(`setup failed: ${done.text.trim()}`);
  const gateway = ['[gateway]', `trusted_proxies = ["${FAR_PROXY}"]`, '[gateway.control_ui]', `dir = ${JSON.stringify(controlUi)}`];
  appendFileSync(join(home, 'config.toml'), `\n${gateway.join('\n')}\n`);
  const log = join(folder, 'gateway.log');
  const child = start(binary, ['gateway', 'run', '--port', String(port)], { env, log });
  await ready(child, `http://127.0.0.1:${port}/readyz`, 'adjutant');
  return { kind: 'adjutant', port, workspace: join(home, 'workspace'), stop: child.stop };
}

/** The release's own gateway. */
export async function startOriginal({ release, node, modules, folder, model }) {
  const home = join(folder, 'original');
  const port = await freePort();
  const workspace = join(home, 'workspace');
  mkdirSync(workspace, { recursive: true });
  const model_ = {
    id: 'mock', name: 'mock', reasoning: false, input: ['text'], contextWindow: 128_000, maxTokens: 4_096,
    cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
  };
  const mock = { baseUrl: `http://127.0.0.1:${model.port}/v1`, apiKey: 'stand-in', api: 'openai-completions', models: [model_] };
  const config = {
    gateway: {
      mode: 'local', port, bind: 'loopback', auth: { mode: 'token', token: TOKEN }, trustedProxies: [FAR_PROXY],
    },
    models: { mode: 'replace', providers: { mock } },
    agents: { defaults: { model: { primary: 'mock/mock' }, workspace, skipBootstrap: true } },
    tools: { exec: { host: 'gateway', security: 'allowlist', ask: 'always' } },
    discovery: { mdns: { mode: 'off' } },
  };
  if (release.prefix === 'CLAWDBOT') delete config.discovery;
  writeConfig(home, release, config);
  const off = ['SKIP_CHANNELS', 'SKIP_CRON', 'SKIP_GMAIL_WATCHER', 'SKIP_BROWSER_CONTROL_SERVER', 'DISABLE_BONJOUR', 'NO_RESPAWN'];
  const env = bareEnvironment(home, Object.fromEntries(off.map((name) => [`${release.prefix}_${name}`, '1'])));
  const entry = join(modules, release.package, release.entry);
  const child = start(node, [entry, 'gateway', 'run', '--port', String(port)], { env, cwd: home, log: join(folder, 'gateway.log') });
  await ready(child, `http://127.0.0.1:${port}/`, 'the original gateway');
  return { kind: 'original', port, workspace, stop: child.stop };
}

async function ready(child, url, name) {
  const ended = new Promise((_, reject) => {
    const watch = setInterval(() => {
      if (!child.ended) return;
      clearInterval(watch);
      reject(new Error(`${name} ended at once; see ${child.log}`));
    }, 200);
    watch.unref();
  });
  await Promise.race([untilHttp(url, { timeoutMs: 120_000 }), ended]);
}

/** Writes the settings of a program of the family into its home. */
export function writeConfig(home, release, config) {
  const path = join(home, release.config);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
}
