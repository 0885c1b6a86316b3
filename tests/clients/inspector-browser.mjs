// What the scripts for the inspector share: the browser, and how they find what its pages show.
//
// usage of each: node SCRIPT --base URL --admin URL
//   --base    the proxied port, with routes /graphql, /rest (API Gateway) and /wrong, whose secret key is wrong
//   --admin   the admin listener, with the inspector
// CHROMIUM (environment) is the browser, /usr/bin/chromium by default

import { parseArgs } from 'node:util';
import { createClient } from 'graphql-ws';
import { chromium } from 'playwright-core';
import WebSocket from 'ws';

export const { values } = parseArgs({ options: { base: { type: 'string' }, admin: { type: 'string' }, looks: { type: 'string' }, screenshots: { type: 'string' } } });
export const { base, admin } = values;

export const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
export const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, acceptDownloads: true });
await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: admin });

/** What pages complained about: violations of the Content-Security-Policy, errors, requests to other hosts. */
export const complaints = [];
const own = [base, admin].map((url) => new URL(url).host);
context.on('console', (message) => {
  if (message.type() === 'error') complaints.push(message.text());
});
context.on('weberror', (error) => complaints.push(String(error.error())));
context.on('request', (request) => {
  const url = new URL(request.url());
  if (/^(https?|wss?):$/.test(url.protocol) && !own.includes(url.host)) complaints.push(`request to ${url.host}`);
});

export async function post(query, path = '/graphql', variables = {}) {
  const body = JSON.stringify({ query, variables });
  const response = await fetch(base + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  return { status: response.status, json: await response.json() };
}

/** The row of an entry in the list of a page. */
export const rowOf = (page, text) => page.locator('.rows .row', { hasText: text }).first();
export const seen = (locator) => locator.first().waitFor({ state: 'visible', timeout: 20_000 });

const client = createClient({ url: `${base.replace('http', 'ws')}/graphql`, webSocketImpl: WebSocket, lazy: false });
const stops = [];

/** Subscribes to the messages of a room, until `close`. */
export function subscribe(name, room) {
  const query = `subscription ${name} { onMessage(room: "${room}") { room body } }`;
  stops.push(client.subscribe({ query }, { next() {}, error() {}, complete() {} }));
}

export async function close() {
  for (const stop of stops) stop();
  await client.dispose();
  await browser.close();
}
