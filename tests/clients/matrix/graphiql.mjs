// The fetcher of @graphiql/toolkit, which GraphiQL runs in a browser. It opens a socket for each
// subscription.

import { createRequire } from 'node:module';
import { buildClientSchema, getIntrospectionQuery, parse } from 'graphql';
import { assert, drive, matrix, messages } from './cells.mjs';

// Its ESM build has imports that Node.js does not resolve.
const { createGraphiQLFetcher } = createRequire(import.meta.url)('@graphiql/toolkit');
// A global that browsers have, but Node.js before 23 does not.
globalThis.CloseEvent ??= class CloseEvent extends Event {};

await matrix({
  graphiql: ({ http, ws }) => {
    const fetcher = createGraphiQLFetcher({ url: http, subscriptionUrl: ws, fetch });
    const send = ({ name, query, variables }) =>
      fetcher({ query, variables, operationName: name }, { documentAST: parse(query) });
    const introspection = async () => {
      const { data } = await first(await send({ name: 'IntrospectionQuery', query: getIntrospectionQuery() }));
      const { onMessage } = buildClientSchema(data).getSubscriptionType().getFields();
      assert.equal(onMessage.args[0].name, 'room');
    };
    return {
      retries: true,
      // Besides the rejection that the application sees, the iterator leaves an unhandled one.
      forgives: Array.isArray,
      run: async (operation) => result(await first(await send(operation))),
      subscribe: (operation, sink) => {
        let stopped = false;
        let stop = () => {};
        send(operation).then((events) => {
          if (stopped) return;
          stop = drive(
            events,
            { ...sink, next: (event) => sink.next(result(event)) },
            (error) => (Array.isArray(error) ? messages(error) : error),
          );
        }, sink.error);
        return () => {
          stopped = true;
          stop();
        };
      },
      also: { query: introspection },
    };
  },
});

function result({ data, errors }) {
  return { data, errors: messages(errors) };
}

async function first(answer) {
  if (!answer[Symbol.asyncIterator]) return answer;
  for await (const each of answer) return Array.isArray(each) ? each[0] : each;
  throw new Error('no answer');
}
