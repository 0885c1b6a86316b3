// Checks the wire rules of subscriptions-transport-ws, whose subprotocol is `graphql-ws`, over raw sockets.
//
// usage: node legacy-conformance.mjs URL [--control CONTROL] [--ping MS] [--reference]
//   URL          ws://… the GraphQL endpoint; mutations go to the same URL with http://…
//   --control    http://… the emulator's control address; without it the checks that must know when
//                a subscription is live are skipped
//   --ping       the interval of `ka` (timeouts.ping; default 1000)
//   --reference  the endpoint is the package's own server: DIFFERENCES must fail, and checks that
//                need faults of the upstream are skipped

import { assert, assertErrors, check, finish, skip } from './check.mjs';
import { OFF, ON_MESSAGE, connect, live, newRoom, next, nextText, others, say, sleep, suite, switched } from './wire.mjs';

/** Known deviations of SubscriptionServer 0.11.0, with the reasons. */
const DIFFERENCES = {
  'stop of a running query: complete for its id, and no result': 'it cannot stop an operation that has not started to stream',
  'a live id again: complete for the old one, the new one runs, no close': 'it cannot stop an operation that has not started to stream',
  'ids with escapes are echoed byte for byte': 'it serializes ids again',
  'a validation error in a subscription: one error object, no complete':
    'it sends data with errors, and complete, as the protocol page describes for operations that it validates',
};
const { url, control, faults, ping } = suite(
  'node legacy-conformance.mjs URL [--control CONTROL] [--ping MS] [--reference]',
  { more: { ping: '1000' }, differences: DIFFERENCES },
);
const interval = Number(ping);
const http = url.replace(/^ws/, 'http');
const PROTOCOL = 'graphql-ws';
if (faults) await faults.switch(OFF);
const TYPES = ['connection_ack', 'connection_error', 'ka', 'data', 'error', 'complete'];
/** Every frame of every socket, for the checks at the end. */
const seen = [];

// --- the handshake ---

await check('the subprotocol is echoed', async () => {
  const socket = await open();
  assert.equal(socket.protocol, PROTOCOL);
  socket.close();
});

await check('connection_init is answered by connection_ack', async () => {
  const socket = await open();
  socket.send({ type: 'connection_init' });
  assert.equal((await socket.take()).type, 'connection_ack');
  socket.close();
});

for (const payload of [{}, { token: 'x', nested: { a: [1] } }]) {
  await check(`connection_init with payload ${JSON.stringify(payload)} is acked`, async () => {
    const socket = await open();
    socket.send({ type: 'connection_init', payload });
    assert.equal((await socket.take()).type, 'connection_ack');
    socket.close();
  });
}

await check('connection_init with an id, as sgqlc sends it, is acked', async () => {
  const socket = await open();
  socket.send({ type: 'connection_init', id: 'a1' });
  assert.equal((await socket.take()).type, 'connection_ack');
  socket.close();
});

await check('connection_init with payload null is acked', async () => {
  const socket = await open();
  socket.send({ type: 'connection_init', payload: null });
  assert.equal((await socket.take()).type, 'connection_ack');
  socket.close();
});

await check('ka follows the ack at once', async () => {
  const socket = await open();
  socket.send({ type: 'connection_init' });
  assert.equal((await socket.take()).type, 'connection_ack');
  assert.deepEqual(await socket.take(500), { type: 'ka' });
  socket.close();
});

await check('ka is repeated at its interval', async () => {
  const socket = await open();
  socket.send({ type: 'connection_init' });
  await socket.take();
  await socket.take();
  for (let n = 0; n < 2; n += 1) {
    const before = performance.now();
    assert.deepEqual(await socket.take(2 * interval + 1000), { type: 'ka' });
    const waited = performance.now() - before;
    assert.ok(waited > interval * 0.5, `${Math.round(waited)} ms`);
  }
  socket.close();
});

await check('no ka before the ack', async () => {
  const socket = await open();
  await sleep(interval * 1.5);
  assert.deepEqual(socket.drain(), []);
  socket.close();
});

await check('a second connection_init is acked again', async () => {
  const socket = await acked();
  socket.send({ type: 'connection_init' });
  assert.equal((await socket.next()).type, 'connection_ack');
  await socket.alive();
  socket.close();
});

await check('a second connection_init in the same read is acked again', async () => {
  const socket = await open();
  socket.send({ type: 'connection_init' });
  socket.send({ type: 'connection_init' });
  assert.equal((await socket.take()).type, 'connection_ack');
  assert.equal((await socket.next()).type, 'connection_ack');
  socket.close();
});

await check('start right behind connection_init runs', async () => {
  const socket = await open();
  socket.send({ type: 'connection_init' });
  socket.send(start('1', '{ echo(text: "x") }'));
  assert.equal((await socket.take()).type, 'connection_ack');
  assert.deepEqual(await socket.outcome('1'), { data: { echo: 'x' } });
  socket.close();
});

await check('start without connection_init runs', async () => {
  const socket = await open();
  socket.send(start('1', '{ echo(text: "x") }'));
  assert.deepEqual(await socket.outcome('1'), { data: { echo: 'x' } });
  socket.close();
});

await check('connection_init after a start is acked', async () => {
  const socket = await open();
  socket.send(start('1', '{ echo(text: "x") }'));
  await socket.outcome('1');
  socket.send({ type: 'connection_init' });
  assert.equal((await socket.next()).type, 'connection_ack');
  socket.close();
});

await check('a missing connection_init does not close the socket while an operation runs', async () => {
  const socket = await open();
  socket.send(start('1', '{ slow(ms: 3000) }'));
  assert.deepEqual(await socket.outcome('1'), { data: { slow: '3000 ms' } });
  socket.close();
});

// --- operations ---

await check('a query is data, then complete, then nothing', async () => {
  const socket = await acked();
  socket.send(start('1', '{ echo(text: "x") }'));
  assert.deepEqual(await socket.next(), { id: '1', type: 'data', payload: { data: { echo: 'x' } } });
  assertComplete(await socket.next(), '1');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('a mutation is data, then complete, then nothing', async () => {
  const socket = await acked();
  socket.send(start('1', 'mutation { createRoom(name: "wire") { name } }'));
  assert.deepEqual((await socket.next()).payload, { data: { createRoom: { name: 'wire' } } });
  assertComplete(await socket.next(), '1');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('a validation error is data with errors, then complete', async () => {
  const socket = await acked();
  socket.send(start('1', '{ noSuchField }'));
  const { id, type, payload } = await socket.next();
  assert.deepEqual([id, type], ['1', 'data']);
  assertErrors(payload.errors);
  assertComplete(await socket.next(), '1');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('an execution error is data with errors, then complete', async () => {
  const socket = await acked();
  socket.send(start('1', '{ failing }'));
  const { type, payload } = await socket.next();
  assert.equal(type, 'data');
  assert.deepEqual(payload.data, { failing: null });
  assertErrors(payload.errors);
  assertComplete(await socket.next(), '1');
  socket.close();
});

for (const [name, query] of Object.entries({
  'a syntax error': '{ echo(',
  'a syntax error in a subscription': 'subscription { onCreateRoom { id }',
  'an empty query': '',
})) {
  await check(`${name}: one error object with a message, no complete, and the socket stays open`, async () => {
    const socket = await acked();
    socket.send(start('1', query));
    assertError(await socket.next(), '1');
    assert.deepEqual(await socket.settled(), []);
    socket.close();
  });
}

await check('a validation error in a subscription: one error object, no complete', async () => {
  const socket = await acked();
  socket.send(start('1', 'subscription { onNothing { id } }'));
  assertError(await socket.next(), '1');
  assert.deepEqual(await socket.settled(), []);
  socket.close();
});

await check('an id is free again after error', async () => {
  const socket = await acked();
  socket.send(start('1', '{ echo('));
  assertError(await socket.next(), '1');
  socket.send(start('1', '{ __typename }'));
  assert.deepEqual(await socket.outcome('1'), { data: { __typename: 'Query' } });
  socket.close();
});

await check('an id is free again after complete', async () => {
  const socket = await acked();
  for (const text of ['first', 'second']) {
    socket.send(start('1', `{ echo(text: "${text}") }`));
    assert.deepEqual(await socket.outcome('1'), { data: { echo: text } });
  }
  socket.close();
});

await check('stop of a running query: complete for its id, and no result', async () => {
  const socket = await acked();
  socket.send(start('1', '{ slow(ms: 300) }'));
  socket.send({ id: '1', type: 'stop' });
  assertComplete(await socket.next(), '1');
  assert.deepEqual((await socket.query('{ slow(ms: 900) }')).errors, undefined);
  assert.deepEqual(socket.others(), []);
  socket.close();
});

await check('stop of a finished operation does not disturb the socket', async () => {
  const socket = await acked();
  socket.send(start('1', '{ __typename }'));
  await socket.outcome('1');
  socket.send({ id: '1', type: 'stop' });
  for (const frame of await socket.settled()) assertComplete(frame, '1');
  socket.close();
});

await check('stop of an unknown id does not disturb the socket', async () => {
  const socket = await acked();
  socket.send({ id: 'nobody', type: 'stop' });
  for (const frame of await socket.settled()) assertComplete(frame, 'nobody');
  socket.close();
});

await check('stop without an id does not disturb the socket', async () => {
  const socket = await acked();
  socket.send({ type: 'stop' });
  await socket.settled();
  socket.close();
});

await check('stop as the first message does not disturb the socket', async () => {
  const socket = await open();
  socket.send({ id: '1', type: 'stop' });
  socket.send({ type: 'connection_init' });
  const first = await socket.take();
  assert.equal(first.type === 'complete' ? (await socket.take()).type : first.type, 'connection_ack');
  socket.close();
});

for (const [name, id] of Object.entries({
  'of integers as strings': '"1"',
  'with a leading zero': '"01"',
  'with spaces': '" a b "',
  'of UUIDs': '"1b4e28ba-2fa1-11d2-883f-0016d3cca427"',
  'beyond ASCII': '"ключ😀"',
  'with escapes': '"\\u0061\\/\\"\\\\"',
  'of 400 bytes': JSON.stringify('é'.repeat(200)),
})) {
  await check(`ids ${name} are echoed byte for byte`, async () => {
    const socket = await acked();
    socket.raw(`{"id":${id},"type":"start","payload":{"query":"{ __typename }"}}`);
    for (const type of ['data', 'complete']) {
      const text = await socket.nextText();
      assert.equal(JSON.parse(text).type, type);
      assert.ok(text.includes(`"id":${id}`), text);
    }
    socket.close();
  });
}

await check('a number as id is echoed as a number', async () => {
  const socket = await acked();
  socket.raw('{"id":7,"type":"start","payload":{"query":"{ __typename }"}}');
  assert.equal((await socket.next()).id, 7);
  assert.deepEqual((await socket.next()).id, 7);
  socket.close();
});

await check('"1" and "01" and "A" and "a" are different ids', async () => {
  const socket = await acked();
  const ids = ['1', '01', 'a', 'A'];
  for (const id of ids) socket.send(start(id, 'query Q($t: String!) { echo(text: $t) }', { variables: { t: id } }));
  const found = {};
  for (let n = 0; n < 2 * ids.length; n += 1) {
    const { id, type, payload } = await socket.next();
    if (type === 'data') found[id] = payload.data.echo;
  }
  assert.deepEqual(found, Object.fromEntries(ids.map((id) => [id, id])));
  socket.close();
});

await check('a live id again: complete for the old one, the new one runs, no close', async () => {
  const socket = await acked();
  socket.send(start('1', '{ slow(ms: 1000) }'));
  await sleep(100);
  socket.send(start('1', '{ echo(text: "new") }'));
  assertComplete(await socket.next(), '1');
  assert.deepEqual(await socket.outcome('1'), { data: { echo: 'new' } });
  // The old operation would have ended by then.
  await socket.query('{ slow(ms: 1200) }');
  assert.deepEqual(socket.others(), []);
  socket.close();
});

await check('operations interleave: a quick one is not delayed', async () => {
  const socket = await acked();
  socket.send(start('slow', '{ slow(ms: 800) }'));
  socket.send(start('quick', '{ __typename }'));
  assert.equal((await socket.next()).id, 'quick');
  assert.equal((await socket.next()).id, 'quick');
  assert.equal((await socket.next()).id, 'slow');
  socket.close();
});

for (const member of ['variables', 'operationName', 'extensions']) {
  await check(`${member} null is the same as none`, async () => {
    const socket = await acked();
    socket.send(start('1', '{ __typename }', { [member]: null }));
    assert.deepEqual(await socket.outcome('1'), { data: { __typename: 'Query' } });
    socket.close();
  });
}

await check('operationName chooses among several operations', async () => {
  const socket = await acked();
  const query = 'query First { echo(text: "first") } query Second { echo(text: "second") }';
  socket.send(start('1', query, { operationName: 'Second' }));
  assert.deepEqual(await socket.outcome('1'), { data: { echo: 'second' } });
  socket.close();
});

await check('text survives in both directions', async () => {
  const socket = await acked();
  for (const text of ['grüße', '😀 👩‍👩‍👧', '"quoted" \\ / \b\f\n\r\t', '\u2028\u2029\ufeff', '</script>&<>', '']) {
    const { data } = await socket.query('query Q($t: String!) { echo(text: $t) }', { variables: { t: text } });
    assert.equal(data.echo, text);
  }
  socket.close();
});

await check('a large result arrives complete', async () => {
  const socket = await acked();
  const { data } = await socket.query('{ large(bytes: 200000) }');
  assert.equal(data.large.length, 200_000);
  socket.close();
});

// --- messages outside the protocol ---

// Before the first start, a ping may come from an AppSync-aware client, and must be ignored.
for (const type of ['subscribe', 'ping', 'nonsense']) {
  await check(`type ${type}: error with the id and "Invalid message type!", and the socket stays`, async () => {
    const socket = await acked();
    await socket.alive();
    socket.send({ id: '9', type, payload: { query: '{ __typename }' } });
    const frame = await socket.next();
    assertError(frame, '9');
    assert.equal(frame.payload.message, 'Invalid message type!');
    await socket.alive();
    socket.close();
  });
}

await check('an unknown type without an id: error, and the socket stays', async () => {
  const socket = await acked();
  socket.send({ type: 'nonsense' });
  assert.equal((await socket.next()).type, 'error');
  await socket.alive();
  socket.close();
});

for (const [name, text] of Object.entries({ 'not JSON': 'hello', 'cut JSON': '{"type":"start"', 'an empty frame': '' })) {
  await check(`${name}: connection_error, and the socket stays`, async () => {
    const socket = await acked();
    socket.raw(text);
    const { type, payload } = await socket.next();
    assert.equal(type, 'connection_error');
    assert.equal(typeof payload.message, 'string');
    await socket.alive();
    socket.close();
  });
}

await check('not JSON before connection_init: connection_error, and the socket stays', async () => {
  const socket = await open();
  socket.raw('hello');
  assert.equal((await socket.take()).type, 'connection_error');
  socket.send({ type: 'connection_init' });
  assert.equal((await socket.take()).type, 'connection_ack');
  socket.close();
});

await check('start without a payload: error, and the socket stays', async () => {
  const socket = await acked();
  socket.send({ id: '1', type: 'start' });
  assertError(await socket.next(), '1');
  await socket.alive();
  socket.close();
});

await check('a query that is not a string: error, and the socket stays', async () => {
  const socket = await acked();
  socket.send({ id: '1', type: 'start', payload: { query: 1 } });
  assertError(await socket.next(), '1');
  await socket.alive();
  socket.close();
});

await check('connection_terminate closes without an error code', async () => {
  const socket = await acked();
  socket.send({ type: 'connection_terminate' });
  await socket.closes([1000, 1005]);
});

await check('connection_terminate as the first message closes', async () => {
  const socket = await open();
  socket.send({ type: 'connection_terminate' });
  await socket.closes([1000, 1005]);
});

await check("the client's close is answered", async () => {
  const socket = await acked();
  socket.close(1000);
  await socket.closes([1000, 1005]);
});

// --- subscriptions ---

if (control) {
  await check('a subscription: data per event, complete after stop, the other one continues', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const [socket, room] = [await acked(), await newRoom(http)];
    for (const id of ['1', '2']) socket.send(start(id, ON_MESSAGE, { variables: { r: room } }));
    await live(control, idle + 2);
    await say(http, room, 'both');
    const both = [await socket.next(), await socket.next()];
    for (const { type, payload } of both) assert.deepEqual([type, payload], ['data', { data: { onMessage: { body: 'both' } } }]);
    assert.deepEqual(both.map(({ id }) => id).sort(), ['1', '2']);
    socket.send({ id: '1', type: 'stop' });
    assertComplete(await socket.next(), '1');
    await live(control, idle + 1);
    await say(http, room, 'one');
    assert.deepEqual(await socket.next(), { id: '2', type: 'data', payload: { data: { onMessage: { body: 'one' } } } });
    assert.deepEqual(await socket.settled(), []);
    socket.close();
    await live(control, idle);
  });

  await check('no start_ack: a subscription that has started sends nothing', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const socket = await acked();
    socket.send(start('1', 'subscription { onCreateRoom { id } }'));
    await live(control, idle + 1);
    assert.deepEqual(await socket.settled(), []);
    socket.close();
    await live(control, idle);
  });

  // The reference server sometimes misses a stop that arrives before it has finished subscribing.
  if (faults) await check('stop at once is stopped upstream too', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const socket = await acked();
    socket.send(start('1', 'subscription { onCreateRoom { id } }'));
    socket.send({ id: '1', type: 'stop' });
    assertComplete(await socket.next(), '1');
    await live(control, idle);
    await newRoom(http);
    assert.deepEqual(await socket.settled(), []);
    socket.close();
  });

  await check('a live subscription id again: complete, and only the new one runs', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const [socket, one, two] = [await acked(), await newRoom(http), await newRoom(http)];
    socket.send(start('1', ON_MESSAGE, { variables: { r: one } }));
    await live(control, idle + 1);
    socket.send(start('1', ON_MESSAGE, { variables: { r: two } }));
    assertComplete(await socket.next(), '1');
    await sleep(300);
    await live(control, idle + 1);
    await say(http, one, 'old');
    await say(http, two, 'new');
    assert.deepEqual((await socket.next()).payload, { data: { onMessage: { body: 'new' } } });
    assert.deepEqual(await socket.settled(), []);
    socket.close();
    await live(control, idle);
  });

  await check('connection_terminate stops what runs', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const socket = await acked();
    socket.send(start('1', 'subscription { onCreateRoom { id } }'));
    await live(control, idle + 1);
    socket.send({ type: 'connection_terminate' });
    await socket.closes([1000, 1005]);
    await live(control, idle);
  });

  await check('a vanished client stops what runs', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const socket = await acked();
    socket.send(start('1', 'subscription { onCreateRoom { id } }'));
    await live(control, idle + 1);
    socket.destroy();
    await live(control, idle);
  });
} else {
  skip('subscriptions', 'need --control');
}

// --- upstream faults ---

if (faults) {
  const subscribed = async (count = 1) => {
    const idle = 0;
    await live(control, idle);
    const socket = await acked();
    for (let n = 1; n <= count; n += 1) socket.send(start(String(n), 'subscription { onCreateRoom { id name } }'));
    await live(control, idle + count);
    return socket;
  };

  await check("upstream's complete is complete for the id", async () => {
    const socket = await subscribed();
    await faults.switch({ complete_all: true });
    assertComplete(await socket.next(), '1');
    assert.deepEqual(await socket.settled(), []);
    socket.close();
  });

  await check("upstream's error is one object with message and errorType, and no complete", async () => {
    const socket = await subscribed();
    await faults.switch({ error_all: true });
    const frame = await socket.next();
    assertError(frame, '1');
    assert.ok(frame.payload.errorType ?? frame.payload.extensions?.errorType, JSON.stringify(frame));
    assert.deepEqual(await socket.settled(), []);
    socket.close();
  });

  for (const [name, payload] of Object.entries({
    'a list of one': { errors: [{ errorType: 'Unauthorized', message: 'Not Authorized to access onX on type Subscription' }] },
    'a list of two': { errors: [{ message: 'first' }, { message: 'second' }] },
    'one object': { errors: { errorType: 'MaxSubscriptionsReachedError', message: 'Max number' } },
    'a type without a message': { errors: [{ errorType: 'UnauthorizedException' }] },
    'a type straight in the payload': { errorType: 'SomeException' },
  })) {
    await check(`a refused start with ${name} as errors: one error object with a message`, async () => {
      const socket = await acked();
      await switched(faults, { refuse_start: JSON.stringify(payload) }, async () => {
        socket.send(start('1', 'subscription { onCreateRoom { id } }'));
        assertError(await socket.next(), '1');
      });
      await socket.alive();
      socket.close();
    });
  }

  await check('a refused realtime connect: error for the operation, and the socket stays', async () => {
    const socket = await acked();
    const refusal = { errors: [{ errorType: 'UnauthorizedException', message: 'You are not authorized to make this call.', errorCode: 401 }] };
    await switched(faults, { refuse_connect: JSON.stringify(refusal), close_all: true }, async () => {
      await sleep(200);
      socket.send(start('1', 'subscription { onCreateRoom { id } }'));
      const frame = await socket.next();
      assertError(frame, '1');
      assert.match(frame.payload.message, /You are not authorized/);
    });
    await socket.alive();
    socket.close();
  });

  await check('a data payload without data and errors becomes data: null', async () => {
    const socket = await subscribed();
    await faults.switch({ send_all: '{"id":"$ID","type":"data","payload":{}}' });
    assert.deepEqual((await socket.next()).payload, { data: null });
    socket.close();
  });

  await check('unknown frames of the upstream do not reach the client', async () => {
    const socket = await subscribed();
    for (const text of ['{"type":"ka"}', '{"id":"$ID","type":"start_ack"}', '{"type":"future","x":1}']) await faults.switch({ send_all: text });
    assert.deepEqual(await socket.settled(), []);
    socket.close();
  });

  await check('HTTP errors of the upstream that are GraphQL: one error object with their first', async () => {
    const socket = await acked();
    const body = '{"errors":[{"errorType":"UnauthorizedException","message":"Permission denied"}]}';
    await switched(faults, { answer_http: { status: 401, content_type: 'application/json', body } }, async () => {
      socket.send(start('1', '{ __typename }'));
      const frame = await socket.next();
      assertError(frame, '1');
      assert.equal(frame.payload.message, 'Permission denied');
    });
    socket.close();
  });

  await check('HTTP errors of the upstream that are not GraphQL: one error object', async () => {
    const socket = await acked();
    const answer = { status: 502, content_type: 'text/html', body: '<h1>Bad Gateway</h1>' };
    await switched(faults, { answer_http: answer }, async () => {
      socket.send(start('1', '{ __typename }'));
      assertError(await socket.next(), '1');
    });
    await socket.alive();
    socket.close();
  });

  for (const [name, change] of Object.entries({ 'with a close frame of 1000': { close_clean: 1000 }, 'without a close frame': { close_all: true } })) {
    await check(`upstream lost ${name}: 1012`, async () => {
      const socket = await subscribed();
      await faults.switch(change);
      await socket.closes(1012);
    });
  }

  await check('upstream lost: a socket without subscriptions stays', async () => {
    const [bystander, socket] = [await acked(), await subscribed()];
    await faults.switch({ close_all: true });
    await socket.closes(1012);
    await bystander.alive();
    bystander.close();
  });

  await check('upstream known down: connection_error, then 1013, and no ack', async () => {
    await switched(faults, { refuse_connections: true, close_all: true }, async () => {
      const until = Date.now() + 20_000;
      let socket, type, payload;
      for (;;) {
        socket = await open();
        socket.send({ type: 'connection_init' });
        ({ type, payload } = await socket.take());
        if (type !== 'connection_ack') break;
        assert.ok(Date.now() < until, 'acked for 20 s');
        // countersign detects the outage only when it dials, so open a subscription.
        socket.send(start('1', 'subscription { onCreateRoom { id } }'));
        assertError(await socket.next(), '1');
        socket.close();
      }
      assert.equal(type, 'connection_error');
      assert.equal(typeof payload.message, 'string');
      await socket.closes(1013);
      assert.deepEqual(socket.drain(), []);
    });
  });

  await check('upstream back: sockets are acked again', async () => {
    const until = Date.now() + 20_000;
    for (;;) {
      const socket = await open();
      socket.send({ type: 'connection_init' });
      const { type } = await socket.take();
      socket.close();
      if (type === 'connection_ack') break;
      assert.ok(Date.now() < until, 'still refused');
      await sleep(300);
    }
  });

  await check('no request with a valid signature was rejected', async () => {
    assert.doesNotMatch((await control.state()).last_refusal ?? '', /Signature|Unrecognized|Canonical/);
  });
} else {
  skip('faults of the upstream', 'need --control of the emulator');
}

await check('all frames belong to the protocol', async () => {
  assert.ok(seen.length > 100);
  for (const { type } of seen) assert.ok(TYPES.includes(type), type);
});

finish();

function start(id, query, more = {}) {
  return { id, type: 'start', payload: { query, ...more } };
}

async function acked() {
  const socket = await open();
  socket.send({ type: 'connection_init' });
  assert.equal((await socket.take()).type, 'connection_ack');
  return socket;
}

async function open() {
  const socket = await connect(url, [PROTOCOL]);
  let marks = 0;
  const text = socket.text;
  socket.text = async (ms) => {
    const frame = await text(ms);
    seen.push(JSON.parse(frame));
    return frame;
  };
  socket.take = async (ms) => JSON.parse(await socket.text(ms));
  return Object.assign(socket, {
    nextText: (ms) => nextText(socket, ms),
    next: (ms) => next(socket, ms),
    others: () => others(socket),

    /** Returns the result of an operation that was already sent: exactly one data, then complete. */
    async outcome(id) {
      const data = await socket.next();
      assert.equal(data.type, 'data', JSON.stringify(data));
      assert.equal(data.id, id);
      assertComplete(await socket.next(), id);
      return data.payload;
    },

    async query(query, more) {
      const id = `own ${(marks += 1)}`;
      socket.send(start(id, query, more));
      return socket.outcome(id);
    },

    alive: () => socket.query('{ __typename }'),

    /** Returns all other messages that were sent before the responses to two queries. */
    async settled() {
      const others = [];
      for (let n = 0; n < 2; n += 1) {
        const id = `settle ${(marks += 1)}`;
        socket.send(start(id, '{ echo(text: "settle") }'));
        for (;;) {
          const frame = await socket.next();
          if (frame.id !== id) others.push(frame);
          else if (frame.type === 'complete') break;
        }
      }
      return others;
    },
  });
}

function assertComplete(frame, id) {
  assert.equal(frame.type, 'complete', JSON.stringify(frame));
  assert.equal(frame.id, id);
  assert.ok(frame.payload == null, JSON.stringify(frame));
}

/** `error` with one object. */
function assertError(frame, id) {
  assert.equal(frame.type, 'error', JSON.stringify(frame));
  assert.equal(frame.id, id);
  assert.ok(!Array.isArray(frame.payload) && typeof frame.payload === 'object', JSON.stringify(frame));
  assert.equal(typeof frame.payload.message, 'string', JSON.stringify(frame));
  assert.notEqual(frame.payload.message, '');
}
