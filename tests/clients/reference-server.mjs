// Runs the reference servers of the protocols, with the emulator's chat: graphql-ws's own over `ws`,
// subscriptions-transport-ws, and graphql-sse's handler. Prints their URLs and serves until killed.
//
// usage: node reference-server.mjs
//   ws     ws://…/graphql        by subprotocol
//   sse    http://…/sse          graphql-sse, both modes
//   http   http://…/graphql      GraphQL over HTTP, only to cause events
//   state  http://…/state        live subscriptions, in the emulator's format

import http from 'node:http';
import process from 'node:process';
import { GraphQLError, buildSchema, execute, graphql, parse, subscribe } from 'graphql';
import { createHandler } from 'graphql-sse/lib/use/http';
import { useServer } from 'graphql-ws/use/ws';
import subscriptionsTransport from 'subscriptions-transport-ws';
import { WebSocketServer } from 'ws';

const schema = buildSchema(`
  type Room { id: ID! name: String! }
  type Message { id: ID! room: ID! body: String! author: String }
  type Query {
    rooms: [Room!]! echo(text: String!): String! slow(ms: Int!): String! large(bytes: Int!): String!
    failing: String failingHard: String!
  }
  type Mutation {
    createRoom(name: String!): Room!
    postMessage(room: ID!, body: String!, author: String): Message!
  }
  type Subscription { onMessage(room: ID, author: String): Message onCreateRoom: Room }
`);

const rooms = [{ id: 'lobby', name: 'Lobby' }];
const listeners = new Set();
let posted = 0;

function publish(field, event) {
  for (const listener of listeners) if (listener.field === field && listener.wants(event)) listener.push(event);
}

/** Yields the events of a field until its reader stops. */
function events(field, wants) {
  const queue = [];
  let wake;
  let isDone = false;
  const listener = { field, wants, push: (event) => (queue.push({ [field]: event }), wake?.()) };
  listeners.add(listener);
  const end = () => {
    isDone = true;
    listeners.delete(listener);
    wake?.();
  };
  return {
    async next() {
      while (queue.length === 0 && !isDone) await new Promise((resolve) => (wake = resolve));
      return isDone ? { value: undefined, done: true } : { value: queue.shift(), done: false };
    },
    async return() {
      end();
      return { value: undefined, done: true };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

const fail = () => {
  throw new GraphQLError('This field always fails.');
};
Object.assign(schema.getSubscriptionType().getFields().onMessage, {
  subscribe: (_, { room }) => events('onMessage', (message) => room == null || message.room === room),
});
Object.assign(schema.getSubscriptionType().getFields().onCreateRoom, {
  subscribe: () => events('onCreateRoom', () => true),
});
const rootValue = {
  rooms,
  echo: ({ text }) => text,
  slow: ({ ms }) => new Promise((resolve) => setTimeout(() => resolve(`${ms} ms`), ms)),
  large: ({ bytes }) => 'x'.repeat(bytes),
  failing: fail,
  failingHard: fail,
  createRoom: ({ name }) => {
    const room = { id: `room-${rooms.length}`, name };
    rooms.push(room);
    publish('onCreateRoom', room);
    return room;
  },
  postMessage: ({ room, body, author }) => {
    const message = { id: String((posted += 1)), room, body, author };
    publish('onMessage', message);
    return message;
  },
};
const resolvers = { Query: schema.getQueryType(), Mutation: schema.getMutationType() };
for (const type of Object.values(resolvers)) {
  for (const [name, field] of Object.entries(type.getFields())) {
    field.resolve = (_, args) => (typeof rootValue[name] === 'function' ? rootValue[name](args) : rootValue[name]);
  }
}

// graphql-sse does not report writes to a client that has disconnected.
for (const event of ['unhandledRejection', 'uncaughtException']) {
  process.on(event, (error) => {
    if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') throw error;
  });
}

const sse = createHandler({ schema });
const server = http.createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname === '/sse') return sse(request, response);
  const answer = (json) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(json));
  };
  if (pathname === '/state') return answer({ realtime: { subscriptions: listeners.size }, requests: { refused: 0 } });
  let body = '';
  for await (const piece of request) body += piece;
  const { query, variables } = JSON.parse(body);
  return answer(await graphql({ schema, source: query, variableValues: variables }));
});

const modern = new WebSocketServer({ noServer: true, maxPayload: 1024 * 1024 });
useServer({ schema, connectionInitWaitTimeout: 2000 }, modern);
const { SubscriptionServer } = subscriptionsTransport;
const legacy = new WebSocketServer({ noServer: true });
SubscriptionServer.create({ schema, execute, subscribe, parse, keepAlive: 1000 }, legacy);
server.on('upgrade', (request, socket, head) => {
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  const isModern = offered.includes('graphql-transport-ws') || !offered.includes('graphql-ws');
  const chosen = isModern ? modern : legacy;
  chosen.handleUpgrade(request, socket, head, (client) => chosen.emit('connection', client, request));
});
server.listen(0, '127.0.0.1', () => {
  const at = `127.0.0.1:${server.address().port}`;
  console.log(`ws://${at}/graphql http://${at}/sse http://${at}/graphql http://${at}`);
});
