// A pass-through in front of the gateway: it can write down every frame, and it can play a proxy for a far client.
//
// It works on bytes: the upgrade request is rewritten (no compression; the gateway's own port in Host and Origin), all
// else passes unchanged while a copy is taken apart for the record. Tokens and signatures are not written down.

import { appendFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';

/** Where the tee comes from when it plays a proxy: an address that is not where local clients come from. */
export const FAR_PROXY = '127.0.0.2';
const HEAD_MAX = 64 * 1024;
const SECRET = /^(token|deviceToken|bootstrapToken|password|signature|authorization)$/i;

export function startTee({ target, forwardedFor }) {
  let begun = Date.now();
  let conns = 0;
  let file;
  const sockets = new Set();
  const write = (entry) => {
    if (file) appendFileSync(file, `${JSON.stringify({ ms: Date.now() - begun, ...entry })}\n`);
  };
  const server = createServer((near) => {
    const conn = (conns += 1);
    const localAddress = forwardedFor ? FAR_PROXY : undefined;
    const far = connect({ port: target, host: '127.0.0.1', localAddress });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    passHead(near, far, { target, forwardedFor, port: server.address().port }, (head) => {
      write({ conn, dir: 'c2s', kind: 'request', head });
    });
    const up = frames((kind, frame) => write({ conn, dir: 'c2s', kind, frame }));
    const down = frames((kind, frame) => write({ conn, dir: 's2c', kind, frame }));
    near.on('upgraded', () => near.on('data', (bytes) => up(bytes)));
    far.once('data', (first) => {
      const end = first.indexOf('\r\n\r\n');
      write({ conn, dir: 's2c', kind: 'answer', head: first.subarray(0, Math.max(end, 0)).toString('latin1').split('\r\n')[0] });
      near.write(first);
      if (/^HTTP\/1\.1 101/.test(first.toString('latin1', 0, 16))) {
        near.emit('upgraded');
        down(first.subarray(end + 4));
        far.on('data', (bytes) => down(bytes));
      }
      far.on('data', (bytes) => near.write(bytes));
    });
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      resolve({
        port: server.address().port,
        /** Writes down what passes from now on into this file, or nothing. */
        record: (into) => {
          file = into;
          begun = Date.now();
          if (file) writeFileSync(file, '');
        },
        stop: () => {
          server.close();
          for (const socket of sockets) socket.destroy();
        },
      });
    });
  });
}

/** Rewrites the head of the first request, then lets everything through. */
function passHead(near, far, { target, forwardedFor, port }, seen) {
  let kept = Buffer.alloc(0);
  const gather = (bytes) => {
    kept = Buffer.concat([kept, bytes]);
    const end = kept.indexOf('\r\n\r\n');
    if (end === -1 && kept.length < HEAD_MAX) return;
    near.off('data', gather);
    const lines = kept.subarray(0, Math.max(end, 0)).toString('latin1').split('\r\n');
    const upgrade = lines.some((line) => /^upgrade:/i.test(line));
    const out = lines
      .filter((line) => !/^sec-websocket-extensions:/i.test(line))
      // One request a connection, unless it becomes a WebSocket, so that every head passes here.
      .filter((line) => upgrade || !/^connection:/i.test(line))
      .map((line) => (/^(host|origin|referer):/i.test(line) ? line.replace(`:${port}`, `:${target}`) : line));
    if (!upgrade) out.push('Connection: close');
    if (forwardedFor) out.push(`X-Forwarded-For: ${forwardedFor}`);
    seen(out.filter((line) => !/^(authorization|cookie|sec-websocket-key):/i.test(line)));
    far.write(`${out.join('\r\n')}\r\n\r\n`, 'latin1');
    far.write(kept.subarray(end + 4));
    near.on('data', (bytes) => far.write(bytes));
  };
  near.on('data', gather);
}

/** Takes a stream of WebSocket bytes apart and tells each whole message. */
function frames(tell) {
  let kept = Buffer.alloc(0);
  let parts = [];
  return (bytes) => {
    kept = Buffer.concat([kept, bytes]);
    for (;;) {
      const frame = take(kept);
      if (!frame) return;
      kept = kept.subarray(frame.size);
      if (frame.opcode === 8) {
        const code = frame.body.length >= 2 ? frame.body.readUInt16BE(0) : null;
        tell('close', { code, reason: frame.body.subarray(2).toString('utf8') });
      } else if (frame.opcode === 9 || frame.opcode === 10) {
        tell(frame.opcode === 9 ? 'ping' : 'pong', null);
      } else {
        parts.push(frame.body);
        if (frame.last) {
          tell('text', readable(Buffer.concat(parts).toString('utf8')));
          parts = [];
        }
      }
    }
  };
}

function take(bytes) {
  if (bytes.length < 2) return null;
  const masked = (bytes[1] & 0x80) !== 0;
  let length = bytes[1] & 0x7f;
  let at = 2;
  if (length === 126) {
    if (bytes.length < 4) return null;
    length = bytes.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    if (bytes.length < 10) return null;
    length = Number(bytes.readBigUInt64BE(2));
    at = 10;
  }
  const mask = masked ? bytes.subarray(at, at + 4) : null;
  if (masked) at += 4;
  if (bytes.length < at + length) return null;
  const body = Buffer.from(bytes.subarray(at, at + length));
  if (mask) for (let i = 0; i < body.length; i += 1) body[i] ^= mask[i % 4];
  return { last: (bytes[0] & 0x80) !== 0, opcode: bytes[0] & 0x0f, body, size: at + length };
}

function readable(text) {
  try {
    return JSON.parse(text, (key, value) => (SECRET.test(key) && typeof value === 'string' ? '<secret>' : value));
  } catch {
    return text;
  }
}
