// npm graphql-ws with its defaults: https://the-guild.dev/graphql/ws

import { createClient } from 'graphql-ws';
import { matrix, messages } from './cells.mjs';

await matrix({
  'graphql-ws': ({ ws }) => {
    const client = createClient({ url: ws });
    return {
      retries: true,
      oneSocket: true,
      run: (operation) =>
        new Promise((resolve, reject) => {
          client.subscribe(payload(operation), {
            next: ({ data, errors }) => resolve({ data, errors: messages(errors) }),
            error: (error) => (Array.isArray(error) ? resolve({ errors: messages(error) }) : reject(error)),
            complete: () => reject(new Error('completed without a result')),
          });
        }),
      subscribe: (operation, sink) =>
        client.subscribe(payload(operation), {
          next: ({ data, errors }) => sink.next({ data, errors: messages(errors) }),
          error: (error) => sink.error(Array.isArray(error) ? messages(error) : error),
          complete: () => sink.complete(),
        }),
      close: () => client.dispose(),
    };
  },
});

function payload({ name, query, variables }) {
  return { query, operationName: name, variables };
}
