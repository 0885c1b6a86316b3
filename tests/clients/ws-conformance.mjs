// Checks the wire rules of graphql-transport-ws over raw sockets against one endpoint.
//
// usage: node ws-conformance.mjs URL [--control CONTROL] [--init-timeout MS] [--oversized BYTES] [--reference]
//   URL              ws://… the GraphQL endpoint; http://… of the same takes mutations
//   --control        http://… the emulator's control address; without it the checks that must know
//                    when a subscription is live are skipped
//   --init-timeout   how long the endpoint waits for connection_init (default 3000)
//   --oversized      size of a frame that exceeds the endpoint's limit (default 2097152)
//   --reference      the endpoint is graphql-ws's own server: the checks in DIFFERENCES must fail

import { assert, assertErrors, check, finish, skip, within } from './check.mjs';
import { ON_MESSAGE, connect, live, newRoom, say, suite } from './wire.mjs';

const PROTOCOL = 'graphql-transport-ws';
/** Known deviations of graphql-ws's server over `ws`, with the reasons. */
const PARSER_THROWS = 'an exception of the parser closes 4500';
const DIFFERENCES = {
  'a binary frame: 4400': 'it reads the bytes as text',
  'an id is free again after error': PARSER_THROWS,
  'a live id again, of 400 bytes: 4409 with a reason that fits and is UTF-8':
    'the reason with such an id is too long for `ws`, whose exception closes 4500',
  'a syntax error: an error frame, no complete, and the socket stays open': PARSER_THROWS,
  'a syntax error in a subscription: an error frame, and the socket stays open': PARSER_THROWS,
  'an empty query: an error frame, and the socket stays open': PARSER_THROWS,
};
const { url, control, oversized, ...options } = suite(
  'node ws-conformance.mjs URL [--control CONTROL] [--init-timeout MS] [--oversized BYTES] [--reference]',
  { more: { 'init-timeout': '3000', oversized: String(2 * 1024 * 1024) }, differences: DIFFERENCES },
);
const initTimeout = Number(options['init-timeout']);
const http = url.replace(/^ws/, 'http');
/** All closes, for the check at the end. */
const closes = [];

// --- the handshake ---

await check('the subprotocol is echoed', async () => {
  const socket = await open();
  assert.equal(socket.protocol, PROTOCOL);
  socket.close();
});

for (const offered of [[PROTOCOL, 'graphql-ws'], ['graphql-ws', PROTOCOL]]) {
  await check(`${PROTOCOL} is preferred among "${offered}"`, async () => {
    const socket = await open({ protocols: offered });
    assert.equal(socket.protocol, PROTOCOL);
    socket.close();
  });
}

await check('no subprotocol: 4406', async () => {
  const socket = await open({ protocols: [] });
  assert.equal(socket.protocol, '');
  await socket.closes(4406);
});

await check('an unknown subprotocol: 4406, or not echoed', async () => {
  let socket;
  try {
    socket = await open({ protocols: ['no-such-protocol'] });
  } catch (error) {
    // ws aborts a handshake that echoes none of the offered subprotocols.
    assert.match(error.message, /no subprotocol/);
    return;
  }
  await socket.closes(4406);
});

// --- connection_init ---

await check('connection_init is answered by one connection_ack, and nothing before it', async () => {
  const socket = await open();
  socket.send({ type: 'connection_init' });
  assert.equal((await socket.take()).type, 'connection_ack');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

for (const payload of [null, {}, { token: 'x', nested: { a: [1] } }]) {
  await check(`connection_init with payload ${JSON.stringify(payload)} is acked`, async () => {
    const socket = await open();
    socket.send({ type: 'connection_init', payload });
    assert.equal((await socket.take()).type, 'connection_ack');
    socket.close();
  });
}

for (const payload of [[], 'x', 1, true]) {
  await check(`connection_init with payload ${JSON.stringify(payload)}: 4400`, async () => {
    const socket = await open();
    socket.send({ type: 'connection_init', payload });
    await socket.closes(4400);
  });
}

await check('a second connection_init: 4429', async () => {
  const socket = await acked();
  socket.send({ type: 'connection_init' });
  await socket.closes(4429);
});

await check('a second connection_init in the same read: 4429', async () => {
  const socket = await open();
  socket.send({ type: 'connection_init' });
  socket.send({ type: 'connection_init' });
  await socket.closes(4429);
});

await check('no connection_init in time: 4408', async () => {
  const opened = performance.now();
  const socket = await open();
  await socket.closes(4408, initTimeout + 5_000);
  const waited = performance.now() - opened;
  assert.ok(waited > initTimeout * 0.9 - 50, `closed after ${Math.round(waited)} ms, before ${initTimeout} ms`);
});

await check('pings do not replace connection_init: 4408', async () => {
  const socket = await open();
  socket.send({ type: 'ping' });
  assert.equal((await socket.take()).type, 'pong');
  await socket.closes(4408, initTimeout + 5_000);
});

await check('an acked socket outlives the init timeout', async () => {
  const [patient, silent] = [await acked(), await open()];
  await silent.closes(4408, initTimeout + 5_000);
  assert.equal((await patient.query('{ __typename }')).data.__typename, 'Query');
  patient.close();
});

await check('subscribe before connection_init: 4401', async () => {
  const socket = await open();
  socket.send(subscribe('1', '{ __typename }'));
  await socket.closes(4401);
});

// --- ping and pong ---

await check('a ping before connection_init gets a pong', async () => {
  const socket = await open();
  socket.send({ type: 'ping', payload: { early: 1 } });
  assert.deepEqual(await socket.take(), { type: 'pong', payload: { early: 1 } });
  socket.close();
});

await check('a ping after the ack gets a pong with the same payload', async () => {
  const socket = await acked();
  const payload = { n: 1.5, text: 'grüße \u2028 😀', list: [null, { deep: true }] };
  socket.send({ type: 'ping', payload });
  assert.deepEqual(await socket.take(), { type: 'pong', payload });
  socket.close();
});

await check('a ping without payload gets a pong', async () => {
  const socket = await acked();
  socket.send({ type: 'ping' });
  const { type, payload } = await socket.take();
  assert.equal(type, 'pong');
  assert.ok(payload === undefined || payload === null, JSON.stringify(payload));
  socket.close();
});

await check('an unsolicited pong is tolerated', async () => {
  const socket = await open();
  socket.send({ type: 'pong' });
  socket.send({ type: 'connection_init' });
  assert.equal((await socket.take()).type, 'connection_ack');
  socket.send({ type: 'pong', payload: { any: 'thing' } });
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('a ping with an array as payload: 4400', async () => {
  const socket = await acked();
  socket.send({ type: 'ping', payload: [] });
  await socket.closes(4400);
});

await check('a WebSocket ping is answered', async () => {
  const socket = await acked();
  assert.equal(await socket.ping('are you there'), 'are you there');
  socket.close();
});

// --- frames outside the protocol ---

const MALFORMED = {
  'invalid JSON': '{"type":"ping"',
  'an empty frame': '',
  'an array': '[{"type":"ping"}]',
  'a string': '"ping"',
  null: 'null',
  'no type': '{"id":"1"}',
  'type null': '{"type":null}',
  'a numeric type': '{"type":1}',
  'an unknown type': `{"type":"${'unknown'.repeat(60)}"}`,
  'the legacy type start': '{"id":"1","type":"start","payload":{"query":"{ __typename }"}}',
  'subscribe without id': '{"type":"subscribe","payload":{"query":"{ __typename }"}}',
  'a numeric id': '{"id":1,"type":"subscribe","payload":{"query":"{ __typename }"}}',
  'an empty id': '{"id":"","type":"subscribe","payload":{"query":"{ __typename }"}}',
  'subscribe without payload': '{"id":"1","type":"subscribe"}',
  'payload null': '{"id":"1","type":"subscribe","payload":null}',
  'an array as payload': '{"id":"1","type":"subscribe","payload":[]}',
  'no query': '{"id":"1","type":"subscribe","payload":{}}',
  'a query that is not a string': '{"id":"1","type":"subscribe","payload":{"query":{"a":1}}}',
  'variables that are an array': '{"id":"1","type":"subscribe","payload":{"query":"{ __typename }","variables":[]}}',
  'variables that are a string': '{"id":"1","type":"subscribe","payload":{"query":"{ __typename }","variables":"{}"}}',
  'an operationName that is not a string': '{"id":"1","type":"subscribe","payload":{"query":"{ __typename }","operationName":1}}',
  'extensions that are an array': '{"id":"1","type":"subscribe","payload":{"query":"{ __typename }","extensions":[]}}',
  'complete without id': '{"type":"complete"}',
  'complete with a numeric id': '{"id":1,"type":"complete"}',
};
for (const [name, frame] of Object.entries(MALFORMED)) {
  await check(`${name}: 4400`, async () => {
    const socket = await acked();
    socket.raw(frame);
    await socket.closes(4400);
  });
}

await check('next from the client: 4400, or 4500 as the reference server sends', async () => {
  const socket = await acked();
  socket.raw('{"id":"1","type":"next","payload":{"data":{}}}');
  await socket.closes([4400, 4500]);
});

await check('invalid JSON before connection_init: 4400', async () => {
  const socket = await open();
  socket.raw('hello');
  await socket.closes(4400);
});

await check('a binary frame: 4400', async () => {
  const socket = await acked();
  socket.raw(Buffer.from('{"type":"ping"}'), { binary: true });
  await socket.closes(4400);
});

await check('a frame beyond the limit: 1009', async () => {
  const socket = await acked();
  socket.send(subscribe('1', `{ __typename } # ${'x'.repeat(Number(oversized))}`));
  await socket.closes(1009);
});

await check('unknown members of a frame are tolerated', async () => {
  const socket = await acked();
  socket.send({ ...subscribe('1', '{ __typename }', { future: true }), extra: { a: [1] } });
  assert.deepEqual(await socket.outcome('1'), { data: { __typename: 'Query' } });
  socket.close();
});

for (const member of ['variables', 'operationName', 'extensions']) {
  await check(`${member} null is the same as none`, async () => {
    const socket = await acked();
    socket.send(subscribe('1', '{ __typename }', { [member]: null }));
    assert.deepEqual(await socket.outcome('1'), { data: { __typename: 'Query' } });
    socket.close();
  });
}

// --- operations ---

await check('a query is one next, then complete, then nothing', async () => {
  const socket = await acked();
  socket.send(subscribe('1', '{ echo(text: "x") }'));
  assert.deepEqual(await socket.take(), { id: '1', type: 'next', payload: { data: { echo: 'x' } } });
  assert.deepEqual(await socket.take(), { id: '1', type: 'complete' });
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('a mutation is one next, then complete, then nothing', async () => {
  const socket = await acked();
  socket.send(subscribe('1', 'mutation { createRoom(name: "wire") { name } }'));
  assert.deepEqual(await socket.take(), { id: '1', type: 'next', payload: { data: { createRoom: { name: 'wire' } } } });
  assert.deepEqual(await socket.take(), { id: '1', type: 'complete' });
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('an id is free again after complete', async () => {
  const socket = await acked();
  for (const text of ['first', 'second']) {
    socket.send(subscribe('same', `{ echo(text: "${text}") }`));
    assert.deepEqual(await socket.outcome('same'), { data: { echo: text } });
  }
  socket.close();
});

await check('an id is free again after error', async () => {
  const socket = await acked();
  socket.send(subscribe('same', '{ echo('));
  assert.equal((await socket.take()).type, 'error');
  socket.send(subscribe('same', '{ echo(text: "again") }'));
  assert.deepEqual(await socket.outcome('same'), { data: { echo: 'again' } });
  socket.close();
});

await check("an id is free again after the client's complete", async () => {
  const socket = await acked();
  socket.send(subscribe('same', '{ slow(ms: 300) }'));
  socket.send({ id: 'same', type: 'complete' });
  socket.send(subscribe('same', '{ echo(text: "again") }'));
  assert.deepEqual(await socket.outcome('same'), { data: { echo: 'again' } });
  assert.equal((await socket.query('{ slow(ms: 600) }')).errors, undefined);
  assert.deepEqual(socket.drain(), [], 'the abandoned result was sent');
  socket.close();
});

const LONG_ID = 'é'.repeat(200);
await check('a live id again, subscription: 4409', async () => {
  const socket = await acked();
  socket.send(subscribe('1', 'subscription { onCreateRoom { id } }'));
  socket.send(subscribe('1', '{ __typename }'));
  const { reason } = await socket.closes(4409);
  assert.equal(reason, 'Subscriber for 1 already exists');
});

await check('a live id again, query: 4409', async () => {
  const socket = await acked();
  socket.send(subscribe('1', '{ slow(ms: 1000) }'));
  socket.send(subscribe('1', '{ __typename }'));
  await socket.closes(4409);
});

await check('a live id again, of 400 bytes: 4409 with a reason that fits and is UTF-8', async () => {
  const socket = await acked();
  socket.send(subscribe(LONG_ID, '{ slow(ms: 1000) }'));
  socket.send(subscribe(LONG_ID, '{ __typename }'));
  await socket.closes(4409);
});

await check('ids are case-sensitive and may hold anything', async () => {
  const socket = await acked();
  const ids = ['a', 'A', ' ', '"\\', 'ключ', '1', '01', '{}'];
  for (const id of ids) socket.send(subscribe(id, 'query Q($t: String!) { echo(text: $t) }', { variables: { t: id } }));
  const seen = {};
  for (let n = 0; n < 2 * ids.length; n += 1) {
    const frame = await socket.take();
    if (frame.type === 'next') seen[frame.id] = frame.payload.data.echo;
    else assert.equal(frame.type, 'complete');
  }
  assert.deepEqual(seen, Object.fromEntries(ids.map((id) => [id, id])));
  socket.close();
});

await check('operations interleave: a quick one is not delayed', async () => {
  const socket = await acked();
  socket.send(subscribe('slow', '{ slow(ms: 1000) }'));
  socket.send(subscribe('quick', '{ __typename }'));
  assert.equal((await socket.take()).id, 'quick');
  assert.equal((await socket.take()).id, 'quick');
  assert.equal((await socket.take()).id, 'slow');
  socket.close();
});

await check('a syntax error: an error frame, no complete, and the socket stays open', async () => {
  const socket = await acked();
  socket.send(subscribe('1', '{ echo('));
  assertErrorFrame(await socket.take(), '1');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('a syntax error in a subscription: an error frame, and the socket stays open', async () => {
  const socket = await acked();
  socket.send(subscribe('1', 'subscription { onCreateRoom { id }'));
  assertErrorFrame(await socket.take(), '1');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('an empty query: an error frame, and the socket stays open', async () => {
  const socket = await acked();
  socket.send(subscribe('1', ''));
  assertErrorFrame(await socket.take(), '1');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('a validation error: error, or next with errors and then complete', async () => {
  const socket = await acked();
  socket.send(subscribe('1', '{ noSuchField }'));
  const first = await socket.take();
  if (first.type === 'next') {
    assertErrors(first.payload.errors);
    assert.ok(!first.payload.data, JSON.stringify(first.payload.data));
    assert.deepEqual(await socket.take(), { id: '1', type: 'complete' });
  } else {
    assertErrorFrame(first, '1');
  }
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('a validation error in a subscription: an error frame, no complete', async () => {
  const socket = await acked();
  socket.send(subscribe('1', 'subscription { onNothing { id } }'));
  assertErrorFrame(await socket.take(), '1');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('an execution error is a next with errors, then complete', async () => {
  const socket = await acked();
  socket.send(subscribe('1', '{ failing }'));
  const { type, payload } = await socket.take();
  assert.equal(type, 'next');
  assert.deepEqual(payload.data, { failing: null });
  assertErrors(payload.errors);
  assert.deepEqual(await socket.take(), { id: '1', type: 'complete' });
  socket.close();
});

await check("the client's complete is not echoed and no result follows", async () => {
  const socket = await acked();
  socket.send(subscribe('1', '{ slow(ms: 300) }'));
  socket.send({ id: '1', type: 'complete' });
  // Measured by the endpoint's own clock: the second resolver ends well after the first would have.
  assert.equal((await socket.query('{ slow(ms: 900) }')).errors, undefined);
  assert.deepEqual(socket.drain(), []);
  socket.close();
});

await check('complete for an unknown id is ignored', async () => {
  const socket = await acked();
  socket.send({ id: 'nobody', type: 'complete' });
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('complete of a finished operation is ignored', async () => {
  const socket = await acked();
  socket.send(subscribe('1', '{ __typename }'));
  await socket.outcome('1');
  socket.send({ id: '1', type: 'complete' });
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

const SUBSCRIPTION = "a subscription: next per event, nothing after the client's complete, the other one continues";
if (control) {
  await check(SUBSCRIPTION, async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const [socket, room] = [await acked(), await newRoom(http)];
    for (const id of ['leaving', 'staying']) socket.send(subscribe(id, ON_MESSAGE, { variables: { r: room } }));
    await live(control, idle + 2);
    await say(http, room, 'both');
    const both = [await socket.take(), await socket.take()];
    for (const { type, payload } of both) {
      assert.equal(type, 'next');
      assert.deepEqual(payload, { data: { onMessage: { body: 'both' } } });
    }
    assert.deepEqual(both.map(({ id }) => id).sort(), ['leaving', 'staying']);
    socket.send({ id: 'leaving', type: 'complete' });
    await live(control, idle + 1);
    await say(http, room, 'one');
    assert.deepEqual(await socket.take(), { id: 'staying', type: 'next', payload: { data: { onMessage: { body: 'one' } } } });
    assert.deepEqual(await socket.settled(), []);
    socket.close();
    await live(control, idle);
  });

  await check('a subscription completed at once is stopped upstream', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const socket = await acked();
    socket.send(subscribe('1', 'subscription { onCreateRoom { id name } }'));
    socket.send({ id: '1', type: 'complete' });
    assert.deepEqual(await socket.settled(), []);
    await live(control, idle);
    assert.deepEqual((await socket.query('mutation { createRoom(name: "late") { id name } }')).errors, undefined);
    assert.deepEqual(await socket.settled(), []);
    socket.close();
  });
} else {
  skip(SUBSCRIPTION, 'needs --control');
}

// --- text, documents ---

await check('text survives in both directions', async () => {
  const socket = await acked();
  for (const text of ['grüße', '😀 👩‍👩‍👧', '"quoted" \\ / \b\f\n\r\t', '\u2028\u2029\ufeff', '\u0001\u001f\u007f', '</script>&<>', '${x} %s {0}', '']) {
    const { data } = await socket.query('query Q($t: String!) { echo(text: $t) }', { variables: { t: text } });
    assert.equal(data.echo, text);
  }
  socket.close();
});

await check('JSON escapes of every kind are understood', async () => {
  const socket = await acked();
  const query = '"query Q($t: String!) { \\u0065cho(text: $t) }"';
  socket.raw(`{"\\u0069d":"1","type":"sub\\u0073cribe","payload":{"query":${query},"variables":{"t":"\\u00e9\\ud83d\\ude00\\/\\u0022"}}}`);
  assert.deepEqual(await socket.outcome('1'), { data: { echo: 'é😀/"' } });
  socket.close();
});

await check('strings, block strings and comments in the document survive', async () => {
  const socket = await acked();
  const document = '# { mutation } subscription\n{ a: echo(text: "\\u00e9 \\" } {") b: echo(text: """block "quoted" } end""") }';
  assert.deepEqual(await socket.query(document), { data: { a: 'é " } {', b: 'block "quoted" } end' } });
  socket.close();
});

await check('__typename', async () => {
  const socket = await acked();
  assert.deepEqual(await socket.query('{ __typename rooms { __typename } }').then(({ data }) => data.__typename), 'Query');
  const { data } = await socket.query('mutation { __typename createRoom(name: "n") { __typename name } }');
  assert.deepEqual(data, { __typename: 'Mutation', createRoom: { __typename: 'Room', name: 'n' } });
  socket.close();
});

await check('fragments, aliases and directives', async () => {
  const socket = await acked();
  const document = `query Q($yes: Boolean!) { ...Both extra: echo(text: "no") @skip(if: $yes) }
    fragment Both on Query { one: echo(text: "1") two: echo(text: "2") @include(if: $yes) }`;
  assert.deepEqual(await socket.query(document, { variables: { yes: true } }), { data: { one: '1', two: '2' } });
  socket.close();
});

const SEVERAL = `
  query First { echo(text: "first") }
  subscription Second { onCreateRoom { id } }
  mutation Third { createRoom(name: "third") { name } }`;

await check('several operations: operationName chooses', async () => {
  const socket = await acked();
  assert.deepEqual(await socket.query(SEVERAL, { operationName: 'First' }), { data: { echo: 'first' } });
  assert.deepEqual(await socket.query(SEVERAL, { operationName: 'Third' }), { data: { createRoom: { name: 'third' } } });
  socket.close();
});

await check('several operations, no operationName: error', async () => {
  const socket = await acked();
  socket.send(subscribe('1', SEVERAL));
  assertErrorFrame(await socket.take(), '1');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('an unknown operationName: error', async () => {
  const socket = await acked();
  socket.send(subscribe('1', SEVERAL, { operationName: 'Fourth' }));
  assertErrorFrame(await socket.take(), '1');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('a document without operations: error', async () => {
  const socket = await acked();
  socket.send(subscribe('1', 'fragment F on Query { rooms { id } }'));
  assertErrorFrame(await socket.take(), '1');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('a frame in fragments is one frame', async () => {
  const socket = await acked();
  const frame = JSON.stringify(subscribe('1', '{ echo(text: "in pieces é") }'));
  const bytes = Buffer.from(frame);
  // The cut falls inside a character of two bytes.
  const cut = bytes.indexOf(Buffer.from('é')) + 1;
  socket.raw(bytes.subarray(0, cut), { binary: false, fin: false });
  socket.raw(bytes.subarray(cut), { binary: false, fin: true });
  assert.deepEqual(await socket.outcome('1'), { data: { echo: 'in pieces é' } });
  socket.close();
});

await check('a large result arrives complete', async () => {
  const socket = await acked();
  const { data } = await socket.query('{ large(bytes: 200000) }');
  assert.equal(Buffer.byteLength(data.large), 200_000);
  socket.close();
});

await check("the client's close is answered with its code", async () => {
  const socket = await acked();
  socket.close(1000, 'done');
  const { code } = await within(socket.closed, 5_000, 'the answer to close');
  assert.equal(code, 1000);
});

await check('every close of the protocol had a reason', async () => {
  assert.ok(closes.length > 0);
  for (const { code, reason } of closes) if (code >= 4000) assert.notEqual(reason, '', `${code} without a reason`);
});

finish();

function subscribe(id, query, more = {}) {
  return { id, type: 'subscribe', payload: { query, ...more } };
}

async function acked() {
  const socket = await open();
  socket.send({ type: 'connection_init' });
  assert.equal((await socket.take()).type, 'connection_ack');
  return socket;
}

async function open({ protocols = [PROTOCOL] } = {}) {
  const socket = await connect(url, protocols);
  const { closes: closed } = socket;
  let nextId = 0;
  return Object.assign(socket, {
    async closes(expected, ms) {
      const close = await closed(expected, ms);
      closes.push(close);
      return close;
    },

    /** Returns the result of an operation that was already sent: exactly one next, then complete. */
    async outcome(id) {
      const next = await socket.take();
      assert.equal(next.type, 'next', JSON.stringify(next));
      assert.equal(next.id, id);
      const complete = await socket.take();
      assert.deepEqual(complete, { id, type: 'complete' });
      return next.payload;
    },

    async query(query, more) {
      nextId += 1;
      const id = `own ${nextId}`;
      socket.send(subscribe(id, query, more));
      return socket.outcome(id);
    },

    /** Returns all other messages: everything before the responses to a ping, a query and a ping. */
    async settled() {
      const others = [];
      const until = async (last) => {
        for (;;) {
          const frame = await socket.take();
          if (last(frame)) return frame;
          others.push(frame);
        }
      };
      const ping = async (mark) => {
        socket.send({ type: 'ping', payload: { mark } });
        await until(({ type, payload }) => type === 'pong' && payload?.mark === mark);
      };
      await ping('before');
      socket.send(subscribe('settle', '{ echo(text: "settle") }'));
      await until(({ id, type }) => id === 'settle' && type === 'next');
      await until(({ id, type }) => id === 'settle' && type === 'complete');
      await ping('after');
      return others;
    },
  });
}

function assertErrorFrame(frame, id) {
  assert.equal(frame.type, 'error', JSON.stringify(frame));
  assert.equal(frame.id, id);
  assertErrors(frame.payload);
}
