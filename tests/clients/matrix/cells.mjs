// Shared by the Node clients of the matrix: the columns, the operations, and one line per cell.
// This file is independent of any protocol; each client is an object that is passed to `matrix`:
//
//   run(operation)              a query or mutation; resolves to {data, errors}
//   subscribe(operation, sink)  returns a function that stops it; the sink has next({data, errors}),
//                               error(reason) and complete()
//   close()                     optional
//   retries                     whether the client restarts its subscriptions by itself
//   oneSocket                   whether all its subscriptions share one socket
//   also                        optional; further checks, by column
//   forgives(error)             optional; whether the client is known to leave such a rejection unhandled
//
// `errors` and a sink's `reason` are the values that the client itself passes to an application: a list of
// messages if the server sent GraphQL errors, and any other value if the client gave up.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import WebSocket from 'ws';
import { Control, Queue, assert, within } from '../check.mjs';

export { assert };

const COLUMNS = ['query', 'mutation', 'subscription', 'error', 'stop', 'reconnect', 'many'];
const CELL_MS = 30_000;
const ALL_MS = 60_000;
const STEP_MS = 10_000;
const MANY = 200;
const AT_ONCE = 20;
const SETTLE_MS = 2_000;

// A subscriber gets only the fields that the mutation selected; some clients add __typename.
const MESSAGE = 'id room body author sentAt';

function operation(name, query) {
  return { name, query };
}

export const ROOMS = operation('Rooms', 'query Rooms { rooms { id name } }');
export const ECHO = operation('Echo', 'query Echo($text: String!) { said: echo(text: $text) }');
export const FAILING = operation('Failing', 'query Failing { failingHard }');
export const CREATE = operation('Create', 'mutation Create($name: String!) { createRoom(name: $name) { __typename id name } }');
export const POST = operation(
  'Post',
  `mutation Post($room: ID!, $body: String!, $author: String) {
    postMessage(room: $room, body: $body, author: $author) { __typename ${MESSAGE} } }`,
);
export const ON_MESSAGE = operation(
  'OnMessage',
  `subscription OnMessage($room: ID) { onMessage(room: $room) { ${MESSAGE} } }`,
);
// With an author, so that clients which merge equal subscriptions see different ones.
export const ON_AUTHOR = operation(
  'OnAuthor',
  `subscription OnAuthor($room: ID, $author: String) { onMessage(room: $room, author: $author) { ${MESSAGE} } }`,
);
export const REFUSED = operation('Refused', 'subscription Refused { onNothing { id } }');

/** A WebSocket that is counted: the platform's own or, before Node.js 22, that of ws. */
export class CountedSocket extends (globalThis.WebSocket ?? WebSocket) {
  static open = 0;

  constructor(...parameters) {
    super(...parameters);
    CountedSocket.open += 1;
    this.addEventListener('close', () => { CountedSocket.open -= 1; });
  }
}

/**
 * Runs the row that the command line names. `makers` has, by row, a function from the options
 * {http, ws, https, direct} to a client, or to a promise of one.
 */
export async function matrix(makers) {
  const { positionals, values: urls } = parseArgs({
    allowPositionals: true,
    options: {
      ...Object.fromEntries(['http', 'ws', 'https', 'control'].map((name) => [name, { type: 'string' }])),
      // Goes directly to the emulator, to find what a client must leave out there.
      direct: { type: 'boolean' },
    },
  });
  const [row] = positionals;
  const make = makers[row];
  if (!make || !urls.http || !urls.ws || !urls.control || positionals.length !== 1) {
    console.error(`usage: node SCRIPT ${Object.keys(makers).join('|')} --http URL --ws URL [--https URL] --control URL [--direct]`);
    process.exit(2);
  }
  globalThis.WebSocket = CountedSocket;

  const { na } = JSON.parse(readFileSync(new URL('rows.json', import.meta.url))).find((each) => each.row === row);
  const columns = COLUMNS.filter((column) => !(column in na));
  const control = new Control(urls.control);
  let failed = false;
  let client;
  let fail;
  const print = (column, error, ms) => {
    failed ||= error !== undefined;
    const outcome = error === undefined ? `ok ${ms}ms` : `FAIL ${oneLine(error)}`;
    console.log(`cell ${row} ${column} ${outcome}`);
  };
  const finish = () => {
    console.log(`done ${row}`);
    process.exit(failed ? 1 : 0);
  };
  // Some clients throw where it cannot be caught.
  const strayed = (error) => (fail ? fail(error) : console.error(error));
  process.on('uncaughtException', strayed);
  process.on('unhandledRejection', (error) => { if (!client?.forgives?.(error)) strayed(error); });
  setTimeout(() => {
    for (const column of columns) print(column, new Error(`the row took longer than ${ALL_MS} ms`));
    finish();
  }, ALL_MS).unref();

  while (columns.length > 0) {
    const [column] = columns;
    const stray = new Promise((_, reject) => { fail = reject; });
    const begun = performance.now();
    let error;
    client = undefined;
    try {
      const body = async () => {
        client = await make(urls);
        await new Cell(client, control, urls, !('mutation' in na)).run(column, row, na);
      };
      await within(Promise.race([body(), stray]), CELL_MS, 'the cell');
    } catch (thrown) {
      error = thrown;
    }
    print(column, error, Math.round(performance.now() - begun));
    columns.shift();
    fail = undefined;
    await Promise.resolve(client?.close?.()).catch(() => {});
    // Subscriptions that a failed cell left behind must not fail the next one.
    await control.until('no subscriptions', ({ realtime }) => realtime.subscriptions === 0, SETTLE_MS).catch(() => {});
  }
  finish();
}

/** One client, created for one column. */
class Cell {
  constructor(client, control, urls, mutates) {
    Object.assign(this, { client, control, urls, mutates });
  }

  async run(column, row, na) {
    this.note = (text) => console.log(`note ${row} ${column} ${text}`);
    this.na = na;
    this.idle = (await this.control.state()).realtime.subscriptions;
    await this[column]();
    await this.client.also?.[column]?.(this);
  }

  async query() {
    const { rooms } = await this.data(ROOMS);
    assert.ok(rooms.some((room) => room.id === 'lobby'), JSON.stringify(rooms));
    const text = 'grüße "\\" 😀';
    assert.equal((await this.data(ECHO, { text })).said, text);
  }

  async mutation() {
    const room = await this.newRoom('attic');
    const posted = await this.post(room, 'once');
    assert.equal(posted.body, 'once');
    const { mutations } = await this.control.state();
    assert.equal(mutations[`${room}/once`], 1);
  }

  async subscription() {
    const [red, blue] = [await this.newRoom('red'), await this.newRoom('blue')];
    const events = this.subscribe(ON_MESSAGE, { room: red });
    await this.live(1);
    await this.post(blue, 'not for red');
    for (const body of ['first', 'second']) {
      const posted = await this.post(red, body, 'ann');
      const event = await events.next();
      for (const field of MESSAGE.split(' ')) assert.equal(event[field], posted[field], field);
    }
    await events.nothingMore();
    events.stop();
    await this.live(0);
  }

  async error() {
    const { errors } = await this.ran({ ...FAILING });
    assertSays(errors, 'always fails');
    if ('subscription' in this.na) return;
    const refused = this.subscribe(REFUSED, {});
    assertSays(await refused.reason(), 'onNothing');
    refused.stop();
    await this.live(0);
  }

  async stop() {
    const room = await this.newRoom('quiet');
    const leaving = this.subscribe(ON_MESSAGE, { room });
    const staying = this.subscribe(ON_AUTHOR, { room, author: 'ann' });
    await this.live(2);
    await this.post(room, 'for both', 'ann');
    for (const events of [leaving, staying]) assert.equal((await events.next()).body, 'for both');
    leaving.stop();
    await this.live(1);
    await this.post(room, 'for one', 'ann');
    assert.equal((await staying.next()).body, 'for one');
    await leaving.nothingMore();
    staying.stop();
    await this.live(0);
    await this.post(room, 'for nobody', 'ann');
    for (const events of [leaving, staying]) await events.nothingMore();
  }

  async reconnect() {
    const room = await this.newRoom('again');
    let events = this.subscribe(ON_MESSAGE, { room });
    await this.live(1);
    await this.post(room, 'before');
    assert.equal((await events.next()).body, 'before');

    const { starts_total: starts } = (await this.control.state()).realtime;
    await this.control.switch({ close_all: true });
    const back = this.control.until(
      'the subscription again',
      ({ realtime }) => realtime.starts_total > starts && realtime.subscriptions === this.idle + 1,
    );
    const ended = await Promise.race([back.then(() => undefined), events.reason()]);
    if (ended !== undefined) {
      back.catch(() => {});
      assert.ok(!this.client.retries, `it ended: ${oneLine(ended)}`);
      events.stop();
      events = this.subscribe(ON_MESSAGE, { room });
      await back;
    }
    await this.post(room, 'after');
    assert.equal((await events.next()).body, 'after');
    events.stop();
    await this.live(0);
    if (ended !== undefined) this.note('by subscribing again');
    else this.note(this.client.retries ? 'by its own retry' : 'it noticed nothing');
  }

  async many() {
    const room = await this.newRoom('crowd');
    const crowd = Array.from({ length: MANY }, (_, n) => ({ author: `author ${n}` }));
    for (const each of crowd) each.events = this.subscribe(ON_AUTHOR, { room, author: each.author });
    await this.live(MANY);
    // The previous cell's last subscription may still be closing.
    if (this.client.oneSocket) await this.control.until('one open socket', () => CountedSocket.open === 1);
    for (let from = 0; from < MANY; from += AT_ONCE) {
      const some = crowd.slice(from, from + AT_ONCE);
      await Promise.all(some.map(({ author }) => this.post(room, `by ${author}`, author)));
    }
    for (const { author, events } of crowd) assert.equal((await events.next()).body, `by ${author}`);
    for (const { events } of crowd) await events.nothingMore();
    for (const { events } of crowd) events.stop();
    await this.live(0);
  }

  /** Waits until the emulator reports the subscription as live; most clients do not report it. */
  live(count) {
    return this.control.until(
      `${count} live subscriptions`,
      ({ realtime }) => realtime.subscriptions === this.idle + count,
    );
  }

  ran(what) {
    return within(this.client.run(what), STEP_MS, what.name);
  }

  async data(what, variables = {}) {
    const { data, errors } = await this.ran({ ...what, variables });
    assert.ok(!errors?.length, JSON.stringify(errors));
    return data;
  }

  async newRoom(name) {
    const { createRoom } = await this.mutate(CREATE, { name });
    return createRoom.id;
  }

  async post(room, body, author = null) {
    const { postMessage } = await this.mutate(POST, { room, body, author });
    return postMessage;
  }

  /** Stops it with the client's own method, if there is one. */
  async mutate(what, variables) {
    if (this.mutates) return this.data(what, variables);
    const response = await fetch(this.urls.http, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: what.query, operationName: what.name, variables }),
      signal: AbortSignal.timeout(STEP_MS),
    });
    const { data, errors } = await response.json();
    assert.equal(errors, undefined, JSON.stringify(errors));
    return data;
  }

  subscribe(what, variables) {
    const seen = new Queue();
    let end;
    const ended = new Promise((resolve) => { end = resolve; });
    const over = (reason) => {
      end(reason);
      seen.end(new Error(`it ended: ${oneLine(reason)}`));
    };
    const stop = this.client.subscribe({ ...what, variables }, {
      next: ({ data, errors }) => (errors?.length ? over(errors) : seen.push(data.onMessage)),
      error: over,
      complete: () => over(new Error('completed')),
    });
    return {
      next: () => seen.take('an event'),
      /** Returns why it ended. */
      reason: () => within(ended, STEP_MS, 'the end of the subscription'),
      /** Waits for a response of the emulator that is newer than anything it may have sent. */
      nothingMore: async () => {
        await this.control.state();
        assert.deepEqual(seen.drain(), []);
      },
      stop,
    };
  }
}

/** Returns the messages of GraphQL errors. */
export function messages(errors) {
  return errors?.map(({ message }) => message);
}

/** Drives an async iterable as a subscription. */
export function drive(iterable, sink, reason) {
  const iterator = iterable[Symbol.asyncIterator]();
  (async () => {
    try {
      for (;;) {
        const { done, value } = await iterator.next();
        if (done) break;
        sink.next(value);
      }
      sink.complete();
    } catch (error) {
      sink.error(reason(error));
    }
  })();
  return () => void iterator.return();
}

function assertSays(errors, words) {
  assert.ok(Array.isArray(errors), `no GraphQL errors: ${oneLine(errors)}`);
  assert.ok(errors.some((message) => message.includes(words)), `not "${words}": ${oneLine(errors)}`);
}

function oneLine(thrown) {
  const isClose = typeof thrown?.code === 'number' && 'reason' in thrown;
  const text = isClose
    ? `closed ${thrown.code} ${thrown.reason}`
    : Array.isArray(thrown) ? thrown.join(', ') : (thrown?.message ?? JSON.stringify(thrown));
  return `${text}`.replace(/\s*\n\s*/g, ' | ');
}
