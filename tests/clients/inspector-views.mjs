// Every view of the inspector in a real browser, headless Chromium: axe-core, and the width of the page. See
// inspector-browser.mjs for the arguments.
//   --looks LIST              colours and widths, such as light-1280,dark-400; all four by default
//   --screenshots DIRECTORY   writes pictures of the views, light and dark, 1280 and 400 pixels wide

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { assert, check, deadline, finish } from './check.mjs';
import { admin, base, close, complaints, context, post, rowOf, seen, subscribe, values } from './inspector-browser.mjs';

deadline(values.looks ? 140 : 600);

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Returns the serious violations of WCAG 2.2 A and AA that axe-core finds, without the named exceptions. */
async function violations(from, exceptions = {}) {
  // The protocol of the browser's debugger runs it: the page's policy allows no foreign script.
  if (!(await from.evaluate(() => 'axe' in globalThis))) await from.evaluate(axe);
  const found = await from.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }));
  return found.violations
    .filter(({ id, impact }) => (impact === 'serious' || impact === 'critical') && !(id in exceptions))
    .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ target, failureSummary }) => `${target} ${failureSummary}`).join(' | ')}`);
}

/** What axe-core finds in GraphiQL's own elements, which only GraphiQL can change. */
const OF_GRAPHIQL = {
  'nested-interactive': 'GraphiQL puts the buttons of a tab, which select and close it, into an element with the role of a tab',
  'scrollable-region-focusable': "CodeMirror's text field, which scrolls with the cursor, is beside the region that scrolls",
};

const shot = async (from, name, scheme, width) => {
  if (values.screenshots) await from.screenshot({ path: `${values.screenshots}/${name}-${scheme}-${width}.png` });
};

// --- something to show ---

subscribe('OnMessage', 'lobby');
subscribe('OnGardenMessage', 'garden');
await fetch(`${base}/rest/orders?state=open`);
await post('query ListRooms($id: ID!) { rooms { id name } room(id: $id) { name } }', '/graphql', { id: 'lobby' });
await post('query Mismatched { rooms { id } }', '/wrong');
await fetch(`${base}/graphql`, { method: 'POST', headers: { origin: 'https://example.com', 'content-type': 'application/json' }, body: '{"query":"{ rooms { id } }"}' });
for (const body of ['hello', 'anybody here?', 'yes']) {
  await post(`mutation PostMessage { postMessage(room: "lobby", body: "${body}") { room body } }`);
}
await post('{ romms { id } }');

for (const colors of (values.looks ?? 'light-1280,dark-1280,light-400,dark-400').split(',')) {
  const [colorScheme, width] = [colors.split('-')[0], Number(colors.split('-')[1])];
  const view = await context.newPage();
  await view.emulateMedia({ colorScheme });
  await view.setViewportSize({ width, height: 800 });
  await view.goto(`${admin}/inspect/`);
  /** Goes to a view, waits for what belongs to it, and looks at it. */
  const look = (name, go, ready, exceptions) => check(`axe-core finds nothing serious, and nothing is too wide: ${name}, ${colorScheme}, ${width} pixels`, async () => {
    await go();
    await seen(view.locator(ready));
    const overflow = await view.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} pixels too wide`);
    await shot(view, name, colorScheme, width);
    assert.deepEqual(await violations(view, exceptions), []);
  });
  const open = async (text, tab) => {
    await view.keyboard.press('Escape');
    await rowOf(view, text).click();
    if (tab) await view.locator(`#tab-${tab}`).click();
  };
  await look('traffic', async () => {}, '.rows .row');
  await look('overview', () => open('ListRooms'), '.phases');
  await look('response', async () => {
    await view.keyboard.press('b');
    await view.locator('#tab-response').click();
  }, '.tree');
  await look('signing', () => view.locator('#tab-signing').click(), '.signed');
  await look('diagnosis', () => open('Mismatched', 'diagnosis'), '.hint');
  await view.keyboard.press('Escape');
  await view.keyboard.press('2');
  await look('frames', () => open('OnMessage', 'frames'), '.frames');
  await view.keyboard.press('Escape');
  await look('realtime', () => view.keyboard.press('3'), '.table');
  await look('status', () => view.keyboard.press('4'), '.meter');
  await look('help', () => view.keyboard.press('?'), 'dialog');
  await view.goto(`${base}/graphql`);
  const editor = view.locator('.graphiql-query-editor .CodeMirror');
  await look('graphiql', async () => {
    await seen(editor);
    await view.getByRole('button', { name: /Documentation/ }).click();
    await seen(view.getByText('Root Types'));
    await editor.click();
    await view.keyboard.press('Control+a');
    await view.keyboard.insertText('query ListRooms {\n  rooms {\n    id\n    name\n  }\n}\n');
    await seen(view.locator('.graphiql-tabs', { hasText: 'ListRooms' }));
    await view.keyboard.press('Escape');
    await view.keyboard.press('Control+Enter');
    await seen(view.locator('.result-window').getByText('"Lobby"'));
  }, '.graphiql-query-editor .CodeMirror', OF_GRAPHIQL);
  await view.close();
}

await check('no view broke its policy, failed, or sent a request to another host', async () => {
  assert.deepEqual(complaints, []);
});

await close();
finish();
