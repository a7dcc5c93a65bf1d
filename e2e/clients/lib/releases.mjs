// The releases that are driven: what they are called, where their parts are, and how they differ for a driver.

export const RELEASES = {
  now: {
    label: 'now',
    package: 'openclaw',
    version: '2026.9.6',
    entry: 'openclaw.mjs',
    controlUi: 'dist/control-ui',
    prefix: 'OPENCLAW',
    config: '.openclaw/openclaw.json',
    tag: 'openclaw-app',
    protocol: 4,
  },
  fork: {
    label: 'fork',
    package: 'openclaw',
    version: '2026.2.26',
    entry: 'openclaw.mjs',
    controlUi: 'dist/control-ui',
    prefix: 'OPENCLAW',
    config: '.openclaw/openclaw.json',
    tag: 'openclaw-app',
    protocol: 3,
  },
  jan26: {
    label: 'jan26',
    package: 'clawdbot',
    version: '2026.1.24-3',
    entry: 'dist/entry.js',
    controlUi: 'dist/control-ui',
    prefix: 'CLAWDBOT',
    config: '.clawdbot/clawdbot.json',
    tag: 'clawdbot-app',
    // It reads a token from the address only where it would travel with the request; a person puts it into the settings.
    settings: 'clawdbot.control.settings.v1',
    protocol: 3,
  },
};
