// A terminal program in tmux: what it shows can be read, keys can be pressed.

import { randomUUID } from 'node:crypto';

import { run, until } from './process.mjs';

export class Terminal {
  /** Starts `command` in a terminal of its own. */
  static async open({ command, env, cwd }) {
    const terminal = new Terminal();
    terminal.socket = `adjutant-e2e-${randomUUID()}`;
    terminal.env = env;
    const words = ['new-session', '-d', '-s', 'tui', '-x', '180', '-y', '60', '-c', cwd];
    const done = await terminal.tmux([...words, ...command]);
    if (done.code !== 0) throw new Error(`tmux: ${done.text.trim()}`);
    await terminal.tmux(['set-option', '-g', 'remain-on-exit', 'on']);
    return terminal;
  }

  tmux(args) {
    return run('tmux', ['-L', this.socket, '-f', '/dev/null', ...args], { env: this.env, timeoutMs: 10_000 });
  }

  /** What stands on the screen, with what has scrolled away. */
  async screen() {
    const done = await this.tmux(['capture-pane', '-p', '-J', '-t', 'tui', '-S', '-400']);
    return done.stdout;
  }

  /** Waits until the screen shows `pattern`. */
  async shows(what, pattern, { timeoutMs = 60_000 } = {}) {
    try {
      return await until(what, async () => {
        const screen = await this.screen();
        return pattern.test(screen) ? screen : null;
      }, { timeoutMs, everyMs: 150 });
    } catch (error) {
      const lines = (await this.screen()).split('\n').map((line) => line.trim()).filter((line) => line !== '');
      throw new Error(`${error.message}; the screen ends with: ${lines.slice(-4).join(' ⏎ ').slice(0, 300)}`);
    }
  }

  async type(text) {
    await this.tmux(['send-keys', '-t', 'tui', '-l', text]);
  }

  async press(...keys) {
    await this.tmux(['send-keys', '-t', 'tui', ...keys]);
  }

  async close() {
    await this.tmux(['kill-server']);
  }
}
