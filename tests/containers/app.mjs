// The app of a pod, with stock clients on localhost: fetch, and npm's graphql-ws.
//
// usage: node app.mjs serve | job
//   serve   sends requests without pause until two seconds after SIGTERM, like an app that finishes its work;
//           then waits for its sockets to be closed, and prints the results as JSON
//   job     sends one request, and stops countersign before it exits

import { readFileSync } from 'node:fs';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const BASE = 'http://localhost:4100/graphql';
const ADMIN = 'http://127.0.0.1:4101';
const SOCKETS = 4;
const AFTER_SIGTERM = 2_000;
// Longer than `drain.delay` and the two seconds after SIGTERM, so these end in the drain.
const LONG = 8_000;
const POST = 'mutation Post($body: String!) { postMessage(room: "lobby", body: $body) { id body } }';

const token = process.env.TOKEN_FILE && readFileSync(process.env.TOKEN_FILE, 'utf8').trim();
const saw = { answered: 0, failed: [], afterSigterm: 0, events: [], closes: [] };
let sigterm = null;
process.on('SIGTERM', () => { sigterm = Date.now(); });
setTimeout(() => end('it took more than two minutes'), 120_000).unref();

await started();
if (process.argv[2] === 'job') await job();
else await serve();

/** Waits until countersign, the other container of the pod, listens. */
async function started() {
  for (;;) {
    try {
      if ((await fetch(`${ADMIN}/startupz`)).ok) return;
    } catch (error) {
      if (error.cause?.code !== 'ECONNREFUSED') throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function job() {
  const answer = await post('{ rooms { id } }');
  console.log(JSON.stringify(answer.data.rooms));
  const quit = await fetch(`${ADMIN}/quitquitquit`, { method: 'POST' });
  console.log('quitquitquit:', quit.status);
  process.exit(quit.ok ? 0 : 1);
}

async function serve() {
  const sockets = Array.from({ length: SOCKETS }, (_, n) => socket(n));
  const working = [
    loop(() => post(POST, { body: 'by http' })),
    loop(() => post('{ slow(ms: 300) }')),
    loop((n) => once(sockets[n % SOCKETS].client, '{ slow(ms: 50) }')),
    // Keeps requests in flight all the time, over HTTP and over the socket.
    ...[0, 1].flatMap((n) => [
      loop(() => post(`{ slow(ms: ${LONG}) }`), n * LONG / 2),
      loop(() => once(sockets[n].client, `{ slow(ms: ${LONG}) }`), n * LONG / 2),
    ]),
  ];
  await until(() => saw.answered > 50 && saw.events.every((count) => count > 5));
  console.log('working');
  await Promise.all(working);
  await until(() => saw.closes.length === SOCKETS);
  end();
}

function socket(n) {
  saw.events[n] = 0;
  const client = createClient({
    url: BASE.replace('http', 'ws'),
    webSocketImpl: WebSocket,
    connectionParams: token && { authorization: `Bearer ${token}` },
    lazyCloseTimeout: 60_000,
    retryAttempts: 0,
    on: { closed: (event) => saw.closes.push(event.code) },
  });
  client.subscribe(
    { query: 'subscription { onMessage { id body } }' },
    {
      next: ({ data }) => { if (data.onMessage.id) saw.events[n] += 1; },
      // The close, which `closes` records; everything else is a failure.
      error: (error) => { if (error.code === undefined) fail(error); },
      complete: () => {},
    },
  );
  return { client };
}

async function loop(ask, wait = 0) {
  await new Promise((resolve) => setTimeout(resolve, wait));
  for (let n = 0; sigterm === null || Date.now() < sigterm + AFTER_SIGTERM; n += 1) {
    const begun = Date.now();
    try {
      const { errors } = await ask(n);
      if (errors) throw errors;
      saw.answered += 1;
      if (sigterm !== null && begun > sigterm) saw.afterSigterm += 1;
    } catch (error) {
      fail(error);
    }
  }
}

async function post(query, variables) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(BASE, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function once(client, query) {
  for await (const answer of client.iterate({ query })) return answer;
  throw new Error('completed without an answer');
}

function fail(error) {
  const when = sigterm === null ? 'before SIGTERM' : `${Date.now() - sigterm} ms after SIGTERM`;
  const what = error.cause ?? error;
  saw.failed.push(`${when}: ${what.code ?? ''} ${what.reason ?? what.message ?? JSON.stringify(what)}`);
  // Without retries: the first close is sufficient.
  if (saw.failed.length > 20) end('too many requests failed');
}

async function until(is) {
  while (!is()) await new Promise((resolve) => setTimeout(resolve, 50));
}

function end(why) {
  console.log(JSON.stringify({ ...saw, why }));
  process.exit(why ? 1 : 0);
}
