// Checks the wire rules of AppSync Events: HTTP, SSE, and `aws-appsync-event-ws` over raw sockets.
//
// usage: node events-conformance.mjs URL --control CONTROL [--ping MS]
//   URL        http://… the Events route, such as http://127.0.0.1:4100/event
//   --control  http://… the emulator's control address. The emulator verifies every signature against
//              the message that it reconstructs
//   --ping     the interval of `ka` (timeouts.ping; default 1000)

import { assert, check, finish } from './check.mjs';
import { OFF, connect, exchange, next, others, post, sleep, suite, switched } from './wire.mjs';

const { url, control, ping } = suite('node events-conformance.mjs URL --control CONTROL [--ping MS]', {
  more: { ping: '1000' },
});
await control.switch(OFF);
const ws = url.replace(/^http/, 'ws');
const PROTOCOL = 'aws-appsync-event-ws';
const SSE = { accept: 'text/event-stream' };
const STALE = {
  accept: 'application/json, text/javascript',
  'content-encoding': 'amz-1.0',
  'content-type': 'application/json; charset=UTF-8',
  host: 'abcdefghijklmnopqrstuvwxyz.appsync-api.us-east-1.amazonaws.com',
  'x-amz-date': '20260115T120000Z',
  'x-amz-security-token': 'stale-token',
  Authorization: 'AWS4-HMAC-SHA256 Credential=AKIDSTALE/20260115/us-east-1/appsync/aws4_request, SignedHeaders=host;x-amz-date, Signature=0000',
};
const header = (headers) => `header-${Buffer.from(JSON.stringify(headers)).toString('base64url')}`;
let rooms = 0;
const room = () => `/default/room-${(rooms += 1)}`;
const HARD = ['{"m":"a<b>&c"}', '{"m":"\u2028\u2029"}', '{"m":"grüße 😀"}', '{"m":"\\u003c \\" \\\\ \'=/"}', '["<",{"a":1.0}]', '"text"', '1e3', 'null', ' { "spaced" : 1 } '];
const channels = (count) => control.until(`${count} live channels`, ({ events }) => events.subscriptions === count);

// --- publish over HTTP ---

await check("POST with AppSync's envelope is passed on, and its answer too", async () => {
  const response = await post(url, { channel: 'default/http', events: ['{"m":1}', '{"m":2}'] });
  assert.equal(response.status, 200);
  const { successful, failed } = await response.json();
  assert.deepEqual([successful.map(({ index }) => index), failed], [[0, 1], []]);
  for (const { identifier } of successful) assert.equal(typeof identifier, 'string');
});

await check('events that are not JSON are in `failed`, as AppSync reports them', async () => {
  const { successful, failed } = await (await post(url, { channel: '/default/http', events: ['{"m":1}', 'no json'] })).json();
  assert.deepEqual([successful.length, failed.length, failed[0].index], [1, 1, 1]);
});

for (const [name, event] of Object.entries({ 'an object': '{"hello": "world"}', 'a number': '1.0', 'a string': '"<&>\u2028ü"', null: 'null' })) {
  await check(`POST of ${name} to /event/<channel> is one event, with its bytes`, async () => {
    const channel = room();
    const reader = await listening(channel);
    const response = await post(url + channel, event);
    assert.equal(response.status, 200);
    assert.equal((await response.json()).successful.length, 1);
    await reader.until(`data: ${event}\n\n`);
    reader.leave();
  });
}

await check('POST of an array to /event/<channel> is several events, in order', async () => {
  const channel = room();
  const reader = await listening(channel);
  assert.equal((await (await post(url + channel, '[{"n": 1}, 2, "3"]')).json()).successful.length, 3);
  await reader.until('data: {"n": 1}\n\ndata: 2\n\ndata: "3"\n\n');
  reader.leave();
});

for (const [name, path, body] of [
  ['a body that is not JSON', '/default/a', '{'],
  ['an empty body', '/default/a', ''],
  ['an empty array', '/default/a', '[]'],
  ['a channel that cannot be', '/default/a_b', '1'],
  ['a channel of six segments', '/default/a/b/c/d/e', '1'],
  ['a wildcard', '/default/*', '1'],
]) {
  await check(`POST of ${name} to /event/<channel>: 400 with a text`, async () => {
    const response = await post(url + path, body);
    assert.equal(response.status, 400);
    assert.equal(typeof (await response.json()).errors[0].message, 'string');
  });
}

await check("six events: 400, with AppSync's message", async () => {
  const response = await post(`${url}/default/a`, '[1,2,3,4,5,6]');
  assert.equal(response.status, 400);
  const [{ message }] = (await response.json()).errors;
  assert.match(message, /exceeded 5 event limit/);
});

await check('an unknown namespace: 401 UnauthorizedException', async () => {
  const response = await post(`${url}/nowhere/a`, '1');
  assert.equal(response.status, 401);
  const [error] = (await response.json()).errors;
  assert.match(JSON.stringify(error), /UnauthorizedException/);
  assert.equal(typeof error.message, 'string');
});

for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
  await check(`POST of ${type}: 415`, async () => {
    for (const path of ['', '/default/a']) {
      assert.equal((await post(url + path, '{"channel":"default/a","events":["1"]}', { 'content-type': type })).status, 415);
    }
  });
}

await check('POST without a type: 415', async () => {
  assert.equal((await exchange(`${url}/default/a`, { method: 'POST', body: '1' })).status, 415);
});

for (const method of ['PUT', 'DELETE', 'PATCH']) {
  await check(`${method}: 405 with Allow`, async () => {
    const response = await exchange(url, { method });
    assert.equal(response.status, 405);
    assert.match(response.headers.allow, /POST/);
  });
}

await check("the client's credentials are not forwarded", async () => {
  const response = await post(`${url}/default/a`, '1', { authorization: STALE.Authorization, 'x-amz-date': STALE['x-amz-date'], 'x-api-key': 'da2-stale', 'x-amz-security-token': 'stale' });
  assert.equal(response.status, 200);
});

// --- subscribe over SSE ---

await check('GET ?channel= with text/event-stream: 200, no-cache, a comment first, live at the head', async () => {
  const channel = room();
  const reader = await listening(channel);
  assert.match(reader.headers['content-type'], /^text\/event-stream; ?charset=utf-8$/i);
  assert.match(reader.headers['cache-control'], /no-cache/);
  await reader.until(':\n\n');
  await post(url + channel, '{"a":1}');
  assert.equal(await reader.until('data: {"a":1}\n\n'), ':\n\ndata: {"a":1}\n\n');
  reader.leave();
  await channels(0);
});

await check('GET /event/<channel> is the same', async () => {
  const channel = room();
  const reader = await exchange(url + channel, { headers: SSE });
  assert.equal(reader.status, 200);
  await post(url + channel, '7');
  await reader.until('data: 7\n\n');
  reader.leave();
});

await check('a wildcard listens to all below', async () => {
  const reader = await listening('/default/below/*');
  await post(`${url}/default/below/a/b`, '"deep"');
  await reader.until('data: "deep"\n\n');
  reader.leave();
});

await check('a channel without a leading slash', async () => {
  const reader = await listening('default/plain');
  await post(`${url}/default/plain`, '1');
  await reader.until('data: 1\n\n');
  reader.leave();
});

await check('events of every kind stay on one data line each', async () => {
  const channel = room();
  const reader = await listening(channel);
  await reader.until(':\n\n');
  for (const event of [...HARD, '{\n "pretty":\r\n 1 }']) {
    const seen = reader.so_far().length;
    assert.equal((await post(url, { channel, events: [event] })).status, 200);
    const text = await reader.until((all) => all.length > seen && all.endsWith('\n\n'));
    const [, data] = /^data: ([^\r\n]*)\n\n$/.exec(text.slice(seen)) ?? assert.fail(JSON.stringify(text));
    assert.deepEqual(JSON.parse(data), JSON.parse(event));
  }
  reader.leave();
  await channels(0);
});

await check('GET for an unknown namespace: 403', async () => {
  const response = await exchange(`${url}?channel=/nowhere/a`, { headers: SSE });
  assert.equal(response.status, 403);
  assert.equal(typeof (await response.json()).errors[0].message, 'string');
});

await check('GET without text/event-stream: 406 with a text', async () => {
  for (const accept of ['*/*', 'application/json']) {
    const response = await exchange(`${url}?channel=/default/a`, { headers: { accept } });
    assert.equal(response.status, 406);
    assert.match((await response.json()).errors[0].message, /text\/event-stream/);
  }
});

for (const query of ['', '?channel=', '?channel=/default/a_b', '?channel=/default/*/a', '?channel=/a/b/c/d/e/f']) {
  await check(`GET of /event${query}: 400 with a text`, async () => {
    const response = await exchange(url + query, { headers: SSE });
    assert.equal(response.status, 400);
    assert.equal(typeof (await response.json()).errors[0].message, 'string');
  });
}

await check('upstream lost: the stream is cut', async () => {
  const reader = await listening(room());
  await channels(1);
  await control.switch({ close_all: true });
  assert.equal(await reader.ended(), 'cut');
});

// --- the socket: handshake and connection ---

for (const [name, at] of Object.entries({
  '/event/realtime': [`${ws}/realtime`, [PROTOCOL, header(STALE)]],
  '/event': [ws, [PROTOCOL, header(STALE)]],
  'header- first': [`${ws}/realtime`, [header(STALE), PROTOCOL]],
  'no credentials': [`${ws}/realtime`, [PROTOCOL]],
  'an API key': [`${ws}/realtime`, [PROTOCOL, header({ host: 'h', 'x-api-key': 'da2-stale' })]],
  'HTTP headers': [`${ws}/realtime`, [PROTOCOL], { headers: { authorization: STALE.Authorization, 'x-amz-date': STALE['x-amz-date'] } }],
})) {
  await check(`upgrade, ${name}: only ${PROTOCOL} echoed, and a subscription is live`, async () => {
    const socket = await connect(...at);
    assert.equal(socket.protocol, PROTOCOL);
    socket.send({ type: 'connection_init' });
    assert.equal((await socket.take()).type, 'connection_ack');
    await subscribed(socket, 's', room());
    socket.close();
  });
}

await check('connection_ack has connectionTimeoutMs at the top level, and ka follows', async () => {
  const socket = await connect(`${ws}/realtime`, [PROTOCOL]);
  socket.send({ type: 'connection_init' });
  const { type, connectionTimeoutMs, payload } = await socket.take();
  assert.deepEqual([type, payload], ['connection_ack', undefined]);
  assert.ok(connectionTimeoutMs >= 60_000);
  for (let n = 0; n < 3; n += 1) assert.deepEqual(await socket.take(2 * Number(ping) + 1000), { type: 'ka' });
  socket.close();
});

await check('connection_init is optional', async () => {
  const socket = await connect(`${ws}/realtime`, [PROTOCOL]);
  await subscribed(socket, 's', room());
  socket.close();
});

// --- the socket: message pairs ---

await check('subscribe: subscribe_success; data with the event as a string; unsubscribe: unsubscribe_success, and no more', async () => {
  await channels(0);
  const [socket, channel] = [await ready(), room()];
  await subscribed(socket, 's', channel);
  await post(url + channel, '{"m": 1}');
  assert.deepEqual(await next(socket), { id: 's', type: 'data', event: '{"m": 1}' });
  socket.send({ type: 'unsubscribe', id: 's' });
  assert.deepEqual(await next(socket), { id: 's', type: 'unsubscribe_success' });
  await channels(0);
  await post(url + channel, '2');
  await sleep(100);
  assert.deepEqual(others(socket), []);
  socket.close();
});

await check('publish: publish_success with successful and failed', async () => {
  const socket = await ready();
  publish(socket, 'p', room(), ['{"m":1}', 'no json', '2']);
  const { id, type, successful, failed } = await next(socket);
  assert.deepEqual([id, type], ['p', 'publish_success']);
  assert.deepEqual([successful.map(({ index }) => index), failed.map(({ index }) => index)], [[0, 2], [1]]);
  socket.close();
});

for (const event of HARD) {
  await check(`the event ${JSON.stringify(event)} is published over the socket, and arrives as it was`, async () => {
    const [socket, channel] = [await ready(), room()];
    await subscribed(socket, 's', channel);
    publish(socket, 'p', channel, [event]);
    const frames = [await next(socket), await next(socket)];
    assert.equal(frames.find(({ id }) => id === 'p').type, 'publish_success', JSON.stringify(frames));
    assert.equal(frames.find(({ id }) => id === 's').event, event);
    socket.close();
  });
}

await check('thirty publishes at once: answers and data in the order sent', async () => {
  const [socket, reader, channel] = [await ready(), await ready(), room()];
  await subscribed(reader, 's', channel);
  const order = Array.from({ length: 30 }, (_, n) => String(n));
  for (const n of order) publish(socket, `p${n}`, channel, [n]);
  const [answers, data] = [[], []];
  for (const n of order) {
    answers.push((await next(socket)).id);
    data.push((await next(reader)).event);
  }
  assert.deepEqual(answers, order.map((n) => `p${n}`));
  assert.deepEqual(data, order);
  socket.close();
  reader.close();
});

await check('a wildcard subscription over the socket', async () => {
  const socket = await ready();
  await subscribed(socket, 's', '/inbox/*');
  await post(`${url}/inbox/a/b`, '1');
  assert.equal((await next(socket)).event, '1');
  socket.close();
});

for (const [name, channel] of Object.entries({ malformed: '/default/a_b', 'in an unknown namespace': '/nowhere/a', 'with a wildcard inside': '/default/*/a', 'of six segments': '/default/a/b/c/d/e' })) {
  await check(`subscribe to a channel ${name}: subscribe_error with the id and a list of errors`, async () => {
    const socket = await ready();
    socket.send({ type: 'subscribe', id: 's', channel, authorization: STALE });
    assertRefused(await next(socket), 's', 'subscribe_error');
    await subscribed(socket, 's', room());
    socket.close();
  });
  await check(`publish to a channel ${name}: publish_error with the id and a list of errors`, async () => {
    const socket = await ready();
    publish(socket, 'p', channel, ['1']);
    assertRefused(await next(socket), 'p', 'publish_error');
    await subscribed(socket, 's', room());
    socket.close();
  });
}

await check("six events: publish_error with AppSync's message", async () => {
  const socket = await ready();
  publish(socket, 'p', room(), ['1', '2', '3', '4', '5', '6']);
  const frame = await next(socket);
  assertRefused(frame, 'p', 'publish_error');
  assert.match(frame.errors[0].message, /input exceeded 5 event limit/i);
  // A socket's own publish would be an InvalidInputError; this is what POST /event answers.
  assert.equal(frame.errors[0].errorType, 'BadRequestException');
  socket.close();
});

await check('no events: publish_error', async () => {
  const socket = await ready();
  publish(socket, 'p', room(), []);
  assertRefused(await next(socket), 'p', 'publish_error');
  socket.close();
});

await check('unsubscribe of an unknown id: unsubscribe_error UnknownOperationError', async () => {
  const socket = await ready();
  socket.send({ type: 'unsubscribe', id: 'nobody' });
  const frame = await next(socket);
  assertRefused(frame, 'nobody', 'unsubscribe_error', 'UnknownOperationError');
  assert.match(frame.errors[0].message, /^Unknown operation id nobody/);
  socket.close();
});

await check('a live id again: subscribe_error DuplicatedOperationError, and the first continues', async () => {
  const [socket, channel] = [await ready(), room()];
  await subscribed(socket, 's', channel);
  socket.send({ type: 'subscribe', id: 's', channel, authorization: STALE });
  assertRefused(await next(socket), 's', 'subscribe_error', 'DuplicatedOperationError');
  await post(url + channel, '1');
  assert.equal((await next(socket)).event, '1');
  socket.close();
});

await check("js's doubled form, with a payload beside, is read at the top level", async () => {
  const [socket, channel] = [await ready(), room()];
  const more = { payload: { channel: '/default/other', extensions: { authorization: STALE } } };
  socket.send({ type: 'subscribe', id: 's', channel, authorization: STALE, ...more });
  assert.deepEqual(await next(socket), { id: 's', type: 'subscribe_success' });
  await post(url + channel, '1');
  assert.equal((await next(socket)).event, '1');
  socket.close();
});

for (const id of ['a', 'A-b_9+', 'x'.repeat(128)]) {
  await check(`id ${id.slice(0, 12)} (${id.length}) is accepted`, async () => {
    const socket = await ready();
    await subscribed(socket, id, room());
    socket.close();
  });
}

for (const id of ['', 'a b', 'a.b', 'ä', 'x'.repeat(129)]) {
  await check(`id ${JSON.stringify(id).slice(0, 12)} (${id.length}) is refused, for subscribe and publish, and the socket stays`, async () => {
    const socket = await ready();
    socket.send({ type: 'subscribe', id, channel: room(), authorization: STALE });
    assert.match((await next(socket)).type, /error$/);
    publish(socket, id, room(), ['1']);
    assert.match((await next(socket)).type, /error$/);
    await subscribed(socket, 's', room());
    socket.close();
  });
}

for (const [name, text] of Object.entries({
  'an unknown type': '{"type":"future","id":"1"}',
  'start, of GraphQL': '{"type":"start","id":"1","payload":{"data":"{}"}}',
  'not JSON': 'hello',
  'an array': '[]',
  'subscribe without an id': '{"type":"subscribe","channel":"/default/a"}',
})) {
  await check(`${name}: error UnsupportedOperation, and the socket stays`, async () => {
    const socket = await ready();
    socket.raw(text);
    const { type, errors } = await next(socket);
    assert.equal(type, 'error');
    assert.equal(errors[0].errorType, 'UnsupportedOperation');
    assert.equal(errors[0].message, 'Operation not supported through the realtime channel');
    await subscribed(socket, 's', room());
    socket.close();
  });
}

// --- upstream faults ---

await check('broadcast_error is passed with the id, and the subscription continues', async () => {
  const [socket, channel] = [await ready(), room()];
  await subscribed(socket, 's', channel);
  await control.switch({ error_all: true });
  assertRefused(await next(socket), 's', 'broadcast_error', 'MessageProcessingError');
  const frame = { type: 'broadcast_error', id: '$ID', errors: [{ errorType: 'MessageProcessingError', message: 'one' }, { errorType: 'Other' }] };
  await control.switch({ send_all: JSON.stringify(frame) });
  const passed = await next(socket);
  assertRefused(passed, 's', 'broadcast_error', 'MessageProcessingError');
  assert.equal(passed.errors.length, 2);
  await post(url + channel, '1');
  assert.equal((await next(socket)).event, '1');
  socket.close();
});

await check('data with several events in an array, as the guide shows it, is passed', async () => {
  const socket = await ready();
  await subscribed(socket, 's', room());
  await control.switch({ send_all: '{"id":"$ID","type":"data","event":["1","2"]}' });
  assert.deepEqual(await next(socket), { id: 's', type: 'data', event: ['1', '2'] });
  socket.close();
});

await check("a refused subscribe keeps upstream's errors", async () => {
  const socket = await ready();
  const refusal = { errors: [{ errorType: 'SubscriptionProcessingError', message: 'no' }] };
  await switched(control, { refuse_start: JSON.stringify(refusal) }, async () => {
    socket.send({ type: 'subscribe', id: 's', channel: room(), authorization: STALE });
    const frame = await next(socket);
    assertRefused(frame, 's', 'subscribe_error', 'SubscriptionProcessingError');
    assert.equal(frame.errors[0].message, 'no');
  });
  socket.close();
});

await check('a publish that upstream refuses: publish_error with its type and message', async () => {
  const socket = await ready();
  const body = '{"errors":[{"errorType":"UnauthorizedException","message":"You are not authorized to make this call."}]}';
  await switched(control, { answer_http: { status: 401, content_type: 'application/json', body } }, async () => {
    publish(socket, 'p', room(), ['1']);
    const frame = await next(socket);
    assertRefused(frame, 'p', 'publish_error', 'UnauthorizedException');
    assert.match(frame.errors[0].message, /You are not authorized/);
  });
  socket.close();
});

await check('a client that leaves unsubscribes upstream', async () => {
  await channels(0);
  const socket = await ready();
  await subscribed(socket, 's', room());
  await channels(1);
  socket.destroy();
  await channels(0);
});

for (const [name, change] of Object.entries({ 'with a close frame': { close_clean: 1000 }, 'without one': { close_all: true } })) {
  await check(`upstream lost ${name}: 1012`, async () => {
    const socket = await ready();
    await subscribed(socket, 's', room());
    await control.switch(change);
    await socket.closes(1012);
  });
}

await check('upstream rejected no signature', async () => {
  assert.doesNotMatch((await control.state()).last_refusal ?? '', /Signature|Unrecognized|Canonical/);
});

finish();

async function listening(channel) {
  const reader = await exchange(`${url}?channel=${encodeURIComponent(channel)}`, { headers: SSE });
  assert.equal(reader.status, 200);
  return reader;
}

async function ready() {
  const socket = await connect(`${ws}/realtime`, [PROTOCOL, header(STALE)]);
  socket.send({ type: 'connection_init' });
  assert.equal((await socket.take()).type, 'connection_ack');
  return socket;
}

async function subscribed(socket, id, channel) {
  socket.send({ type: 'subscribe', id, channel, authorization: STALE });
  assert.deepEqual(await next(socket), { id, type: 'subscribe_success' });
}

function publish(socket, id, channel, events) {
  socket.send({ type: 'publish', id, channel, events, authorization: STALE });
}

function assertRefused(frame, id, type, errorType) {
  assert.equal(frame.type, type, JSON.stringify(frame));
  assert.equal(frame.id, id);
  assert.ok(Array.isArray(frame.errors) && frame.errors.length > 0, JSON.stringify(frame));
  if (errorType) assert.equal(frame.errors[0].errorType, errorType);
}
