// Checks the wire rules of AppSync's own protocol, whose subprotocol is also `graphql-ws`, over raw sockets
// that behave like AppSync clients.
//
// usage: node native-conformance.mjs URL --control CONTROL [--ping MS]
//   URL        ws://… the GraphQL endpoint; mutations go to the same URL with http://…
//   --control  http://… the emulator's control address. The emulator verifies every signature over
//              the bytes of `data`, so an accepted start proves that the bytes were kept
//   --ping     the interval of `ka` (timeouts.ping; default 1000)

import { assert, assertErrors, check, finish } from './check.mjs';
import { OFF, ON_MESSAGE, connect, live, newRoom, next, others, say, sleep, suite, switched } from './wire.mjs';

const { url, control, ping } = suite('node native-conformance.mjs URL --control CONTROL [--ping MS]', {
  more: { ping: '1000' },
});
const interval = Number(ping);
const http = url.replace(/^ws/, 'http');
const PROTOCOL = 'graphql-ws';
const ROOMS = JSON.stringify({ query: 'subscription { onCreateRoom { id name } }', variables: {} });

/** A client's own credentials, which must not be forwarded. */
const SIGNED = {
  accept: 'application/json, text/javascript',
  'content-encoding': 'amz-1.0',
  'content-type': 'application/json; charset=UTF-8',
  host: 'abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com',
  'x-amz-date': '20260115T120000Z',
  'x-amz-security-token': 'stale-token',
  Authorization:
    'AWS4-HMAC-SHA256 Credential=AKIDSTALE/20260115/us-east-1/appsync/aws4_request, SignedHeaders=accept;content-encoding;content-type;host;x-amz-date;x-amz-security-token, Signature=0000',
};
const API_KEY = { host: 'abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com', 'x-api-key': 'da2-stale', 'x-amz-date': '20260115T120000Z' };
const JWT = { host: 'localhost', Authorization: 'eyJhbGciOiJub25lIn0.e30.' };

await control.switch(OFF);
/** Rejections that a check causes on purpose. */
let intended = 0;

// --- the handshake: a client's own credentials ---

const base64 = (headers) => Buffer.from(JSON.stringify(headers)).toString('base64');
const base64url = (headers) => Buffer.from(JSON.stringify(headers)).toString('base64url');
const HANDSHAKES = {
  'by query string': (h) => [`${url}?header=${encodeURIComponent(base64(h))}&payload=e30%3D`, [PROTOCOL]],
  'by query string, not percent-encoded': (h) => [`${url}?header=${base64(h)}&payload=e30=`, [PROTOCOL]],
  'by a header- subprotocol': (h) => [url, [PROTOCOL, `header-${base64url(h)}`]],
  'by a header- subprotocol, offered first': (h) => [url, [`header-${base64url(h)}`, PROTOCOL]],
  'by HTTP headers': (h) => [url, [PROTOCOL], { headers: without(h, 'host') }],
};
for (const [how, at] of Object.entries(HANDSHAKES)) {
  for (const [kind, headers] of Object.entries({ SigV4: SIGNED, 'an API key': API_KEY, 'a JWT': JWT })) {
    await check(`${kind} ${how}: accepted, only ${PROTOCOL} echoed, and a subscription is live`, async () => {
      await subscribes(await ready(await connect(...at(headers)), headers));
    });
  }
}

await check('no credentials at all: accepted', async () => {
  await subscribes(await ready(await connect(url, [PROTOCOL])));
});

await check('credentials that are not base64 or not JSON: accepted', async () => {
  for (const text of ['%%%', 'bm90IGpzb24', '']) {
    await subscribes(await ready(await connect(`${url}?header=${encodeURIComponent(text)}&payload=x`, [PROTOCOL])));
  }
});

await check('a long session token in the subprotocol: accepted', async () => {
  const headers = { ...SIGNED, 'x-amz-security-token': 'T'.repeat(4000) };
  await subscribes(await ready(await connect(url, [PROTOCOL, `header-${base64url(headers)}`])));
});

const root = new URL(url).origin.replace(/^http/, 'ws').replace('null', `ws://${new URL(url).host}`);
for (const path of ['/graphql', '/graphql/realtime', '/realtime']) {
  await check(`${path} is accepted`, async () => {
    await subscribes(await ready(await connect(root + path, [PROTOCOL, `header-${base64url(SIGNED)}`])));
  });
}

await check('credentials of the handshake do not reach resolvers', async () => {
  for (const [how, at] of Object.entries(HANDSHAKES)) {
    const socket = await ready(await connect(...at({ ...SIGNED, 'x-api-key': 'da2-stale' })));
    const found = await resolved(socket);
    for (const [name, value] of Object.entries(found)) assert.doesNotMatch(value, /stale|STALE|20260115/, `${how}: ${name}`);
    assert.equal(found['x-api-key'], undefined, how);
    socket.close();
  }
});

// --- connection level ---

await check('connection_ack carries connectionTimeoutMs', async () => {
  const socket = await connect(url, [PROTOCOL]);
  socket.send({ type: 'connection_init' });
  const { type, payload } = await socket.take();
  assert.equal(type, 'connection_ack');
  assert.ok(Number.isInteger(payload.connectionTimeoutMs) && payload.connectionTimeoutMs >= 60_000, JSON.stringify(payload));
  socket.close();
});

await check('ka follows the ack at once, and is repeated', async () => {
  const socket = await connect(url, [PROTOCOL]);
  socket.send({ type: 'connection_init' });
  await socket.take();
  assert.deepEqual(await socket.take(500), { type: 'ka' });
  for (let n = 0; n < 2; n += 1) assert.deepEqual(await socket.take(2 * interval + 1000), { type: 'ka' });
  socket.close();
});

await check('ka continues while a subscription is live', async () => {
  const socket = await ready();
  await started(socket, '1', ROOMS);
  for (let n = 0; n < 2; n += 1) assert.deepEqual(await socket.take(2 * interval + 1000), { type: 'ka' });
  socket.close();
});

await check('start right behind connection_init runs', async () => {
  const socket = await connect(url, [PROTOCOL]);
  socket.send({ type: 'connection_init' });
  socket.raw(start('1', ROOMS));
  assert.equal((await socket.take()).type, 'connection_ack');
  assert.deepEqual(await next(socket), { id: '1', type: 'start_ack' });
  socket.close();
});

for (const type of ['ping', 'pong']) {
  await check(`${type} is swallowed, before the first start and after it`, async () => {
    const socket = await ready();
    socket.send({ type });
    await started(socket, '1', ROOMS);
    socket.send({ type });
    await stopped(socket, '1');
    await sleep(100);
    assert.deepEqual(others(socket), []);
    socket.close();
  });
}

// --- subscriptions ---

await check('start is answered by start_ack, events by data, stop by complete, and then nothing', async () => {
  const idle = (await control.state()).realtime.subscriptions;
  const [socket, room] = [await ready(), await newRoom(http)];
  await started(socket, 'a', JSON.stringify({ query: ON_MESSAGE, variables: { r: room } }));
  await say(http, room, 'hello');
  assert.deepEqual(await next(socket), { id: 'a', type: 'data', payload: { data: { onMessage: { body: 'hello' } } } });
  await stopped(socket, 'a');
  await live(control, idle);
  await say(http, room, 'nobody hears');
  await sleep(100);
  assert.deepEqual(others(socket), []);
  socket.close();
});

await check('start_ack comes before the first data', async () => {
  const socket = await ready();
  const data = JSON.stringify({ query: 'subscription { onHeaders }' });
  socket.raw(start('1', data));
  assert.equal((await next(socket)).type, 'start_ack');
  assert.equal((await next(socket)).type, 'data');
  socket.close();
});

await check('no start_ack while upstream sends none', async () => {
  const socket = await ready();
  await switched(control, { no_start_ack: true }, async () => {
    socket.raw(start('1', ROOMS));
    await sleep(700);
    assert.deepEqual(others(socket), []);
  });
  socket.close();
});

const DOCUMENT = 'subscription { onCreateRoom { id } }';
const DATAS = {
  'with odd spacing': `{ "query" :\n\t"${DOCUMENT}" ,"variables":{ } }`,
  'with variables first': `{"variables":{},"query":"${DOCUMENT}"}`,
  'with escapes that need not be': '{"query":"\\u0073ubscription { onCreateRoom { id } }","a\\/b":"\\/"}',
  'with text beyond ASCII': `{"query":"# grüße 😀\\n${DOCUMENT}","variables":{"ü":"é \u2028"}}`,
  'with escaped surrogates': `{"query":"# \\ud83d\\ude00\\n${DOCUMENT}"}`,
  'with numbers of odd form': `{"query":"${DOCUMENT}","variables":{"a":1.0,"b":1e3,"c":12345678901234567890}}`,
  'with duplicate and unknown members': `{"query":"${DOCUMENT}","x":1,"x":2,"operationName":null}`,
  'with <, > and &': `{"query":"# <&>'=\\n${DOCUMENT}"}`,
  'with control characters escaped': `{"query":"#\\t\\n${DOCUMENT}","variables":{"a":"\\u0007\\t\\n"}}`,
  'with spaces around it': `  {"query":"${DOCUMENT}"}\n`,
};
for (const [name, data] of Object.entries(DATAS)) {
  await check(`data ${name} keeps its bytes: the start is accepted`, async () => {
    const before = await control.state();
    const socket = await ready();
    await started(socket, '1', data);
    const after = await control.state();
    assert.equal(after.requests.refused, before.requests.refused, after.last_refusal);
    await stopped(socket, '1');
    socket.close();
  });
}

await check('the outer JSON may escape the data as it likes', async () => {
  const socket = await ready();
  const inner = JSON.stringify(`{"query":"${DOCUMENT}","a":"/<"}`).replaceAll('/', '\\/').replaceAll('<', '\\u003c');
  socket.raw(`{"payload":{"extensions":{"authorization":{}},"data":${inner}},"type":"st\\u0061rt","id":"1"}`);
  assert.deepEqual(await next(socket), { id: '1', type: 'start_ack' });
  socket.close();
});

await check('start without extensions is accepted', async () => {
  const socket = await ready();
  socket.send({ id: '1', type: 'start', payload: { data: ROOMS } });
  assert.deepEqual(await next(socket), { id: '1', type: 'start_ack' });
  socket.close();
});

await check('variables and operationName are used', async () => {
  const [socket, room] = [await ready(), await newRoom(http)];
  const query = `${ON_MESSAGE} subscription Other { onCreateRoom { id } }`;
  await started(socket, '1', JSON.stringify({ query, operationName: 'S', variables: { r: room } }));
  await newRoom(http);
  await say(http, room, 'mine');
  assert.deepEqual((await next(socket)).payload, { data: { onMessage: { body: 'mine' } } });
  socket.close();
});

// --- the authorization object of a start ---

await check("the client's own headers reach the resolver, its credentials do not", async () => {
  const socket = await ready();
  const authorization = { ...SIGNED, 'x-api-key': 'da2-stale', 'x-amz-user-agent': 'aws-amplify/6 api/1', 'X-Team': 'blue, green', 'x-note': 'a b' };
  const found = await resolved(socket, authorization);
  assert.equal(found['x-amz-user-agent'], 'aws-amplify/6 api/1');
  assert.equal(found['x-team'], 'blue, green');
  assert.equal(found['x-note'], 'a b');
  for (const value of Object.values(found)) assert.doesNotMatch(value, /stale|STALE|20260115|abcdefghij/, JSON.stringify(found));
  assert.equal(found['x-api-key'], undefined);
  socket.close();
});

for (const [name, authorization] of Object.entries({
  'SigV4': SIGNED,
  'an API key': API_KEY,
  'a JWT': JWT,
  'with values that are not strings': { host: 'h', 'x-a': 1, 'x-b': null, 'x-c': { d: 1 } },
  'with values beyond ASCII': { 'x-b': 'grüße' },
})) {
  await check(`authorization ${name}: replaced, and the start is accepted`, async () => {
    const socket = await ready();
    await started(socket, '1', ROOMS, authorization);
    socket.close();
  });
}

for (const [name, authorization] of Object.entries({
  'a name that is not a header name': { 'x a': 'b' },
  'an empty name': { '': 'd' },
  'a value that is not a header value': { 'x-a': 'line\nbreak' },
})) {
  await check(`authorization with ${name}: the start fails, the next one is accepted`, async () => {
    const socket = await ready();
    socket.raw(start('1', ROOMS, authorization));
    const { id, type, payload } = await next(socket);
    assert.deepEqual([id, type, payload.errors[0].errorType], ['1', 'error', 'HEADER_NOT_FORWARDABLE']);
    await started(socket, '2', ROOMS, {});
    socket.close();
  });
}

await check('two subscriptions of one socket keep their own headers', async () => {
  const socket = await ready();
  const [blue, green] = [await resolved(socket, { 'x-team': 'blue' }, 'b'), await resolved(socket, { 'x-team': 'green' }, 'g')];
  assert.deepEqual([blue['x-team'], green['x-team']], ['blue', 'green']);
  socket.close();
});

await check('state shows the headers with the live subscription', async () => {
  await live(control, 0);
  const socket = await ready();
  await started(socket, '1', ROOMS, { ...SIGNED, 'x-team': 'red' });
  const { realtime } = await live(control, 1);
  const mine = realtime.live.filter(({ unsigned_headers }) => unsigned_headers['x-team'] === 'red');
  assert.equal(mine.length, 1);
  socket.close();
  await live(control, 0);
});

// --- ids ---

for (const id of ['1', '01', '1b4e28ba-2fa1-11d2-883f-0016d3cca427', 'ключ 😀', ' ', '"\\']) {
  await check(`id ${JSON.stringify(id)} comes back as it was`, async () => {
    const socket = await ready();
    await started(socket, id, ROOMS);
    await stopped(socket, id);
    socket.close();
  });
}

await check('the same id on two sockets', async () => {
  const [one, two] = [await ready(), await ready()];
  await started(one, '1', ROOMS);
  await started(two, '1', ROOMS);
  one.close();
  two.close();
});

await check('a live id again: DuplicatedOperationError with the id, and the first one continues', async () => {
  const [socket, room] = [await ready(), await newRoom(http)];
  const data = JSON.stringify({ query: ON_MESSAGE, variables: { r: room } });
  await started(socket, 'a', data);
  socket.raw(start('a', data));
  assertError(await next(socket), 'a', 'DuplicatedOperationError', 'Duplicated operation with id a');
  await say(http, room, 'still');
  assert.deepEqual(await next(socket), { id: 'a', type: 'data', payload: { data: { onMessage: { body: 'still' } } } });
  await sleep(100);
  assert.deepEqual(others(socket), []);
  socket.close();
});

await check('an id is free again after complete, and after error', async () => {
  const socket = await ready();
  await started(socket, 'a', ROOMS);
  await stopped(socket, 'a');
  socket.raw(start('a', JSON.stringify({ query: 'subscription { onNothing }' })));
  intended += 1;
  assert.equal((await next(socket)).type, 'error');
  await started(socket, 'a', ROOMS);
  socket.close();
});

await check('stop of an unknown id does not disturb the socket', async () => {
  const socket = await ready();
  await started(socket, 'a', ROOMS);
  socket.send({ id: 'nobody', type: 'stop' });
  await stopped(socket, 'a', (frame) => frame.id === 'nobody');
  socket.close();
});

// --- errors, in AppSync's form ---

await check('a validation error: error with the id and a list of errors, and the socket stays', async () => {
  const socket = await ready();
  socket.raw(start('1', JSON.stringify({ query: 'subscription { onNothing }' })));
  intended += 1;
  assertError(await next(socket), '1');
  await started(socket, '2', ROOMS);
  socket.close();
});

await check('a syntax error: error with the id and a list of errors, and the socket stays', async () => {
  const socket = await ready();
  socket.raw(start('1', JSON.stringify({ query: 'subscription {' })));
  assertError(await next(socket), '1');
  await started(socket, '2', ROOMS);
  socket.close();
});

await check('data that is not JSON: error with the id', async () => {
  const socket = await ready();
  socket.raw(start('1', 'hello'));
  assertError(await next(socket), '1');
  await started(socket, '2', ROOMS);
  socket.close();
});

await check('an unknown type: UnsupportedOperation, and the socket stays', async () => {
  const socket = await ready();
  await started(socket, '2', ROOMS);
  socket.send({ type: 'subscribe', id: '1', payload: {} });
  const frame = await next(socket);
  assert.equal(frame.payload.errors[0].errorType, 'UnsupportedOperation', JSON.stringify(frame));
  await stopped(socket, '2');
  socket.close();
});

await check('a start of another shape: UnsupportedOperation, and the socket stays', async () => {
  const socket = await ready();
  await started(socket, '2', ROOMS);
  socket.send({ type: 'start', id: '1', payload: { query: '{ rooms { id } }' } });
  const frame = await next(socket);
  assert.equal(frame.payload.errors[0].errorType, 'UnsupportedOperation', JSON.stringify(frame));
  await stopped(socket, '2');
  socket.close();
});

await check('not JSON: an error without an id, and the socket stays', async () => {
  const socket = await ready();
  await started(socket, '2', ROOMS);
  socket.raw('hello');
  const frame = await next(socket);
  assert.equal(frame.payload.errors[0].errorType, 'UnsupportedOperation', JSON.stringify(frame));
  await stopped(socket, '2');
  socket.close();
});

await check('an unknown type before the first start does not select the other protocol', async () => {
  const socket = await ready();
  socket.send({ type: 'future', id: '9' });
  await next(socket);
  await started(socket, '1', ROOMS);
  socket.close();
});

for (const [name, payload] of Object.entries({
  'a list': { errors: [{ errorType: 'Unauthorized', message: 'Not Authorized to access onX on type Subscription' }] },
  'one object': { errors: { errorType: 'UnauthorizedException', message: 'Permission denied' } },
})) {
  await check(`a refused start with errors as ${name} keeps its id, errorType and message`, async () => {
    const socket = await ready();
    await switched(control, { refuse_start: JSON.stringify(payload) }, async () => {
      socket.raw(start('1', ROOMS));
      intended += 1;
      const { errorType, message } = [payload.errors].flat()[0];
      assertError(await next(socket), '1', errorType, message);
    });
    await started(socket, '1', ROOMS);
    socket.close();
  });
}

await check("an error of a live subscription is passed in the protocol's form", async () => {
  const socket = await ready();
  await started(socket, '1', ROOMS);
  await control.switch({ error_all: true });
  assertError(await next(socket), '1', 'InternalFailure', 'Internal failure');
  socket.close();
});

await check("upstream's complete is passed", async () => {
  const socket = await ready();
  await started(socket, '1', ROOMS);
  await control.switch({ complete_all: true });
  assert.deepEqual(await next(socket), { id: '1', type: 'complete' });
  socket.close();
});

await check('errors beside data are passed', async () => {
  const socket = await ready();
  await started(socket, '1', ROOMS);
  const payload = { data: { onCreateRoom: null }, errors: [{ message: 'm', errorType: 'T', path: ['onCreateRoom'], data: null }] };
  await control.switch({ send_all: `{"id":"$ID","type":"data","payload":${JSON.stringify(payload)}}` });
  assert.deepEqual(await next(socket), { id: '1', type: 'data', payload });
  socket.close();
});

// --- queries and mutations over the socket ---

for (const [name, query, expected] of [
  ['a query', '{ echo(text: "x") }', { echo: 'x' }],
  ['a mutation', 'mutation { createRoom(name: "native") { name } }', { createRoom: { name: 'native' } }],
]) {
  await check(`${name} over it: start_ack, data, complete`, async () => {
    const socket = await ready();
    await started(socket, '1', JSON.stringify({ query }));
    assert.deepEqual(await next(socket), { id: '1', type: 'data', payload: { data: expected } });
    assert.deepEqual(await next(socket), { id: '1', type: 'complete' });
    await sleep(100);
    assert.deepEqual(others(socket), []);
    socket.close();
  });
}

await check("a query over it has the client's own headers and not its credentials", async () => {
  const socket = await ready();
  await started(socket, '1', JSON.stringify({ query: '{ headers }' }), { ...SIGNED, 'x-team': 'blue', 'x-api-key': 'da2-stale' });
  const found = JSON.parse((await next(socket)).payload.data.headers);
  assert.equal(found['x-team'], 'blue');
  for (const [name, value] of Object.entries(found)) assert.doesNotMatch(value, /stale|STALE|20260115/, name);
  socket.close();
});

await check('a query with errors over the socket: data equal to the body, then complete', async () => {
  const socket = await ready();
  await started(socket, '1', JSON.stringify({ query: '{ failing }' }));
  const { type, payload } = await next(socket);
  assert.equal(type, 'data');
  assert.deepEqual(payload.data, { failing: null });
  assert.equal(payload.errors[0].errorType, 'Emulator:Failing', JSON.stringify(payload));
  assert.equal((await next(socket)).type, 'complete');
  socket.close();
});

// --- the end ---

await check('upstream lost: 1012', async () => {
  const socket = await ready();
  await started(socket, '1', ROOMS);
  await control.switch({ close_clean: 1000 });
  await socket.closes(1012);
});

await check('a client that leaves stops its subscriptions upstream', async () => {
  await live(control, 0);
  const socket = await ready();
  await started(socket, '1', ROOMS);
  await live(control, 1);
  socket.destroy();
  await live(control, 0);
});

await check('upstream rejected no request', async () => {
  const { requests, last_refusal } = await control.state();
  assert.equal(requests.refused, intended, last_refusal);
});

await check('a refused connect: the error keeps errorType, message and errorCode', async () => {
  const socket = await ready();
  const refusal = { errors: [{ errorType: 'UnauthorizedException', message: 'You are not authorized to make this call.', errorCode: 401 }] };
  await switched(control, { refuse_connect: JSON.stringify(refusal), close_all: true }, async () => {
    await control.until('no connection', ({ realtime }) => realtime.connections === 0);
    await sleep(200);
    socket.raw(start('1', ROOMS));
    const frame = await next(socket);
    assertError(frame, '1', 'UnauthorizedException', 'You are not authorized to make this call.');
    assert.equal(frame.payload.errors[0].errorCode, 401);
  });
  socket.close();
});

finish();

function without(headers, name) {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name));
}

function start(id, data, authorization = SIGNED) {
  return JSON.stringify({ id, type: 'start', payload: { data, extensions: { authorization } } });
}

async function ready(socket) {
  const opened = socket ?? (await connect(url, [PROTOCOL, `header-${base64url(SIGNED)}`]));
  assert.equal(opened.protocol, PROTOCOL);
  opened.send({ type: 'connection_init' });
  assert.equal((await opened.take()).type, 'connection_ack');
  return opened;
}

async function started(socket, id, data, authorization) {
  socket.raw(start(id, data, authorization));
  assert.deepEqual(await next(socket), { id, type: 'start_ack' });
}

/** Stops the subscription; skips data that arrived before, and `besides`. */
async function stopped(socket, id, besides = () => false) {
  socket.send({ id, type: 'stop' });
  for (;;) {
    const frame = await next(socket);
    if ((frame.type === 'data' && frame.id === id) || besides(frame)) continue;
    assert.deepEqual(frame, { id, type: 'complete' });
    return;
  }
}

async function subscribes(socket) {
  await started(socket, '1', ROOMS);
  await stopped(socket, '1');
  assert.ok(socket.isOpen());
  socket.close();
}

/** The headers that the resolver of a subscription sees. */
async function resolved(socket, authorization = SIGNED, id = 'headers') {
  await started(socket, id, JSON.stringify({ query: 'subscription { onHeaders }' }), authorization);
  const { payload } = await next(socket);
  const found = JSON.parse(payload.data.onHeaders);
  await stopped(socket, id);
  // Headers that describe the signed request are countersign's own.
  for (const name of ['host', 'accept', 'content-type', 'content-encoding', 'x-amz-date']) {
    assert.notEqual(found[name], SIGNED['x-amz-date']);
    delete found[name];
  }
  return found;
}

function assertError(frame, id, errorType, message) {
  assert.equal(frame.type, 'error', JSON.stringify(frame));
  assert.equal(frame.id, id);
  const { errors } = frame.payload;
  assertErrors(errors);
  if (errorType) assert.equal(errors[0].errorType, errorType);
  if (message) assert.equal(errors[0].message, message);
}
