// Commands that end by themselves.

import { brief, expect, parseJson } from '../lib/seat.mjs';

const good = async (seat, args, options) => {
  const done = await seat.client('cli').run(args, options);
  expect(done.code === 0, brief(done));
  return done;
};

export const health = {
  name: 'health',
  async run(seat) {
    const answer = parseJson((await good(seat, ['health', '--json'])).stdout);
    expect(answer.ok === true, `ok is ${answer.ok}`);
    const done = await good(seat, ['health']);
    return `ok, ${answer.agents?.length ?? 0} agent(s); ${done.stdout.trim().split('\n')[0]}`;
  },
};

export const status = {
  name: 'status',
  async run(seat) {
    const done = await good(seat, ['status'], { timeoutMs: 120_000 });
    const line = done.stdout.split('\n').find((it) => /Gateway\s*[│|]/.test(it)) ?? '';
    expect(/reachable/.test(line) && !/unreachable|unauthorized|misconfigured/.test(line), `the gateway row says: ${line.trim() || 'nothing'}`);
    const said = /reachable[^·│]*/.exec(line)[0];
    return said.trim();
  },
};

export const callHealth = {
  name: 'call-health',
  async run(seat) {
    const answer = parseJson((await good(seat, ['gateway', 'call', 'health', '--json'])).stdout);
    expect(answer.ok === true, `ok is ${answer.ok}`);
    return `ok, ${Object.keys(answer).length} members`;
  },
};

export const callUnknown = {
  name: 'call-unknown',
  async run(seat) {
    const done = await seat.client('cli').run(['gateway', 'call', 'no.such.method', '--json']);
    expect(done.code !== 0, 'an unknown method succeeded');
    expect(/unknown method: no\.such\.method/.test(done.text), brief(done));
    return 'refused: unknown method: no.such.method';
  },
};

export const wrongToken = {
  name: 'wrong-token',
  async run(seat) {
    const client = seat.client('wrong', { token: 'wrong-0123456789abcdef0123456789abcdef' });
    const done = await client.run(['gateway', 'call', 'health', '--json']);
    expect(done.code !== 0, 'a wrong token was let in');
    expect(/unauthorized|token mismatch/i.test(done.text), brief(done));
    return brief(done);
  },
};

export const agent = {
  name: 'agent',
  async run(seat) {
    const args = ['agent', '--agent', 'main', '-m', 'Say it: word=agentword words=6', '--timeout', '60', '--json'];
    const done = await good(seat, args, { timeoutMs: 120_000 });
    expect(/agentword5/.test(done.stdout), `the answer has not the words of the model: ${brief(done)}`);
    const answer = parseJson(done.stdout);
    expect(answer.status === 'ok', `status is ${answer.status}`);
    return `status ok: ${answer.summary ?? ''}`;
  },
};

export const cronList = {
  name: 'cron-list',
  async run(seat) {
    const answer = await seat.client('cli').json(['cron', 'list']);
    expect(Array.isArray(answer.jobs), 'no list of jobs');
    await good(seat, ['cron', 'list']);
    return `${answer.jobs.length} job(s)`;
  },
};

export const devicesList = {
  name: 'devices-list',
  async run(seat) {
    const answer = await seat.client('cli').json(['devices', 'list']);
    expect(Array.isArray(answer.paired), 'no list of paired devices');
    await good(seat, ['devices', 'list']);
    return `${answer.paired.length} paired, ${answer.pending?.length ?? 0} pending`;
  },
};
