// Runs a real browser, headless Chromium, with pages of several origins against countersign.
//
// It serves its pages first, on free ports, and prints a line of JSON with their origins:
//   {"allowed": ORIGIN, "foreign": ORIGIN}
// Then it reads a line of JSON from standard input, which describes a countersign that allows the first origin:
//   {"host": "127.0.0.1:PORT", "control": URL of the emulator}
// with routes /graphql, /event, /http and /ws (a tunnel). At the end it prints a table of the results.
//
// usage: node browser.mjs allowed | foreign | rebound | public | vectors | vectors-public
//   allowed   pages of the allowed origin
//   foreign   pages of another port, and of another site
//   rebound   a page whose host name resolves to countersign: for the browser it is same-origin
//   public    pages of public addresses, which need a permission to reach this machine
//   vectors   every element and interface with which a foreign page, or a link in another program, can
//             cause a request (browser-vectors.mjs)
//   vectors-public   the same vectors, from foreign pages with public addresses
// CHROMIUM (environment) is the browser, /usr/bin/chromium by default

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { createServer as createTlsServer } from 'node:tls';
import { chromium } from 'playwright-core';
import { vectors } from './browser-vectors.mjs';
import { Control, assert, check, deadline, finish, within } from './check.mjs';

const MODES = ['allowed', 'foreign', 'rebound', 'public', 'vectors', 'vectors-public'];
const mode = process.argv[2];
if (!MODES.includes(mode)) {
  console.error(`usage: node browser.mjs ${MODES.join(' | ')}`);
  process.exit(2);
}
deadline(150);

const EVIL = 'evil.example';
const LIBRARIES = { 'graphql-ws': '/graphql-ws/dist/client.js', 'graphql-sse': '/graphql-sse/lib/client.mjs' };
const PAGE = `<!doctype html><title>page</title>
<script type="importmap">${JSON.stringify({ imports: LIBRARIES })}</script>`;
const allowedPort = await serve();
const foreignPort = await serve();
const allowed = `http://127.0.0.1:${allowedPort}`;
const foreign = `http://127.0.0.1:${foreignPort}`;
const lines = createInterface({ input: process.stdin });
console.log(JSON.stringify({ allowed, foreign }));
const [line] = await within(once(lines, 'line'), 20_000, 'the line on standard input');
lines.close();
const { host, control: controlUrl } = JSON.parse(line);
const control = new Control(controlUrl);
const rebound = host.replace('127.0.0.1', EVIL);

// --- actions of pages: these run in the browser, which gets `at`, and the functions of `shared` ---

/** The URLs of countersign, and the requests to send. */
function places(host) {
  const http = `http://${host}/graphql`;
  const query = '{ rooms { id } }';
  const mutation = 'mutation { postMessage(room: "lobby", body: "a page") { room body } }';
  const subscription = 'subscription { onMessage(room: "lobby") { body } }';
  const get = (query) => `${http}?query=${encodeURIComponent(query)}`;
  const events = `http://${host}/event`;
  const channel = '/default/pages';
  return {
    http, events, channel, query, mutation, subscription, allowed,
    ws: `ws://${host}/graphql`,
    eventsWs: `ws://${host}/event`,
    plain: `http://${host}/http/orders`,
    tunnel: `ws://${host}/ws/`,
    queryByGet: get(query),
    mutationByGet: get(mutation),
    subscriptionByGet: get(subscription),
    channelByGet: `${events}?channel=${encodeURIComponent(channel)}`,
  };
}

const shared = {
  /** Sends a `fetch`, and returns the parts of the response that the page may read. */
  async ask(url, init) {
    const response = await fetch(url, init);
    if (response.type === 'opaque') return 'opaque';
    const text = await response.text();
    const { data, errors, code } = JSON.parse(text);
    return `${response.status} ${errors?.[0].extensions?.code ?? code ?? (data === undefined ? text : JSON.stringify(data))}`;
  },

  json: (body, init) => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), ...init }),

  /** Submits a form into a frame: `name=value` is JSON as plain text, {"query":"…","x":"="}. */
  submit(action, query, enctype) {
    const frame = Object.assign(document.createElement('iframe'), { name: 'answer' });
    const form = Object.assign(document.createElement('form'), { action, enctype, method: 'post', target: 'answer' });
    const name = JSON.stringify({ query }).replace(/\}$/, ',"x":"');
    form.append(Object.assign(document.createElement('input'), { name, value: '"}' }));
    document.body.append(frame, form);
    form.submit();
    return 'sent';
  },

  /** Adds an element that loads something. */
  embed: (name, properties) => new Promise((resolve) => {
    const element = Object.assign(document.createElement(name), properties);
    element.onload = () => resolve('load');
    element.onerror = () => resolve('error');
    document.body.append(element);
  }),

  /** Navigates away, after the page has reported that it will. */
  leave(url) {
    setTimeout(() => { location.href = url; });
    return 'left';
  },

  /** Adds a frame without an origin, whose script may call `tell`. */
  sandboxed: (script) => new Promise((resolve) => {
    addEventListener('message', ({ data }) => resolve(data), { once: true });
    const tell = "const tell = (text) => parent.postMessage(origin + ' ' + text, '*');";
    embed('iframe', { sandbox: 'allow-scripts', srcdoc: `<script>${tell}${script}</script>` });
  }),

  noReferrer() {
    document.head.innerHTML += '<meta name="referrer" content="no-referrer">';
  },

  /** Subscribes over a WebSocket: sends `first` and `then`; `found` extracts an event from a frame. */
  socket: (url, protocols, first, then, found) => new Promise((resolve, reject) => {
    globalThis.seen = [];
    const socket = new WebSocket(url, protocols);
    globalThis.stop = () => socket.close();
    socket.onopen = () => socket.send(JSON.stringify(first));
    socket.onclose = ({ code }) => reject(`closed ${code}`);
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type === 'connection_ack') socket.send(JSON.stringify(then));
      const event = found(frame);
      if (event) seen.push(event);
      resolve('open');
    };
  }),

  source: (url, type, found, init) => new Promise((resolve, reject) => {
    globalThis.seen = [];
    const source = new EventSource(url, init);
    globalThis.stop = () => source.close();
    source.onopen = () => resolve('open');
    source.onerror = () => reject(`error, readyState ${source.readyState}`);
    source.addEventListener(type, ({ data }) => seen.push(found(JSON.parse(data))));
  }),

  /** Subscribes with `fetch`: `found` extracts the events from everything received so far. */
  async stream(at, accept, found) {
    globalThis.seen = [];
    const aborted = new AbortController();
    globalThis.stop = () => aborted.abort();
    const headers = { 'content-type': 'application/json', accept };
    const response = await fetch(at.http, json({ query: at.subscription }, { headers, signal: aborted.signal }));
    if (!response.ok) throw `answered ${response.status}`;
    const read = async () => {
      let text = '';
      for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
        text += piece;
        globalThis.seen = found(text);
      }
    };
    read().catch(() => {});
    return 'open';
  },

  /** Subscribes with the client of an npm package. */
  client: (query, create) => new Promise((resolve, reject) => {
    globalThis.seen = [];
    const client = create({ connected: () => resolve('open') });
    const refused = (error) => reject(error.code === undefined ? error.name ?? error.type : `closed ${error.code}`);
    const stop = client.subscribe({ query }, { next: ({ data }) => seen.push(data.onMessage.body), error: refused, complete() {} });
    globalThis.stop = () => { stop(); client.dispose(); };
  }),
};

// --- the cases: actions of a page and their expected results ---

// Responses with the reason why a page is rejected.
const ORIGIN = '403 ORIGIN_NOT_ALLOWED';
const PAGE_LOAD = '403 NAVIGATION'; // for every origin
const SITE = '403 CROSS_SITE'; // without an Origin, from Sec-Fetch-Site
const HOST = '403 HOST_NOT_ALLOWED';
// The console shows only this about a failed handshake.
const HANDSHAKE = '403';
// The page need not receive the response to a sandboxed frame.
const UNSEEN = 'unseen';

const ROOMS = '200 {"rooms":[{"id":"lobby"},{"id":"garden"}]}';
const POSTED = '200 {"postMessage":{"room":"lobby","body":"a page"}}';

/**
 * name: [action of the page,
 *   on the allowed origin: [result in the page, response, operations upstream],
 *   on another origin: [result in the page, response],
 *   at a rebound name: result in the page]
 * Actions on other origins must cause no operation upstream. The result `open` means an open subscription.
 */
const requests = {
  'query by fetch': [(at) => ask(at.http, json({ query: at.query })),
    [ROOMS, '200, 204', 1], ['TypeError', ORIGIN], HOST],
  'mutation by fetch': [(at) => ask(at.http, json({ query: at.mutation })),
    [POSTED, '200, 204', 1], ['TypeError', ORIGIN], HOST],
  'query by fetch, GET': [(at) => ask(at.queryByGet),
    [ROOMS, '200', 1], ['TypeError', ORIGIN], HOST],
  'mutation by fetch, GET': [(at) => ask(at.mutationByGet),
    ['405 MUTATION_BY_GET', '405 MUTATION_BY_GET', 0], ['TypeError', ORIGIN], HOST],
  // CORS never allows credentials, so the page must not read a response to a request with credentials.
  'query with credentials': [(at) => ask(at.http, json({ query: at.query }, { credentials: 'include' })),
    ['TypeError', '204', 0], ['TypeError', ORIGIN], HOST],
  'query with credentials, GET': [(at) => ask(at.queryByGet, { credentials: 'include' }),
    ['TypeError', '200', 1], ['TypeError', ORIGIN], HOST],
  'publish by fetch': [(at) => ask(at.events, json({ channel: at.channel, events: ['1'] })).then((saw) => saw.split(':')[0]),
    ['200 {"failed"', '200, 204', 1], ['TypeError', ORIGIN], HOST],
  'text/plain by fetch': [(at) => ask(at.http, { method: 'POST', body: JSON.stringify({ query: at.mutation }) }),
    ['415 UNSUPPORTED_MEDIA_TYPE', '415 UNSUPPORTED_MEDIA_TYPE', 0], ['TypeError', ORIGIN], HOST],
  'text/plain by fetch, no-cors': [(at) => ask(at.http, { method: 'POST', mode: 'no-cors', body: JSON.stringify({ query: at.mutation }) }),
    ['opaque', '415 UNSUPPORTED_MEDIA_TYPE', 0], ['TypeError', ORIGIN], HOST],
  'form data by fetch, no-cors': [(at) => ask(at.http, { method: 'POST', mode: 'no-cors', body: new URLSearchParams({ query: at.mutation }) }),
    ['opaque', '415 UNSUPPORTED_MEDIA_TYPE', 0], ['TypeError', ORIGIN], HOST],
  'query by fetch, GET, no-cors': [(at) => ask(at.queryByGet, { mode: 'no-cors' }),
    ['TypeError', SITE, 0], ['TypeError', SITE], HOST],
  'the same without a referrer': [(at) => ask(at.queryByGet, { mode: 'no-cors', referrerPolicy: 'no-referrer' }),
    ['TypeError', SITE, 0], ['TypeError', SITE], HOST],
  'the same by a redirect': [(at) => ask(`${at.allowed}/redirect?${encodeURIComponent(at.queryByGet)}`, { mode: 'no-cors' }),
    ['TypeError', SITE, 0], ['TypeError', SITE], 'opaque'],
  'query by the allowed origin\'s redirect': [(at) => ask(`${at.allowed}/redirect?${encodeURIComponent(at.queryByGet)}`),
    [ROOMS, '200', 1], ['TypeError', ORIGIN], 'TypeError'],
  'query of a sandboxed frame': [(at) => sandboxed(
    `fetch(${JSON.stringify(at.queryByGet)}).then(({ status }) => tell(status), ({ name }) => tell(name))`),
    ['null TypeError', UNSEEN, 0], ['null TypeError', UNSEEN], 'null TypeError'],
  'mutation of a sandboxed frame': [(at) => sandboxed(
    `fetch(${JSON.stringify(at.http)}, ${JSON.stringify(json({ query: at.mutation }))}).then(({ status }) => tell(status), ({ name }) => tell(name))`),
    ['null TypeError', UNSEEN, 0], ['null TypeError', UNSEEN], 'null TypeError'],
  'EventSource of a sandboxed frame': [(at) => sandboxed(
    `const source = new EventSource(${JSON.stringify(at.subscriptionByGet)}); source.onopen = () => tell('open'); source.onerror = () => tell('error');`),
    ['null error', UNSEEN, 0], ['null error', UNSEEN], 'null error'],
  'WebSocket of a sandboxed frame': [(at) => sandboxed(
    `const socket = new WebSocket(${JSON.stringify(at.ws)}, 'graphql-transport-ws'); socket.onopen = () => tell('open'); socket.onclose = ({ code }) => tell(code);`),
    ['null 1006', UNSEEN, 0], ['null 1006', UNSEEN], 'null 1006'],
  'beacon': [(at) => `${navigator.sendBeacon(at.http, JSON.stringify({ query: at.mutation }))}`,
    ['true', '415 UNSUPPORTED_MEDIA_TYPE', 0], ['true', ORIGIN], 'true'],
  'form, text/plain': [(at) => submit(at.http, at.mutation, 'text/plain'),
    ['sent', PAGE_LOAD, 0], ['sent', ORIGIN], 'sent'],
  'form, multipart': [(at) => submit(at.http, at.mutation, 'multipart/form-data'),
    ['sent', PAGE_LOAD, 0], ['sent', ORIGIN], 'sent'],
  'form, urlencoded, without a referrer': [(at) => { noReferrer(); return submit(at.http, at.mutation, 'application/x-www-form-urlencoded'); },
    ['sent', ORIGIN, 0], ['sent', ORIGIN], 'sent'],
  'form by the allowed origin\'s redirect': [(at) => submit(`${at.allowed}/redirect?${encodeURIComponent(at.http)}`, at.mutation, 'text/plain'),
    ['sent', ORIGIN, 0], ['sent', ORIGIN], 'sent'],
  'image of a query': [(at) => embed('img', { src: at.queryByGet }),
    ['error', SITE, 0], ['error', SITE], 'error'],
  'image of a mutation': [(at) => embed('img', { src: at.mutationByGet }),
    ['error', SITE, 0], ['error', SITE], 'error'],
  'image of a channel': [(at) => embed('img', { src: at.channelByGet }),
    ['error', SITE, 0], ['error', SITE], 'error'],
  'script': [(at) => embed('script', { src: at.queryByGet }),
    ['error', SITE, 0], ['error', SITE], 'error'],
  'style sheet': [(at) => embed('link', { rel: 'stylesheet', href: at.queryByGet }),
    ['error', SITE, 0], ['error', SITE], 'error'],
  'frame': [(at) => embed('iframe', { src: at.queryByGet }),
    ['load', SITE, 0], ['load', SITE], 'load'],
  'navigation': [(at) => leave(at.queryByGet),
    ['left', SITE, 0], ['left', SITE], 'left'],
  'navigation to a mutation': [(at) => leave(at.mutationByGet),
    ['left', SITE, 0], ['left', SITE], 'left'],
  'refresh without a referrer': [(at) => {
    noReferrer();
    embed('meta', { httpEquiv: 'refresh', content: `0;url=${at.queryByGet}` });
    return 'left';
  }, ['left', SITE, 0], ['left', SITE], 'left'],
  'JSON to an HTTP route': [(at) => ask(at.plain, json({ order: 1 })).then((saw) => saw.replace(/^200 .*/, '200')),
    ['200', '200, 204', 1], ['TypeError', ORIGIN], HOST],
  // Relayed responses may only be loaded by pages that may read them.
  'text/plain to an HTTP route, no-cors': [(at) => ask(at.plain, { method: 'POST', mode: 'no-cors', body: 'order=1' }),
    ['TypeError', '200', 1], ['TypeError', ORIGIN], HOST],
  'text/plain to an HTTP route': [(at) => ask(at.plain, { method: 'POST', body: 'order=1' }).then((saw) => saw.replace(/^200 .*/, '200')),
    ['200', '200', 1], ['TypeError', ORIGIN], HOST],
  'form to an HTTP route': [(at) => submit(at.plain, 'order', 'application/x-www-form-urlencoded'),
    ['sent', PAGE_LOAD, 0], ['sent', ORIGIN], 'sent'],
  'image of an HTTP route, with CORS': [(at) => embed('img', { crossOrigin: '', src: at.plain }),
    ['error', PAGE_LOAD, 0], ['error', ORIGIN], 'error'],
  'module script of an HTTP route': [(at) => embed('script', { type: 'module', src: at.plain }),
    ['error', PAGE_LOAD, 0], ['error', ORIGIN], 'error'],
  'fetch of a module script': [(at) => new Promise((resolve) => {
    globalThis.told = resolve;
    const script = `fetch(${JSON.stringify(at.plain)}).then(({ status }) => told(`+'`${status}`'+`), ({ name }) => told(name))`;
    document.body.append(Object.assign(document.createElement('script'), { type: 'module', textContent: script }));
  }), ['200', '200', 1], ['TypeError', ORIGIN], '403'],
  'image of an HTTP route': [(at) => embed('img', { src: at.plain }),
    ['error', SITE, 0], ['error', SITE], 'error'],
  'WebSocket through a tunnel': [(at) => new Promise((resolve, reject) => {
    const socket = new WebSocket(at.tunnel);
    socket.onopen = () => socket.send('{"action":"echo"}');
    socket.onmessage = ({ data }) => resolve(data);
    socket.onclose = ({ code }) => reject(`closed ${code}`);
  }), ['{"action":"echo"}', '101', 1], ['closed 1006', HANDSHAKE], 'closed 1006'],
  'WebSocket of an unknown subprotocol': [(at) => socket(at.ws, 'chat', { type: 'connection_init' }, {}, () => undefined),
    // Accepted without a subprotocol, which the browser treats as a failure.
    ['closed 1006', '', 0], ['closed 1006', HANDSHAKE], 'closed 1006'],
  'WebSocket without a subprotocol': [(at) => socket(at.ws, [], { type: 'connection_init' }, {}, () => undefined),
    ['closed 4406', '101', 0], ['closed 1006', HANDSHAKE], 'closed 1006'],
};

const subscriptions = {
  'WebSocket, graphql-transport-ws': [(at) => socket(at.ws, 'graphql-transport-ws', { type: 'connection_init' },
    { id: '1', type: 'subscribe', payload: { query: at.subscription } }, ({ payload }) => payload?.data?.onMessage.body),
    ['open', '101', 3], ['closed 1006', HANDSHAKE], 'closed 1006'],
  'WebSocket, graphql-ws': [(at) => socket(at.ws, 'graphql-ws', { type: 'connection_init' },
    { id: '1', type: 'start', payload: { query: at.subscription } }, ({ payload }) => payload?.data?.onMessage.body),
    ['open', '101', 3], ['closed 1006', HANDSHAKE], 'closed 1006'],
  'WebSocket, either of them': [(at) => socket(at.ws, ['graphql-ws', 'graphql-transport-ws'], { type: 'connection_init' },
    { id: '1', type: 'subscribe', payload: { query: at.subscription } }, ({ payload }) => payload?.data?.onMessage.body),
    ['open', '101', 3], ['closed 1006', HANDSHAKE], 'closed 1006'],
  'WebSocket, aws-appsync-event-ws': [(at) => socket(at.eventsWs, 'aws-appsync-event-ws', { type: 'connection_init' },
    { id: '1', type: 'subscribe', channel: at.channel }, ({ event }) => event && JSON.parse(event).body),
    ['open', '101', 3], ['closed 1006', HANDSHAKE], 'closed 1006'],
  'EventSource': [(at) => source(at.subscriptionByGet, 'next', ({ data }) => data.onMessage.body),
    ['open', '200', 3], ['error, readyState 2', ORIGIN], 'error, readyState 2'],
  'EventSource of a channel': [(at) => source(at.channelByGet, 'message', ({ body }) => body),
    ['open', '200', 3], ['error, readyState 2', ORIGIN], 'error, readyState 2'],
  'server-sent events by fetch': [(at) => stream(at, 'text/event-stream', (text) => (
    [...text.matchAll(/^event: next\ndata: (.*)\n\n/gm)].map(([, json]) => JSON.parse(json).data.onMessage.body))),
    ['open', '200, 204', 3], ['TypeError', ORIGIN], 'answered 403'],
  'multipart by fetch': [(at) => stream(at, 'multipart/mixed;subscriptionSpec=1.0, application/json', (text) => (
    text.split('\r\n--graphql').slice(0, -1).flatMap((part) => {
      const [, json] = part.split('\r\n\r\n');
      return json === undefined || json === '{}' ? [] : [JSON.parse(json).payload.data.onMessage.body];
    }))),
    ['open', '200, 204', 3], ['TypeError', ORIGIN], 'answered 403'],
  'npm graphql-ws': [async (at) => {
    const { createClient } = await import('graphql-ws');
    return client(at.subscription, (on) => createClient({ url: at.ws, retryAttempts: 0, on }));
  }, ['open', '101', 3], ['error', HANDSHAKE]],
  'npm graphql-sse': [async (at) => {
    const { createClient } = await import('graphql-sse');
    return client(at.subscription, (on) => createClient({ url: at.http, retryAttempts: 0, on }));
  }, ['open', '200, 204', 3], ['NetworkError', ORIGIN]],
  'npm graphql-sse, single connection': [async (at) => {
    const { createClient } = await import('graphql-sse');
    return client(at.subscription, (on) => createClient({ url: at.http, singleConnection: true, retryAttempts: 0, on }));
  }, ['open', '200, 201, 202, 204', 3], ['NetworkError', ORIGIN]],
};

const all = { ...requests, ...subscriptions };

/**
 * Returns the expected results of a page of this machine that is not allowed: it can read why, unless it
 * sends credentials or does not ask to read the response.
 */
function readable(name, [, [, allowed], [saw, answer], own]) {
  const isPreflighted = allowed.includes('204');
  if (/^WebSocket, (graphql|either|aws-appsync-event-ws)/.test(name)) return ['closed 4403', '101'];
  if (name === 'npm graphql-ws') return ['closed 4403', '101'];
  if (answer !== ORIGIN) return [saw, answer];
  if (name.includes('credentials')) return [saw, isPreflighted ? '204' : answer];
  if (name.includes('no-cors')) return [saw, answer];
  return [saw === 'TypeError' ? own.replace(HOST, ORIGIN) : saw, isPreflighted ? `204, ${answer}` : answer];
}
const NONE = { queries: 0, mutations: 0, starts: 0, publishes: 0, subscribes: 0, forwarded: 0, requests: 0, connections: 0 };
const table = [];

/** Records countersign's responses to a page, including preflights, in order of arrival. */
class Answers extends Array {
  #changed = () => {};

  add(status, headers = {}) {
    this.push({ status, headers });
    this.#changed();
  }

  /** Returns each kind of response once, sorted. */
  kinds() {
    const kind = ({ status, headers }) => [status, headers['x-countersign-error']].filter(Boolean).join(' ');
    return [...new Set([...this].map(kind))].sort();
  }

  /** Waits for this number of kinds. */
  async reach(count) {
    while (this.kinds().length < count) await new Promise((resolve) => { this.#changed = resolve; });
  }
}

if (mode === 'allowed') {
  const browser = await launch();
  const origin = visits(browser, allowed, host);
  for (const [name, [act, expected]] of Object.entries(all)) {
    await run('allowed', name, origin, act, expected);
  }
  await check('two queries need one preflight', () => origin(async (page, answers) => {
    const at = places(host);
    for (const _ of [1, 2]) {
      assert.equal(await page.evaluate((at) => ask(at.http, json({ query: at.query })), at), ROOMS);
    }
    assert.deepEqual(Array.from(answers, ({ status }) => status), [204, 200, 200]);
  }));
  await check('what a preflight is answered', () => origin(async (page, answers) => {
    const headers = { 'content-type': 'application/json', 'x-trace': '1' };
    await page.evaluate(([at, headers]) => ask(at.http, json({ query: at.query }, { headers })), [places(host), headers]);
    const [preflight] = answers;
    const told = (name) => preflight.headers[`access-control-${name}`];
    assert.deepEqual(
      [told('allow-origin'), told('allow-headers'), told('max-age'), told('allow-credentials')],
      [allowed, 'content-type,x-trace', '600', undefined],
    );
    assert.match(preflight.headers.vary, /origin/i);
  }));
  await check('a header of the page\'s own reaches AppSync', () => origin(async (page) => {
    const headers = { 'content-type': 'application/json', 'x-trace': 'grün' };
    const query = '{ headers(names: ["x-trace"]) }';
    const seen = await page.evaluate(([at, query, headers]) => ask(at.http, json({ query }, { headers })), [places(host), query, headers]);
    assert.match(seen, /^200 .*x-trace/);
  }));
  await check('leaving a page ends its subscriptions', () => origin(async (page) => {
    for (const [at, name] of ['WebSocket, graphql-transport-ws', 'EventSource'].entries()) {
      await page.evaluate(subscriptions[name][0], places(host));
      await active(at + 1);
    }
    await page.goto('about:blank');
    await active(0);
  }));
  await browser.close();
}

if (mode === 'foreign') {
  const browser = await launch();
  for (const [title, page] of [['other port', foreign], ['other site', `http://${EVIL}:${foreignPort}`]]) {
    const origin = visits(browser, page, host);
    for (const [name, row] of Object.entries(all)) {
      const [act, , refused] = row;
      const expected = title === 'other port' ? readable(name, row) : refused;
      await run(title, name, origin, act, [...expected, 0]);
    }
  }
  await browser.close();
}

if (mode === 'rebound') {
  const browser = await launch();
  // The page itself is already a rejection; only its origin matters.
  const origin = visits(browser, `http://${rebound}/`, rebound);
  for (const [name, [act, , , saw]] of Object.entries(all)) {
    if (saw === undefined) continue; // it imports modules that only the test's own pages have
    const unread = { closed: HANDSHAKE, null: UNSEEN };
    await run('rebound', name, origin, act, [saw, unread[saw.split(' ')[0]] ?? HOST, 0]);
  }
  await browser.close();
}

if (mode === 'public') {
  const isPublic = [allowedPort, foreignPort].map((port) => `127.0.0.1:${port}=public`).join(',');
  const browser = await launch(`--ip-address-space-overrides=${isPublic}`);
  const chosen = ['query by fetch', 'mutation by fetch', 'WebSocket, graphql-transport-ws', 'EventSource', 'EventSource of a channel'];
  for (const name of chosen) {
    const [act, expected, [saw]] = all[name];
    await run('public, allowed, not permitted', name, visits(browser, allowed, host), act, [saw, '', 0]);
    await run('public, allowed, permitted', name, visits(browser, allowed, host, ['local-network-access']), act, expected);
    await run('public, foreign, permitted', name, visits(browser, foreign, host, ['local-network-access']), act, [...readable(name, all[name]), 0]);
  }
  await browser.close();
}

if (mode.startsWith('vectors')) {
  const isPublic = mode === 'vectors-public';
  const spaces = `--ip-address-space-overrides=127.0.0.1:${foreignPort}=public`;
  // Only a browser with a profile prefetches URLs of speculation rules.
  const profile = await mkdtemp(`${tmpdir()}/profile-`);
  const context = await chromium.launchPersistentContext(profile, options(...(isPublic ? [spaces] : [])));
  await vectors({ context, isPublic, host, foreignPort, evil: EVIL, totals, none: NONE });
  await Promise.race([context.close(), new Promise((resolve) => setTimeout(resolve, 5_000))]);
  finish();
}

console.log(`\n| page | does | sees | is answered | operations upstream |\n|---|---|---|---|---|`);
for (const row of table) console.log(`| ${row.join(' | ')} |`);
finish();

/** The one check: the result in the page, the responses, and the operations upstream. */
function run(title, name, origin, act, [saw, answered, operations]) {
  return check(`${title}: ${name}`, () => origin(async (page, answers, at) => {
    await active(0);
    const before = await totals();
    const found = [await page.evaluate(act, at).catch(thrown)];
    const wanted = ['', UNSEEN].includes(answered) ? [] : answered.split(', ');
    await within(answers.reach(wanted.length), 5_000, `${found[0]}, ${answered}`).catch(() => {});
    found.push(answered === UNSEEN ? UNSEEN : answers.kinds().join(', '));
    if (found[0] === 'open') await follow(page, at, name);
    const after = await totals();
    const grown = Object.fromEntries(Object.keys(NONE).map((key) => [key, after[key] - before[key]]));
    const { requests, connections, ...ran } = grown;
    found.push(Object.values(ran).reduce((sum, count) => sum + count));
    table.push([title, name, ...found]);
    assert.deepEqual(found, [saw, answered, operations]);
    if (operations === 0) assert.deepEqual(grown, NONE);
  }));
}

/** Expects two events, in order, and a stop. */
async function follow(page, at, name) {
  await active(1);
  for (const body of ['one', 'two']) {
    const isEvents = /channel|event-ws/.test(name);
    await page.evaluate(([at, body, isEvents]) => (isEvents
      ? ask(at.events, json({ channel: at.channel, events: [JSON.stringify({ body })] }))
      : ask(at.http, json({ query: at.mutation.replace('a page', body) }))), [at, body, isEvents]);
    await page.waitForFunction((body) => seen.at(-1) === body, body, { timeout: 5_000 });
  }
  assert.deepEqual(await page.evaluate(() => seen), ['one', 'two']);
  await page.evaluate(() => stop());
  await active(0);
}

/** Returns how a failed action shows: the name of the error, or the thrown value. */
function thrown({ message }) {
  const [first] = message.replace(/^page\.evaluate: /, '').split('\n');
  return /^(\w+Error)\b/.exec(first)?.[1] ?? first;
}

async function totals() {
  const { requests, realtime, events, gateway } = await control.state();
  return {
    queries: requests.queries,
    mutations: requests.mutations,
    starts: realtime.starts_total,
    publishes: events.publishes,
    subscribes: events.subscribes_total,
    forwarded: gateway.verified,
    requests: requests.http + gateway.requests,
    connections: realtime.connections_total + events.connections_total,
  };
}

function active(count) {
  return control.until(`${count} subscriptions`, ({ realtime, events }) => realtime.subscriptions + events.subscriptions === count);
}

/** An icon in the page, so that the browser does not request one. */
function withIcon() {
  addEventListener('DOMContentLoaded', () => { document.head.innerHTML += '<link rel="icon" href="data:,">'; });
}

/** Returns `shared` as the text of a script. */
function init() {
  const texts = Object.entries(shared).map(([name, value]) => {
    const isMethod = new RegExp(`^(async )?${name}\\(`);
    return `globalThis.${name} = ${`${value}`.replace(isMethod, (_, async = '') => `${async}function ${name}(`)};`;
  });
  return texts.join('\n');
}

/** Visits a page: `body` gets the page, the responses of countersign at `host`, and its URLs. */
function visits(browser, url, host, permissions = []) {
  let kept;
  return async (body) => {
    const context = kept ?? await browser.newContext({ permissions });
    // The browser caches successful preflights of an allowed page, but not rejections.
    if (url !== allowed) kept = context;
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    await page.addInitScript(init());
    await page.addInitScript(withIcon);
    await page.goto(url);
    const answers = new Answers();
    const devtools = await context.newCDPSession(page);
    devtools.on('Network.responseReceivedExtraInfo', ({ statusCode, headers: spelled }) => {
      const headers = Object.fromEntries(Object.entries(spelled).map(([name, value]) => [name.toLowerCase(), value]));
      if (!('x-page' in headers)) answers.add(statusCode, headers);
    });
    devtools.on('Network.webSocketHandshakeResponseReceived', ({ response }) => answers.add(response.status));
    await devtools.send('Network.enable');
    // A failed handshake shows only in the console.
    page.on('websocket', (socket) => socket.on('socketerror', (text) => {
      answers.add(Number(/response code: (\d+)/.exec(text)?.[1]));
    }));
    // The page's own session does not see responses to frames of another site.
    page.on('response', (response) => {
      const isFrame = response.request().isNavigationRequest() && response.url().startsWith(`http://${host}/`);
      if (isFrame) answers.add(response.status(), response.headers());
    });
    await body(page, answers, places(host));
    // Closing a page while it navigates can hang; the browser is closed in any case.
    if (kept === undefined) await context.close();
    else page.close().catch(() => {});
  };
}

/** Starts Chromium with a separate profile in which only the test's host names resolve. */
function launch(...more) {
  return chromium.launch(options(...more));
}

function options(...more) {
  return {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    chromiumSandbox: process.getuid() !== 0, // not available to root
    args: [
      '--disable-gpu', '--disable-quic', '--disable-component-update', '--disable-sync', '--no-proxy-server',
      `--host-resolver-rules=MAP ${EVIL} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE ::ffff:7f00:1, EXCLUDE [::ffff:7f00:1]`,
      ...more,
    ],
  };
}

/** Serves TLS with a certificate that names a URL of its issuer; returns the port. */
async function certified(url) {
  const directory = await mkdtemp(`${tmpdir()}/certificate-`);
  const make = (name, ...options) => {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', `${name}.key`];
    const request = ['req', '-x509', ...key, '-subj', `/CN=${name}`, '-out', `${name}.pem`, ...options];
    execFileSync('openssl', request, { cwd: directory, stdio: ['ignore', 'ignore', 'inherit'] });
  };
  make('issuer');
  make('server', '-CA', 'issuer.pem', '-CAkey', 'issuer.key', '-addext', 'subjectAltName=IP:127.0.0.1',
    '-addext', `authorityInfoAccess=caIssuers;URI:${url}`);
  const [cert, key] = await Promise.all(['pem', 'key'].map((kind) => readFile(`${directory}/server.${kind}`)));
  const server = createTlsServer({ cert, key }).on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1').unref();
  await within(once(server, 'listening'), 5_000, 'a free port');
  return server.address().port;
}

/** Serves a page, the libraries that it imports, and redirects to the URL in the query; returns the port. */
async function serve() {
  const server = createServer(async (request, response) => {
    response.setHeader('x-page', '1');
    const { pathname, search } = new URL(request.url, 'http://page');
    if (pathname === '/redirect' || pathname === '/found') {
      const location = decodeURIComponent(search.slice(1));
      const status = pathname === '/found' ? 302 : 307;
      response.writeHead(status, { location, 'access-control-allow-origin': '*' }).end();
    } else if (pathname === '/certified') {
      const port = await certified(decodeURIComponent(search.slice(1)));
      response.writeHead(302, { location: `https://127.0.0.1:${port}/` }).end();
    } else if (pathname === '/refresh') {
      response.writeHead(200, { 'content-type': 'text/html', refresh: `0;url=${decodeURIComponent(search.slice(1))}` }).end();
    } else if (pathname === '/reports') {
      const to = decodeURIComponent(search.slice(1));
      const headers = { 'content-type': 'text/html', 'content-security-policy': `img-src 'none'; report-uri ${to}` };
      response.writeHead(200, headers).end('<!doctype html><img src="/x.png">');
    } else if (pathname === '/rules.json') {
      const rules = { prefetch: [{ source: 'list', urls: [decodeURIComponent(search.slice(1))], eagerness: 'immediate' }] };
      response.writeHead(200, { 'content-type': 'application/speculationrules+json' }).end(JSON.stringify(rules));
    } else if (pathname === '/speculates') {
      response.writeHead(200, { 'content-type': 'text/html', 'speculation-rules': `"/rules.json${search}"` }).end(PAGE);
    } else if (/^\/graphql-(ws|sse)\/[\w/.-]+\.m?js$/.test(pathname)) {
      const file = new URL(`node_modules${pathname}`, import.meta.url);
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(await readFile(file));
    } else {
      response.writeHead(pathname === '/' ? 200 : 404, { 'content-type': 'text/html' }).end(PAGE);
    }
  });
  server.listen(0, '127.0.0.1');
  await within(once(server, 'listening'), 5_000, 'a free port');
  return server.address().port;
}
