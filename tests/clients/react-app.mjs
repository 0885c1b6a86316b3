// Uses the page of docs/examples/react-apollo in a browser, as tests/examples does: posts a message, which the page must
// show when its subscription delivers it.
//
// usage: node react-app.mjs URL
// CHROMIUM (environment) is the browser, /usr/bin/chromium by default

import { chromium } from 'playwright-core';
import { assert, check, deadline, finish } from './check.mjs';

const [url] = process.argv.slice(2);
deadline(120);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--no-proxy-server'],
});
await check('a message that is posted arrives by the subscription', async () => {
  const page = await browser.newPage();
  await page.goto(url);
  await page.getByRole('heading', { name: 'Lobby' }).waitFor({ timeout: 60_000 });
  const message = page.getByRole('listitem').filter({ hasText: 'hello' }).first();
  // The subscription is live a moment after the page is: post until a message arrives.
  for (let posts = 0; posts < 60 && !(await message.isVisible()); posts++) {
    await page.getByLabel('Message').fill('hello');
    await page.getByRole('button', { name: 'Post' }).click();
    await message.waitFor({ timeout: 1_000 }).catch(() => {});
  }
  assert(await message.isVisible(), 'no message');
  assert((await page.getByRole('alert').count()) === 0, await page.locator('body').innerText());
});
await browser.close();
finish();
