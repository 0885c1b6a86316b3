// Runs the npm graphql-ws client, with retries for every failure, and keeps a mutation in flight while the
// Rust test disrupts the connection. That test reads from the emulator whether the mutation ran once.
//
// usage: node exactly-once.mjs URL CONTROL BODY
//   stdout, one line each: room <id> | connected | subscribed | in-flight | closed <code>
//                          event <json> | result <json> | error <json>
//   stdin: quit (the end of stdin counts as quit)
//   The Rust test turns the emulator's gate off; this script turns it on before it posts.

import { createInterface } from 'node:readline';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { Control, within } from './check.mjs';

const [url, controlUrl, body] = process.argv.slice(2);
if (!url || !controlUrl || body === undefined) {
  console.error('usage: node exactly-once.mjs URL CONTROL BODY');
  process.exit(2);
}
const say = (word, value) => console.log(value === undefined ? word : `${word} ${value}`);
setTimeout(() => {
  console.error('exactly-once: no quit within 120 s');
  process.exit(1);
}, 120_000).unref();
createInterface({ input: process.stdin })
  .on('line', (line) => { if (line.trim() === 'quit') process.exit(0); })
  .on('close', () => process.exit(0));

const control = new Control(controlUrl);
const before = await control.state();
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  lazyCloseTimeout: 60_000,
  retryAttempts: 10,
  shouldRetry: () => true,
  retryWait: (retries) => new Promise((resolve) => setTimeout(resolve, 50 + 25 * retries)),
  on: {
    connected: () => say('connected'),
    closed: (event) => say('closed', event.code ?? 'without-code'),
  },
});

const { createRoom } = await first('mutation { createRoom(name: "exactly once") { id } }');
say('room', createRoom.id);

client.subscribe(
  { query: 'subscription S($room: ID) { onMessage(room: $room) { id body } }', variables: { room: createRoom.id } },
  { next: (event) => say('event', JSON.stringify(event)), error: failed, complete() {} },
);
await control.until('the subscription', ({ realtime }) => realtime.subscriptions === before.realtime.subscriptions + 1);
say('subscribed');

await control.switch({ gate: true });
client.subscribe(
  {
    query: 'mutation Post($room: ID!, $body: String!) { slowPost(room: $room, body: $body, ms: 0) { id body } }',
    variables: { room: createRoom.id, body },
  },
  { next: (result) => say('result', JSON.stringify(result)), error: failed, complete() {} },
);
await control.until('one mutation at the gate', ({ mutations }) => mutations[`${createRoom.id}/${body}`] === 1);
say('in-flight');

async function first(query) {
  const results = client.iterate({ query });
  const { value } = await within(results.next(), 10_000, 'the result');
  if (value?.errors) throw new Error(JSON.stringify(value.errors));
  return value.data;
}

function failed(error) {
  const told = Array.isArray(error) ? error : { code: error?.code, reason: error?.reason, message: error?.message };
  say('error', JSON.stringify(told));
}
