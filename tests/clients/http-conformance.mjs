// Checks GraphQL over HTTP with raw requests: media types, methods, persisted queries, batches, and the
// conversion of upstream's responses.
//
// usage: node http-conformance.mjs URL --control CONTROL
//   URL        http://… the GraphQL endpoint
//   --control  http://… the emulator's control address

import { assert, assertErrors, check, finish } from './check.mjs';
import { OFF, exchange, post, suite, switched, withQuery } from './wire.mjs';

const { url, control } = suite('node http-conformance.mjs URL --control CONTROL');
await control.switch(OFF);
const JSON_MEDIA = 'application/json';
const NEWER = 'application/graphql-response+json';
const BOTH = { accept: `${NEWER}, ${JSON_MEDIA};q=0.9` };
const TYPENAME = { data: { __typename: 'Query' } };
const echo = (text) => ({ query: 'query Q($t: String!) { echo(text: $t) }', variables: { t: text } });

// --- POST requests ---

for (const type of ['application/json', 'application/json; charset=utf-8', 'Application/JSON;charset="UTF-8"', 'application/json ; foo=bar']) {
  await check(`POST of ${type} is accepted`, async () => {
    const response = await post(url, { query: '{ __typename }' }, { 'content-type': type });
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), TYPENAME);
  });
}

for (const type of [
  'text/plain',
  'application/x-www-form-urlencoded',
  'application/graphql',
  'application/graphql+json',
  'application/xml',
  'application/octet-stream',
  'text/json',
  'application/json; charset=iso-8859-1',
  'application/jsonp',
]) {
  await check(`POST of ${type}: 415, and nothing is done`, async () => {
    const before = (await control.state()).requests.http;
    const response = await post(url, '{"query":"mutation { createRoom(name: \\"415\\") { id } }"}', { 'content-type': type });
    await assertOwnError(response, 415);
    assert.equal((await control.state()).requests.http, before);
  });
}

await check('POST without a type: 415', async () => {
  await assertOwnError(await exchange(url, { method: 'POST', body: '{"query":"{ __typename }"}' }), 415);
});

await check('multipart/form-data: 415 with a text about presigned S3 URLs', async () => {
  const body = '--x\r\ncontent-disposition: form-data; name="operations"\r\n\r\n{"query":"{ __typename }"}\r\n--x--\r\n';
  const [{ message }] = await assertOwnError(await post(url, body, { 'content-type': 'multipart/form-data; boundary=x' }), 415);
  assert.match(message, /presigned S3/);
});

await check('members null are absent, and unknown members are ignored', async () => {
  const body = { query: '{ __typename }', variables: null, operationName: null, extensions: null, future: [1] };
  assert.deepEqual(await (await post(url, body)).json(), TYPENAME);
});

await check('text survives in both directions', async () => {
  for (const text of ['grüße 😀', '"\\/\b\f\n\r\t', '\u2028\ufeff', '</script>&']) {
    assert.deepEqual(await (await post(url, echo(text))).json(), { data: { echo: text } });
  }
});

await check('a body that is not JSON: 400', async () => {
  for (const body of ['meow', '{"query":', '{"query":"{ a }"} x']) await assertOwnError(await post(url, body), 400);
});

for (const [name, body] of Object.entries({ 'an empty body': '', '{}': '{}', '[]': '[]' })) {
  await check(`${name}: 400, and AppSync's own MalformedHttpRequestException`, async () => {
    const response = await post(url, body);
    assert.equal(response.status, 400);
    assert.match(await response.text(), /MalformedHttpRequestException/);
  });
}

// --- the content type of a response ---

for (const [name, body, status] of [
  ['a success', { query: '{ __typename }' }, 200],
  ['an execution error', { query: '{ failing }' }, 200],
  ['a validation error', { query: '{ noSuchField }' }, 200],
  ['a syntax error', { query: '{ echo(' }, 200],
  ['no query', {}, 400],
]) {
  await check(`${name}: labelled ${NEWER} for clients that accept it, else ${JSON_MEDIA}; the same status and body`, async () => {
    const [plain, newer] = [await post(url, body, { accept: JSON_MEDIA }), await post(url, body, BOTH)];
    assert.equal(plain.status, status);
    assert.equal(newer.status, status);
    assert.match(plain.headers['content-type'], /^application\/json(;|$)/);
    assert.match(newer.headers['content-type'], /^application\/graphql-response\+json(;|$)/);
    assert.deepEqual(await newer.json(), await plain.json());
  });
}

await check('a successful body keeps its bytes', async () => {
  const body = '{ "data" : {\n "a": 1.0, "b": "\\u00e9", "a": 2 } }\n';
  await switched(control, { answer_http: { status: 200, content_type: 'application/json;charset=UTF-8', body } }, async () => {
    assert.equal(await (await post(url, { query: '{ __typename }' }, BOTH)).text(), body);
  });
});

for (const status of [400, 401, 403, 429, 500]) {
  await check(`AppSync's errors with ${status}: relabelled, the status and the errors kept, a rejection explained`, async () => {
    const body = '{\n  "errors" : [ {\n    "errorType" : "UnauthorizedException",\n    "message" : "Permission denied"\n  } ]\n}';
    const answer = { status, content_type: JSON_MEDIA, body, error_type: 'UnauthorizedException' };
    await switched(control, { answer_http: answer }, async () => {
      const response = await post(url, { query: '{ __typename }' }, BOTH);
      assert.equal(response.status, status);
      assert.match(response.headers['content-type'], /^application\/graphql-response\+json(;|$)/);
      assert.equal(response.headers['x-amzn-errortype'], 'UnauthorizedException');
      const found = await response.json();
      const { extensions } = found.errors[0];
      assert.equal(extensions?.cause, status < 429 ? 'not-authorized' : undefined);
      delete found.errors[0].extensions;
      assert.deepEqual(found, JSON.parse(body));
    });
  });
}

for (const [name, answer] of Object.entries({
  '{"message":"Forbidden"} with 403': { status: 403, content_type: JSON_MEDIA, body: '{"message":"Forbidden"}' },
  'HTML with 502': { status: 502, content_type: 'text/html', body: '<h1>Bad Gateway</h1>' },
  'nothing with 503': { status: 503, content_type: '', body: '' },
  'text with 429': { status: 429, content_type: 'text/plain', body: 'slow down' },
})) {
  await check(`${name} is wrapped into errors, with its status, for both types`, async () => {
    await switched(control, { answer_http: answer }, async () => {
      for (const [headers, media] of [[{ accept: JSON_MEDIA }, JSON_MEDIA], [BOTH, NEWER]]) {
        const response = await post(url, { query: '{ __typename }' }, headers);
        assert.equal(response.status, answer.status);
        assert.equal(response.headers['content-type'].split(';')[0], media);
        const { errors } = await response.json();
        assert.equal(typeof errors[0].message, 'string');
        assert.notEqual(errors[0].message, '');
        if (name.includes('Forbidden')) assert.equal(errors[0].message, 'Forbidden');
      }
    });
  });
}

await check(`HTML with 200 is not labelled ${NEWER}`, async () => {
  await switched(control, { answer_http: { status: 200, content_type: 'text/html', body: '<p>' } }, async () => {
    const response = await post(url, { query: '{ __typename }' }, BOTH);
    assert.equal(response.headers['content-type'], 'text/html');
  });
});

for (const [name, ask, status] of [
  ['415', (headers) => post(url, 'x', { 'content-type': 'text/plain', ...headers }), 415],
  ['400', (headers) => post(url, '{', headers), 400],
  ['405', (headers) => exchange(withQuery(url, { query: 'mutation { a }' }), { headers }), 405],
  ['404', (headers) => exchange(new URL('/nowhere', url).href, { headers }), 404],
  ['403 of the guard', (headers) => post(url, { query: '{ a }' }, { origin: 'https://evil.example', ...headers }), 403],
]) {
  await check(`countersign's ${name} is labelled as accepted, and is a GraphQL error`, async () => {
    for (const [headers, media] of [[{}, JSON_MEDIA], [BOTH, NEWER]]) {
      const response = await ask(headers);
      assert.equal(response.headers['content-type'].split(';')[0], media);
      await assertOwnError(response, status);
    }
  });
}

// --- GET and the other methods ---

await check('a query by GET', async () => {
  const parameters = { ...echo('é &=+%'), operationName: 'Q' };
  parameters.variables = JSON.stringify(parameters.variables);
  assert.deepEqual(await (await exchange(withQuery(url, parameters))).json(), { data: { echo: 'é &=+%' } });
});

await check('a query by GET, relabelled', async () => {
  const response = await exchange(withQuery(url, { query: '{ __typename }' }), { headers: BOTH });
  assert.match(response.headers['content-type'], /^application\/graphql-response\+json/);
});

for (const [name, parameters] of Object.entries({
  'a mutation': { query: 'mutation { createRoom(name: "by GET") { id } }' },
  'a mutation behind a fragment': { query: 'fragment F on Room { id } mutation { createRoom(name: "by GET") { ...F } }' },
  'a mutation among others': { query: 'query A { __typename } mutation B { createRoom(name: "by GET") { id } }', operationName: 'B' },
})) {
  await check(`${name} by GET: 405, Allow: POST, and nothing is done`, async () => {
    const response = await exchange(withQuery(url, parameters));
    assert.equal(response.headers.allow, 'POST');
    await assertOwnError(response, 405);
    assert.equal((await control.state()).mutations['createRoom/by GET'], undefined);
  });
}

await check('a query among mutations by GET', async () => {
  const query = 'query A { __typename } mutation B { createRoom(name: "by GET") { id } }';
  assert.deepEqual(await (await exchange(withQuery(url, { query, operationName: 'A' }))).json(), TYPENAME);
});

for (const [name, parameters] of Object.entries({
  'no query': {},
  'an empty query': { query: '' },
  'a syntax error': { query: '{' },
  'variables that are not JSON': { query: '{ a }', variables: 'x' },
  'variables that are a list': { query: '{ a }', variables: '[]' },
  'extensions that are not JSON': { query: '{ a }', extensions: 'x' },
})) {
  await check(`GET with ${name}: 400`, async () => {
    await assertOwnError(await exchange(withQuery(url, parameters)), 400);
  });
}

await check('HEAD: 405 with Allow, and no body', async () => {
  const response = await exchange(withQuery(url, { query: '{ __typename }' }), { method: 'HEAD' });
  assert.equal(response.status, 405);
  assert.match(response.headers.allow, /POST/);
  assert.equal(await response.text(), '');
});

for (const method of ['DELETE', 'PATCH', 'OPTIONS', 'PROPFIND']) {
  await check(`${method} without a stream's token: 405 with Allow`, async () => {
    const response = await exchange(url, { method });
    assert.match(response.headers.allow ?? '', /POST/);
    await assertOwnError(response, 405);
  });
}

await check('PUT of a body does not run it', async () => {
  const before = (await control.state()).requests.http;
  const response = await exchange(url, { method: 'PUT', headers: { 'content-type': JSON_MEDIA }, body: '{"query":"{ __typename }"}' });
  // PUT reserves a stream of GraphQL over SSE.
  assert.ok([201, 405].includes(response.status), String(response.status));
  assert.equal((await control.state()).requests.http, before);
});

// --- automatic persisted queries, persisted documents ---

const persisted = { persistedQuery: { version: 1, sha256Hash: 'ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38' } };

for (const [name, ask] of Object.entries({
  POST: (headers) => post(url, { extensions: persisted }, headers),
  'POST with query null': (headers) => post(url, { query: null, extensions: persisted }, headers),
  'POST with an operationName': (headers) => post(url, { operationName: 'Q', variables: {}, extensions: persisted }, headers),
  GET: (headers) => exchange(withQuery(url, { extensions: JSON.stringify(persisted) }), { headers }),
})) {
  await check(`a hash alone by ${name}: PersistedQueryNotSupported, and nothing is sent`, async () => {
    const before = (await control.state()).requests.http;
    for (const headers of [{}, BOTH]) {
      const response = await ask(headers);
      assert.ok([200, 400].includes(response.status));
      const [{ message, extensions }] = (await response.json()).errors;
      assert.equal(message, 'PersistedQueryNotSupported');
      assert.equal(extensions.code, 'PERSISTED_QUERY_NOT_SUPPORTED');
    }
    assert.equal((await control.state()).requests.http, before);
  });
}

for (const [name, ask] of Object.entries({
  POST: (extensions) => post(url, { ...echo('x'), extensions }),
  GET: (extensions) => exchange(withQuery(url, { query: '{ echo(text: "x") }', extensions: JSON.stringify(extensions) })),
})) {
  await check(`a hash with its query by ${name} runs`, async () => {
    assert.deepEqual(await (await ask(persisted)).json(), { data: { echo: 'x' } });
    assert.deepEqual(await (await ask({ ...persisted, clientLibrary: { name: 'x', version: '1' } })).json(), { data: { echo: 'x' } });
  });
}

await check('documentId alone: 400 with a text that asks for the query', async () => {
  for (const response of [await post(url, { documentId: 'sha256:abc' }), await exchange(withQuery(url, { documentId: 'sha256:abc' }))]) {
    const [{ message }] = await assertOwnError(response, 400);
    assert.match(message, /query/);
  }
});

await check('documentId with a query runs the query', async () => {
  assert.deepEqual(await (await post(url, { documentId: 'x', query: '{ __typename }' })).json(), TYPENAME);
});

// --- batches ---

await check('a batch: an array of equal length, in order', async () => {
  const batch = [{ query: '{ slow(ms: 300) }' }, echo('b'), { query: 'mutation { createRoom(name: "batch") { name } }' }, echo('d')];
  const response = await post(url, batch);
  assert.equal(response.status, 200);
  assert.match(response.headers['content-type'], /^application\/json/);
  assert.deepEqual(await response.json(), [
    { data: { slow: '300 ms' } },
    { data: { echo: 'b' } },
    { data: { createRoom: { name: 'batch' } } },
    { data: { echo: 'd' } },
  ]);
});

await check('a batch of one is answered by an array of one', async () => {
  assert.deepEqual(await (await post(url, [echo('x')])).json(), [{ data: { echo: 'x' } }]);
});

await check('each operation of a batch is signed and sent on its own, mutations once', async () => {
  const before = await control.state();
  await (await post(url, Array.from({ length: 5 }, () => ({ query: 'mutation { createRoom(name: "own") { id } }' })))).json();
  const after = await control.state();
  assert.equal(after.requests.http, before.requests.http + 5);
  assert.equal(after.mutations['createRoom/own'], 5);
  assert.equal(after.requests.refused, before.requests.refused);
});

await check('32 operations are accepted, and answered in order', async () => {
  const answers = await (await post(url, Array.from({ length: 32 }, (_, n) => echo(String(n))))).json();
  assert.deepEqual(answers, Array.from({ length: 32 }, (_, n) => ({ data: { echo: String(n) } })));
});

await check('33 operations: 400, and nothing is sent', async () => {
  const before = (await control.state()).requests.http;
  await assertOwnError(await post(url, Array.from({ length: 33 }, () => echo('x'))), 400);
  assert.equal((await control.state()).requests.http, before);
});

await check('an operation of a batch fails alone', async () => {
  const batch = [echo('a'), { query: '{ noSuchField }' }, { query: '{' }, {}, 7, { extensions: persisted }, { query: 'subscription { onCreateRoom { id } }' }, echo('z')];
  const response = await post(url, batch);
  assert.equal(response.status, 200);
  const answers = await response.json();
  assert.equal(answers.length, batch.length);
  assert.deepEqual([answers[0], answers.at(-1)], [{ data: { echo: 'a' } }, { data: { echo: 'z' } }]);
  for (const answer of answers.slice(1, -1)) assertErrors(answer.errors);
  assert.equal(answers[5].errors[0].message, 'PersistedQueryNotSupported');
  assert.match(answers[6].errors[0].message, /subscri/i);
});

await check('upstream fails for a batch: an array of equal length', async () => {
  await switched(control, { answer_http: { status: 403, content_type: JSON_MEDIA, body: '{"message":"Forbidden"}' } }, async () => {
    const answers = await (await post(url, [echo('a'), echo('b')])).json();
    assert.equal(answers.length, 2);
    for (const { errors } of answers) assertErrors(errors);
  });
});

await check('a batch of another type: 415', async () => {
  await assertOwnError(await post(url, [echo('a')], { 'content-type': 'text/plain' }), 415);
});

await check('an array that is JSON only at the start: 400', async () => {
  await assertOwnError(await post(url, '[{"query":"{ __typename }"}'), 400);
});

await check('a batch for clients that accept only events: 406', async () => {
  await assertOwnError(await post(url, [echo('a')], { accept: 'text/event-stream' }), 406);
});

await check('upstream rejected no signature', async () => {
  assert.doesNotMatch((await control.state()).last_refusal ?? '', /Signature|Unrecognized|Canonical/);
});

finish();

/** Asserts that this is an error of countersign, with its header and GraphQL errors; returns the errors. */
async function assertOwnError(response, status) {
  assert.equal(response.status, status);
  const text = await response.text();
  assert.ok(response.headers['x-countersign-error'], `no x-countersign-error: ${text}`);
  const { errors } = JSON.parse(text);
  assertErrors(errors);
  return errors;
}
