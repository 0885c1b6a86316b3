// Runs the unmodified npm graphql-ws client against one endpoint: every kind of operation, errors,
// several subscriptions on one socket, concurrency, and the headers of the upgrade.
//
// usage: node graphql-ws.mjs URL CONTROL
//   URL      ws://… the GraphQL endpoint
//   CONTROL  http://… the emulator's control address

import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { Control, Queue, assert, assertErrors, check, deadline, finish, within } from './check.mjs';

const [url, controlUrl] = process.argv.slice(2);
if (!url || !controlUrl) {
  console.error('usage: node graphql-ws.mjs URL CONTROL');
  process.exit(2);
}
deadline(120);
const control = new Control(controlUrl);
const idle = (await control.state()).realtime.subscriptions;

const MESSAGE_FIELDS = 'id room body author sentAt';
const ON_MESSAGE = `subscription OnMessage($room: ID) { onMessage(room: $room) { ${MESSAGE_FIELDS} } }`;
const POST = `mutation Post($room: ID!, $body: String!, $author: String) {
  postMessage(room: $room, body: $body, author: $author) { ${MESSAGE_FIELDS} } }`;
const CREATE_ROOM = 'mutation Create($name: String!) { createRoom(name: $name) { id name } }';

const sockets = { opened: 0, closed: [] };
let client = connect();

await check('a query', async () => {
  const { data, errors } = await one(client, { query: '{ rooms { id name } }' });
  assert.equal(errors, undefined);
  assert.ok(Array.isArray(data.rooms));
});

await check('a query with variables and operationName', async () => {
  const { data, errors } = await one(client, {
    query: 'query Other { rooms { id } } query Wanted($text: String!) { said: echo(text: $text) }',
    operationName: 'Wanted',
    variables: { text: 'grüße "\\" 😀' },
  });
  assert.equal(errors, undefined);
  assert.deepEqual(data, { said: 'grüße "\\" 😀' });
});

await check('a mutation', async () => {
  const { data, errors } = await one(client, { query: CREATE_ROOM, variables: { name: 'attic' } });
  assert.equal(errors, undefined);
  assert.equal(data.createRoom.name, 'attic');
  const found = await one(client, {
    query: 'query Room($id: ID!) { room(id: $id) { name } }',
    variables: { id: data.createRoom.id },
  });
  assert.deepEqual(found.data, { room: { name: 'attic' } });
});

await check('a subscription with variables receives the event of a mutation', async () => {
  const room = await newRoom('one');
  const events = subscribe(client, { query: ON_MESSAGE, variables: { room } });
  await active(1);
  const posted = await post(room, 'hello', 'ann');
  const event = await events.next();
  assert.deepEqual(event, { data: { onMessage: posted } });
  await events.stop();
  await active(0);
});

await check('fields that the mutation did not select arrive as null', async () => {
  const room = await newRoom('partial');
  const events = subscribe(client, {
    query: 'subscription S($room: ID) { onMessage(room: $room) { body author } }',
    variables: { room },
  });
  await active(1);
  await one(client, {
    query: 'mutation M($room: ID!) { postMessage(room: $room, body: "b", author: "ann") { id room body } }',
    variables: { room },
  });
  const event = await events.next();
  assert.equal(event.data.onMessage.body, 'b');
  assert.equal(event.data.onMessage.author, null);
  await events.stop();
  await active(0);
});

await check('two subscriptions on one socket each get exactly their own', async () => {
  const [red, blue] = [await newRoom('red'), await newRoom('blue')];
  const before = sockets.opened;
  const onRed = subscribe(client, { query: ON_MESSAGE, variables: { room: red } });
  const onBlue = subscribe(client, { query: ON_MESSAGE, variables: { room: blue } });
  await active(2);
  for (const body of ['1', '2', '3']) {
    await post(red, `red ${body}`);
    await post(blue, `blue ${body}`);
  }
  assert.deepEqual(await bodies(onRed, 3), ['red 1', 'red 2', 'red 3']);
  assert.deepEqual(await bodies(onBlue, 3), ['blue 1', 'blue 2', 'blue 3']);
  await active(2);
  assert.deepEqual(onRed.rest(), []);
  assert.deepEqual(onBlue.rest(), []);
  assert.equal(sockets.opened, before, 'no further socket was opened');
  await onRed.stop();
  await onBlue.stop();
  await active(0);
});

await check('the same subscription twice on one socket: both get the event', async () => {
  const room = await newRoom('twins');
  const twins = [1, 2].map(() => subscribe(client, { query: ON_MESSAGE, variables: { room } }));
  await active(2);
  await post(room, 'for both');
  for (const twin of twins) assert.deepEqual(await bodies(twin, 1), ['for both']);
  for (const twin of twins) await twin.stop();
  await active(0);
});

await check('an error in a nullable field arrives together with data', async () => {
  const { data, errors } = await one(client, { query: '{ failing said: echo(text: "x") }' });
  assert.deepEqual(data, { failing: null, said: 'x' });
  assertErrors(errors);
  assert.deepEqual(errors[0].path, ['failing']);
});

await check('an error in a non-null field leaves no data', async () => {
  const outcome = await settle(client, { query: '{ failingHard }' });
  assert.ok(outcome.data === null || outcome.data === undefined, `data ${JSON.stringify(outcome.data)}`);
  assertErrors(outcome.errors);
});

await check('a validation error is an error', async () => {
  const outcome = await settle(client, { query: '{ noSuchField }' });
  assert.ok(outcome.data === null || outcome.data === undefined, `data ${JSON.stringify(outcome.data)}`);
  assertErrors(outcome.errors);
});

await check('a missing variable is an error', async () => {
  const outcome = await settle(client, { query: 'query Q($text: String!) { echo(text: $text) }' });
  assert.ok(outcome.data === null || outcome.data === undefined, `data ${JSON.stringify(outcome.data)}`);
  assertErrors(outcome.errors);
});

await check('a syntax error is an `error` and the socket stays open', async () => {
  const opened = sockets.opened;
  const closed = sockets.closed.length;
  const outcome = await settle(client, { query: '{ rooms { id ' });
  assert.equal(outcome.kind, 'error');
  assertErrors(outcome.errors);
  assert.deepEqual((await one(client, { query: '{ echo(text: "still here") }' })).data, { echo: 'still here' });
  assert.equal(sockets.opened, opened, 'no further socket was opened');
  assert.equal(sockets.closed.length, closed, `closed ${sockets.closed}`);
});
// A server that closes on a syntax error must not fail every later check as well.
client = await replaceIfClosed(client);

await check("the client's complete stops one subscription upstream; the other one continues", async () => {
  const room = await newRoom('quiet');
  const leaving = subscribe(client, { query: ON_MESSAGE, variables: { room } });
  const staying = subscribe(client, { query: ON_MESSAGE, variables: { room } });
  await active(2);
  const { stops_total: stops } = (await control.state()).realtime;
  await leaving.stop();
  await control.until('one stop more upstream', ({ realtime }) => realtime.stops_total === stops + 1);
  await active(1);
  await post(room, 'after');
  assert.deepEqual(await bodies(staying, 1), ['after']);
  assert.deepEqual(leaving.rest(), []);
  await staying.stop();
  await active(0);
});

await check('a rejected subscription is an `error`; the other one continues', async () => {
  const room = await newRoom('sibling');
  const staying = subscribe(client, { query: ON_MESSAGE, variables: { room } });
  await active(1);
  const closed = sockets.closed.length;
  const outcome = await settle(client, { query: 'subscription { onNothing { id } }' });
  assert.equal(outcome.kind, 'error');
  assertErrors(outcome.errors);
  await post(room, 'after the error');
  assert.deepEqual(await bodies(staying, 1), ['after the error']);
  assert.equal(sockets.closed.length, closed, `closed ${sockets.closed}`);
  await staying.stop();
  await active(0);
});

await check('20 concurrent queries on one socket each get their own answer', async () => {
  const opened = sockets.opened;
  const texts = Array.from({ length: 20 }, (_, n) => `text ${n}`);
  const answers = await Promise.all(
    texts.map((text) => one(client, { query: 'query Q($text: String!) { echo(text: $text) }', variables: { text } })),
  );
  assert.deepEqual(answers.map(({ data }) => data.echo), texts);
  assert.equal(sockets.opened, opened, 'no further socket was opened');
});

await check('a slow query does not delay a quick one', async () => {
  let slowDone = false;
  const slow = one(client, { query: '{ slow(ms: 1500) }' }).then(() => { slowDone = true; });
  await one(client, { query: '{ echo(text: "quick") }' });
  assert.equal(slowDone, false);
  await slow;
});

await check('a large result arrives complete', async () => {
  const { data } = await one(client, { query: '{ large(bytes: 200000) }' });
  assert.equal(Buffer.byteLength(data.large), 200_000);
});

await check('headers of the upgrade reach the resolver of a query', async () => {
  for (const team of ['red', 'blue']) {
    const other = connect({ team });
    const { data } = await one(other, { query: '{ headers(names: ["x-team"]) }' });
    assert.equal(JSON.parse(data.headers)['x-team'], team);
    await other.dispose();
  }
});

await check('headers of the upgrade reach the resolver of a subscription, each socket its own', async () => {
  const teams = ['red', 'blue'];
  const clients = teams.map((team) => connect({ team }));
  const streams = clients.map((each) => subscribe(each, { query: 'subscription { onHeaders(names: ["x-team"]) }' }));
  // The event may arrive with the subscription itself or with the next mutation.
  const first = streams.map((stream) => stream.next());
  await Promise.race([active(2), Promise.all(first)]);
  const room = await newRoom('headers');
  await post(room, 'for onHeaders');
  for (const [n, event] of (await Promise.all(first)).entries()) {
    assertNoErrors(event);
    assert.equal(JSON.parse(event.data.onHeaders)['x-team'], teams[n]);
  }
  for (const stream of streams) await stream.stop();
  for (const each of clients) await each.dispose();
  await active(0);
});

await check('one operation, one socket: a client with its defaults closes 1000 after it', async () => {
  const closed = new Queue();
  const lazy = createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0, on: { closed: (event) => closed.push(event) } });
  assert.deepEqual((await one(lazy, { query: '{ echo(text: "once") }' })).data, { echo: 'once' });
  assert.equal((await closed.take('the close')).code, 1000);
});

await check('closing the socket stops its subscriptions upstream', async () => {
  let socket;
  const dropped = connect({ on: { opened: (opened) => { socket = opened; } } });
  const events = subscribe(dropped, { query: ON_MESSAGE, variables: { room: await newRoom('dropped') } });
  await active(1);
  socket.terminate();
  await active(0);
  await within(events.ended, 5_000, 'the end of a subscription');
});

await check('the client saw one socket and no unexpected close', async () => {
  assert.equal(sockets.opened, 1);
  assert.deepEqual(sockets.closed, []);
});

await client.dispose();
finish();

/** A client that keeps its socket and never retries, so that every failure shows. */
function connect({ team, on = {} } = {}) {
  class TeamSocket extends WebSocket {
    constructor(address, protocols) {
      super(address, protocols, { headers: { 'x-team': team } });
    }
  }
  const counted = team || on.opened
    ? on
    : {
        opened: () => { sockets.opened += 1; },
        closed: (event) => { sockets.closed.push(event.code); },
      };
  return createClient({
    url,
    webSocketImpl: team ? TeamSocket : WebSocket,
    lazyCloseTimeout: 60_000,
    retryAttempts: 0,
    on: counted,
  });
}

async function replaceIfClosed(old) {
  if (sockets.closed.length === 0) return old;
  await old.dispose();
  Object.assign(sockets, { opened: 0, closed: [] });
  return connect();
}

async function one(from, operation) {
  const results = [];
  const reading = (async () => {
    for await (const result of from.iterate(operation)) results.push(result);
  })();
  await within(reading, 10_000, 'the result');
  assert.equal(results.length, 1, 'results');
  return results[0];
}

/** Returns how an operation ended, whether its errors came in a result or as an `error` message. */
async function settle(from, operation) {
  try {
    return { kind: 'next', ...(await one(from, operation)) };
  } catch (thrown) {
    if (!Array.isArray(thrown)) throw thrown;
    return { kind: 'error', errors: thrown };
  }
}

function subscribe(from, operation) {
  const events = new Queue();
  let settled;
  const ended = new Promise((resolve) => { settled = resolve; });
  const dispose = from.subscribe(operation, {
    next: (result) => events.push(result),
    error: (error) => { events.end(error); settled(error); },
    complete: () => { events.end(new Error('completed')); settled(); },
  });
  return {
    next: () => events.take('an event'),
    rest: () => events.drain(),
    ended,
    stop: async () => { dispose(); await within(ended, 5_000, 'the end of a subscription'); },
  };
}

/** Waits until the emulator reports the subscription as live, because the protocol does not acknowledge it. */
function active(count) {
  return control.until(`${count} live subscriptions`, ({ realtime }) => realtime.subscriptions === idle + count);
}

async function newRoom(name) {
  const result = await one(client, { query: CREATE_ROOM, variables: { name } });
  assertNoErrors(result);
  return result.data.createRoom.id;
}

async function post(room, body, author = null) {
  const result = await one(client, { query: POST, variables: { room, body, author } });
  assertNoErrors(result);
  return result.data.postMessage;
}

async function bodies(events, count) {
  const seen = [];
  while (seen.length < count) {
    const event = await events.next();
    assertNoErrors(event);
    seen.push(event.data.onMessage.body);
  }
  return seen;
}

function assertNoErrors(result) {
  assert.equal(result.errors, undefined, JSON.stringify(result.errors));
}
