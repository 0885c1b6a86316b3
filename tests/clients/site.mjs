// Uses the documentation site in a browser, as tests/site does: searches for the texts of errors, follows the first
// result, and takes screenshots of pages in both themes at the widths of a desktop and a phone.
//
// usage: node site.mjs DIRECTORY SCREENSHOTS
// CHROMIUM (environment) is the browser, /usr/bin/chromium by default

import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { chromium } from 'playwright-core';
import { assert, check, deadline, finish } from './check.mjs';

const [root, screenshots] = process.argv.slice(2);
if (!screenshots) {
  console.error('usage: node site.mjs DIRECTORY SCREENSHOTS');
  process.exit(2);
}
deadline(400);

const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml' };
const server = createServer((request, response) => {
  let file = join(root, normalize(decodeURIComponent(new URL(request.url, 'http://a').pathname)));
  if (existsSync(file) && statSync(file).isDirectory()) file = join(file, 'index.html');
  if (!existsSync(file)) return response.writeHead(404).end();
  response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' });
  createReadStream(file).pipe(response);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const site = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking'],
});

/** Opens a page of the site, and fails if it logs an error or requests something of another host. */
async function open(path, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(String(error)));
  page.on('request', ({ url }) => {
    if (typeof url === 'string' && !url.startsWith(site)) page.problems.push(url);
  });
  page.on('response', (response) => {
    if (response.status() >= 400 && !response.url().endsWith('favicon.ico')) page.problems.push(`${response.status()} ${response.url()}`);
  });
  await page.goto(`${site}/${path}`);
  return page;
}

// Each text, the page that answers it, and the heading at which the first result leads.
const SEARCHES = [
  ['The request signature we calculated does not match', 'docs/troubleshooting.html', /The request signature we calculated/],
  ['The security token included in the request is expired', 'docs/troubleshooting.html', /security token/],
  ['SLOW_CONSUMER', 'docs/troubleshooting.html', /SLOW_CONSUMER/],
  ['subscription is silent', 'docs/guide/subscriptions.html', /My subscription is silent/],
  ['non_loopback', 'docs/', /./],
];
for (const [text, target, heading] of SEARCHES) {
  await check(`search: ${text}`, async () => {
    const page = await open('index.html');
    await page.keyboard.press('s');
    await page.fill('#mdbook-searchbar', text);
    // The search starts when a key is released.
    await page.keyboard.press('End');
    const first = page.locator('#mdbook-searchresults a').first();
    await first.waitFor();
    await page.screenshot({ path: join(screenshots, 'search.png') });
    await first.click();
    await page.waitForURL((url) => url.pathname !== '/index.html');
    const url = new URL(page.url());
    assert(url.pathname.startsWith(`/${target}`), `${text} leads to ${url.pathname}`);
    const title = await page.locator(url.hash ? `[id="${decodeURIComponent(url.hash.slice(1))}"]` : 'h1').first().innerText();
    assert(heading.test(title), `${text} leads to ${title}`);
    assert(page.problems.length === 0, page.problems.join('\n'));
    await page.context().close();
  });
}

const PAGES = ['index', 'docs/troubleshooting', 'docs/guide/access'];
for (const [device, viewport] of [['desktop', { width: 1280, height: 900 }], ['phone', { width: 400, height: 800 }]]) {
  for (const colorScheme of ['light', 'dark']) {
    for (const name of PAGES) {
      await check(`${name} on a ${device}, ${colorScheme}`, async () => {
        const page = await open(`${name}.html`, { viewport, colorScheme });
        const themes = await page.evaluate(() => document.documentElement.className);
        assert(themes.includes('navy') === (colorScheme === 'dark'), themes);
        // Wide tables and code scroll by themselves; the page must not.
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert(width <= viewport.width, `the page is ${width} px wide`);
        const file = `${name.replaceAll('/', '-')}-${device}-${colorScheme}.png`;
        await page.screenshot({ path: join(screenshots, file) });
        assert(page.problems.length === 0, page.problems.join('\n'));
        await page.context().close();
      });
    }
  }
}

await browser.close();
server.close();
finish();
