// Headless Chromium, driven by playwright-core.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-dev-shm-usage'];
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Where a Chromium is, or undefined. */
export function findChromium(given) {
  return (given ? [given] : PLACES).find((path) => existsSync(path));
}

/** A page in a browser with a profile of its own. `noise` gathers what the page complained about. */
export async function openPage({ modules, chromium, profile }) {
  const { chromium: driver } = createRequire(join(modules, 'x.js'))('playwright-core');
  const context = await driver.launchPersistentContext(profile, {
    executablePath: chromium,
    headless: true,
    args: FLAGS,
    viewport: { width: 1400, height: 900 },
  });
  const page = context.pages()[0] ?? (await context.newPage());
  const noise = [];
  page.on('console', (message) => {
    if (message.type() === 'error') noise.push(message.text());
  });
  page.on('pageerror', (error) => noise.push(String(error)));
  page.on('response', (answer) => {
    if (answer.status() >= 400) noise.push(`${answer.status()} ${new URL(answer.url()).pathname}`);
  });
  return { page, noise, close: () => context.close() };
}
