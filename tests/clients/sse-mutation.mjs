// Runs one mutation with graphql-sse and its retries, and prints each step.
//
// usage: node sse-mutation.mjs URL ROOM BODY

import process from 'node:process';
import { createClient } from 'graphql-sse';

const [url, room, body] = process.argv.slice(2);
const client = createClient({ url, retryAttempts: 3 });
const query = `mutation { slowPost(room: "${room}", body: "${body}", ms: 0) { body } }`;
client.subscribe({ query }, {
  next: (result) => console.log('next', JSON.stringify(result)),
  error: (error) => console.log('error', error?.message ?? JSON.stringify(error)),
  complete: () => console.log('complete'),
});
