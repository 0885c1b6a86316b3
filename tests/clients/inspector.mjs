// The inspector's page and GraphiQL in a real browser, headless Chromium, against countersign and the emulator: what a
// developer does with them, and what pages of other origins try. See inspector-browser.mjs for the arguments.

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { assert, check, deadline, finish } from './check.mjs';
import { admin, base, browser, close, complaints, context, post, rowOf, seen, subscribe } from './inspector-browser.mjs';

deadline(140);

const page = await context.newPage();
const row = (text) => rowOf(page, text);
const panel = page.locator('#panel');
const tab = (name) => page.locator(`#tab-${name}`).click();
const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
const SEARCHED = 'needle-in-a-variable';

// --- the list ---

await check('the page is there soon', async () => {
  const times = [];
  for (let round = 0; round < 3; round += 1) {
    await page.goto(`${admin}/inspect/`, { waitUntil: 'commit' });
    await page.waitForSelector('.toolbar');
    const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
    times.push(`${paint?.toFixed(0)} ms`);
  }
  console.log(`# first contentful paint: ${times.join(', ')}`);
  // The time depends on what runs beside this test; what the first view has to wait for does not.
  const loaded = await page.evaluate(() => performance.getEntriesByType('resource').map(({ name, encodedBodySize }) => [new URL(name).pathname, encodedBodySize]));
  const files = loaded.filter(([path]) => path.startsWith('/inspect/assets/'));
  assert.ok(files.length > 0 && files.length <= 4, JSON.stringify(loaded));
  const size = files.reduce((sum, [, bytes]) => sum + bytes, 0);
  assert.ok(size > 0 && size < 64 * 1024, `${size} bytes`);
});

await check('a query appears live, with its answer', async () => {
  await seen(page.locator('.connection-live'));
  await post('query Listed($id: ID!) { rooms { id name } room(id: $id) { name } }', '/graphql', { id: SEARCHED });
  await seen(row('Listed'));
  await row('Listed').click();
  await seen(panel.getByText('POST /graphql'));
  assert.match(await panel.innerText(), /Signing[\s\S]*Waiting for AWS/);
});

await check('bodies are hidden until they are revealed', async () => {
  await tab('response');
  await seen(panel.locator('.masked'));
  assert.ok(!(await page.content()).includes('Lobby'), 'the answer is in the page');
  await panel.getByText('Reveal bodies').click();
  await seen(panel.locator('.tree-string', { hasText: 'Lobby' }));
  await tab('request');
  await seen(panel.locator('.tree-string', { hasText: SEARCHED }));
});

await check('the signing is shown, without credentials', async () => {
  await tab('signing');
  await seen(panel.getByText('AWS4-HMAC-SHA256', { exact: true }));
  const text = await panel.innerText();
  assert.match(text, /Method\s+POST/);
  assert.match(text, /AWS request id/);
  assert.match(text, /authorization\s+hidden/);
  assert.ok(!/Signature=/.test(text), text);
});

await check('a mutation appears live, and its replay asks first', async () => {
  await post('mutation Posted { postMessage(room: "lobby", body: "once") { room body } }');
  await seen(row('Posted'));
  await row('Posted').click();
  await page.getByRole('button', { name: 'Replay' }).click();
  const dialog = page.locator('dialog');
  await seen(dialog.getByText('This is a mutation.'));
  await dialog.getByRole('button', { name: 'Replay' }).click();
  await seen(page.locator('.rows .row[aria-selected="true"] .tag', { hasText: 'replay' }));
  await tab('response');
  await seen(panel.locator('.tree-string', { hasText: 'once' }));
});

await check('a replayed query has the same answer', async () => {
  await row('Listed').click();
  await tab('response');
  await panel.getByRole('button', { name: 'Raw' }).click();
  const first = await panel.locator('pre').innerText();
  await page.getByRole('button', { name: 'Replay' }).click();
  await seen(page.locator('.rows .row[aria-selected="true"] .tag', { hasText: 'replay' }));
  await seen(panel.getByRole('button', { name: 'Raw' }));
  await panel.getByRole('button', { name: 'Raw' }).click();
  assert.equal(await panel.locator('pre').innerText(), first);
});

await check('an edited request is sent', async () => {
  await page.getByRole('button', { name: 'Edit and resend' }).click();
  const dialog = page.locator('dialog');
  await dialog.getByLabel('Body').fill('{"query":"query Edited { rooms { name } }"}');
  await dialog.getByRole('button', { name: 'Send' }).click();
  await seen(row('Edited'));
  await seen(page.locator('.rows .row[aria-selected="true"]', { hasText: 'Edited' }));
});

await check('the copied curl line runs as pasted', async () => {
  await row('Listed').click();
  await page.getByRole('button', { name: 'Copy as curl' }).click();
  await seen(page.getByText('curl command copied'));
  const line = await clipboard();
  assert.match(line, /^curl /);
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', line.replace(/^curl /, 'curl -s ')]);
  assert.match(stdout, /"Lobby"/);
});

await check('a signed curl line goes straight to AWS', async () => {
  await page.getByRole('button', { name: 'Signed curl' }).click();
  await seen(page.getByText('Signed curl command copied'));
  const line = await clipboard();
  assert.match(line, /^curl [\s\S]*https:\/\/[a-z0-9]+\.appsync-api\.[\s\S]*AWS4-HMAC-SHA256/);
});

await check('a GET can be copied as a presigned URL', async () => {
  await fetch(`${base}/rest/orders?state=open`);
  await seen(row('/rest/orders'));
  await row('/rest/orders').click();
  await page.getByRole('button', { name: 'Presigned URL' }).click();
  await seen(page.getByText('Presigned URL copied'));
  assert.match(await clipboard(), /^https:\/\/[a-z0-9]+\.execute-api\.[^ ]*\/orders\?state=open&X-Amz-[^ ]*X-Amz-Signature=[0-9a-f]{64}/);
});

// --- subscriptions ---

await check('a subscription appears live, with both sides of the bridge', async () => {
  await page.keyboard.press('Escape');
  await page.keyboard.press('2');
  subscribe('Watched', 'lobby');
  subscribe('Beside', 'garden');
  await seen(row('Watched').getByText('live'));
  await row('Watched').click();
  await tab('frames');
  const frames = page.locator('.frames tbody tr');
  await seen(frames.filter({ hasText: 'start_ack' }));
  await post('mutation { postMessage(room: "lobby", body: "over the bridge") { room body } }');
  const event = frames.filter({ hasText: 'data' });
  await seen(event);
  // What AWS sent and what the client got for it are in one row.
  assert.match(await event.first().innerText(), /next[\s\S]*data/);
  assert.match(await frames.filter({ hasText: 'subscribe' }).first().innerText(), /subscribe[\s\S]*start/);
  await event.first().locator('.frame').first().click();
  await seen(panel.locator('.tree-string', { hasText: 'over the bridge' }));
});

await check('a realtime connection shows who shares it', async () => {
  await page.keyboard.press('3');
  await seen(page.getByRole('button', { name: /Watched/ }));
  await seen(page.getByRole('button', { name: /Beside/ }));
  await seen(page.getByText('2 subscriptions of at most'));
});

await check('the status shows credentials, clock, limits, memory and routes', async () => {
  await page.keyboard.press('4');
  for (const text of ['Credentials', 'Recorder', 'Limits', 'Routes']) await seen(page.getByRole('heading', { name: text, exact: true }));
  assert.match(await page.locator('main').innerText(), /inspect\.memory[\s\S]*of 64 MiB/);
});

// --- failures ---

await check('a wrong signature shows its diagnosis', async () => {
  await page.keyboard.press('1');
  await post('query Mismatched { rooms { id } }', '/wrong');
  await seen(row('Mismatched'));
  await row('Mismatched').click();
  await tab('diagnosis');
  await seen(panel.getByText('wrong-secret'));
  assert.match(await panel.locator('.diagnosis').innerText(), /secret access key/);
  assert.match(await panel.innerText(), /What to do:/);
});

await check('a refusal shows its rule and the setting that allows it', async () => {
  await fetch(`${base}/graphql`, { method: 'POST', headers: { origin: 'https://example.com', 'content-type': 'application/json' }, body: '{"query":"{ rooms { id } }"}' });
  await seen(page.locator('.rows .row-refused').first());
  await page.locator('.rows .row-refused').first().click();
  await tab('diagnosis');
  await seen(panel.getByText('guard.allow_origins'));
});

// --- search, keyboard, export ---

await check('the search finds what is only in a body', async () => {
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  await page.keyboard.type(SEARCHED);
  await seen(page.getByText(/^\d+ of \d+/));
  await page.waitForFunction(() => document.querySelector('.count')?.textContent?.match(/^[1-9]\d* of/));
  assert.match(await row('Listed').innerText(), /Listed/);
  assert.equal(await page.locator('.rows .row', { hasText: 'Posted' }).count(), 0);
  await page.getByRole('button', { name: 'Reset' }).click();
});

await check('the keyboard reaches everything', async () => {
  await page.locator('#list').focus();
  await page.keyboard.press('j');
  const first = await page.locator('.rows .row[aria-selected="true"]').getAttribute('id');
  await page.keyboard.press('j');
  const second = await page.locator('.rows .row[aria-selected="true"]').getAttribute('id');
  assert.notEqual(first, second);
  await page.keyboard.press('k');
  assert.equal(await page.locator('.rows .row[aria-selected="true"]').getAttribute('id'), first);
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('role')), 'tab');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('?');
  await seen(page.getByRole('heading', { name: 'Keyboard and search' }));
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('.detail').count(), 0);
});

await check('the HAR export parses, with the recorded requests', async () => {
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export HAR with bodies' }).click()]);
  assert.equal(download.suggestedFilename(), 'countersign.har');
  const file = join(process.env.TMPDIR ?? tmpdir(), 'countersign.har');
  await download.saveAs(file);
  const { log } = JSON.parse(await readFile(file, 'utf8'));
  assert.equal(log.version, '1.2');
  assert.ok(log.creator.name && log.creator.version);
  assert.ok(log.entries.length > 5);
  for (const entry of log.entries) {
    assert.ok(!Number.isNaN(Date.parse(entry.startedDateTime)), entry.startedDateTime);
    assert.equal(typeof entry.time, 'number');
    assert.ok(new URL(entry.request.url) && entry.request.method && Array.isArray(entry.request.headers));
    assert.ok(Array.isArray(entry.request.queryString) && Array.isArray(entry.request.cookies));
    assert.equal(typeof entry.response.status, 'number');
    assert.ok(entry.response.content && typeof entry.response.content.size === 'number');
    for (const name of ['send', 'wait', 'receive']) assert.equal(typeof entry.timings[name], 'number', name);
  }
  // Playwright reads it as a recording, and answers from it.
  const replayed = await browser.newContext();
  await replayed.routeFromHAR(file, { notFound: 'abort' });
  const response = await (await replayed.newPage()).goto(`${base}/rest/orders?state=open`);
  const recorded = log.entries.find(({ request }) => request.url.endsWith('/rest/orders?state=open'));
  assert.equal(await response.text(), recorded.response.content.text);
  await replayed.close();
});

await check('pause stops recording', async () => {
  await page.keyboard.press('p');
  await seen(page.locator('.connection-paused'));
  await post('query WhilePaused { rooms { id } }');
  await page.keyboard.press('p');
  await seen(page.locator('.connection-live'));
  await post('query AfterPause { rooms { id } }');
  await seen(row('AfterPause'));
  assert.equal(await page.locator('.rows .row', { hasText: 'WhilePaused' }).count(), 0);
});

// --- pages of other origins ---

/** What a page tries, in the browser. Returns what it could read or load. */
async function attack(admin) {
  const done = [];
  const attempt = async (name, act) => {
    try {
      if (await act()) done.push(name);
    } catch {
      // It was refused.
    }
  };
  const api = `${admin}/inspect/api`;
  const key = { 'x-countersign-inspector': '1' };
  const json = { ...key, 'content-type': 'application/json' };
  for (const path of ['state', 'entries', 'entries/1?reveal=bodies', 'har', 'stream']) {
    await attempt(`read ${path}`, () => fetch(`${api}/${path}`));
    await attempt(`read ${path} with the header`, () => fetch(`${api}/${path}`, { headers: key }));
    await attempt(`read ${path} opaquely`, async () => (await (await fetch(`${api}/${path}`, { mode: 'no-cors' })).text()) !== '');
  }
  for (const path of ['clear', 'pause', 'replay']) {
    const body = JSON.stringify({ is_paused: true, id: 1, confirm: true });
    await attempt(`post ${path}`, () => fetch(`${api}/${path}`, { method: 'POST', body, headers: json }));
    await attempt(`post ${path} as text`, async () => {
      await fetch(`${api}/${path}`, { method: 'POST', body, mode: 'no-cors', headers: { 'content-type': 'text/plain' } });
      return false;
    });
    navigator.sendBeacon(`${api}/${path}`, body);
  }
  const opens = (target) => new Promise((resolve) => {
    target.onopen = () => resolve(true);
    target.onerror = () => resolve(false);
  });
  await attempt('event source', () => opens(new EventSource(`${api}/stream`)));
  await attempt('socket', () => opens(new WebSocket(`${api.replace('http', 'ws')}/stream`)));
  const loads = (tag, attributes) => new Promise((resolve) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.onload = () => resolve(true);
    element.onerror = () => resolve(false);
    document.body.append(element);
  });
  await attempt('script of the API', () => loads('script', { src: `${api}/entries` }));
  await attempt('image of the API', () => loads('img', { src: `${api}/state` }));
  await attempt('style of the API', () => loads('link', { rel: 'stylesheet', href: `${api}/state` }));
  await attempt('a part of the page', () => loads('script', { src: document.body.dataset.part }));
  for (const path of ['/inspect/', '/inspect/graphiql']) {
    // A refused frame loads, too: a page of the browser, which is as foreign as the real one.
    await attempt(`frame of ${path}`, async () => {
      const frame = Object.assign(document.createElement('iframe'), { src: admin + path });
      const loaded = new Promise((resolve) => { frame.onload = resolve; });
      document.body.append(frame);
      await loaded;
      return frame.contentWindow.length > 0 || frame.contentDocument !== null;
    });
  }
  const form = Object.assign(document.createElement('form'), { method: 'post', action: `${api}/clear`, enctype: 'text/plain', target: 'sink' });
  const sink = Object.assign(document.createElement('iframe'), { name: 'sink' });
  document.body.append(sink, form);
  form.submit();
  return done;
}

await check('a page of another origin can neither read nor change anything', async () => {
  const api = async (path) => (await fetch(`${admin}/inspect/api/${path}`, { headers: { 'x-countersign-inspector': '1' } })).json();
  const before = await api('entries?limit=1000');
  const server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html><title>foreign</title><body>'));
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const { port } = server.address();
  const part = await page.evaluate(() => document.querySelector('script[src]').src);
  const apart = await browser.newContext();
  // The first is another port of the same site, and the second another site.
  for (const name of ['127.0.0.1', 'localhost']) {
    const foreign = await apart.newPage();
    await foreign.goto(`http://${name}:${port}/`);
    await foreign.evaluate((src) => { document.body.dataset.part = src; }, part);
    assert.deepEqual(await foreign.evaluate(attack, admin), [], name);
    // It may open the page in a window of its own, which it then has no hold of.
    const [opened] = await Promise.all([
      apart.waitForEvent('page'),
      foreign.evaluate((url) => { globalThis.opened = open(url); }, `${admin}/inspect/`),
    ]);
    await seen(opened.locator('.toolbar'));
    assert.equal(await foreign.evaluate(() => globalThis.opened.closed), true);
    assert.equal(await opened.evaluate(() => globalThis.opener), null);
  }
  await apart.close();
  server.close();
  const after = await api('entries?limit=1000');
  const ids = ({ entries }) => entries.map(({ id }) => id);
  assert.deepEqual(ids(after).slice(-before.entries.length), ids(before));
  assert.equal(after.entries.filter(({ replay_of: of }) => of !== undefined).length, before.entries.filter(({ replay_of: of }) => of !== undefined).length);
  assert.equal((await api('state')).recorder.is_paused, false);
});

// --- GraphiQL ---

const graphiql = await context.newPage();
const editor = graphiql.locator('.graphiql-query-editor .CodeMirror');
const result = graphiql.locator('.result-window');

/** Replaces the document in the editor by one operation with a name, and runs it. */
async function execute(name, document) {
  await editor.click();
  await graphiql.keyboard.press('Control+a');
  await graphiql.keyboard.insertText(document);
  // The editor has parsed it: the tab has the name of the operation.
  await seen(graphiql.locator('.graphiql-tabs', { hasText: name }));
  // Completion may have opened, and would take the next key.
  await graphiql.keyboard.press('Escape');
  await graphiql.keyboard.press('Control+Enter');
}

await check("a browser's visit of the route leads to GraphiQL, which reads the schema", async () => {
  await graphiql.goto(`${base}/graphql`);
  assert.equal(new URL(graphiql.url()).origin, admin);
  await seen(editor);
  await graphiql.getByRole('button', { name: /Documentation/ }).click();
  await seen(graphiql.getByText('Root Types'));
  await seen(graphiql.locator('.graphiql-doc-explorer').getByText('Subscription', { exact: true }));
});

await check('GraphiQL completes a field', async () => {
  await editor.click();
  await graphiql.keyboard.press('Control+a');
  await graphiql.keyboard.type('{ roo', { delay: 20 });
  await seen(graphiql.locator('.CodeMirror-hint', { hasText: 'rooms' }));
  await graphiql.keyboard.press('Escape');
});

await check('GraphiQL runs a query and a mutation', async () => {
  await execute('FromGraphiql', 'query FromGraphiql { rooms { name } }');
  await seen(result.getByText('"Lobby"'));
  await execute('ByHand', 'mutation ByHand { postMessage(room: "garden", body: "by hand") { body } }');
  await seen(result.getByText('"by hand"'));
  await seen(row('FromGraphiql'));
});

await check('GraphiQL runs a subscription over a WebSocket', async () => {
  await execute('Followed', 'subscription Followed { onMessage(room: "garden") { body } }');
  await page.keyboard.press('2');
  await seen(row('Followed').getByText('live'));
  await post('mutation { postMessage(room: "garden", body: "to the editor") { room body } }');
  await seen(result.getByText('"to the editor"'));
});

await check('no page broke its policy, failed, or sent a request to another host', async () => {
  assert.deepEqual(complaints, []);
});

await close();
finish();
