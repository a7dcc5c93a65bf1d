// The browser Control UI.

import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { expect } from '../lib/seat.mjs';
import { until } from '../lib/process.mjs';
import { openPage } from '../lib/browser.mjs';

async function open(seat) {
  if (seat.shared.ui) return seat.shared.ui;
  expect(seat.tools.chromium, 'no Chromium on this machine');
  const { browserModules: modules, chromium } = seat.tools;
  const ui = await openPage({ modules, chromium, profile: join(seat.folder, 'chromium') });
  seat.atEnd(() => ui.close());
  const { settings } = seat.release;
  if (settings) {
    const kept = [settings, JSON.stringify({ token: seat.token })];
    await ui.page.addInitScript(([key, value]) => localStorage.getItem(key) ?? localStorage.setItem(key, value), kept);
  }
  const answer = await ui.page.goto(`http://127.0.0.1:${seat.port}/chat?session=main#token=${seat.token}`);
  ui.answer = answer;
  seat.shared.ui = ui;
  return ui;
}

const complaints = (ui) => (ui.noise.length === 0 ? '' : `; the page said: ${ui.noise.slice(-3).join(' ⏎ ').slice(0, 300)}`);

export const load = {
  name: 'ui-load',
  async run(seat) {
    const ui = await open(seat);
    expect(ui.answer?.status() === 200, `GET /chat answered ${ui.answer?.status()}`);
    const csp = ui.answer.headers()['content-security-policy'] ?? '';
    const framed = seat.gateway.kind === 'adjutant' && !/frame-ancestors 'none'/.test(csp);
    expect(!framed, `no policy against framing: ${csp || 'none'}`);
    const app = ui.page.locator(seat.release.tag);
    await app.waitFor({ state: 'attached', timeout: 30_000 }).catch(() => expect(false, `no <${seat.release.tag}>${complaints(ui)}`));
    return `${await ui.page.title()}, ${ui.noise.length} complaint(s)`;
  },
};

/** The box to write in, once it may be written in. */
function composer(ui) {
  ui.composer ??= box(ui);
  return ui.composer;
}

async function box(ui) {
  const found = ui.page.locator('textarea:visible, [contenteditable="true"]:visible').first();
  return until('box to write in', async () => ((await found.count()) > 0 && (await found.isEnabled()) ? found : null), {
    timeoutMs: 30_000,
  }).catch((error) => expect(false, `${error.message}${complaints(ui)}`));
}

export const connect = {
  name: 'ui-connect',
  async run(seat) {
    const ui = await open(seat);
    await composer(ui);
    const text = await ui.page.locator('body').innerText();
    expect(!/disconnected from gateway|unauthorized/i.test(text), `the page says it is not connected${complaints(ui)}`);
    return 'the box to write in is open';
  },
};

const shows = (ui, what, pattern) =>
  until(what, async () => {
    const text = await ui.page.locator('body').innerText();
    return pattern.test(text) ? text : null;
  }, { timeoutMs: 40_000 }).catch((error) => expect(false, `${error.message}${complaints(ui)}`));

async function send(ui, text) {
  const writing = await composer(ui);
  await writing.fill(text);
  await writing.press('Enter');
}

export const chat = {
  name: 'ui-chat',
  async run(seat) {
    const ui = await open(seat);
    await send(ui, 'Please: word=pageword words=24 pace=150');
    const early = await shows(ui, 'the beginning of the answer', /pageword2\b/);
    expect(!/pageword23\b/.test(early), 'the answer was not streamed');
    await shows(ui, 'the end of the answer', /pageword23\b/);
    return 'streamed from pageword1 to pageword23';
  },
};

export const approval = {
  name: 'ui-approval',
  async run(seat) {
    const ui = await open(seat);
    await send(ui, 'Please: tools=1 word=pageapproved words=6 command=touch approved-in-the-page');
    const card = ui.page.locator('.exec-approval-card').first();
    await card.waitFor({ timeout: 20_000 }).catch(() => expect(false, `no question appeared${complaints(ui)}`));
    const question = await card.innerText();
    expect(/touch approved-in-the-page/.test(question), `the question does not show the command: ${question.slice(0, 200)}`);
    const made = join(seat.gateway.workspace, 'approved-in-the-page');
    expect(!existsSync(made), 'the command ran before it was allowed');
    await card.getByRole('button', { name: /allow once/i }).click();
    await card.waitFor({ state: 'detached', timeout: 20_000 }).catch(() => expect(false, 'the question stayed after the answer'));
    await until('effect of the command', () => existsSync(made));
    // The newest original goes on in a later turn, of which the stand-in model does not know.
    if (seat.gateway.kind === 'adjutant') await shows(ui, 'the end of the answer', /pageapproved5\b/);
    return 'shown over the page, allowed once';
  },
};
