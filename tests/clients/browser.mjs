// A real browser, Chromium without a window, in front of one endpoint: a page of an allowed origin
// does everything, the same page of another origin, and a page of a rebound name, do nothing.
//
// usage: node browser.mjs --http URL --ws URL --control URL --allowed-port PORT --foreign-port PORT
//   --http, --ws     the GraphQL endpoint; it must allow http://127.0.0.1:ALLOWED and no other origin
//   --control        the emulator's control address
//   --allowed-port, --foreign-port   where to serve the page; the two origins differ in nothing else
//   CHROMIUM         (environment) the browser, /usr/bin/chromium by default

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { Control, Queue, assert, check, deadline, finish, within } from './check.mjs';

const option = { type: 'string' };
const { values: options } = parseArgs({
  options: { http: option, ws: option, control: option, 'allowed-port': option, 'foreign-port': option },
});
const { http, ws, control: controlUrl, 'allowed-port': allowedPort, 'foreign-port': foreignPort } = options;
if (!http || !ws || !controlUrl || !allowedPort || !foreignPort) {
  console.error('usage: node browser.mjs --http URL --ws URL --control URL --allowed-port PORT --foreign-port PORT');
  process.exit(2);
}
deadline(120);
const control = new Control(controlUrl);

const ALLOWED = `http://127.0.0.1:${allowedPort}`;
const FOREIGN = `http://127.0.0.1:${foreignPort}`;
const REBOUND = 'rebound.test';
const QUERY = '{ rooms { id } }';
const POST = 'mutation Post($body: String!) { postMessage(room: "lobby", body: $body) { id room body author sentAt } }';
const ON_MESSAGE = 'subscription { onMessage(room: "lobby") { body } }';
const LIBRARIES = { 'graphql-ws': '/graphql-ws/dist/client.js', 'graphql-sse': '/graphql-sse/lib/client.mjs' };

await serve(allowedPort);
await serve(foreignPort);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    // Chromium's sandbox does not run as root.
    ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
    '--disable-gpu', '--disable-quic', '--disable-component-update', '--disable-sync', '--no-proxy-server',
    // The first match counts; no other name than these leads anywhere.
    `--host-resolver-rules=MAP ${REBOUND} 127.0.0.1, MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost`,
  ],
});
console.log(`# Chromium ${browser.version()}`);

// --- what a page does: these run in the browser, and know nothing of this file ---

/** A `fetch`, and all that the page may read of its answer. */
async function ask([url, init]) {
  const response = await fetch(url, init);
  const body = await response.text();
  return { status: response.status, error: response.headers.get('x-countersign-error'), body };
}

/** Subscriptions by the browser's own means; events go to `seen`. Each settles when it is open. */
const plain = {
  'a WebSocket': ([{ ws }, query]) => new Promise((resolve, reject) => {
    globalThis.seen = [];
    const socket = new WebSocket(ws, 'graphql-transport-ws');
    const send = (frame) => socket.send(JSON.stringify(frame));
    globalThis.stop = () => { send({ id: '1', type: 'complete' }); socket.close(); };
    socket.onopen = () => send({ type: 'connection_init' });
    socket.onclose = ({ code }) => reject(new Error(`closed ${code}`));
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type === 'next') return seen.push(frame.payload);
      if (frame.type !== 'connection_ack') return reject(new Error(data));
      send({ id: '1', type: 'subscribe', payload: { query } });
      resolve();
    };
  }),

  'an EventSource': ([{ http }, query]) => new Promise((resolve, reject) => {
    globalThis.seen = [];
    const source = new EventSource(`${http}?query=${encodeURIComponent(query)}`);
    globalThis.stop = () => source.close();
    source.onopen = resolve;
    source.onerror = () => reject(new Error(`readyState ${source.readyState}`));
    source.addEventListener('next', ({ data }) => seen.push(JSON.parse(data)));
  }),

  'server-sent events by fetch': ([{ http }, query]) => {
    const events = (text) => text.split('\n\n').slice(0, -1).flatMap((event) => {
      const data = /^event: next\ndata: (.*)$/.exec(event);
      return data ? [JSON.parse(data[1])] : [];
    });
    return streamed(http, query, 'text/event-stream', events);
  },

  'a multipart response by fetch': ([{ http }, query]) => {
    const events = (text) => text.split('\r\n--graphql').slice(0, -1).flatMap((part) => {
      const [, json] = part.split('\r\n\r\n');
      return json === undefined || json === '{}' ? [] : [JSON.parse(json).payload];
    });
    return streamed(http, query, 'multipart/mixed;subscriptionSpec=1.0, application/json', events);
  },
};

/** Subscriptions by npm packages that the page imports. */
const imported = {
  'the graphql-ws client': async ([{ ws }, query]) => {
    globalThis.seen = [];
    const { createClient } = await import('graphql-ws');
    return new Promise((resolve, reject) => {
      const client = createClient({ url: ws, retryAttempts: 0, on: { connected: resolve } });
      client.subscribe({ query }, { next: (event) => seen.push(event), error: () => reject(new Error('refused')), complete() {} });
      globalThis.stop = () => client.dispose();
    });
  },

  'the graphql-sse client': async ([{ http }, query]) => {
    globalThis.seen = [];
    const { createClient } = await import('graphql-sse');
    return new Promise((resolve, reject) => {
      const client = createClient({ url: http, retryAttempts: 0, on: { connected: resolve } });
      client.subscribe({ query }, { next: (event) => seen.push(event), error: reject, complete() {} });
      globalThis.stop = () => client.dispose();
    });
  },

  'the graphql-sse client on a single connection': async ([{ http }, query]) => {
    globalThis.seen = [];
    const { createClient } = await import('graphql-sse');
    return new Promise((resolve, reject) => {
      const client = createClient({ url: http, singleConnection: true, retryAttempts: 0, on: { connected: resolve } });
      const stop = client.subscribe({ query }, { next: (event) => seen.push(event), error: reject, complete() {} });
      globalThis.stop = () => { stop(); client.dispose(); };
    });
  },
};

/** In every page: a subscription by `fetch`, of which `events` finds the events that are complete. */
async function streamed(url, query, accept, events) {
  globalThis.seen = [];
  const aborted = new AbortController();
  globalThis.stop = () => aborted.abort();
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept },
    body: JSON.stringify({ query }),
    signal: aborted.signal,
  });
  if (!response.ok) throw new Error(`answered ${response.status}`);
  const read = async () => {
    let text = '';
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      text += piece;
      globalThis.seen = events(text);
    }
  };
  read().catch(() => {});
}

const subscribe = { ...plain, ...imported };

/** What needs no leave of the server's to be sent; the page learns nothing of the answer. */
const blind = {
  'a POST of plain text by fetch, no-cors': ['ORIGIN_NOT_ALLOWED', ([{ http }, body]) =>
    fetch(http, { method: 'POST', mode: 'no-cors', body })],
  'a POST of form data by fetch, no-cors': ['ORIGIN_NOT_ALLOWED', ([{ http }, body]) =>
    fetch(http, { method: 'POST', mode: 'no-cors', body: new URLSearchParams(JSON.parse(body)) })],
  'a beacon': ['ORIGIN_NOT_ALLOWED', ([{ http }, body]) => navigator.sendBeacon(http, body)],
  'a form of plain text': ['ORIGIN_NOT_ALLOWED', ([{ http }, body]) => submit(http, body, 'text/plain')],
  'a form with a referrer policy': ['ORIGIN_NOT_ALLOWED', ([{ http }, body]) => {
    document.head.innerHTML += '<meta name="referrer" content="no-referrer">';
    return submit(http, body, 'application/x-www-form-urlencoded');
  }],
  'a form by a redirect': ['ORIGIN_NOT_ALLOWED', ([{ http }, body]) =>
    submit(`/redirect?${encodeURIComponent(http)}`, body, 'text/plain')],
  'a form by a redirect of the allowed origin': ['ORIGIN_NOT_ALLOWED', ([{ http, allowed }, body]) =>
    submit(`${allowed}/redirect?${encodeURIComponent(http)}`, body, 'text/plain')],
  'a GET by fetch, no-cors': ['CROSS_SITE', ([{ get }]) => fetch(get, { mode: 'no-cors' })],
  'a GET by fetch, no-cors, without a referrer': ['CROSS_SITE', ([{ get }]) =>
    fetch(get, { mode: 'no-cors', referrerPolicy: 'no-referrer' })],
  'a GET by a redirect of the allowed origin': ['CROSS_SITE', ([{ get, allowed }]) =>
    fetch(`${allowed}/redirect?${encodeURIComponent(get)}`, { mode: 'no-cors' })],
  'an image': ['CROSS_SITE', ([{ get }]) => embed('img', { src: get })],
  'a script': ['CROSS_SITE', ([{ get }]) => embed('script', { src: get })],
  'a style sheet': ['CROSS_SITE', ([{ get }]) => embed('link', { rel: 'stylesheet', href: get })],
  'a frame': ['CROSS_SITE', ([{ get }]) => embed('iframe', { src: get })],
  'a navigation': ['CROSS_SITE', ([{ get }]) => { location.href = get; }],
  'a refresh': ['CROSS_SITE', ([{ get }]) => {
    document.head.innerHTML += '<meta name="referrer" content="no-referrer">';
    embed('meta', { httpEquiv: 'refresh', content: `0;url=${get}` });
  }],
};

/** In every page: a form, sent into a frame. */
function submit(action, body, enctype) {
  const frame = document.createElement('iframe');
  frame.name = 'answer';
  const form = Object.assign(document.createElement('form'), { action, enctype, method: 'post', target: 'answer' });
  // `name=value` is JSON as plain text: {"query":"…","x":"="}
  const name = body.replace(/\}$/, ',"x":"');
  const field = Object.assign(document.createElement('input'), { name, value: '"}' });
  form.append(field);
  document.body.append(frame, form);
  form.submit();
}

/** In every page: an element that loads something. */
function embed(name, properties) {
  document.body.append(Object.assign(document.createElement(name), properties));
}

// --- a page of the allowed origin ---

const post = (query, variables, headers) => [
  http,
  { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ query, variables }) },
];
const byGet = (query) => `${http}?query=${encodeURIComponent(query)}`;
const places = { http, ws, get: byGet(QUERY), allowed: ALLOWED };
let bodies = 0;

await check('allowed: a query, after one preflight for both of two', () => visit(ALLOWED, async (page, answers) => {
  for (const _ of [1, 2]) {
    const { status, body } = await page.evaluate(ask, post(QUERY));
    assert.equal(status, 200);
    assert.equal(JSON.parse(body).data.rooms[0].id, 'lobby');
  }
  const statuses = [await answers.take(), await answers.take(), await answers.take()].map(({ status }) => status);
  assert.deepEqual(statuses, [204, 200, 200]);
}));

await check('allowed: what a preflight is answered', () => visit(ALLOWED, async (page, answers) => {
  await page.evaluate(ask, post(QUERY, undefined, { 'x-trace': '1' }));
  const { headers } = await answers.take();
  assert.equal(headers['access-control-allow-origin'], ALLOWED);
  assert.equal(headers['access-control-allow-headers'], 'content-type,x-trace');
  assert.equal(headers['access-control-max-age'], '600');
  assert.equal(headers['access-control-allow-credentials'], undefined);
  assert.match(headers.vary, /origin/i);
}));

await check('allowed: a header of the page\'s own reaches AppSync', () => visit(ALLOWED, async (page) => {
  const { body } = await page.evaluate(ask, post('{ headers(names: ["x-trace"]) }', undefined, { 'x-trace': 'grün' }));
  assert.match(JSON.parse(body).data.headers, /x-trace/);
}));

await check('allowed: a query by GET, without a preflight', () => visit(ALLOWED, async (page, answers) => {
  const { status, body } = await page.evaluate(ask, [byGet(QUERY)]);
  assert.equal(status, 200);
  assert.equal(JSON.parse(body).data.rooms[0].id, 'lobby');
  assert.equal((await answers.take()).status, 200);
  assert.deepEqual(answers.drain(), []);
}));

await check('allowed: a mutation runs once', () => visit(ALLOWED, async (page) => {
  const body = `once ${bodies += 1}`;
  const answer = await page.evaluate(ask, post(POST, { body }));
  assert.equal(JSON.parse(answer.body).data.postMessage.body, body);
  assert.equal((await control.state()).mutations[`lobby/${body}`], 1);
}));

await check('allowed: an error of AppSync\'s is readable', () => visit(ALLOWED, async (page) => {
  const { error, body } = await page.evaluate(ask, post('{ nothing }'));
  assert.equal(error, null);
  assert.match(JSON.parse(body).errors[0].message, /nothing/);
}));

await check('allowed: an error of countersign\'s is readable, with its header', () => visit(ALLOWED, async (page) => {
  const { status, error, body } = await page.evaluate(ask, [byGet('mutation { createRoom(name: "no") { id } }')]);
  assert.deepEqual([status, error], [405, 'MUTATION_BY_GET']);
  assert.equal(JSON.parse(body).errors[0].extensions.code, 'MUTATION_BY_GET');
}));

for (const [name, open] of Object.entries(subscribe)) {
  await check(`allowed: a subscription by ${name}`, () => visit(ALLOWED, async (page) => {
    await active(0);
    await page.evaluate(open, [places, ON_MESSAGE]);
    await active(1);
    for (const _ of [1, 2]) {
      const body = `${name} ${bodies += 1}`;
      await page.evaluate(ask, post(POST, { body }));
      const seen = (body) => globalThis.seen.some(({ data }) => data?.onMessage.body === body);
      await page.waitForFunction(seen, body, { timeout: 10_000 });
    }
    assert.equal(await page.evaluate(() => seen.length), 2);
    await page.evaluate(() => stop());
    await active(0);
  }));
}

await check('allowed: leaving the page ends its subscriptions', () => visit(ALLOWED, async (page) => {
  await page.evaluate(plain['a WebSocket'], [places, ON_MESSAGE]);
  await active(1);
  await page.evaluate(plain['an EventSource'], [places, ON_MESSAGE]);
  await active(2);
  await page.goto('about:blank');
  await active(0);
}));

// --- the same page of another origin ---

await check('foreign: a query finds its preflight refused', () => visit(FOREIGN, (page, answers) =>
  refused(page, answers, 'ORIGIN_NOT_ALLOWED', ask, post(QUERY))));

await check('foreign: a mutation finds its preflight refused', () => visit(FOREIGN, (page, answers) =>
  refused(page, answers, 'ORIGIN_NOT_ALLOWED', ask, post(POST, { body: 'foreign' }))));

await check('foreign: a query by GET', () => visit(FOREIGN, (page, answers) =>
  refused(page, answers, 'ORIGIN_NOT_ALLOWED', ask, [byGet(QUERY)])));

await check('foreign: an error that cannot be read', () => visit(FOREIGN, (page, answers) =>
  refused(page, answers, 'ORIGIN_NOT_ALLOWED', ask, [byGet('mutation { createRoom(name: "no") { id } }')])));

await check('foreign: a query by a redirect of the allowed origin', () => visit(FOREIGN, (page, answers) =>
  refused(page, answers, 'ORIGIN_NOT_ALLOWED', ask, [`${ALLOWED}/redirect?${encodeURIComponent(byGet(QUERY))}`])));

for (const [name, open] of Object.entries(subscribe)) {
  await check(`foreign: a subscription by ${name}`, () => visit(FOREIGN, (page, answers) =>
    refused(page, answers, 'ORIGIN_NOT_ALLOWED', open, [places, ON_MESSAGE])));
}

for (const [name, [code, act]] of Object.entries(blind)) {
  await check(`foreign: ${name}`, () => visit(FOREIGN, async (page, answers) => {
    const mutation = JSON.stringify({ query: 'mutation { postMessage(room: "lobby", body: "foreign") { id } }' });
    await untouched(async () => {
      await page.evaluate(act, [places, mutation]);
      await seenRefused(answers, code);
    });
  }));
}

await check('foreign: a page without an origin, in a sandbox', () => visit(FOREIGN, async (page) => {
  const sandboxed = (request) => new Promise((resolve) => {
    addEventListener('message', ({ data }) => resolve(data), { once: true });
    const script = `const tell = (text) => parent.postMessage(origin + ' ' + text, '*');
      fetch(...${JSON.stringify(request)}).then((response) => tell(response.status), (error) => tell(error.name))`;
    embed('iframe', { sandbox: 'allow-scripts', srcdoc: `<script>${script}</script>` });
  });
  await untouched(async () => {
    for (const request of [post(QUERY), [byGet(QUERY)]]) {
      assert.equal(await page.evaluate(sandboxed, request), 'null TypeError');
    }
  });
}));

// --- a page of a name that was rebound to this address: to the browser, our own page ---

const rebound = (url) => Object.assign(new URL(url), { hostname: REBOUND }).href;

await check('rebound: a visit', () => visit(undefined, async (page, answers) => {
  await untouched(async () => {
    const response = await page.goto(rebound(byGet(QUERY)));
    assert.equal(response.status(), 403);
    await seenRefused(answers, 'HOST_NOT_ALLOWED');
  });
}));

const own = {
  'a query': [ask, [rebound(http), post(QUERY)[1]]],
  'a mutation': [ask, [rebound(http), post(POST, { body: 'rebound' })[1]]],
  'a query by GET': [ask, [rebound(byGet(QUERY))]],
};
for (const [name, [act, request]] of Object.entries(own)) {
  await check(`rebound: ${name}`, () => visit(rebound(http), async (page) => {
    const { status, error } = await untouched(() => page.evaluate(act, request));
    assert.deepEqual([status, error], [403, 'HOST_NOT_ALLOWED']);
  }));
}
for (const [name, open] of Object.entries(plain)) {
  await check(`rebound: a subscription by ${name}`, () => visit(rebound(http), (page, answers) =>
    refused(page, answers, 'HOST_NOT_ALLOWED', open, [{ http: rebound(http), ws: rebound(ws) }, ON_MESSAGE])));
}

await check('at the end: nothing but the allowed origin\'s mutations ran', async () => {
  const { mutations, requests, realtime } = await control.state();
  assert.equal(Object.keys(mutations).length, bodies);
  assert.ok(Object.values(mutations).every((count) => count === 1), JSON.stringify(mutations));
  assert.deepEqual([requests.refused, realtime.subscriptions], [0, 0]);
});

await browser.close();
finish();

/** A new page with its own storage, and a queue of what the endpoint answered it, preflights too. */
async function visit(url, body) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    for (const shared of [streamed, submit, embed]) await page.addInitScript(`globalThis.${shared.name} = ${shared}`);
    if (url !== undefined) await page.goto(url);
    const answers = new Queue();
    const devtools = await context.newCDPSession(page);
    devtools.on('Network.responseReceivedExtraInfo', ({ statusCode: status, headers: spelled }) => {
      const headers = Object.fromEntries(Object.entries(spelled).map(([name, value]) => [name.toLowerCase(), value]));
      if (!('x-page' in headers)) answers.push({ status, headers });
    });
    await devtools.send('Network.enable');
    // Of a handshake that failed there is only what the console shows.
    page.on('websocket', (socket) => socket.on('socketerror', (text) => {
      answers.push({ status: Number(/response code: (\d+)/.exec(text)?.[1]), socket: text });
    }));
    await body(page, answers);
  } finally {
    await context.close();
  }
}

/** The page's act fails, for this reason, and reaches nobody. */
async function refused(page, answers, code, act, argument) {
  await untouched(async () => {
    const outcome = await page.evaluate(act, argument).then((value) => ({ value }), (error) => ({ error }));
    assert.ok(outcome.error, `the page got ${JSON.stringify(outcome.value)}`);
    assert.doesNotMatch(outcome.error.message, /ReferenceError|SyntaxError/);
    await seenRefused(answers, code);
  });
}

/** All that the endpoint answered was this refusal. */
async function seenRefused(answers, code) {
  const first = await answers.take('an answer of the endpoint');
  for (const { status, headers, socket } of [first, ...answers.drain()]) {
    assert.equal(status, 403, socket);
    if (socket !== undefined) continue;
    assert.equal(headers['x-countersign-error'], code);
    assert.equal(headers['access-control-allow-origin'], undefined);
  }
}

/** The emulator sees nothing of what `body` does. */
async function untouched(body) {
  const before = await totals();
  const value = await body();
  assert.deepEqual(await totals(), before);
  return value;
}

/** What only grows: idle connections may end at any time. */
async function totals() {
  const { requests, realtime, mutations } = await control.state();
  return { requests, connections: realtime.connections_total, starts: realtime.starts_total, mutations };
}

function active(count) {
  return control.until(`${count} subscriptions`, ({ realtime }) => realtime.subscriptions === count);
}

/** Serves the page, the libraries that it imports, and redirects to what the query says. */
async function serve(port) {
  const page = `<!doctype html><title>page</title><script type="importmap">${JSON.stringify({ imports: LIBRARIES })}</script>`;
  const server = createServer(async (request, response) => {
    response.setHeader('x-page', '1');
    const { pathname, search } = new URL(request.url, ALLOWED);
    if (pathname === '/redirect') {
      const location = decodeURIComponent(search.slice(1));
      response.writeHead(307, { location, 'access-control-allow-origin': '*' }).end();
    } else if (/^\/graphql-(ws|sse)\/[\w/.-]+\.m?js$/.test(pathname)) {
      const file = new URL(`node_modules${pathname}`, import.meta.url);
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(await readFile(file));
    } else {
      response.writeHead(pathname === '/' ? 200 : 404, { 'content-type': 'text/html' }).end(page);
    }
  });
  const listening = new Promise((resolve, reject) => server.once('error', reject).listen(Number(port), '127.0.0.1', resolve));
  await within(listening, 5_000, `port ${port}`);
}
