// Serves dist/ and an API with made-up entries, for work on the page without a countersign. It is not shipped.
// usage: node mock/server.mjs [--port N] [--entries N] [--quiet]
//   --entries   number of entries at start (default 300); more appear every second
//   --quiet     no new entries appear
//   --base-url  the URL of a real countersign, for GraphiQL; it must allow the origin of this server

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '4199' }, entries: { type: 'string', default: '300' }, quiet: { type: 'boolean', default: false }, 'base-url': { type: 'string' } },
});
const dist = join(import.meta.dirname, '../dist');
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
  + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";
const GRAPHIQL_POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
  + `connect-src 'self' ${values['base-url'] ?? ''} ${(values['base-url'] ?? '').replace(/^http/, 'ws')}; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

// --- entries ---

let seed = 7;
const random = () => ((seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648);
const pick = (list) => list[Math.floor(random() * list.length)];
const started = Date.now() - 3_600_000;
const entries = [];
const frames = new Map();
let revision = 1;
let isPaused = false;
let live = 0;

const NAMES = { query: ['ListRooms', 'GetRoom', 'SearchMessages', 'Me'], mutation: ['PostMessage', 'CreateRoom'], subscription: ['OnMessage', 'OnTyping'] };

function add(time = Date.now(), forced) {
  const kind = forced ?? pick(['query', 'query', 'query', 'query', 'mutation', 'http', 'http', 'subscription']);
  const id = entries.length + 1;
  const chance = random();
  const signing = 0.05 + random() * 0.1;
  const connect = chance < 0.05 ? 20 + random() * 30 : undefined;
  const first_byte = 8 + random() * 80;
  const total = signing + (connect ?? 0) + first_byte + random() * 5;
  const entry = {
    id, time, client: `127.0.0.1:${50000 + Math.floor(random() * 9000)}`, kind, protocol: 'http',
    route: kind === 'http' ? 'orders' : 'graphql', status: 200, is_refused: false, is_live: false,
    durations: { signing, ...(connect && { connect }), first_byte, total }, bytes_in: 120 + Math.floor(random() * 400), bytes_out: 300 + Math.floor(random() * 9000),
  };
  if (kind === 'http') Object.assign(entry, { method: pick(['GET', 'GET', 'POST']), path: `/orders/${Math.floor(random() * 999)}` });
  else Object.assign(entry, { method: 'POST', path: '/graphql', name: pick(NAMES[kind]) });
  if (kind === 'subscription') {
    delete entry.method;
    delete entry.path;
    const is_live = random() < 0.4 && live < 8;
    if (is_live) live += 1;
    Object.assign(entry, { protocol: 'graphql-transport-ws', status: 0, events: 0, is_live, durations: is_live ? { signing } : { signing, total: 36_000 + random() * 90_000 } });
    if (!is_live) entry.events = Math.floor(random() * 50);
    frame(entry, 'client', 'in', 'subscribe', { id: '1', type: 'subscribe', payload: { query: 'subscription OnMessage { onMessage(room: "lobby") { body } }' } }, 0.1);
    frame(entry, 'upstream', 'out', 'start', { id: 'b1', type: 'start', payload: { data: '{"query":"subscription OnMessage { … }"}' } }, 0.5);
    frame(entry, 'upstream', 'in', 'start_ack', { id: 'b1', type: 'start_ack' }, 24);
    for (let event = 0; event < Math.min(entry.events, 6); event += 1) message(entry, 900 + event * 4000);
  } else if (chance > 0.97) {
    Object.assign(entry, { status: 403, code: 'ORIGIN_NOT_ALLOWED', is_refused: true, sent: 'no', durations: { total: 0.12 } });
  } else if (chance > 0.94) {
    Object.assign(entry, { status: 403, code: 'InvalidSignatureException', sent: 'yes' });
  } else if (chance > 0.9 && kind !== 'http') entry.graphql_errors = 1;
  entries.push(entry);
  return entry;
}

function frame(entry, side, direction, type, message, after) {
  const list = frames.get(entry.id) ?? [];
  frames.set(entry.id, list);
  const text = JSON.stringify(message);
  list.push({ index: list.length, time: entry.time + after, side, direction, type, payload: { size: text.length, text } });
}

function message(entry, after) {
  const data = { onMessage: { body: pick(['hello', 'is anybody here?', 'lunch']), user: { name: pick(['Ada', 'Grace', 'Linus']), id: Math.floor(random() * 1000) } } };
  frame(entry, 'upstream', 'in', 'data', { id: 'b1', type: 'data', payload: { data } }, after);
  frame(entry, 'client', 'out', 'next', { id: '1', type: 'next', payload: { data } }, after + 0.08);
}

for (let count = Number(values.entries); count > 0; count -= 1) add(Date.now() - count * 700);

const payload = (text, reveal, content_type) => ({ size: text.length, ...(reveal && { text }), ...(content_type && { content_type }) });

function detail(entry, reveal, after) {
  const isGraphql = entry.route === 'graphql';
  const document = `query ${entry.name} {\n  rooms {\n    id\n    name\n    messages(last: 3) { body }\n  }\n}`;
  const variables = JSON.stringify({ room: 'lobby', limit: 20 });
  const rooms = Array.from({ length: 130 }, (_, id) => ({ id, name: `room ${id}`, isOpen: id % 3 === 0, owner: null, tags: ['a', 'b'] }));
  const answer = entry.graphql_errors ? { data: null, errors: [{ message: 'Unknown field "romms"', locations: [{ line: 2, column: 3 }] }] } : { data: { rooms } };
  const list = (frames.get(entry.id) ?? []).filter(({ index }) => after === undefined || index > after);
  const host = isGraphql ? 'abcdefghij.appsync-api.eu-central-1.amazonaws.com' : 'a1b2c3.execute-api.us-east-1.amazonaws.com';
  const path = isGraphql ? '/graphql' : `/prod${entry.path ?? ''}`;
  const hash = '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';
  const scope = `20261130/${isGraphql ? 'eu-central-1/appsync' : 'us-east-1/execute-api'}/aws4_request`;
  const headers = [['host', host], ['content-type', 'application/json'], ['x-amz-date', '20261130T142108Z']];
  const canonical = [entry.method ?? 'POST', path, '', ...headers.map(([name, value]) => `${name}:${value}`), '', 'content-type;host;x-amz-date', hash].join('\n');
  const result = {
    summary: entry, is_revealed: reveal,
    request: {
      headers: [{ name: 'content-type', value: 'application/json' }, { name: 'user-agent', value: 'node' }, { name: 'authorization', is_masked: true }],
      ...(isGraphql && { document: payload(document, reveal), variables: payload(variables, reveal, 'application/json') }),
      body: payload(JSON.stringify({ query: document, variables: { room: 'lobby' } }), reveal, 'application/json'),
    },
    frames: { frames: list.map((each) => ({ ...each, payload: { size: each.payload.size, ...(reveal && { text: each.payload.text }) } })), first: 0, next: (frames.get(entry.id) ?? []).length },
  };
  if (entry.status) {
    result.response = { status: entry.status, headers: [{ name: 'content-type', value: 'application/json; charset=utf-8' }, { name: 'x-amzn-requestid', value: '7f3c9d2e-0000' }], body: payload(JSON.stringify(answer), reveal, 'application/json') };
  }
  if (!entry.is_refused) {
    result.upstream = {
      method: entry.method ?? 'POST', url: `https://${host}${path}`, attempts: 1, status: entry.status || 101, request_id: '7f3c9d2e-5a01-4c1e-9a55-3b1f5e2d7c10',
      headers: [...headers.map(([name, value]) => ({ name, value })), { name: 'authorization', is_masked: true }],
      canonical_request: canonical, string_to_sign: ['AWS4-HMAC-SHA256', '20261130T142108Z', scope, hash].join('\n'),
    };
  }
  if (entry.is_refused) {
    result.diagnosis = { code: entry.code, message: 'origin "https://example.com" is not allowed', rule: 'Origin', setting: 'guard.allow_origins (--allow-origin https://example.com)', hint: 'Start countersign with --allow-origin https://example.com if you trust that page.' };
  } else if (entry.code) {
    result.diagnosis = {
      code: entry.code, cause: 'signature-key', confidence: 'certain', identity: 'arn:aws:sts::111122223333:assumed-role/dev/ada', message: 'The request signature we calculated does not match the signature you provided.',
      hint: 'The secret key does not belong to access key AKIA****WXYZ. Run: aws configure list',
    };
  }
  if (entry.is_live && entry.kind === 'subscription') result.realtime = 1;
  return result;
}

const recorder = () => ({ is_paused: isPaused, memory_limit: 67_108_864, memory_used: Math.min(60_000_000, entries.length * 1200), entries: entries.length, evicted: 0, body_limit: 65_536 });

function state() {
  const shared = entries.filter((entry) => entry.is_live).map(({ id }) => id);
  return {
    version: '0.0.0-mock', started, now: Date.now(), listeners: ['127.0.0.1:4100', '[::1]:4100'], base_url: values['base-url'] ?? `http://127.0.0.1:${values.port}`,
    is_ready: true, is_draining: false, reasons: [],
    routes: [
      { name: 'graphql', path: '/graphql', kind: 'graphql', target: 'https://abcdefghij.appsync-api.eu-central-1.amazonaws.com/graphql', region: 'eu-central-1', service: 'appsync', credentials: 'profile dev', clock_offset_ms: -41_000 },
      { name: 'orders', path: '/orders', kind: 'http', target: 'https://a1b2c3.execute-api.us-east-1.amazonaws.com/prod', region: 'us-east-1', service: 'execute-api', credentials: 'default chain' },
    ],
    credentials: [
      { name: 'profile dev', provider: 'SSO session of profile dev', access_key_id: 'ASIA****WXYZ', account: '111122223333', expires: started + 3_600_000 + 845_000 },
      { name: 'default chain', failure: 'AWS rejected the credentials: expired. They came from profile "default" (SSO). Run: aws sso login' },
    ],
    limits: [
      { setting: 'limits.connections', label: 'Connections', used: 12, limit: 1024, unit: 'count' },
      { setting: 'limits.subscriptions', label: 'Subscriptions', used: shared.length, limit: 10, unit: 'count' },
      { setting: 'limits.buffered', label: 'Buffered bytes', used: 812_000, limit: 67_108_864, unit: 'bytes' },
    ],
    realtime: shared.length === 0 ? [] : [{ id: 1, route: 'graphql', subscriptions: shared.length, limit: 100, entries: shared }],
    recorder: recorder(), metrics: { resident_bytes: 21_500_000, is_memory_short: false },
  };
}

// --- the stream ---

const streams = new Set();
function emit(event, data) {
  revision += 1;
  for (const response of streams) response.write(`id: ${revision}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

if (!values.quiet) {
  setInterval(() => {
    if (isPaused) return;
    emit('entry', add());
    for (const entry of entries.filter(({ is_live }) => is_live)) {
      if (random() < 0.5) continue;
      entry.events += 1;
      entry.rate = 0.5 + random() * 3;
      message(entry, Date.now() - entry.time);
      emit('entry', entry);
    }
    emit('state', state());
  }, 1000);
}

// --- HTTP ---

function matches(entry, q) {
  const text = JSON.stringify([entry, detail(entry, true)]).toLowerCase();
  return q.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

async function respond(request, response) {
  const url = new URL(request.url, 'http://mock');
  const path = url.pathname;
  const json = (value, status = 200) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  const failure = (status, code, message) => json({ error: { code, message } }, status);
  if (!path.startsWith('/inspect/api/')) return asset(path, response);
  if (!request.headers['x-countersign-inspector']) return failure(401, 'KEY_MISSING', 'the header x-countersign-inspector is missing');
  let body = '';
  for await (const piece of request) body += piece;
  const at = path.slice('/inspect/api/'.length);
  const [, id, rest] = /^entries\/(\d+)(?:\/(\w+))?$/.exec(at) ?? [];
  if (id !== undefined) {
    const entry = entries[id - 1];
    if (!entry) return failure(404, 'NOT_FOUND', 'no such entry');
    const after = url.searchParams.get('frames_after');
    if (rest === 'request') return json({ route: entry.route, method: entry.method ?? 'POST', path: entry.path ?? '/graphql', headers: [{ name: 'content-type', value: 'application/json' }], body: '{"query":"{ rooms { id } }"}' });
    if (rest === 'curl') return json({ text: `curl http://127.0.0.1:4100${entry.path ?? '/graphql'} -H 'content-type: application/json' -d '{"query":"{ rooms { id } }"}'` });
    return json(detail(entry, url.searchParams.get('reveal') === 'bodies', after === null ? undefined : Number(after)));
  }
  if (at === 'state') return json(state());
  if (at === 'entries') {
    const before = Number(url.searchParams.get('before') ?? Infinity);
    const limit = Math.min(1000, Number(url.searchParams.get('limit') ?? 100));
    const q = url.searchParams.get('q');
    const found = [];
    let index = Math.min(before - 1, entries.length) - 1;
    for (; index >= 0 && found.length < limit; index -= 1) if (!q || matches(entries[index], q)) found.push(entries[index]);
    return json({ entries: found, has_more: index >= 0, revision });
  }
  if (at === 'stream') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(':\n\n');
    streams.add(response);
    response.on('close', () => streams.delete(response));
    return emit('state', state());
  }
  if (at === 'har') return json({ log: { version: '1.2', creator: { name: 'countersign', version: '0' }, entries: [] } });
  if (at === 'pause') isPaused = JSON.parse(body).is_paused;
  if (at === 'pause') return json(recorder());
  if (at === 'clear') {
    entries.length = 0;
    live = 0;
    emit('resync', { revision });
    return json(recorder());
  }
  if (at === 'replay') {
    const { id: source, request: edited, confirm } = JSON.parse(body);
    const old = entries[(source ?? 1) - 1];
    if (!confirm && (old?.kind === 'mutation' || /mutation/.test(edited?.body ?? ''))) return failure(409, 'MUTATION_NOT_CONFIRMED', 'this is a mutation: set confirm');
    const entry = Object.assign(add(Date.now(), old?.kind ?? 'query'), { replay_of: source ?? 0 });
    emit('entry', entry);
    return json({ id: entry.id, status: entry.status });
  }
  return failure(404, 'NOT_FOUND', `no ${at}`);
}

async function asset(path, response) {
  const name = { '/inspect/': 'index.html', '/inspect/graphiql': 'graphiql.html' }[path] ?? path.replace(/^\/inspect\//, '');
  const [, extension] = /^(?:assets\/)?[\w.-]+\.(html|js|css)$/.exec(name) ?? [];
  const type = { html: 'text/html', js: 'text/javascript', css: 'text/css' }[extension];
  const content = type && await readFile(join(dist, `${name}.gz`)).catch(() => undefined);
  if (!content) return response.writeHead(404).end();
  const policy = name === 'graphiql.html' ? GRAPHIQL_POLICY : POLICY;
  return response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, 'content-encoding': 'gzip', 'content-security-policy': policy, 'x-content-type-options': 'nosniff' }).end(content);
}

const server = createServer((request, response) => {
  respond(request, response).catch((error) => response.writeHead(500).end(String(error)));
});
server.listen(Number(values.port), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/inspect/`));
