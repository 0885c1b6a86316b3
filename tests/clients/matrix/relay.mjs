// relay-runtime over fetch, with graphql-ws or graphql-sse for subscriptions: https://relay.dev/docs
// The artifacts below are the output of relay-compiler for the operations.

import { createClient as createSse } from 'graphql-sse';
import { createClient as createWs } from 'graphql-ws';
import relay from 'relay-runtime';
import { CREATE, ECHO, FAILING, ON_AUTHOR, ON_MESSAGE, POST, REFUSED, ROOMS, matrix, messages } from './cells.mjs';

const { Environment, Network, Observable, RecordSource, Store, commitMutation, fetchQuery, requestSubscription } = relay;

const MESSAGE = ['id', 'room', 'body', 'author', 'sentAt'];
const ARTIFACTS = new Map(
  [
    artifact(ROOMS, [], [linked('rooms', 'Room', ['id', 'name'], { plural: true })]),
    artifact(ECHO, ['text'], [{ ...scalar('echo', ['text']), alias: 'said' }]),
    artifact(FAILING, [], [scalar('failingHard')]),
    artifact(CREATE, ['name'], [linked('createRoom', 'Room', ['id', 'name'], { args: ['name'] })]),
    artifact(POST, ['room', 'body', 'author'], [
      linked('postMessage', 'Message', MESSAGE, { args: ['author', 'body', 'room'] }),
    ]),
    artifact(ON_MESSAGE, ['room'], [linked('onMessage', 'Message', MESSAGE, { args: ['room'] })]),
    artifact(ON_AUTHOR, ['room', 'author'], [linked('onMessage', 'Message', MESSAGE, { args: ['author', 'room'] })]),
    artifact(REFUSED, [], [linked('onNothing', 'Message', ['id'])]),
  ].map((each) => [each.params.name, each]),
);

await matrix({
  'relay-graphql-ws': ({ http, ws }) => ({ ...make(http, createWs({ url: ws })), oneSocket: true }),
  'relay-graphql-sse': ({ http }) => make(http, createSse({ url: http })),
});

function make(http, streams) {
  const send = async ({ name, text }, variables) => {
    const response = await fetch(http, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({ query: text, operationName: name, variables }),
    });
    return response.json();
  };
  const stream = ({ name, text }, variables) =>
    Observable.create((sink) => streams.subscribe({ query: text, operationName: name, variables }, sink));
  const environment = new Environment({
    network: Network.create(send, stream),
    store: new Store(new RecordSource()),
  });
  return {
    retries: true,
    run: async ({ name, variables = {} }) => {
      const request = ARTIFACTS.get(name);
      try {
        return await execute(environment, request, variables);
      } catch (error) {
        // Relay's message for a response without data; `source` has the response.
        if (!error.source?.errors) throw error;
        return { errors: messages(error.source.errors) };
      }
    },
    subscribe: ({ name, variables }, sink) => {
      const { dispose } = requestSubscription(environment, {
        subscription: ARTIFACTS.get(name),
        variables,
        onNext: (data) => sink.next({ data }),
        onError: (error) => sink.error(reason(error)),
        onCompleted: () => sink.complete(),
      });
      return dispose;
    },
    close: () => streams.dispose(),
  };
}

async function execute(environment, request, variables) {
  if (request.params.operationKind === 'query') {
    return { data: await fetchQuery(environment, request, variables).toPromise() };
  }
  return new Promise((resolve, reject) => {
    commitMutation(environment, {
      mutation: request,
      variables,
      onCompleted: (data, errors) => resolve({ data, errors: messages(errors ?? undefined) }),
      onError: reject,
    });
  });
}

/** graphql-ws passes on a list; graphql-sse a result, which Relay converts to an error. */
function reason(error) {
  if (Array.isArray(error)) return messages(error);
  return error.source?.errors ? messages(error.source.errors) : error;
}

function artifact({ name, query }, variables, selections) {
  const operationKind = query.trim().split(' ')[0];
  const argumentDefinitions = variables.map((variable) => ({
    defaultValue: null,
    kind: 'LocalArgument',
    name: variable,
  }));
  const type = operationKind[0].toUpperCase() + operationKind.slice(1);
  return {
    kind: 'Request',
    fragment: { argumentDefinitions, kind: 'Fragment', metadata: null, name, selections, type, abstractKey: null },
    operation: { argumentDefinitions, kind: 'Operation', name, selections },
    params: { cacheID: name, id: null, metadata: {}, name, operationKind, text: query },
  };
}

function linked(name, concreteType, fields, { args = [], plural = false } = {}) {
  const selections = fields.map((field) => scalar(field));
  return { ...field('LinkedField', name, args), concreteType, plural, selections };
}

function scalar(name, args = []) {
  return field('ScalarField', name, args);
}

function field(kind, name, args) {
  return {
    alias: null,
    args: args.length === 0 ? null : args.map((arg) => ({ kind: 'Variable', name: arg, variableName: arg })),
    kind,
    name,
    storageKey: null,
  };
}
