// npm eventsource, a browser's EventSource: it can only send GET.

import { EventSource } from 'eventsource';
import { matrix, messages } from './cells.mjs';

await matrix({
  eventsource: ({ http }) => ({
    retries: true,
    run: (operation) =>
      new Promise((resolve, reject) => {
        const stop = open(http, operation, { next: settle(resolve), error: settle(reject), complete: settle(reject) });
        function settle(how) {
          return (value) => {
            stop();
            how(value);
          };
        }
      }),
    subscribe: (operation, sink) => open(http, operation, sink),
  }),
});

function open(http, { name, query, variables = {} }, sink) {
  const url = new URL(http);
  url.search = new URLSearchParams({ query, operationName: name, variables: JSON.stringify(variables) });
  const source = new EventSource(url);
  source.addEventListener('next', ({ data }) => {
    const result = JSON.parse(data);
    sink.next({ data: result.data, errors: messages(result.errors) });
  });
  source.addEventListener('complete', () => {
    source.close();
    sink.complete();
  });
  source.addEventListener('error', (event) => {
    // Otherwise it connects again by itself.
    if (source.readyState === source.CLOSED) sink.error(new Error(event.message ?? 'closed'));
  });
  return () => source.close();
}
