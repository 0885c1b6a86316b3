// Runs a query, a subscription, and a mutation whose event the subscription receives, over one WebSocket.
//
// usage: node client.mjs URL
//   URL   ws://HOST:PORT/graphql, or ws+unix:/PATH:/graphql
//   The environment variable TOKEN_FILE names a file with a token, if countersign requires one.

import { readFileSync } from 'node:fs';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const [url] = process.argv.slice(2);
const tokenFile = process.env.TOKEN_FILE;
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: tokenFile && { authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}` },
  // countersign may not be listening yet at the first attempt.
  shouldRetry: () => true,
  retryAttempts: 20,
  retryWait: () => new Promise((resolve) => setTimeout(resolve, 500)),
});

setTimeout(() => {
  console.error('timed out after 30 s');
  process.exit(1);
}, 30_000).unref();

const { data: { rooms } } = await once('{ rooms { id name } }');
console.log('query:', JSON.stringify(rooms));

const body = `hello from ${process.pid} at ${Date.now()}`;
const POST = 'mutation Post($body: String!) { postMessage(room: "lobby", body: $body) { id body } }';
// The protocol does not acknowledge a subscription, so this posts until the event arrives.
const posting = setInterval(() => once(POST, { body }).catch(fail), 200);
for await (const { data } of client.iterate({ query: 'subscription { onMessage { id body } }' })) {
  if (data.onMessage.body !== body) continue;
  console.log('subscription:', JSON.stringify(data.onMessage));
  break;
}
clearInterval(posting);
await client.dispose();

async function once(query, variables) {
  for await (const answer of client.iterate({ query, variables })) return answer;
}

function fail(error) {
  console.error(error);
  process.exit(1);
}
