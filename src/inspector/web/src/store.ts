/** The state of the page, and the tasks that keep it up to date. */

import { batch, computed, effect, signal } from '@preact/signals';
import type { EntryDetail, EntrySummary, State, StreamEvent } from './api';
import { ApiFailure, api, readStream } from './client';
import { Entries } from './entries';
import { EMPTY, type Filter, parseText, predicate } from './filter';
import { merge } from './frames';
import { place } from './place';

export type Connection = 'connecting' | 'live' | 'lost' | 'locked';

export const state = signal<State | undefined>(undefined);
export const connection = signal<Connection>('connecting');
/** What kept the page from the API. */
export const problem = signal('');
export const isRevealed = signal(false);
export const filter = signal<Filter>(EMPTY);
/** Ids that the full-text search of the server found. */
const found = signal<ReadonlySet<number> | undefined>(undefined);
export const isSearching = signal(false);
/** A time that changes every second, for countdowns. */
export const now = signal(Date.now());
/** The token for replays, if countersign asks for one. It stays in memory. */
export const token = signal('');

const entries = new Entries();
/** Changes with the entries. */
const edition = signal(0);
export const total = computed(() => (edition.value, entries.size));

export const traffic = computed(() => {
  edition.value;
  return entries.matching(predicate(filter.value, found.value));
});

const isSubscription = ({ kind, is_refused }: EntrySummary) => (kind === 'subscription' || kind === 'subscribe') && !is_refused;

export const subscriptions = computed(() => {
  edition.value;
  const matches = predicate({ ...filter.value, kind: 'all' }, found.value);
  const all = entries.matching((entry) => isSubscription(entry) && matches(entry));
  return [...all.filter(({ is_live }) => is_live), ...all.filter(({ is_live }) => !is_live)];
});

/** Counts for the navigation. */
export const live = computed(() => (edition.value, entries.matching((entry) => entry.is_live && isSubscription(entry)).length));

export const summaryOf = (id: number): EntrySummary | undefined => (edition.value, entries.get(id));

const wait = (ms: number) => new Promise<void>((resolve) => { setTimeout(resolve, ms); });

// --- the list ---

const FIRST_PAGE = 100;
const PAGE = 1000;
/** The number of entries that the page keeps. */
const MAX_ENTRIES = 100_000;
let isRunning = false;

/** Fetches the list, follows the stream, and starts again whenever it ends. */
export async function run(): Promise<void> {
  if (isRunning) return;
  isRunning = true;
  let revision: string | undefined;
  for (;;) {
    const aborted = new AbortController();
    let isOpened = false;
    try {
      if (revision === undefined) revision = await load();
      await readStream(revision, () => { isOpened = true; connected(); }, (events, last) => {
        revision = last;
        if (receive(events)) {
          revision = undefined;
          aborted.abort();
        }
      }, aborted.signal);
    } catch (error) {
      if (!aborted.signal.aborted && failed(error)) break;
      if (!isOpened && !aborted.signal.aborted) revision = undefined;
    }
    if (aborted.signal.aborted) continue;
    if (connection.value === 'live') connection.value = 'lost';
    await wait(1000);
  }
  isRunning = false;
}

function connected(): void {
  batch(() => {
    connection.value = 'live';
    problem.value = '';
  });
}

/** Shows an error. Returns whether another try is useless. */
function failed(error: unknown): boolean {
  const isLocked = error instanceof ApiFailure && error.status === 401;
  batch(() => {
    connection.value = isLocked ? 'locked' : 'lost';
    problem.value = error instanceof Error ? error.message : String(error);
  });
  return isLocked;
}

let loads = 0;

async function load(): Promise<string> {
  loads += 1;
  const [first, current] = await Promise.all([api.entries({ limit: FIRST_PAGE }), api.state()]);
  batch(() => {
    entries.clear();
    entries.putMissing(first.entries);
    state.value = current;
    edition.value += 1;
  });
  if (first.has_more) void loadOlder(loads);
  return String(first.revision);
}

/** Fetches older entries in the background, page by page. */
async function loadOlder(load: number): Promise<void> {
  while (load === loads && entries.size < MAX_ENTRIES && entries.oldest !== undefined) {
    try {
      const page = await api.entries({ before: entries.oldest, limit: PAGE });
      if (load !== loads) return;
      entries.putMissing(page.entries);
      edition.value += 1;
      if (!page.has_more || page.entries.length === 0) return;
    } catch {
      return;
    }
    await wait(20);
  }
}

/** Applies events. Returns whether the list must be fetched again. */
function receive(events: StreamEvent[]): boolean {
  const latest = events.findLast((event) => event.event === 'state');
  const old = state.peek();
  // Another process counts its entries from the beginning.
  const isOther = latest?.event === 'state' && old !== undefined && latest.data.started !== old.started;
  const isStale = entries.apply(events) || isOther;
  batch(() => {
    edition.value += 1;
    if (latest?.event === 'state') {
      state.value = latest.data;
      now.value = Date.now();
    }
  });
  const changed = new Set(events.flatMap((event) => (event.event === 'entry' ? [event.data.id] : [])));
  const { id } = place.peek();
  if (id !== undefined && changed.has(id)) refreshDetail();
  if (changed.size > 0 && parseText(filter.peek().text).words.length > 0) searchAgain();
  return isStale;
}

// --- the full-text search ---

let searches = 0;
let isSearchPlanned = false;

/** Searches on the server after a pause in typing. The summaries are searched in the page meanwhile. */
export function followSearch(): void {
  const words = computed(() => parseText(filter.value.text).words.join(' '));
  effect(() => {
    const q = words.value;
    searches += 1;
    found.value = undefined;
    isSearching.value = q !== '';
    if (q !== '') void search(q, searches, Infinity, 150);
  });
}

async function search(q: string, number: number, pages: number, delay: number): Promise<void> {
  await wait(delay);
  const ids = new Set(number === searches ? found.peek() : undefined);
  let before: number | undefined;
  try {
    for (let page = 0; page < pages && number === searches; page += 1) {
      const list = await api.entries({ q, limit: PAGE, ...(before === undefined ? {} : { before }) });
      if (number !== searches) return;
      for (const { id } of list.entries) ids.add(id);
      entries.putMissing(list.entries);
      before = list.entries.at(-1)?.id;
      batch(() => {
        found.value = new Set(ids);
        edition.value += 1;
      });
      if (!list.has_more || before === undefined) break;
    }
  } catch {
    // The stream reports a lost connection.
  }
  if (number === searches) isSearching.value = false;
}

/** Looks at the newest entries, which have changed, at most once a second. */
function searchAgain(): void {
  if (isSearchPlanned) return;
  isSearchPlanned = true;
  setTimeout(() => {
    isSearchPlanned = false;
    const q = parseText(filter.peek().text).words.join(' ');
    if (q !== '') void search(q, searches, 1, 0);
  }, 1000);
}

// --- the open entry ---

export interface Opened {
  id: number;
  detail?: EntryDetail;
  failure?: string;
}

export const opened = signal<Opened | undefined>(undefined);
let request: AbortController | undefined;
let isRefreshPlanned = false;

/** Fetches the open entry when another is chosen, or when bodies are revealed or hidden. */
export function followPlace(): void {
  const id = computed(() => place.value.id);
  effect(() => {
    const chosen = id.value;
    const reveal = isRevealed.value;
    request?.abort();
    if (chosen === undefined) {
      opened.value = undefined;
      return;
    }
    const old = opened.peek();
    // The old view of the same entry stays until the new one is there. Hidden bodies disappear at once.
    if (old?.id !== chosen || !reveal) opened.value = { id: chosen };
    void fetchDetail(chosen, reveal, undefined);
  });
}

async function fetchDetail(id: number, reveal: boolean, after: number | undefined): Promise<void> {
  request = new AbortController();
  const { signal: aborted } = request;
  try {
    const detail = await api.detail(id, reveal, after, aborted);
    const old = opened.peek()?.detail;
    if (aborted.aborted) return;
    if (after !== undefined && old) detail.frames.frames = merge(old.frames.frames, detail.frames.frames, detail.frames.first);
    opened.value = { id, detail };
  } catch (error) {
    if (aborted.aborted) return;
    const isGone = error instanceof ApiFailure && error.status === 404;
    const text = isGone ? 'This entry was removed. Newer entries took its memory, or the list was cleared.' : String((error as Error).message);
    opened.value = { id, failure: text };
  }
}

/** Fetches the open entry again, at most four times a second. */
function refreshDetail(): void {
  if (isRefreshPlanned) return;
  isRefreshPlanned = true;
  setTimeout(() => {
    isRefreshPlanned = false;
    const current = opened.peek();
    if (current === undefined || current.id !== place.peek().id) return;
    const { detail } = current;
    const reveal = isRevealed.peek();
    // Frames whose payloads were hidden are fetched again once bodies are revealed.
    const after = detail?.is_revealed === reveal ? detail.frames.frames.at(-1)?.index : undefined;
    request?.abort();
    void fetchDetail(current.id, reveal, after);
  }, 250);
}

export function tick(): void {
  setInterval(() => { now.value = Date.now(); }, 1000);
}
