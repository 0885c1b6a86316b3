// npm subscriptions-transport-ws, unmaintained but still used by many applications.

import legacy from 'subscriptions-transport-ws';
import { CountedSocket, matrix, messages } from './cells.mjs';

await matrix({
  'subscriptions-transport-ws': ({ ws }) => {
    const client = new legacy.SubscriptionClient(ws, { reconnect: true, lazy: true }, CountedSocket);
    return {
      retries: true,
      oneSocket: true,
      run: (operation) =>
        new Promise((resolve, reject) => {
          request(client, operation).subscribe({
            next: ({ data, errors }) => resolve({ data, errors: messages(errors) }),
            error: (error) => resolve({ errors: [error.message] }),
            complete: () => reject(new Error('completed without a result')),
          });
        }),
      subscribe: (operation, sink) => {
        const { unsubscribe } = request(client, operation).subscribe({
          next: ({ data, errors }) => sink.next({ data, errors: messages(errors) }),
          error: (error) => sink.error([error.message]),
          complete: () => sink.complete(),
        });
        return unsubscribe;
      },
      close: () => client.close(),
    };
  },
});

function request(client, { name, query, variables }) {
  return client.request({ query, operationName: name, variables });
}
