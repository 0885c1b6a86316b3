// A page of an allowed origin opens API Gateway's WebSocket through the tunnel with the browser's own
// `WebSocket`; the same page of another origin cannot.
//
// usage: node browser-tunnel.mjs --ws URL --allowed-port PORT --foreign-port PORT
//   CHROMIUM (environment)   the browser, /usr/bin/chromium by default

import { createServer } from 'node:http';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { assert, check, deadline, finish } from './check.mjs';

const option = { type: 'string' };
const { values: options } = parseArgs({ options: { ws: option, 'allowed-port': option, 'foreign-port': option } });
const { ws, 'allowed-port': allowedPort, 'foreign-port': foreignPort } = options;
deadline(60);

for (const port of [allowedPort, foreignPort]) {
  const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html>'));
  await new Promise((resolve) => server.listen(Number(port), '127.0.0.1', resolve));
}
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), '--disable-gpu', '--no-proxy-server'],
});

/** Runs in the browser: sends each message after the answer to the previous one, then closes. */
const talk = ([url, messages, code]) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  const answers = [];
  const next = () => {
    if (answers.length < messages.length) socket.send(messages[answers.length]);
    else socket.close(code, 'done');
  };
  socket.onopen = next;
  socket.onmessage = ({ data }) => (answers.push(data), next());
  socket.onclose = ({ code: closed, reason, wasClean }) =>
    resolve({ answers, closed, reason, wasClean, extensions: socket.extensions, protocol: socket.protocol });
});

async function visit(port, body) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`http://127.0.0.1:${port}/`);
  await body(page);
  await page.context().close();
}

const LONG = JSON.stringify({ action: 'echo', text: 'é'.repeat(10_000) });

await check('allowed: messages come back, and the close with its code', () => visit(allowedPort, async (page) => {
  const messages = ['{"action":"echo","n":1}', LONG];
  const seen = await page.evaluate(talk, [`${ws}/?room=a b`, messages, 3001]);
  assert.deepEqual(seen.answers, messages);
  assert.deepEqual([seen.closed, seen.reason, seen.wasClean], [3001, 'done', true]);
  assert.deepEqual([seen.extensions, seen.protocol], ['', '']);
}));

await check('allowed: the close of the API', () => visit(allowedPort, async (page) => {
  const seen = await page.evaluate(talk, [`${ws}/`, ['x'.repeat(40_000)], 3001]);
  assert.equal(seen.closed, 1009);
}));

await check('allowed: what the API refuses does not open', () => visit(allowedPort, async (page) => {
  const seen = await page.evaluate(talk, [`${ws}/?status=400`, [], 3001]);
  assert.deepEqual([seen.answers, seen.closed], [[], 1006]);
}));

await check('foreign: nothing opens', () => visit(foreignPort, async (page) => {
  const seen = await page.evaluate(talk, [`${ws}/`, ['{"action":"echo"}'], 3001]);
  assert.deepEqual([seen.answers, seen.closed], [[], 1006]);
}));

await browser.close();
finish();
