// @urql/core with each of its transports: https://nearform.com/open-source/urql/docs

import { Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient } from 'graphql-ws';
import { pipe, subscribe } from 'wonka';
import { assert, matrix, messages } from './cells.mjs';

await matrix({
  'urql-get': ({ http }) => byFetch(http, 'GET', {}),
  'urql-post': ({ http }) => byFetch(http, 'POST', { preferGetMethod: false }),
  'urql-sse': ({ http }) => make({ url: http, exchanges: [fetchExchange], fetchSubscriptions: true }),
  'urql-graphql-ws': ({ http, ws }) => {
    const socket = createClient({ url: ws });
    const forward = ({ query, variables }) => ({
      subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
    });
    const exchange = subscriptionExchange({ forwardSubscription: forward, enableAllOperations: true });
    return { ...make({ url: http, exchanges: [exchange] }, () => socket.dispose()), retries: true, oneSocket: true };
  },
});

/** Sends queries with `method`; mutations are always posted. */
function byFetch(url, method, options) {
  const methods = [];
  const recording = (address, request) => {
    methods.push(request.method);
    return fetch(address, request);
  };
  const allBy = (wanted) => () => assert.deepEqual([...new Set(methods)], [wanted]);
  return {
    ...make({ url, exchanges: [fetchExchange], fetch: recording, ...options }),
    also: { query: allBy(method), mutation: allBy('POST') },
  };
}

function make(options, close) {
  const client = new Client(options);
  return {
    run: async ({ query, variables = {} }) => {
      const send = query.startsWith('mutation') ? client.mutation(query, variables) : client.query(query, variables);
      const { data, error } = await send.toPromise();
      if (error?.networkError) throw error;
      return { data, errors: messages(error?.graphQLErrors) };
    },
    subscribe: ({ query, variables }, sink) => {
      const { unsubscribe } = pipe(
        client.subscription(query, variables),
        subscribe(({ data, error, hasNext }) => {
          if (error?.networkError) sink.error(error.networkError);
          else if (error) sink.error(messages(error.graphQLErrors));
          else if (data) sink.next({ data });
          if (!hasNext) sink.complete();
        }),
      );
      return unsubscribe;
    },
    close,
  };
}
