// @apollo/client with each of its transports: https://www.apollographql.com/docs/react

import { createHash } from 'node:crypto';
import {
  ApolloClient,
  CombinedGraphQLErrors,
  HttpLink,
  InMemoryCache,
  UnconventionalError,
  gql,
} from '@apollo/client';
import { BatchHttpLink } from '@apollo/client/link/batch-http';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { WebSocketLink } from '@apollo/client/link/ws';
import { createClient } from 'graphql-ws';
import legacy from 'subscriptions-transport-ws';
import { CountedSocket, ECHO, assert, matrix, messages } from './cells.mjs';

await matrix({
  'apollo-multipart': ({ http }) => make(new HttpLink({ uri: http })),

  'apollo-graphql-ws': ({ ws }) => {
    const client = createClient({ url: ws });
    return { ...make(new GraphQLWsLink(client), () => client.dispose()), retries: true, oneSocket: true };
  },

  'apollo-websocket-link': ({ ws }) => {
    const client = new legacy.SubscriptionClient(ws, { reconnect: true, lazy: true }, CountedSocket);
    return { ...make(new WebSocketLink(client), () => client.close()), retries: true, oneSocket: true };
  },

  'apollo-batch': ({ http }) => {
    const sent = [];
    const link = new BatchHttpLink({ uri: http, fetch: recording(sent), batchMax: 10, batchInterval: 50 });
    const several = async (cell) => {
      sent.length = 0;
      const texts = ['one', 'two', 'three', 'four', 'five'];
      const answers = await Promise.all(texts.map((text) => cell.data(ECHO, { text })));
      assert.deepEqual(answers.map(({ said }) => said), texts);
      assert.deepEqual(sent.map((body) => body.length), [5], 'operations by request');
    };
    return { ...make(link), also: { query: several } };
  },

  'apollo-apq': ({ http }) => {
    const sent = [];
    const sha256 = (text) => createHash('sha256').update(text).digest('hex');
    const link = new PersistedQueryLink({ sha256 }).concat(new HttpLink({ uri: http, fetch: recording(sent) }));
    const fellBack = () => {
      assert.ok(sent[0].extensions.persistedQuery.sha256Hash, 'the first request has a hash');
      assert.equal(sent[0].query, undefined, 'the first request has no query');
      assert.ok(sent[1].query, 'the second request has a query');
    };
    return { ...make(link), also: { query: fellBack, mutation: fellBack } };
  },
});

function make(link, close = () => {}) {
  const client = new ApolloClient({
    link,
    cache: new InMemoryCache(),
    defaultOptions: { query: { fetchPolicy: 'network-only' } },
  });
  return {
    run: async ({ query, variables }) => {
      const document = gql(query);
      const isMutation = document.definitions[0].operation === 'mutation';
      try {
        const { data } = isMutation
          ? await client.mutate({ mutation: document, variables })
          : await client.query({ query: document, variables });
        return { data };
      } catch (error) {
        return { errors: reason(error, true) };
      }
    },
    subscribe: ({ query, variables }, sink) => {
      const subscription = client.subscribe({ query: gql(query), variables, fetchPolicy: 'no-cache' }).subscribe({
        next: ({ data, error }) => (error ? sink.error(reason(error)) : sink.next({ data })),
        error: (error) => sink.error(reason(error)),
        complete: () => sink.complete(),
      });
      return () => subscription.unsubscribe();
    },
    close: async () => {
      client.stop();
      await close();
    },
  };
}

function reason(error, orThrow = false) {
  if (CombinedGraphQLErrors.is(error)) return messages(error.errors);
  // WebSocketLink passes on a legacy `error` as the object that it received.
  if (UnconventionalError.is(error) && error.cause?.message) return messages([error.cause]);
  if (orThrow) throw error;
  return error;
}

/** Records the requests that an HTTP link sends. */
function recording(sent) {
  return (url, options) => {
    sent.push(JSON.parse(options.body));
    return fetch(url, options);
  };
}
