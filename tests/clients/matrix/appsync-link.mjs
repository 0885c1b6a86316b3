// AWS's links for Apollo Client, with IAM, composed as in their README: over plain HTTP to an endpoint
// outside AWS, and with the option `proxy`. The keys are those of the emulator's demo; countersign
// replaces the signatures that are made with them.

import { createRequire } from 'node:module';
import { assert, matrix, messages } from './cells.mjs';

// The ESM build of aws-appsync-auth-link 4.0.2 cannot sign in Node.js.
const require = createRequire(import.meta.url);
const { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } = require('@apollo/client');
const { AUTH_TYPE, createAuthLink } = require('aws-appsync-auth-link');
const { createSubscriptionHandshakeLink } = require('aws-appsync-subscription-link');

const APPSYNC = 'https://aaaaaaaaaaaaaaaaaaaaaaaaaa.appsync-api.us-east-1.amazonaws.com/graphql';
const REGION = 'us-east-1';
const AUTH = {
  type: AUTH_TYPE.AWS_IAM,
  credentials: {
    accessKeyId: 'AKIDEXAMPLE',
    secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
    sessionToken: 'AQoDYXdzEXAMPLETOKEN==',
  },
};

await matrix({
  'appsync-link': ({ http, direct }) => make(http, { url: http }, direct),
  'appsync-link-proxy': ({ http }) => make(http, { url: APPSYNC, proxy: { url: http } }),
});

function make(http, where, direct) {
  const options = { ...where, region: REGION, auth: AUTH };
  const client = new ApolloClient({
    link: ApolloLink.from([
      createAuthLink(options),
      createSubscriptionHandshakeLink(options, new HttpLink({ uri: http })),
    ]),
    cache: new InMemoryCache(),
    // By default Apollo Client adds an extension after the link has signed the request.
    enhancedClientAwareness: direct ? { transport: false } : undefined,
    defaultOptions: { query: { fetchPolicy: 'network-only' } },
  });
  return {
    oneSocket: true,
    run: async ({ query, variables }) => {
      const document = gql(query);
      const isMutation = document.definitions[0].operation === 'mutation';
      try {
        const { data } = isMutation
          ? await client.mutate({ mutation: document, variables })
          : await client.query({ query: document, variables });
        return { data };
      } catch (error) {
        if (!CombinedGraphQLErrors.is(error)) throw error;
        return { errors: messages(error.errors) };
      }
    },
    subscribe: ({ query, variables }, sink) => {
      const end = (error) => sink.error(reason(error));
      const subscription = client.subscribe({ query: gql(query), variables, fetchPolicy: 'no-cache' }).subscribe({
        next: ({ data, error }) => (error ? end(error) : sink.next({ data })),
        error: end,
        complete: () => sink.complete(),
      });
      return () => subscription.unsubscribe();
    },
    close: () => client.stop(),
  };
}

/** The link passes {errors} where Apollo Client expects an error; Apollo keeps it as the cause. */
function reason(error) {
  const { errors } = error?.errors ? error : (error?.cause ?? {});
  return errors ? messages(errors) : error;
}
