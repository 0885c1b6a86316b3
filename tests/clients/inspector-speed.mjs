// How fast the inspector's page is in headless Chromium, for tests/bench/inspector. See inspector-browser.mjs for the
// arguments. Prints "ready" once the page follows the stream, waits for a line (the load has ended), and prints one line
// of JSON.

import { createInterface } from 'node:readline';
import { admin, browser, close, context, post } from './inspector-browser.mjs';

const SECONDS = 5;
const VIEWS = 5;
/** Pixels of a turn of the wheel: ten rows. */
const TURN = 300;

/** Records when frames begin and which tasks are long, and when the first entry of the list has been painted. */
function observe() {
  globalThis.frames_ = [];
  globalThis.tasks_ = [];
  new PerformanceObserver((list) => globalThis.tasks_.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: 'longtask' });
  let isShown = false;
  const next = (time) => {
    globalThis.frames_.push(time);
    requestAnimationFrame(next);
    if (isShown || !document.querySelector('.rows .row')) return;
    isShown = true;
    // This frame paints it, and the next task comes after that.
    setTimeout(() => { globalThis.shown_ = performance.now(); });
  };
  requestAnimationFrame(next);
}
await context.addInitScript(observe);

const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];

/** Records a page. `reset` forgets what has been recorded; `read` returns frames, tasks and the work for them. */
async function recorder(page) {
  const debug = await page.context().newCDPSession(page);
  // CPU time, so that other programs on the machine count little.
  await debug.send('Performance.enable', { timeDomain: 'threadTicks' });
  const work = async () => (await debug.send('Performance.getMetrics')).metrics.find(({ name }) => name === 'TaskDuration').value * 1000;
  let before = 0;
  return {
    async reset() {
      await page.evaluate(() => { globalThis.frames_.length = 0; globalThis.tasks_.length = 0; });
      before = await work();
    },
    async read() {
      const cpu = (await work()) - before;
      const [times, tasks] = await page.evaluate(() => [globalThis.frames_, globalThis.tasks_]);
      const frames = times.slice(1).map((time, at) => time - times[at]);
      const late = frames.filter((frame) => frame > (1000 / 60) * 1.5).length;
      return {
        rate: (frames.length * 1000) / (times.at(-1) - times[0]),
        cpu: cpu / frames.length,
        longest: Math.max(...frames),
        late: (late / frames.length) * 100,
        long_tasks: tasks.length,
        longest_task: Math.max(0, ...tasks),
      };
    },
    async heap() {
      await debug.send('HeapProfiler.collectGarbage');
      return (await debug.send('Runtime.getHeapUsage')).usedSize;
    },
  };
}

/** Turns the wheel down and up for some seconds. */
async function scroll(page, records) {
  await page.mouse.move(400, 400);
  await page.mouse.wheel(0, TURN);
  await wait(500);
  await records.reset();
  const began = Date.now();
  let isDown = true;
  for (let turns = 0; Date.now() < began + SECONDS * 1000; turns += 1) {
    if (turns % 150 === 149) isDown = !isDown;
    await page.mouse.wheel(0, isDown ? TURN : -TURN);
  }
  return records.read();
}

const rows = (page) => page.locator('#list').getAttribute('aria-rowcount').then(Number);

/** Waits until the list has not changed for a second, and returns its length. */
async function settled(page) {
  let before = -1;
  for (let count = await rows(page); count !== before; count = await rows(page)) {
    before = count;
    await wait(1000);
  }
  return before - 1;
}

const page = await context.newPage();
await page.goto(`${admin}/inspect/`);
await page.locator('.connection-live').waitFor();
const records = await recorder(page);
await records.reset();
console.log('ready');
for await (const _ of createInterface({ input: process.stdin })) break;

const results = { arriving: await records.read(), entries: await settled(page) };
results.heap = await records.heap();
results.scrolling = await scroll(page, records);

// Two requests in each twentieth of a second, as a page that a developer tests might send.
const body = '{ __typename }';
const arrivals = setInterval(() => { void post(body); void post(body); }, 50);
results.scrolling_live = await scroll(page, records);
clearInterval(arrivals);
await page.close();

const views = [];
for (let number = 0; number < VIEWS; number += 1) {
  const fresh = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await fresh.addInitScript(observe);
  const view = await fresh.newPage();
  const recorded = await recorder(view);
  await view.goto(`${admin}/inspect/`);
  await view.waitForFunction(() => globalThis.shown_ !== undefined);
  views.push(await view.evaluate(() => globalThis.shown_));
  await settled(view);
  results.loading = await recorded.read();
  await fresh.close();
}
results.first_view = { fastest: Math.min(...views), median: median(views) };

// What this machine and browser can do: a list of the same length that the browser draws alone.
const plain = await context.newPage();
await plain.setContent('<div style="height:700px;overflow:auto"><div style="height:1500000px;background:repeating-linear-gradient(#fff 0 30px,#eee 30px 60px)"></div></div>');
results.scrolling_plain = await scroll(plain, await recorder(plain));

await close();
console.log(JSON.stringify(results));
process.exit(0);
