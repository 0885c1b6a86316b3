// Checks the wire rules of GraphQL over SSE, in both modes, with raw requests.
//
// usage: node sse-conformance.mjs URL [--control CONTROL] [--chat URL] [--pid PID] [--reference]
//   URL          http://… the GraphQL endpoint
//   --control    http://… the emulator's control address; without it the checks that must know when
//                a subscription is live are skipped
//   --chat       http://… where mutations are sent, if that is not URL
//   --pid        the endpoint's process: the last checks send it SIGTERM
//   --reference  the endpoint is graphql-sse's own handler: DIFFERENCES must fail, and checks that
//                need faults of the upstream are skipped

import process from 'node:process';
import { assert, assertErrors, check, finish, skip } from './check.mjs';
import { JSON_TYPE, OFF, ON_MESSAGE, exchange, live, newRoom, post, say, sleep, suite, switched, withQuery } from './wire.mjs';

const VALIDATES = 'it answers 400 before the stream starts, and its client then does not retry';
/** Known deviations of graphql-sse 2.6.1's handler, with the reasons. */
const DIFFERENCES = {
  'a query: 200, text/event-stream, no-cache, not compressed': 'it sends content-encoding: none, which is not a registered coding',
  'a syntax error: 200, next with errors, complete': VALIDATES,
  'a syntax error in a subscription: 200, next with errors, complete': VALIDATES,
  'an unknown operation: 200, next with errors, complete': VALIDATES,
  'a syntax error by GET: 200, next with errors, complete': VALIDATES,
  'accept with a quality and other types: SSE for a query that accepts no other type':
    'it compares the whole Accept with text/event-stream',
  'a subscription without a streaming Accept: 406, with a text that explains how to subscribe':
    'it treats it as single-connection mode without a token',
  'a syntax error: 202, next with errors, complete': VALIDATES,
  'a validation error: 202, next with errors, complete': VALIDATES,
  'GET with a token of no stream: 404 Stream not found': 'it treats it as a distinct connection without a query',
};
const { url, control, faults, chat, pid } = suite(
  'node sse-conformance.mjs URL [--control CONTROL] [--chat URL] [--pid PID] [--reference]',
  { more: { chat: '', pid: '' }, differences: DIFFERENCES },
);
const mutations = chat || url;
if (faults) await faults.switch(OFF);

const SSE = { accept: 'text/event-stream' };
const TOKEN = 'x-graphql-event-stream-token';
const COMPLETE = 'event: complete\ndata:\n\n';
const ROOMS = 'subscription { onCreateRoom { name } }';
const next = (json) => `event: next\ndata: ${json}\n\n`;
const echo = (text) => `{ echo(text: "${text}") }`;
/** Returns the text without the heartbeats. */
const events = (text) => text.replaceAll(/^:\n\n/gm, '');

// --- distinct connections ---

await check('a query: 200, text/event-stream, no-cache, not compressed', async () => {
  const response = await post(url, { query: echo('x') }, { ...SSE, 'accept-encoding': 'gzip, br' });
  assert.equal(response.status, 200);
  assert.match(response.headers['content-type'], /^text\/event-stream; ?charset=utf-8$/i);
  assert.match(response.headers['cache-control'], /no-cache/);
  assert.equal(response.headers['content-encoding'], undefined);
  await response.text();
});

await check('a query: a comment, next, complete with an empty data line, the end; byte for byte', async () => {
  const response = await post(url, { query: echo('x') }, SSE);
  assert.equal(await response.text(), `:\n\n${next('{"data":{"echo":"x"}}')}${COMPLETE}`);
});

await check('the first thing is a comment', async () => {
  const response = await post(url, { query: echo('x') }, SSE);
  assert.ok((await response.text()).startsWith(':\n\n'));
});

await check('a mutation is next and complete', async () => {
  const response = await post(url, { query: 'mutation { createRoom(name: "sse") { name } }' }, SSE);
  assert.equal(events(await response.text()), next('{"data":{"createRoom":{"name":"sse"}}}') + COMPLETE);
});

await check('a query by GET', async () => {
  const parameters = { query: 'query Q($t: String!) { echo(text: $t) }', variables: '{"t":"ü"}', operationName: 'Q' };
  const response = await exchange(withQuery(url, parameters), { headers: SSE });
  assert.equal(response.status, 200);
  assert.equal(events(await response.text()), next('{"data":{"echo":"ü"}}') + COMPLETE);
});

await check('a mutation by GET: 405', async () => {
  const response = await exchange(withQuery(url, { query: 'mutation { createRoom(name: "x") { id } }' }), { headers: SSE });
  assert.equal(response.status, 405);
  assert.equal(response.headers.allow, 'POST');
});

await check('neither CR nor another field is in the stream', async () => {
  const text = await (await post(url, { query: '{ failing }' }, SSE)).text();
  assert.ok(!text.includes('\r'), JSON.stringify(text));
  for (const line of text.split('\n')) assert.match(line, /^(:|event: (next|complete)|data: ?.*|)$/, JSON.stringify(text));
});

await check('an execution error is one next, then complete', async () => {
  const [result] = await results(await post(url, { query: '{ failing }' }, SSE));
  assert.deepEqual(result.data, { failing: null });
  assertErrors(result.errors);
});

for (const [name, query] of Object.entries({
  'a validation error': '{ noSuchField }',
  'a syntax error': '{ echo(',
  'a validation error in a subscription': 'subscription { onNothing { id } }',
  'a syntax error in a subscription': 'subscription { onCreateRoom { id }',
  'an unknown operation': 'query A { __typename } query B { __typename }',
})) {
  await check(`${name}: 200, next with errors, complete`, async () => {
    const response = await post(url, { query }, SSE);
    assert.equal(response.status, 200);
    assert.match(response.headers['content-type'], /^text\/event-stream/);
    const all = await results(response);
    assert.equal(all.length, 1);
    assertErrors(all[0].errors);
  });
}

await check('a syntax error by GET: 200, next with errors, complete', async () => {
  const response = await exchange(withQuery(url, { query: '{ echo(' }), { headers: SSE });
  assert.equal(response.status, 200);
  assertErrors((await results(response))[0].errors);
});

await check('text of every kind stays on one data line', async () => {
  for (const t of ['grüße 😀', 'a\nb\r\nc\rd', '\u2028\u2029', 'data: x\n\nevent: complete', '\u0085\u000b\u000c']) {
    const response = await post(url, { query: 'query Q($t: String!) { echo(text: $t) }', variables: { t } }, SSE);
    const all = await results(response);
    assert.deepEqual(all, [{ data: { echo: t } }]);
  }
});

await check('a large result arrives on one line', async () => {
  const [{ data }] = await results(await post(url, { query: '{ large(bytes: 300000) }' }, SSE));
  assert.equal(data.large.length, 300_000);
});

await check('accept with a quality and other types: SSE for a query that accepts no other type', async () => {
  const response = await post(url, { query: echo('x') }, { accept: 'text/event-stream;q=0.5, multipart/mixed' });
  assert.match(response.headers['content-type'], /^text\/event-stream/);
  await response.text();
});

for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/graphql']) {
  await check(`POST of ${type}: 415`, async () => {
    const response = await post(url, '{"query":"{ __typename }"}', { ...SSE, 'content-type': type });
    assert.equal(response.status, 415);
  });
}

await check('POST that is not JSON: 400', async () => {
  assert.equal((await post(url, '{"query":', SSE)).status, 400);
});

await check('a subscription without a streaming Accept: 406, with a text that explains how to subscribe', async () => {
  for (const accept of [undefined, '*/*', 'application/json', 'application/json, multipart/mixed']) {
    const response = await post(url, { query: ROOMS }, accept ? { accept } : {});
    assert.equal(response.status, 406, accept);
    const { errors } = await response.json();
    assert.match(errors[0].message, /text\/event-stream/);
    assert.match(errors[0].message, /WebSocket/);
  }
});

if (control) {
  await check('a subscription: the head at once, next per event, byte for byte; leaving stops it upstream', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const room = await newRoom(mutations);
    const response = await post(url, { query: ON_MESSAGE, variables: { r: room } }, SSE);
    assert.equal(response.status, 200);
    await response.until(':\n\n');
    await live(control, idle + 1);
    for (const text of ['one', 'two', 'ü']) await say(mutations, room, text);
    const expected = ['one', 'two', 'ü'].map((body) => next(`{"data":{"onMessage":{"body":"${body}"}}}`)).join('');
    await response.until((text) => events(text) === expected);
    assert.ok(response.isOpen());
    response.leave();
    await live(control, idle);
  });

  await check('a subscription by GET, as EventSource makes it', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const response = await exchange(withQuery(url, { query: ROOMS }), { headers: { ...SSE, 'cache-control': 'no-cache' } });
    assert.equal(response.status, 200);
    await live(control, idle + 1);
    await newRoom(mutations);
    await response.until(next('{"data":{"onCreateRoom":{"name":"wire"}}}'));
    response.leave();
    await live(control, idle);
  });

  await check('the head of a subscription means that it is live: the next event arrives', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const response = await post(url, { query: ROOMS }, SSE);
    await newRoom(mutations);
    await response.until('event: next');
    response.leave();
    await live(control, idle);
  });

  await check('a heartbeat comment within 13 s of silence', async () => {
    const response = await post(url, { query: ROOMS }, SSE);
    await response.until(':\n\n');
    await response.until(':\n\n:\n\n', 13_000);
    response.leave();
  });
} else {
  skip('subscriptions', 'need --control');
}

// --- single connection ---

await check('PUT: 201, the token as text/plain', async () => {
  const response = await exchange(url, { method: 'PUT' });
  assert.equal(response.status, 201);
  assert.match(response.headers['content-type'], /^text\/plain/);
  assert.match(await response.text(), /^[\w-]{16,}$/);
});

await check('two PUTs give two tokens', async () => {
  assert.notEqual(await reserve(), await reserve());
});

for (const [how, at] of Object.entries({ 'a header': (token) => [url, { ...SSE, [TOKEN]: token }], '?token=': (token) => [`${url}?token=${token}`, SSE] })) {
  await check(`GET with the token by ${how}: the stream`, async () => {
    const [where, headers] = at(await reserve());
    const response = await exchange(where, { headers });
    assert.equal(response.status, 200);
    assert.match(response.headers['content-type'], /^text\/event-stream; ?charset=utf-8$/i);
    assert.match(response.headers['cache-control'], /no-cache/);
    await response.until(':\n\n');
    response.leave();
  });
}

await check('POST: 202 with an empty body; next and complete carry the id, byte for byte', async () => {
  const [token, stream] = await opened();
  const response = await operate(token, '1', echo('x'));
  assert.equal(response.status, 202);
  assert.equal(await response.text(), '');
  await stream.until('event: complete');
  const text = events(await stream.until((all) => all.endsWith('"1"}\n\n') && all.includes('complete')));
  assert.equal(text, 'event: next\ndata: {"id":"1","payload":{"data":{"echo":"x"}}}\n\nevent: complete\ndata: {"id":"1"}\n\n');
  assert.ok(stream.isOpen());
  stream.leave();
});

await check('POST with the token by ?token=', async () => {
  const [token, stream] = await opened();
  const response = await post(`${url}?token=${token}`, { query: echo('x'), extensions: { operationId: '1' } });
  assert.equal(response.status, 202);
  await stream.until('event: complete');
  stream.leave();
});

await check('results before the GET are kept for it', async () => {
  const token = await reserve();
  for (const id of ['1', '2', '3']) assert.equal((await operate(token, id, echo(id))).status, 202);
  await sleep(300);
  const stream = await exchange(url, { headers: { ...SSE, [TOKEN]: token } });
  for (const id of ['1', '2', '3']) {
    await stream.until(`data: {"id":"${id}","payload":{"data":{"echo":"${id}"}}}`);
    await stream.until(`event: complete\ndata: {"id":"${id}"}`);
  }
  stream.leave();
});

for (const id of ['1', 'ключ 😀', '"\\', ' ', '{}', 'x'.repeat(300)]) {
  await check(`operation id ${JSON.stringify(id).slice(0, 30)} comes back as it was`, async () => {
    const [token, stream] = await opened();
    assert.equal((await operate(token, id, '{ __typename }')).status, 202);
    await stream.until('event: complete');
    const [first, last] = await parsed(stream, 2);
    assert.deepEqual([first.data.id, last.data], [id, { id }]);
    stream.leave();
  });
}

for (const [name, query] of Object.entries({ 'a syntax error': '{ echo(', 'a validation error': '{ noSuchField }' })) {
  await check(`${name}: 202, next with errors, complete`, async () => {
    const [token, stream] = await opened();
    assert.equal((await operate(token, '1', query)).status, 202);
    const [first, last] = await parsed(stream, 2);
    assert.equal(first.event, 'next');
    assertErrors(first.data.payload.errors);
    assert.deepEqual(last, { event: 'complete', data: { id: '1' } });
    stream.leave();
  });
}

await check('POST with a token of no stream: 404 Stream not found', async () => {
  const response = await operate('nobody', '1', '{ __typename }');
  assert.equal(response.status, 404);
  assert.match(await response.text(), /Stream not found/);
});

await check('GET with a token of no stream: 404 Stream not found', async () => {
  const response = await exchange(url, { headers: { ...SSE, [TOKEN]: 'nobody' } });
  assert.equal(response.status, 404);
  assert.match(await response.text(), /Stream not found/);
});

await check('DELETE with a token of no stream: 404 Stream not found', async () => {
  const response = await exchange(`${url}?operationId=1`, { method: 'DELETE', headers: { [TOKEN]: 'nobody' } });
  assert.equal(response.status, 404);
  assert.match(await response.text(), /Stream not found/);
});

await check('DELETE without a token: 404, or 405 on a server without other uses of DELETE', async () => {
  const response = await exchange(`${url}?operationId=1`, { method: 'DELETE' });
  assert.ok([404, 405].includes(response.status), String(response.status));
});

await check('a second GET: 409 Stream already open', async () => {
  const [token, stream] = await opened();
  const response = await exchange(url, { headers: { ...SSE, [TOKEN]: token } });
  assert.equal(response.status, 409);
  assert.match(await response.text(), /Stream already open/);
  assert.ok(stream.isOpen());
  stream.leave();
});

await check('PUT with the token of a stream: 409 Stream already registered', async () => {
  const token = await reserve();
  const response = await exchange(url, { method: 'PUT', headers: { [TOKEN]: token } });
  assert.equal(response.status, 409);
  assert.match(await response.text(), /Stream already registered/);
});

await check('GET with a token and another Accept: 406', async () => {
  const token = await reserve();
  const response = await exchange(url, { headers: { accept: 'text/html', [TOKEN]: token } });
  assert.equal(response.status, 406);
});

await check('POST with a live id: 409 Operation with ID already exists', async () => {
  const [token, stream] = await opened();
  // The reference server answers after the query has ended.
  const first = operate(token, '1', '{ slow(ms: 1000) }');
  await sleep(200);
  const response = await operate(token, '1', '{ __typename }');
  assert.equal(response.status, 409);
  assert.equal((await first).status, 202);
  assert.match(await response.text(), /Operation with ID already exists/);
  stream.leave();
});

await check('an id is free again after complete', async () => {
  const [token, stream] = await opened();
  for (let n = 1; n <= 2; n += 1) {
    assert.equal((await operate(token, '1', '{ __typename }')).status, 202);
    await stream.until((text) => text.split('event: complete').length > n);
  }
  stream.leave();
});

for (const [name, extensions] of Object.entries({ 'no extensions': undefined, 'no operationId': {}, 'an empty operationId': { operationId: '' } })) {
  await check(`POST with ${name}: 400 Operation ID is missing`, async () => {
    const [token, stream] = await opened();
    const response = await post(url, { query: '{ __typename }', extensions }, { [TOKEN]: token });
    assert.equal(response.status, 400);
    assert.match(await response.text(), /Operation ID is missing/);
    stream.leave();
  });
}

await check('DELETE without operationId: 400 Operation ID is missing', async () => {
  const [token, stream] = await opened();
  const response = await exchange(url, { method: 'DELETE', headers: { [TOKEN]: token } });
  assert.equal(response.status, 400);
  assert.match(await response.text(), /Operation ID is missing/);
  stream.leave();
});

await check('DELETE of an unknown operation: 200', async () => {
  const [token, stream] = await opened();
  const response = await exchange(`${url}?operationId=nobody`, { method: 'DELETE', headers: { [TOKEN]: token } });
  assert.equal(response.status, 200);
  stream.leave();
});

await check('POST of another type: 415', async () => {
  const [token, stream] = await opened();
  const response = await post(url, { query: '{ __typename }' }, { 'content-type': 'text/plain', [TOKEN]: token });
  assert.equal(response.status, 415);
  stream.leave();
});

await check('POST that is not JSON: 400', async () => {
  const [token, stream] = await opened();
  assert.equal((await post(url, '{', { [TOKEN]: token })).status, 400);
  stream.leave();
});

await check('another method: 405, Allow: GET, POST, PUT, DELETE', async () => {
  const token = await reserve();
  const response = await exchange(url, { method: 'PATCH', headers: { [TOKEN]: token } });
  assert.equal(response.status, 405);
  assert.equal(response.headers.allow, 'GET, POST, PUT, DELETE');
});

await check('after the GET has ended its token is not found', async () => {
  const [token, stream] = await opened();
  stream.leave();
  let status;
  for (let n = 0; n < 50 && status !== 404; n += 1) {
    ({ status } = await operate(token, String(n), '{ __typename }'));
    await sleep(20);
  }
  assert.equal(status, 404);
});

if (control) {
  await check('subscriptions on one stream: events by id, DELETE stops one, leaving stops all', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const [[token, stream], room] = [await opened(), await newRoom(mutations)];
    for (const id of ['a', 'b']) {
      const body = { query: ON_MESSAGE, variables: { r: room }, extensions: { operationId: id } };
      assert.equal((await post(url, body, { [TOKEN]: token })).status, 202);
    }
    await live(control, idle + 2);
    await say(mutations, room, 'both');
    for (const id of ['a', 'b']) await stream.until(`event: next\ndata: {"id":"${id}","payload":{"data":{"onMessage":{"body":"both"}}}}\n\n`);
    const stopped = await exchange(`${url}?operationId=a`, { method: 'DELETE', headers: { [TOKEN]: token } });
    assert.equal(stopped.status, 200);
    await live(control, idle + 1);
    await say(mutations, room, 'one');
    await stream.until('{"id":"b","payload":{"data":{"onMessage":{"body":"one"}}}}');
    assert.ok(!stream.so_far().includes('{"id":"a","payload":{"data":{"onMessage":{"body":"one"}}}}'));
    stream.leave();
    await live(control, idle);
  });
}

// --- upstream faults ---

if (faults) {
  await check('pretty-printed JSON of the upstream is put on one line', async () => {
    const body = '{\n  "data" : {\r\n    "echo" : "x"\r  }\n}\n';
    await switched(faults, { answer_http: { status: 200, content_type: 'application/json', body } }, async () => {
      const text = events(await (await post(url, { query: echo('x') }, SSE)).text());
      assert.match(text, /^event: next\ndata: [^\r\n]*\n\nevent: complete\ndata:\n\n$/);
      assert.deepEqual(JSON.parse(text.match(/data: (.*)/)[1]), { data: { echo: 'x' } });
      const [token, stream] = await opened();
      await operate(token, '1', echo('x'));
      const [first] = await parsed(stream, 2);
      assert.deepEqual(first.data, { id: '1', payload: { data: { echo: 'x' } } });
      stream.leave();
    });
  });

  for (const [name, answer] of Object.entries({
    'GraphQL errors with 401': { status: 401, content_type: 'application/json', body: '{"errors":[{"errorType":"UnauthorizedException","message":"Permission denied"}]}' },
    'a body that is not GraphQL': { status: 403, content_type: 'application/json', body: '{"message":"Forbidden"}' },
    HTML: { status: 502, content_type: 'text/html', body: '<h1>' },
  })) {
    await check(`upstream answers ${name}: 200, next with errors, complete`, async () => {
      await switched(faults, { answer_http: answer }, async () => {
        const response = await post(url, { query: echo('x') }, SSE);
        assert.equal(response.status, 200);
        assertErrors((await results(response))[0].errors);
      });
    });
  }

  await check('a refused start: 200, next with errors, complete', async () => {
    const refusal = { errors: { errorType: 'MaxSubscriptionsReachedError', message: 'Max number' } };
    await switched(faults, { refuse_start: JSON.stringify(refusal) }, async () => {
      const response = await post(url, { query: ROOMS }, SSE);
      assert.equal(response.status, 200);
      assertErrors((await results(response))[0].errors);
    });
  });

  const streaming = async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const response = await post(url, { query: ROOMS }, SSE);
    await live(control, idle + 1);
    return response;
  };

  await check("upstream's complete: complete, and the end", async () => {
    const response = await streaming();
    await faults.switch({ complete_all: true });
    assert.equal(events(await response.text()), COMPLETE);
  });

  await check("upstream's error: next with errors, complete, and the end", async () => {
    const response = await streaming();
    await faults.switch({ error_all: true });
    const [result] = await results(response);
    assertErrors(result.errors);
  });

  await check('no head before start_ack', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    await switched(faults, { no_start_ack: true }, async () => {
      const leaving = new AbortController();
      const asked = post_with(leaving.signal);
      const outcome = await Promise.race([asked.then(() => 'head'), sleep(1000).then(() => 'nothing')]);
      leaving.abort();
      await asked.catch(() => {});
      assert.equal(outcome, 'nothing');
    });
    // The next check must not count it.
    await live(control, idle);
  });

  for (const [name, change] of Object.entries({ 'with a close frame': { close_clean: 1000 }, 'without one': { close_all: true } })) {
    await check(`upstream lost ${name}: the stream is cut, without complete`, async () => {
      const response = await streaming();
      await faults.switch(change);
      assert.equal(await response.ended(), 'cut');
      assert.ok(!response.so_far().includes('complete'));
    });
  }

  await check('upstream lost: a single connection is cut too', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const [token, stream] = await opened();
    await operate(token, '1', ROOMS);
    await live(control, idle + 1);
    await faults.switch({ close_all: true });
    assert.equal(await stream.ended(), 'cut');
    assert.ok(!stream.so_far().includes('complete'));
  });

  await check('upstream rejected no signature', async () => {
    assert.doesNotMatch((await control.state()).last_refusal ?? '', /Signature|Unrecognized|Canonical/);
  });
} else {
  skip('faults of the upstream', 'need --control of the emulator');
}

if (pid) {
  await check('a drain cuts streams, without complete', async () => {
    const idle = (await control.state()).realtime.subscriptions;
    const streams = [await post(url, { query: ROOMS }, SSE), (await opened())[1]];
    await live(control, idle + 1);
    process.kill(Number(pid), 'SIGTERM');
    for (const stream of streams) {
      assert.equal(await stream.ended(), 'cut');
      assert.ok(!stream.so_far().includes('complete'));
    }
  });
}

finish();

function post_with(signal) {
  return exchange(url, { method: 'POST', headers: { ...JSON_TYPE, ...SSE }, body: { query: ROOMS }, signal });
}

async function reserve() {
  const response = await exchange(url, { method: 'PUT' });
  assert.equal(response.status, 201);
  return response.text();
}

async function opened() {
  const token = await reserve();
  const stream = await exchange(url, { headers: { ...SSE, [TOKEN]: token } });
  assert.equal(stream.status, 200);
  return [token, stream];
}

function operate(token, operationId, query) {
  return post(url, { query, extensions: { operationId } }, { [TOKEN]: token });
}

/** Returns the first `count` events of a stream: name, and data as JSON. */
async function parsed(stream, count) {
  const all = () => [...events(stream.so_far()).matchAll(/event: (\w+)\ndata: ?([^\n]*)\n\n/g)];
  await stream.until(() => all().length >= count);
  return all().map(([, event, data]) => ({ event, data: JSON.parse(data) }));
}

/** Returns the results of a complete stream, and asserts that it ends correctly. */
async function results(response) {
  const text = events(await response.text());
  assert.match(text, /^(event: next\ndata: [^\n]+\n\n)*event: complete\ndata:\n\n$/);
  return [...text.matchAll(/event: next\ndata: ([^\n]+)\n\n/g)].map(([, json]) => JSON.parse(json));
}
