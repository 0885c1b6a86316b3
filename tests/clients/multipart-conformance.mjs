// Checks the wire rules of Apollo's multipart subscriptions over HTTP, and how `Accept` selects the form of
// a response, with raw requests.
//
// usage: node multipart-conformance.mjs URL --control CONTROL [--pid PID]
//   URL        http://… the GraphQL endpoint
//   --control  http://… the emulator's control address
//   --pid      the endpoint's process: the last check sends it SIGTERM

import process from 'node:process';
import { assert, assertErrors, check, finish } from './check.mjs';
import { JSON_TYPE, OFF, ON_MESSAGE, exchange, live, newRoom, post, say, sleep, suite, switched, withQuery } from './wire.mjs';

const { url, control, pid } = suite('node multipart-conformance.mjs URL --control CONTROL [--pid PID]', {
  more: { pid: '' },
});
await control.switch(OFF);

const APOLLO = {
  accept: 'multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9',
};
const ROOMS = 'subscription { onCreateRoom { name } }';
const DELIMITER = '\r\n--graphql';
const part = (json) => `\r\ncontent-type: application/json\r\n\r\n${json}${DELIMITER}`;
const HEARTBEAT = part('{}');
const END = '--\r\n';
const opened = [];

// --- framing ---

await check('200 and the content type, with boundary and subscriptionSpec', async () => {
  const response = await subscribed();
  assert.equal(response.status, 200);
  const type = response.headers['content-type'].replaceAll(' ', '');
  assert.equal(type, 'multipart/mixed;boundary="graphql";subscriptionSpec=1.0');
  await left(response);
});

await check('no-cache, not compressed', async () => {
  const response = await subscribed({ 'accept-encoding': 'gzip, br' });
  assert.match(response.headers['cache-control'], /no-cache/);
  assert.equal(response.headers['content-encoding'], undefined);
  await left(response);
});

await check('the first delimiter comes with the head', async () => {
  const response = await subscribed();
  await response.until('--graphql');
  assert.match(response.so_far(), /^(\r\n)?--graphql/);
  await left(response);
});

await check('one part per event, byte for byte, each with the delimiter that ends it', async () => {
  const room = await newRoom(url);
  const response = await subscribed({}, { query: ON_MESSAGE, variables: { r: room } });
  await response.until('--graphql');
  let expected = '';
  for (const body of ['one', 'two', 'ü 😀']) {
    await say(url, room, body);
    expected += part(JSON.stringify({ payload: { data: { onMessage: { body } } } }));
    // Everything up to the delimiter arrives before the next event exists.
    await response.until((text) => events(text) === expected);
    assert.ok(response.so_far().endsWith(DELIMITER));
  }
  await left(response);
});

await check('a part and its delimiter are written at once', async () => {
  const room = await newRoom(url);
  const response = await subscribed({}, { query: ON_MESSAGE, variables: { r: room } });
  await response.until('--graphql');
  await say(url, room, 'one');
  await response.until('"one"');
  const piece = response.pieces.find((text) => text.includes('"one"'));
  assert.ok(piece.endsWith(DELIMITER), JSON.stringify(response.pieces));
  await left(response);
});

await check('line breaks outside of JSON are CRLF', async () => {
  const response = await subscribed();
  await newRoom(url);
  await response.until('"payload"');
  assert.doesNotMatch(response.so_far(), /[^\r]\n|\r[^\n]/);
  await left(response);
});

await check('a heartbeat is {} and comes within 12 s of silence', async () => {
  const response = await subscribed();
  await response.until(DELIMITER);
  await sleep(200);
  const count = (text) => text.split(HEARTBEAT).length;
  const before = count(response.so_far());
  await response.until((text) => count(text) > before, 12_000);
  await left(response);
});

await check('no part but heartbeats while nothing happens', async () => {
  const response = await subscribed();
  await sleep(500);
  assert.equal(events(response.so_far()), '');
  await left(response);
});

await check('the head means that it is live: the next event arrives', async () => {
  const response = await subscribed();
  await newRoom(url);
  await response.until('{"payload":{"data":{"onCreateRoom":{"name":"wire"}}}}');
  await left(response);
});

await check('no head before start_ack', async () => {
  await switched(control, { no_start_ack: true }, async () => {
    const leaving = new AbortController();
    const asked = exchange(url, { method: 'POST', headers: { ...JSON_TYPE, ...APOLLO }, body: { query: ROOMS }, signal: leaving.signal });
    const outcome = await Promise.race([asked.then(() => 'head'), sleep(1000).then(() => 'nothing')]);
    leaving.abort();
    await asked.catch(() => {});
    assert.equal(outcome, 'nothing');
  });
  await live(control, 0);
});

// --- ends ---

await check("upstream's complete: payload null, the closing delimiter, the end; byte for byte", async () => {
  const response = await subscribed();
  await live(control, 1);
  await control.switch({ complete_all: true });
  assert.equal(events(await response.text()), part('{"payload":null}') + END);
});

await check("upstream's error: payload with errors, the closing delimiter, the end", async () => {
  const response = await subscribed();
  await live(control, 1);
  await control.switch({ error_all: true });
  const { payload } = last(await response.text());
  assertErrors(payload.errors);
});

await check('a refused start: 200, payload with errors, the closing delimiter, the end', async () => {
  const refusal = { errors: [{ errorType: 'Unauthorized', message: 'Not Authorized to access onX on type Subscription' }] };
  await switched(control, { refuse_start: JSON.stringify(refusal) }, async () => {
    const response = await post(url, { query: ROOMS }, APOLLO);
    assert.equal(response.status, 200);
    const { payload } = last(await response.text());
    assert.equal(payload.errors[0].message, refusal.errors[0].message);
  });
});

await check('a validation error: payload with errors, the closing delimiter, the end', async () => {
  const response = await post(url, { query: 'subscription { onNothing }' }, APOLLO);
  assert.equal(response.status, 200);
  assertErrors(last(await response.text()).payload.errors);
});

for (const [name, change] of Object.entries({ 'with a close frame': { close_clean: 1000 }, 'without one': { close_all: true } })) {
  await check(`upstream lost ${name}: payload null with errors, the closing delimiter, the end`, async () => {
    const response = await subscribed();
    await live(control, 1);
    await control.switch(change);
    const { payload, errors } = last(await response.text());
    assert.equal(payload, null);
    assertErrors(errors);
  });
}

await check('leaving stops it upstream', async () => {
  const response = await subscribed();
  await live(control, 1);
  response.leave();
  await live(control, 0);
});

await check('pretty-printed events are parts as well', async () => {
  const response = await subscribed();
  await live(control, 1);
  await control.switch({ send_all: '{"id":"$ID",\n "type":"data",\n "payload":{\n  "data": { "onCreateRoom": { "name": "x" } }\n }\n}' });
  await response.until('"x"');
  const [json] = parts(response.so_far()).filter((text) => text !== '{}');
  assert.deepEqual(JSON.parse(json), { payload: { data: { onCreateRoom: { name: 'x' } } } });
  await left(response);
});

await check('a delimiter in the data does not end the part', async () => {
  const room = await newRoom(url);
  const response = await subscribed({}, { query: ON_MESSAGE, variables: { r: room } });
  await response.until('--graphql');
  const body = 'a\r\n--graphql--\r\nb';
  await say(url, room, body);
  await response.until('onMessage');
  const [json] = parts(response.so_far()).filter((text) => text !== '{}');
  assert.equal(JSON.parse(json).payload.data.onMessage.body, body);
  await left(response);
});

// --- Accept selects the form ---

const NEWER = 'application/graphql-response+json';
const SPEC = 'multipart/mixed;subscriptionSpec=1.0';
/** Accept headers of real clients and of cases in between: Accept, form for a query, form for a subscription. */
const FORMS = [
  ['Apollo Client, a query', 'application/graphql-response+json,application/json;q=0.9', NEWER, 406],
  ['Apollo Client, a subscription', APOLLO.accept, NEWER, 'multipart/mixed'],
  ['Apollo Kotlin and iOS, a query', `${NEWER}, application/json`, NEWER, 406],
  ['Apollo Kotlin with @defer', `multipart/mixed;deferSpec=20220824, ${NEWER}, application/json`, NEWER, 406],
  ['Apollo Kotlin, a subscription', `${SPEC}, ${NEWER}, application/json`, NEWER, 'multipart/mixed'],
  ['urql, a query', `${NEWER}, application/graphql+json, application/json, text/event-stream, multipart/mixed`, NEWER, 'text/event-stream'],
  ['urql, a subscription', 'text/event-stream, multipart/mixed', 'text/event-stream', 'text/event-stream'],
  ['graphql-sse', 'text/event-stream', 'text/event-stream', 'text/event-stream'],
  ['GraphiQL', 'application/json, multipart/mixed', 'application/json', 406],
  ['graphql-request', `${NEWER}, application/json`, NEWER, 406],
  ['curl', '*/*', 'application/json', 406],
  ['no Accept', undefined, 'application/json', 406],
  ['a browser', 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'application/json', 406],
  ['multipart wins over SSE', `text/event-stream, ${SPEC}`, 'text/event-stream', 'multipart/mixed'],
  ['subscriptionSpec quoted, with spaces and capitals', 'Multipart/Mixed; boundary="x"; subscriptionSpec="1.0"', 406, 'multipart/mixed'],
  ['only multipart', SPEC, 406, 'multipart/mixed'],
  ['only application/json', 'application/json', 'application/json', 406],
  ['SSE with a quality, behind JSON', 'application/json, text/event-stream;q=0.1', 'application/json', 'text/event-stream'],
  ['SSE refused by q=0', 'application/json, text/event-stream;q=0', 'application/json', 406],
  ['nothing that can be given', 'text/html', 406, 406],
  ['an image', 'image/png', 406, 406],
];
for (const [name, accept, query, subscription] of FORMS) {
  for (const [kind, document, expected] of [['a query', '{ __typename }', query], ['a subscription', ROOMS, subscription]]) {
    await check(`${name} (${accept}): ${kind} is answered ${expected}`, async () => {
      await forms(() => post(url, { query: document }, accept ? { accept } : {}), expected);
    });
  }
  await check(`${name} (${accept}): by GET as by POST`, async () => {
    for (const [document, expected] of [['{ __typename }', query], [ROOMS, subscription]]) {
      await forms(() => exchange(withQuery(url, { query: document }), { headers: accept ? { accept } : {} }), expected);
    }
  });
}

await check('a mutation is answered as a query is', async () => {
  const query = 'mutation { createRoom(name: "form") { id } }';
  await forms(() => post(url, { query }, APOLLO), NEWER);
  await forms(() => post(url, { query }, { accept: 'text/event-stream, multipart/mixed' }), 'text/event-stream');
  await forms(() => post(url, { query }, { accept: '*/*' }), 'application/json');
});

await check('406 says how to subscribe', async () => {
  const response = await post(url, { query: ROOMS }, { accept: 'application/json' });
  const [{ message }] = (await response.json()).errors;
  for (const word of ['text/event-stream', 'multipart/mixed', 'WebSocket']) assert.ok(message.includes(word), message);
});

await check('a query is never answered in parts', async () => {
  const response = await post(url, { query: '{ __typename }' }, { accept: `${SPEC}, application/json` });
  assert.match(response.headers['content-type'], /^application\/json/);
  assert.deepEqual(await response.json(), { data: { __typename: 'Query' } });
});

await check('upstream rejected no signature', async () => {
  assert.doesNotMatch((await control.state()).last_refusal ?? '', /Signature|Unrecognized|Canonical/);
});

if (pid) {
  await check('a drain: payload null with errors, the closing delimiter, the end', async () => {
    const response = await subscribed();
    process.kill(Number(pid), 'SIGTERM');
    const { payload, errors } = last(await response.text());
    assert.equal(payload, null);
    assertErrors(errors);
  });
}

finish();

/** Opens the only subscription; those of a failed check are closed first. */
async function subscribed(headers = {}, body = { query: ROOMS }) {
  for (const earlier of opened.splice(0)) earlier.leave();
  await live(control, 0);
  const response = await post(url, body, { ...APOLLO, ...headers });
  opened.push(response);
  assert.equal(response.status, 200);
  return response;
}

async function left(response) {
  response.leave();
  await live(control, 0);
}

/** Returns the text without the first delimiter and the heartbeats. */
function events(text) {
  return text.replace(/^(\r\n)?--graphql/, '').replaceAll(HEARTBEAT, '');
}

/** Returns the bodies of the parts, as a multipart parser sees them. */
function parts(text) {
  const [, ...pieces] = `\r\n${text}`.split(/\r\n--graphql(?=\r\n|--|$)/);
  return pieces.map((piece) => piece.split('\r\n\r\n')[1]?.trim()).filter(Boolean);
}

/** Returns the last part of a complete response. */
function last(text) {
  assert.ok(text.endsWith(DELIMITER + END), JSON.stringify(text));
  return JSON.parse(parts(text).at(-1));
}

async function forms(ask, expected) {
  const response = await ask();
  if (typeof expected === 'number') {
    assert.equal(response.status, expected, response.headers['content-type']);
    assertErrors((await response.json()).errors);
    return;
  }
  assert.equal(response.status, 200);
  assert.equal(response.headers['content-type'].split(';')[0].trim(), expected);
  response.leave();
}
