// The headless node, and the commands that look at nodes and use them.

import { brief, expect } from '../lib/seat.mjs';
import { until } from '../lib/process.mjs';

/** Starts a node host; it gives up at the first refusal, so it is started again after each approval. */
function startNode(seat, name, port) {
  const args = ['node', 'run', '--host', '127.0.0.1', '--port', String(port), '--display-name', name];
  return seat.client(name).start(args, name);
}

const nodesOf = async (seat) => (await seat.client('cli').json(['nodes', 'status'])).nodes ?? [];

async function pendingDevice(seat, role) {
  const { pending = [] } = await seat.client('cli').json(['devices', 'list']);
  return pending.find((it) => it.role === role || it.roles?.includes(role));
}

async function approveDevice(seat, requestId) {
  const done = await seat.client('cli').run(['devices', 'approve', requestId]);
  expect(done.code === 0, `devices approve: ${brief(done)}`);
}

/** Approves the commands of a node where a gateway asks for that on top of the device. */
async function approveCommands(seat) {
  const done = await seat.client('cli').run(['nodes', 'pending', '--json']);
  if (done.code !== 0) return false;
  const start = done.stdout.search(/[[{]/);
  const listed = start === -1 ? [] : JSON.parse(done.stdout.slice(start));
  const pending = Array.isArray(listed) ? listed : (listed.pending ?? []);
  for (const request of pending) {
    const approved = await seat.client('cli').run(['nodes', 'approve', request.requestId]);
    expect(approved.code === 0, `nodes approve: ${brief(approved)}`);
  }
  return pending.length > 0;
}

/** Brings a node host to "connected, with commands", whatever approvals this gateway wants. */
async function bringUp(seat, name, port) {
  await nodesOf(seat);
  const steps = [];
  let host = startNode(seat, name, port);
  const node = await until(`connected node ${name}`, async () => {
    const found = (await nodesOf(seat)).find((it) => it.displayName === name && it.connected);
    if (found?.commands?.includes('system.which')) return found;
    if (found) {
      if (await approveCommands(seat)) steps.push('nodes approve');
      return null;
    }
    const request = await pendingDevice(seat, 'node');
    if (request) {
      await approveDevice(seat, request.requestId);
      steps.push('devices approve');
      await host.stop();
      host = startNode(seat, name, port);
    }
    return null;
  }, { timeoutMs: 60_000, everyMs: 500 });
  return { node, steps };
}

export const nodePair = {
  name: 'node-pair',
  async run(seat) {
    const { node, steps } = await bringUp(seat, 'near-node', seat.port);
    seat.shared.node = node.nodeId;
    return `connected, ${node.commands.length} commands, ${steps.length === 0 ? 'approved by being local' : steps.join(' and ')}`;
  },
};

export const devicesApprove = {
  name: 'devices-approve',
  async run(seat) {
    await pendingDevice(seat, 'node');
    const port = await seat.far();
    const host = startNode(seat, 'far-node', port);
    const request = await until('pending request of a node from elsewhere', () => pendingDevice(seat, 'node'), {
      timeoutMs: 30_000,
      everyMs: 500,
    });
    const shown = await seat.client('cli').run(['devices', 'list']);
    expect(shown.code === 0 && /pending/i.test(shown.stdout), `devices list: ${brief(shown)}`);
    await approveDevice(seat, request.requestId);
    await host.stop();
    const { node } = await bringUp(seat, 'far-node', port);
    return `refused, approved, connected as ${node.nodeId.slice(0, 12)}`;
  },
};

export const nodesStatus = {
  name: 'nodes-status',
  needs: 'node',
  async run(seat) {
    const nodes = await nodesOf(seat);
    expect(nodes.some((it) => it.nodeId === seat.shared.node), 'the node is not listed');
    const done = await seat.client('cli').run(['nodes', 'status']);
    expect(done.code === 0 && /connected/.test(done.stdout), brief(done));
    return `${nodes.length} node(s), ${nodes.filter((it) => it.connected).length} connected`;
  },
};

export const nodesDescribe = {
  name: 'nodes-describe',
  needs: 'node',
  async run(seat) {
    const answer = await seat.client('cli').json(['nodes', 'describe', '--node', seat.shared.node]);
    expect(answer.nodeId === seat.shared.node, `nodeId is ${answer.nodeId}`);
    expect(answer.commands?.includes('system.which'), 'system.which is not among its commands');
    return `caps ${answer.caps?.join(' ')}`;
  },
};

const invoke = (seat, node, command, params) =>
  seat.client('cli').run(['nodes', 'invoke', '--node', node, '--command', command, '--params', JSON.stringify(params), '--json']);

export const nodesInvoke = {
  name: 'nodes-invoke',
  needs: 'node',
  async run(seat) {
    const done = await invoke(seat, seat.shared.node, 'system.which', { bins: ['uname'] });
    expect(done.code === 0 && /\/uname/.test(done.stdout), brief(done));
    return `system.which: ${/"([^"]*\/uname)/.exec(done.stdout)[1]}`;
  },
};

export const nodesInvokeRefused = {
  name: 'nodes-refused',
  needs: 'node',
  async run(seat) {
    const done = await invoke(seat, seat.shared.node, 'no.such.command', {});
    expect(done.code !== 0, 'a command that no node has was carried out');
    expect(/not allowed|not declared|not supported/i.test(done.text), brief(done));
    return brief(done);
  },
};
