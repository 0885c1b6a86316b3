// Checks tunnelled WebSockets with npm ws at both ends: each end must see what the other does.
//
// usage: node tunnel.mjs KEY_FILE CERT_FILE
//   the key and the certificate of the TLS upstream that this script serves
// It prints `port N`, and reads one line of JSON:
//   echo, alive   ws:// URLs of routes to `/base` of that upstream; `alive` sends `{"alive":true}` upstream
//                 after a client was silent for a short time
//   api, wrong    ws:// URLs of routes to the emulator's WebSocket API; `wrong` uses an unknown access key
//   control       the emulator's control listener
// At the end it prints `drain`: then send SIGTERM to countersign.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import readline from 'node:readline';
import WebSocket, { WebSocketServer } from 'ws';
import { Control, Queue, assert, check, deadline, finish, within } from './check.mjs';

const CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999];
const DEFLATE = { threshold: 0 };
const KB = 1024;

/** One end of a tunnel. */
class End {
  constructor(socket) {
    this.socket = socket;
    this.messages = new Queue();
    this.pings = new Queue();
    this.pongs = new Queue();
    socket.on('message', (data, isBinary) => this.messages.push(isBinary ? data : String(data)));
    socket.on('ping', (data) => this.pings.push(String(data)));
    socket.on('pong', (data) => this.pongs.push(String(data)));
    socket.on('error', (error) => (this.error = error));
    this.isClosed = false;
    this.whenClosed = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        this.isClosed = true;
        resolve([code, String(reason)]);
      });
    });
  }

  send(data, options) {
    return new Promise((resolve, reject) => {
      this.socket.send(data, options ?? {}, (error) => (error ? reject(error) : resolve()));
    });
  }

  take(what) {
    return this.messages.take(what);
  }

  closed() {
    return within(this.whenClosed, 10_000, 'the close');
  }

  /** Records every byte that is written or read from this point on. */
  record() {
    const { _socket: raw } = this.socket;
    const recorded = { written: [], read: [] };
    const write = raw.write.bind(raw);
    raw.write = (data, ...rest) => {
      recorded.written.push(Buffer.from(data));
      return write(data, ...rest);
    };
    // ws unmasks in place, so copy the bytes first.
    raw.prependListener('data', (data) => recorded.read.push(Buffer.from(data)));
    this.recorded = recorded;
  }
}

class Upstream {
  constructor(key, cert) {
    this.server = https.createServer({ key, cert });
    this.ends = new Queue();
    const sockets = new WebSocketServer({
      server: this.server,
      perMessageDeflate: DEFLATE,
      maxPayload: 64 * KB * KB,
      handleProtocols: (offered, request) => new URL(request.url, 'ws://x').searchParams.get('choose') ?? false,
    });
    sockets.on('connection', (socket, request) => {
      const end = new End(socket);
      end.request = request;
      this.ends.push(end);
    });
  }

  async listen() {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this.server.address().port;
  }
}

async function dial(url, protocols = [], options = {}) {
  const end = new End(new WebSocket(url, protocols, { perMessageDeflate: false, ...options }));
  await within(once(end.socket, 'open'), 10_000, 'the upgrade');
  return end;
}

/** Returns status, headers and body of a rejected upgrade. */
async function refused(url, options = {}) {
  const socket = new WebSocket(url, options);
  const answered = new Promise((resolve, reject) => {
    socket.on('open', () => reject(new Error('the upgrade was granted')));
    socket.on('error', reject);
    socket.on('unexpected-response', (_, response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: String(Buffer.concat(parts)) }));
    });
  });
  return within(answered, 10_000, 'the refusal');
}

const [keyFile, certFile] = process.argv.slice(2);
if (!certFile) throw new Error('usage: node tunnel.mjs KEY_FILE CERT_FILE');
deadline(120);
const upstream = new Upstream(readFileSync(keyFile), readFileSync(certFile));
console.log(`port ${await upstream.listen()}`);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const urls = JSON.parse((await lines.next()).value);
const control = new Control(urls.control);

/** Opens a tunnel and returns both ends. */
async function pair(url = urls.echo, protocols, options) {
  const client = await dial(url, protocols, options);
  return [client, await upstream.ends.take('the upstream end')];
}

const sha256 = (data) => createHash('sha256').update(data).digest('hex');

// --- the script's own upstream: everything passes unchanged ---

await check('text, binary and empty messages, both ways', async () => {
  const [client, peer] = await pair();
  for (const [from, to] of [[client, peer], [peer, client]]) {
    for (const message of ['hello', '', '\u{1f600}\u0000', Buffer.from([0, 255, 1]), Buffer.alloc(0)]) {
      await from.send(message);
      assert.deepEqual(await to.take(), message);
    }
  }
  client.socket.close();
  await peer.closed();
});

await check('every byte passes unchanged, both ways', async () => {
  const [client, peer] = await pair();
  client.record();
  peer.record();
  for (const [from, to] of [[client, peer], [peer, client]]) {
    await from.send('a'.repeat(126));
    await from.send('fragment 1,', { fin: false });
    await from.send('fragment 2,', { fin: false });
    from.socket.ping('within');
    await from.send('end', { fin: true });
    await from.send(randomBytes(70_000), { binary: true });
    for (const length of [126, 25, 70_000]) assert.equal((await to.take()).length, length);
    assert.equal(await to.pings.take(), 'within');
    assert.equal(await from.pongs.take(), 'within');
  }
  client.socket.close(4001, 'enough');
  assert.deepEqual(await peer.closed(), [4001, 'enough']);
  await client.closed();
  for (const [from, to] of [[client, peer], [peer, client]]) {
    const [written, read] = [Buffer.concat(from.recorded.written), Buffer.concat(to.recorded.read)];
    assert.ok(written.length > 70_000);
    assert.equal(read.length, written.length);
    assert.equal(sha256(read), sha256(written));
  }
});

await check('large messages in both directions at the same time', async () => {
  const [client, peer] = await pair();
  const [up, down] = [randomBytes(4 * KB * KB), randomBytes(4 * KB * KB)];
  await Promise.all([client.send(up), peer.send(down)]);
  assert.equal(sha256(await peer.take()), sha256(up));
  assert.equal(sha256(await client.take()), sha256(down));
  client.socket.close();
  await peer.closed();
});

await check('permessage-deflate is negotiated end to end, and frames stay compressed', async () => {
  const [client, peer] = await pair(urls.echo, [], { perMessageDeflate: DEFLATE });
  assert.match(client.socket.extensions, /permessage-deflate/);
  client.record();
  peer.record();
  const message = 'compressible '.repeat(80_000);
  for (const [from, to] of [[client, peer], [peer, client]]) {
    // The second message refers back to the first, so both ends have kept their compression windows.
    for (const _ of [1, 2]) {
      await from.send(message);
      assert.equal(await to.take(), message);
    }
    const read = Buffer.concat(to.recorded.read).length;
    assert.ok(read < message.length / 50, `${read} bytes for ${2 * message.length}`);
    assert.equal(sha256(Buffer.concat(to.recorded.read)), sha256(Buffer.concat(from.recorded.written)));
    await from.send(Buffer.from(message), { binary: true });
    assert.equal(String(await to.take()), message);
    await from.send('not compressed', { compress: false });
    assert.equal(await to.take(), 'not compressed');
  }
  client.socket.close();
  await peer.closed();
});

await check('the handshake: path, query and headers', async () => {
  const options = {
    headers: {
      'x-team': 'red', 'X-Amz-Meta': 'm', 'x-amz-a': 'a', authorization: 'Bearer x', 'x-amz-date': '1', cookie: 'c=1',
    },
    perMessageDeflate: DEFLATE,
  };
  const [client, peer] = await pair(`${urls.echo}/a%2Fb/@c?b=2&a=x+y&c=%2f&d=\u00e9`, ['p', 'q'], options).catch(() => []);
  assert.equal(client, undefined, 'ws must refuse: a subprotocol was offered, and none was chosen');
  const late = await upstream.ends.take();
  const { url, headers, httpVersion } = late.request;
  assert.equal(url, '/base/a%2Fb/@c?b=2&a=x%20y&c=%2F&d=%C3%A9');
  assert.equal(httpVersion, '1.1');
  assert.equal(headers.host, 'upstream.example.com');
  assert.equal(headers['x-team'], 'red');
  assert.equal(headers['x-amz-meta'], 'm');
  assert.equal(headers.cookie, undefined);
  assert.equal(headers['sec-websocket-protocol'], 'p,q');
  assert.match(headers['sec-websocket-extensions'], /permessage-deflate/);
  assert.match(headers['x-amz-date'], /^\d{8}T\d{6}Z$/);
  const signed = 'SignedHeaders=host;x-amz-a;x-amz-date;x-amz-meta;x-amz-security-token,';
  assert.ok(headers.authorization.startsWith('AWS4-HMAC-SHA256 ') && headers.authorization.includes(signed), headers.authorization);
  assert.equal(peer, undefined);
  await late.closed();
});

await check("subprotocols: only upstream's choice", async () => {
  for (const [offered, chosen] of [[['p', 'q'], 'q'], [['p'], 'p']]) {
    const [client, peer] = await pair(`${urls.echo}?choose=${chosen}`, offered);
    assert.deepEqual([client.socket.protocol, peer.socket.protocol], [chosen, chosen]);
    client.socket.close();
    await peer.closed();
  }
  const [client, peer] = await pair();
  assert.equal(client.socket.protocol, '');
  client.socket.close();
  await peer.closed();
});

await check('pings and pongs, both ways', async () => {
  const [client, peer] = await pair();
  for (const [from, to] of [[client, peer], [peer, client]]) {
    from.socket.ping('are you there');
    assert.equal(await to.pings.take('the ping'), 'are you there');
    assert.equal(await from.pongs.take('the pong'), 'are you there');
    from.socket.pong('unasked');
    assert.equal(await to.pongs.take('the unasked pong'), 'unasked');
  }
  client.socket.close();
  await peer.closed();
});

for (const code of CODES) {
  await check(`close ${code}, by either end`, async () => {
    for (const turn of [0, 1]) {
      const ends = await pair();
      const [from, to] = turn === 0 ? ends : ends.reverse();
      from.socket.close(code, 'because');
      assert.deepEqual(await to.closed(), [code, 'because']);
      assert.equal((await from.closed())[0], code);
    }
  });
}

await check('a close without a code', async () => {
  const [client, peer] = await pair();
  peer.socket.close();
  assert.deepEqual(await client.closed(), [1005, '']);
  await peer.closed();
});

await check('a lost client is closed for upstream, and the reverse', async () => {
  const [client, peer] = await pair();
  client.socket.terminate();
  assert.equal((await peer.closed())[0], 1006);
  const [second, its] = await pair();
  its.socket.terminate();
  assert.equal((await second.closed())[0], 1006);
});

// --- the emulator's WebSocket API ---

await check('API: messages of 128 KB, in frames of 32 KB', async () => {
  const client = await dial(urls.api);
  await client.send('hello');
  assert.equal(await client.take(), 'hello');
  const frames = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(32 * KB));
  for (const [n, frame] of frames.entries()) await client.send(frame, { fin: n === 3 });
  assert.equal(await client.take(), frames.join(''));
  client.socket.close();
  assert.equal((await client.closed())[0], 1005);
});

for (const [name, sizes] of [['a frame of more than 32 KB', [32 * KB + 1]], ['a message of more than 128 KB', [32 * KB, 32 * KB, 32 * KB, 32 * KB, 1]]]) {
  await check(`API: ${name} is its to refuse, by 1009`, async () => {
    const client = await dial(urls.api);
    for (const [n, size] of sizes.entries()) await client.send('x'.repeat(size), { fin: n === sizes.length - 1 });
    assert.equal((await client.closed())[0], 1009);
  });
}

await check('API: a binary message is rejected by the API, with 1003', async () => {
  const client = await dial(urls.api);
  await client.send(Buffer.from([1]));
  assert.equal((await client.closed())[0], 1003);
});

await check('API: compression is offered, but not negotiated', async () => {
  const client = await dial(urls.api, [], { perMessageDeflate: DEFLATE });
  assert.equal(client.socket.extensions, '');
  await client.send('plain');
  assert.equal(await client.take(), 'plain');
  await client.send('{"action":"info"}');
  const { handshake } = JSON.parse(await client.take());
  const offers = handshake.headers.filter(([name]) => name.toLowerCase() === 'sec-websocket-extensions');
  assert.match(offers[0][1], /permessage-deflate/);
  client.socket.close();
  await client.closed();
});

await check('API: @connections on the same route, while the socket is open', async () => {
  const client = await dial(urls.api);
  await client.send('{"action":"info"}');
  const { connectionId } = JSON.parse(await client.take());
  const ask = async (method, id, body) => {
    const response = await fetch(`${urls.api.replace('ws:', 'http:')}/@connections/${id}`, { method, body });
    return [response.status, await response.text()];
  };
  for (const id of [connectionId, encodeURIComponent(connectionId)]) {
    assert.deepEqual(await ask('POST', id, 'pushed'), [200, '']);
    assert.equal(await client.take('what was pushed'), 'pushed');
    const [status, body] = await ask('GET', id);
    assert.equal(status, 200, body);
    assert.ok(JSON.parse(body).connectedAt, body);
  }
  assert.equal((await ask('DELETE', connectionId))[0], 204);
  assert.equal((await client.closed())[0], 1000);
  await control.until('its end', (state) => !state.gateway.connections.includes(connectionId));
  assert.equal((await ask('POST', connectionId, 'late'))[0], 410);
});

await check('API: a lost peer is closed for the other end', async () => {
  const client = await dial(urls.api);
  await control.until('a connection', (state) => state.gateway.connections.length === 1);
  client.socket.terminate();
  await control.until('none', (state) => state.gateway.connections.length === 0);
  const second = await dial(urls.api);
  await control.until('a connection', (state) => state.gateway.connections.length === 1);
  await control.switch({ close_all: true });
  assert.equal((await second.closed())[0], 1006);
});

await check('API: a rejection is passed on unchanged, in place of the upgrade', async () => {
  const byIntegration = await refused(`${urls.api}?status=401`);
  assert.equal(byIntegration.status, 401);
  assert.deepEqual(JSON.parse(byIntegration.body), { message: 'refused by the integration' });
  const byRoute = await refused(`${urls.api}/elsewhere`);
  assert.deepEqual([byRoute.status, byRoute.headers['x-amzn-errortype']], [403, 'ForbiddenException']);
  const byKey = await refused(urls.wrong);
  assert.deepEqual([byKey.status, byKey.headers['x-amzn-errortype']], [403, 'UnrecognizedClientException']);
  assert.ok(byKey.headers['x-amzn-requestid']);
  assert.equal(byKey.headers['content-type'], 'application/json');
  assert.equal(byKey.headers['x-countersign-error'], undefined);
  const { message, connectionId, requestId } = JSON.parse(byKey.body);
  assert.equal(message, 'The security token included in the request is invalid.');
  assert.ok(connectionId && requestId, byKey.body);
});

// --- keepalive ---

await check('a keepalive is sent for silent clients, and never within a message', async () => {
  const alive = '{"alive":true}';
  const [silent, itsPeer] = await pair(urls.alive);
  const [client, peer] = await pair(urls.alive);
  assert.equal(await itsPeer.take('a first keepalive'), alive);
  assert.equal(await peer.take('a first keepalive'), alive);
  await client.send('one ', { fin: false });
  client.socket.ping('arrived');
  await client.pongs.take('the pong');
  // From here on no keepalive may arrive; other tunnels show that one is due.
  peer.messages.drain();
  itsPeer.messages.drain();
  for (const _ of [1, 2, 3, 4]) assert.equal(await itsPeer.take('another keepalive'), alive);
  assert.deepEqual(peer.messages.drain(), []);
  await client.send('message', { fin: true });
  assert.equal(await peer.take(), 'one message');
  assert.equal(await peer.take('a keepalive after the message'), alive);
  assert.deepEqual([peer.error, client.messages.drain()], [undefined, []]);
  for (const end of [silent, client]) end.socket.close();
  await Promise.all([itsPeer.closed(), peer.closed()]);
});

// --- drain ---

await check('a drain closes tunnels with 1012, between two messages', async () => {
  const idle = await pair();
  const compressed = await pair(urls.echo, [], { perMessageDeflate: DEFLATE });
  const [sending, receiver] = await pair();
  const [reader, writer] = await pair();
  const api = await dial(urls.api);
  await api.send('here');
  await api.take();
  await sending.send('begun ', { fin: false });
  sending.socket.ping('begun');
  await sending.pongs.take();
  await writer.send('begun ', { fin: false });
  writer.socket.ping('begun');
  await writer.pongs.take();
  console.log('drain');

  for (const [client, peer] of [idle, compressed]) {
    assert.equal((await client.closed())[0], 1012);
    assert.equal((await peer.closed())[0], 1001);
  }
  assert.equal((await api.closed())[0], 1012);
  for (const end of [sending, receiver, reader, writer]) {
    assert.equal(end.isClosed, false, 'a tunnel was closed within a message');
    assert.equal(end.socket.readyState, WebSocket.OPEN, 'a close was sent within a message');
  }
  await sending.send('and ended', { fin: true });
  await writer.send('and ended', { fin: true });
  assert.equal(await receiver.take('the message that was under way up'), 'begun and ended');
  assert.equal(await reader.take('the message that was under way down'), 'begun and ended');
  for (const client of [sending, reader]) assert.equal((await client.closed())[0], 1012);
  for (const peer of [receiver, writer]) assert.equal((await peer.closed())[0], 1001);
});

finish();
