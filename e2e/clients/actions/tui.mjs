// The terminal user interface.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { expect } from '../lib/seat.mjs';
import { Terminal } from '../lib/tui.mjs';

/** The terminal that the actions share; what hindered the first hinders the others. */
function terminal(seat) {
  seat.shared.terminal ??= open(seat);
  return seat.shared.terminal;
}

async function open(seat) {
  const client = seat.client('tui');
  const env = client.prepare();
  const opened = await Terminal.open({ command: [seat.node, client.entry, 'tui'], env, cwd: client.home });
  seat.atEnd(() => opened.close());
  await opened.shows('"connected"', /(?<!dis)connected \|/, { timeoutMs: 40_000 });
  return opened;
}

async function send(tui, text) {
  await tui.type(text);
  await sleep(300);
  await tui.press('Enter');
}

export const start = {
  name: 'tui-start',
  async run(seat) {
    const tui = await terminal(seat);
    const screen = await tui.shows('the session', /session (agent:)?main/);
    return screen.split('\n').find((line) => /(?<!dis)connected \|/.test(line)).trim().slice(0, 80);
  },
};

export const chat = {
  name: 'tui-chat',
  async run(seat) {
    const tui = await terminal(seat);
    await send(tui, 'Please: word=tuiword words=24 pace=150');
    const early = await tui.shows('the beginning of the answer', /tuiword2\b/);
    expect(!/tuiword23\b/.test(early), 'the answer was not streamed');
    await tui.shows('the end of the answer', /tuiword23\b/);
    await tui.shows('"idle" after the answer', /\| idle/);
    return 'streamed from tuiword1 to tuiword23';
  },
};

export const abort = {
  name: 'tui-abort',
  async run(seat) {
    const tui = await terminal(seat);
    await send(tui, 'Please: word=longword words=200 pace=200');
    await tui.shows('the beginning of the answer', /longword3\b/);
    await tui.press('Escape');
    await tui.shows('"aborted"', /abort/i, { timeoutMs: 15_000 });
    await tui.shows('rest after the stop', /\| (idle|aborted)/, { timeoutMs: 15_000 });
    const reached = await furthest(tui);
    await sleep(1_500);
    expect((await furthest(tui)) === reached, 'the answer went on after Escape');
    return `stopped at longword${reached}`;
  },
};

/** The question shows, is answered where it shows, and the run goes on to its end. */
export const approval = {
  name: 'tui-approval',
  skip: (seat) => seat.gateway.kind === 'original' && 'the original shows no questions about commands in its terminal',
  async run(seat) {
    const tui = await terminal(seat);
    const made = join(seat.gateway.workspace, 'approved-in-the-terminal');
    await send(tui, 'Please: tools=1 word=tuiapproved words=6 command=touch approved-in-the-terminal');
    try {
      const answer = seat.release.label === 'now' ? answerOverlay : answerByCommand;
      const how = await answer(tui, () => expect(!existsSync(made), 'the command ran before it was allowed'));
      await tui.shows('the end of the answer', /tuiapproved5\b/);
      expect(existsSync(made), 'the command did not run');
      return how;
    } catch (error) {
      // What waits for an answer would hold up the actions that follow.
      await tui.press('Escape');
      throw error;
    }
  },
};

/** The newest terminal shows questions over the chat, with a list to choose from, in which "Deny" is chosen at first. */
async function answerOverlay(tui, seen) {
  const question = await tui.shows('the question', /approval: [^]*Allow once/, { timeoutMs: 20_000 });
  expect(/touch approved-in-the-terminal/.test(question.replace(/\s+/g, ' ')), 'the question does not show the command');
  seen();
  for (let tries = 0; tries < 4 && !/[→>❯]\s*Allow once/.test(await tui.screen()); tries += 1) {
    await tui.press('Down');
    await sleep(300);
  }
  await tui.press('Enter');
  await tui.shows('the answer to the question', /approval: allowed once/, { timeoutMs: 10_000 });
  return 'shown over the chat, allowed once';
}

/** The older ones show it in the chat, where it is answered by a command. */
async function answerByCommand(tui, seen) {
  const question = await tui.shows('the question', /\/approve (?!<)\S+/, { timeoutMs: 20_000 });
  const [, id] = /\/approve (?!<)(\S+)/.exec(question);
  seen();
  await send(tui, `/approve ${id} allow-once`);
  return 'shown in the chat, allowed by /approve';
}

async function furthest(tui) {
  const found = [...(await tui.screen()).matchAll(/longword(\d+)/g)].map((it) => Number(it[1]));
  return Math.max(0, ...found);
}
