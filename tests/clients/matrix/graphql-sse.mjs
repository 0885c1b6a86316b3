// npm graphql-sse with its defaults, and its other mode: https://the-guild.dev/graphql/sse

import { createClient } from 'graphql-sse';
import { matrix, messages } from './cells.mjs';

await matrix({
  'graphql-sse': ({ http }) => make(createClient({ url: http })),
  'graphql-sse-single': ({ http }) => make(createClient({ url: http, singleConnection: true })),
});

function make(client) {
  return {
    retries: true,
    run: (operation) =>
      new Promise((resolve, reject) => {
        client.subscribe(payload(operation), {
          next: ({ data, errors }) => resolve({ data, errors: messages(errors) }),
          error: reject,
          complete: () => reject(new Error('completed without a result')),
        });
      }),
    subscribe: (operation, sink) =>
      client.subscribe(payload(operation), {
        next: ({ data, errors }) => sink.next({ data, errors: messages(errors) }),
        error: (error) => sink.error(error),
        complete: () => sink.complete(),
      }),
    close: () => client.dispose(),
  };
}

function payload({ name, query, variables }) {
  return { query, operationName: name, variables };
}
