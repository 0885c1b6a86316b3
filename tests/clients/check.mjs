// Shared by the Node test clients: one line per check, an overall deadline, event queues, and the
// emulator's control address. This file is independent of any protocol.

import assert from 'node:assert/strict';

export { assert };

let passed = 0;
let differing = 0;
let failed = 0;
let current = 'start';
let differences = {};
const ONE_WAIT_MS = 10_000;

/** Starts the overall deadline; a run that exceeds it fails and names the check that hung. */
export function deadline(seconds) {
  setTimeout(() => {
    report(current, new Error(`the whole run took longer than ${seconds} s`));
    finish();
  }, seconds * 1000).unref();
  process.on('unhandledRejection', (error) => {
    report(`${current} (unhandled rejection)`, asError(error));
    finish();
  });
}

export async function check(name, body) {
  current = name;
  let failure;
  try {
    await within(body(), 3 * ONE_WAIT_MS, 'the check');
  } catch (error) {
    failure = asError(error);
  }
  const reason = differences[name];
  if (reason === undefined) return report(name, failure);
  delete differences[name];
  if (!failure) return report(name, new Error(`it passed, but is said to fail: ${reason}`));
  differing += 1;
  console.log(`differs - ${name}: ${reason}`);
}

/** Checks that must fail, by name, with the reason: known deviations of a reference server. */
export function expectDifferences(table) {
  differences = { ...table };
}

export function skip(name, why) {
  console.log(`skip - ${name}: ${why}`);
}

export function finish() {
  const absent = Object.keys(differences);
  differences = {};
  if (absent.length > 0) report('differences', new Error(`no such check: ${absent.join('; ')}`));
  console.log(`${passed} passed, ${differing} differ, ${failed} failed`);
  process.exit(failed > 0 || passed === 0 ? 1 : 0);
}

function report(name, error) {
  if (error === undefined) {
    passed += 1;
    console.log(`ok - ${name}`);
  } else {
    failed += 1;
    console.log(`not ok - ${name}: ${error.message.replace(/\s*\n\s*/g, ' | ')}`);
  }
}

function asError(thrown) {
  if (thrown instanceof Error) return thrown;
  if (typeof thrown?.code === 'number') return new Error(`closed ${thrown.code} ${thrown.reason}`);
  return new Error(thrown?.message ?? JSON.stringify(thrown));
}

/** Asserts that these are GraphQL errors: a non-empty list, each with a message. */
export function assertErrors(errors) {
  assert.ok(Array.isArray(errors) && errors.length > 0, `errors ${JSON.stringify(errors)}`);
  for (const error of errors) assert.equal(typeof error?.message, 'string', JSON.stringify(errors));
}

/** Fails, instead of hanging, when `promise` does not settle. */
export async function within(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A queue that keeps the order of arrival; `take` waits for the next item. */
export class Queue {
  #items = [];
  #waiting = [];
  #ended;

  push(item) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter.resolve(item);
    else this.#items.push(item);
  }

  /** Ends the queue: every current and later `take` fails with this reason. */
  end(error) {
    this.#ended ??= error;
    for (const waiter of this.#waiting.splice(0)) waiter.reject(this.#ended);
  }

  take(what = 'an item', ms = ONE_WAIT_MS) {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    if (this.#ended) return Promise.reject(this.#ended);
    const waiter = {};
    const taken = new Promise((resolve, reject) => Object.assign(waiter, { resolve, reject }));
    this.#waiting.push(waiter);
    return within(taken, ms, what).catch((error) => {
      this.#waiting = this.#waiting.filter((other) => other !== waiter);
      throw error;
    });
  }

  /** Returns all items that have arrived and were not taken. */
  drain() {
    return this.#items.splice(0);
  }
}

/** The emulator's control address. */
export class Control {
  constructor(base) {
    this.base = base.replace(/\/$/, '');
  }

  async state() {
    const response = await fetch(`${this.base}/state`);
    assert.equal(response.status, 200, 'GET /state');
    return response.json();
  }

  async switch(settings) {
    const response = await fetch(`${this.base}/switch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(settings),
    });
    assert.ok(response.ok, `POST /switch answered ${response.status}`);
    await response.arrayBuffer();
  }

  /** Polls until the state satisfies `predicate`, for a bounded time. */
  async until(what, predicate, ms = ONE_WAIT_MS) {
    const end = Date.now() + ms;
    for (;;) {
      const state = await this.state();
      if (predicate(state)) return state;
      if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms; state ${JSON.stringify(state)}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
