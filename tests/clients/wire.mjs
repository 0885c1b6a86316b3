// Raw WebSockets and raw HTTP for the conformance suites, and the emulator's chat. This file is independent
// of the protocols, except for `ka`.

import http from 'node:http';
import { parseArgs } from 'node:util';
import WebSocket from 'ws';
import { Control, Queue, assert, deadline, expectDifferences, within } from './check.mjs';

/**
 * Parses URL [--control CONTROL] [--reference] and a suite's other options, given by name and default.
 *
 * --control is the address of GET /state. With --reference it has no POST /switch, and the checks that the
 * suite lists as differences must fail.
 */
export function suite(usage, { seconds = 130, more = {}, differences = {} } = {}) {
  const options = { control: { type: 'string' }, reference: { type: 'boolean', default: false } };
  for (const [name, value] of Object.entries(more)) options[name] = { type: 'string', default: value };
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  if (positionals.length !== 1) {
    console.error(`usage: ${usage}`);
    process.exit(2);
  }
  deadline(seconds);
  if (values.reference) expectDifferences(differences);
  const control = values.control && new Control(values.control);
  return { ...values, url: positionals[0], control, faults: values.reference ? undefined : control };
}

/** All switches that the suites use, off. */
export const OFF = {
  delay_ms: 0,
  connect_delay_ms: 0,
  throttle: false,
  refuse_connections: false,
  refuse_realtime: false,
  no_start_ack: false,
  stop_ka: false,
  gate: false,
  escape_events: true,
  refuse_connect: '',
  refuse_start: '',
  refuse_start_without_id: false,
  answer_http: null,
};

/** Runs `body` with switches on, and always turns all switches off afterwards. */
export async function switched(control, settings, body) {
  await control.switch(settings);
  try {
    return await body();
  } finally {
    await control.switch(OFF);
  }
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// --- WebSockets ---

/** Opens a socket. Text frames arrive in order: `text` returns them as sent, `take` as JSON. */
export async function connect(url, protocols = [], { headers } = {}) {
  const ws = new WebSocket(url, protocols, { headers });
  const frames = new Queue();
  const pongs = new Queue();
  const closed = new Promise((resolve) => {
    ws.on('close', (code, reason) => {
      const close = { code, reason: reason.toString() };
      frames.end(new Error(`closed ${code} ${close.reason}`));
      resolve(close);
    });
  });
  ws.on('message', (data, isBinary) => frames.push(isBinary ? '<binary>' : data.toString()));
  ws.on('pong', (data) => pongs.push(data.toString()));
  await within(new Promise((resolve, reject) => {
    ws.once('open', resolve);
    ws.once('error', reject);
  }), 10_000, 'the handshake');
  // From here on, failures show as a close code.
  ws.on('error', () => {});
  return {
    closed,
    protocol: ws.protocol,
    isOpen: () => ws.readyState === WebSocket.OPEN,
    send: (frame) => ws.send(JSON.stringify(frame)),
    raw: (data, how) => ws.send(data, how),
    close: (code = 1000, reason) => ws.close(code, reason),
    destroy: () => ws.terminate(),
    text: (ms) => frames.take('a frame', ms),
    take: async (ms) => JSON.parse(await frames.take('a frame', ms)),
    drain: () => frames.drain().map((text) => JSON.parse(text)),

    /** Sends a WebSocket ping and waits for the pong. */
    async ping(data) {
      ws.ping(data);
      return pongs.take('a control pong');
    },

    async closes(expected, ms = 10_000) {
      const close = await within(closed, ms, `close ${expected}`);
      assert.ok([expected].flat().includes(close.code), `closed ${close.code} "${close.reason}", not ${expected}`);
      assert.ok(Buffer.byteLength(close.reason) <= 123, `a reason of ${Buffer.byteLength(close.reason)} bytes`);
      return close;
    },
  };
}

/** Returns the next frame that is not `ka`, as sent. */
export async function nextText(socket, ms = 10_000) {
  const end = Date.now() + ms;
  for (;;) {
    const text = await socket.text(Math.max(1, end - Date.now()));
    if (JSON.parse(text).type !== 'ka') return text;
  }
}

export async function next(socket, ms) {
  return JSON.parse(await nextText(socket, ms));
}

/** Returns all frames that have arrived and were not taken, except `ka`. */
export function others(socket) {
  return socket.drain().filter(({ type }) => type !== 'ka');
}

// --- HTTP ---

/**
 * Sends one request on a separate connection, with exactly these headers. Resolves with the head of
 * the response; read the body with `text` or `json`, or in pieces with `until` and `ended`.
 */
export async function exchange(url, { method = 'GET', headers = {}, body, signal } = {}) {
  const bytes = body === undefined ? undefined : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const all = { ...headers };
  if (bytes !== undefined) all['content-length'] = String(bytes.length);
  const request = http.request(url, { method, headers: all, agent: false, signal });
  const response = await within(new Promise((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
    request.end(bytes);
  }), 10_000, 'the head of the response');
  request.on('error', () => {});

  const pieces = [];
  const received = Buffer.alloc(0);
  let text = '';
  let ending;
  let wake = () => {};
  const chunks = [received];
  response.on('data', (chunk) => {
    pieces.push(chunk.toString());
    chunks.push(chunk);
    text = Buffer.concat(chunks).toString();
    wake();
  });
  const end = (how) => {
    ending ??= how;
    wake();
  };
  response.on('end', () => end('end'));
  response.on('aborted', () => end('cut'));
  response.on('error', () => end('cut'));
  response.on('close', () => end('cut'));

  const settles = async (holds, ms, what) => {
    const until = Date.now() + ms;
    while (!holds()) {
      const left = until - Date.now();
      if (left <= 0) throw new Error(`${what}: not within ${ms} ms; body ${JSON.stringify(text)}, ${ending ?? 'open'}`);
      await Promise.race([sleep(Math.min(left, 100)), new Promise((resolve) => (wake = resolve))]);
    }
  };
  return {
    status: response.statusCode,
    headers: response.headers,
    pieces,
    /** Returns everything received so far. */
    so_far: () => text,
    isOpen: () => ending === undefined,
    leave: () => request.destroy(),

    /** Waits until the body contains a text or satisfies a predicate; returns everything received so far. */
    async until(wanted, ms = 10_000) {
      const holds = typeof wanted === 'function' ? wanted : (body) => body.includes(wanted);
      await settles(() => holds(text) || ending !== undefined, ms, String(wanted));
      if (!holds(text)) throw new Error(`${wanted}: the body ended (${ending}): ${JSON.stringify(text)}`);
      return text;
    },

    /** Waits for the end of the body: 'end', or 'cut' if it was interrupted. */
    async ended(ms = 10_000) {
      await settles(() => ending !== undefined, ms, 'the end of the body');
      return ending;
    },

    async text() {
      assert.equal(await this.ended(40_000), 'end', 'the body was cut');
      return text;
    },

    async json() {
      return JSON.parse(await this.text());
    },
  };
}

export const JSON_TYPE = { 'content-type': 'application/json' };

export function post(url, body, headers = {}) {
  return exchange(url, { method: 'POST', headers: { ...JSON_TYPE, ...headers }, body });
}

/** Returns `url` with these query parameters. */
export function withQuery(url, parameters) {
  return `${url}?${new URLSearchParams(parameters)}`;
}

// --- the chat ---

/** Sends a mutation over plain HTTP, to cause events; fails if the response has errors. */
export async function mutate(url, query, variables) {
  const { data, errors } = await (await post(url, { query, variables })).json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}

export async function newRoom(url) {
  return (await mutate(url, 'mutation { createRoom(name: "wire") { id name } }')).createRoom.id;
}

export function say(url, room, body) {
  return mutate(url, 'mutation P($r: ID!, $b: String!) { postMessage(room: $r, body: $b) { room body } }', {
    r: room,
    b: body,
  });
}

export const ON_MESSAGE = 'subscription S($r: ID) { onMessage(room: $r) { body } }';

/** Waits until exactly this number of GraphQL subscriptions is live upstream. */
export function live(control, count) {
  return control.until(`${count} live subscriptions`, ({ realtime }) => realtime.subscriptions === count);
}
