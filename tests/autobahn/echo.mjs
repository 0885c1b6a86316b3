// An echo server with npm `ws` and compression, without TLS on one port and with TLS on another. Prints both ports.
//
// usage: node echo.mjs CERT KEY

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import process from 'node:process';
import { WebSocketServer } from '../clients/node_modules/ws/wrapper.mjs';

const [cert, key] = process.argv.slice(2).map((path) => readFileSync(path));
const echo = new WebSocketServer({ noServer: true, perMessageDeflate: true, maxPayload: 64 << 20 });
const ports = [];
for (const server of [createServer(), createTlsServer({ cert, key })]) {
  server.on('upgrade', (request, socket, head) => {
    echo.handleUpgrade(request, socket, head, (client) => {
      client.on('message', (data, isBinary) => client.send(data, { binary: isBinary }));
      client.on('error', () => {});
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  ports.push(server.address().port);
}
console.log(ports.join(' '));
