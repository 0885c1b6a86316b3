// npm graphql-request: https://github.com/graffle-js/graphql-request

import { ClientError, GraphQLClient } from 'graphql-request';
import { matrix, messages } from './cells.mjs';

await matrix({
  'graphql-request': ({ http }) => {
    const client = new GraphQLClient(http);
    return {
      run: async ({ query, variables }) => {
        try {
          return { data: await client.request(query, variables) };
        } catch (error) {
          if (!(error instanceof ClientError)) throw error;
          return { errors: messages(error.response.errors) };
        }
      },
    };
  },
});
