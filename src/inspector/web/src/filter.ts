/** The filter of the list: buttons and selects, and words in the search field such as `status:403 -kind:query rooms`. */

import type { EntrySummary, Kind } from './api';

export type KindGroup = 'all' | 'query' | 'mutation' | 'subscription' | 'events' | 'http';
export type StatusGroup = 'all' | 'ok' | 'error' | 'refused' | 'live';

export interface Filter {
  text: string;
  kind: KindGroup;
  status: StatusGroup;
  route: string;
}

export const EMPTY: Filter = { text: '', kind: 'all', status: 'all', route: '' };

/** The kinds of each button. */
export const KINDS: Record<Exclude<KindGroup, 'all'>, readonly Kind[]> = {
  query: ['query'],
  mutation: ['mutation'],
  subscription: ['subscription'],
  events: ['publish', 'subscribe'],
  http: ['http', 'tunnel', 'batch', 'none'],
};

export interface Term {
  field: string;
  value: string;
  isExcluded: boolean;
}

export interface ParsedText {
  terms: Term[];
  /** What remains for the full-text search. */
  words: string[];
}

const FIELDS = ['status', 'kind', 'route', 'name', 'client', 'protocol', 'code', 'method', 'path', 'id'];

/** Divides the text of the search field. Quotes keep blanks together. */
export function parseText(text: string): ParsedText {
  const terms: Term[] = [];
  const words: string[] = [];
  for (const [raw] of text.matchAll(/(?:[^\s"]|"[^"]*"?)+/g)) {
    const word = raw.replaceAll('"', '').toLowerCase();
    const isExcluded = word.startsWith('-') && word.length > 1;
    const [, field, value] = /^-?([a-z]+):(.+)$/.exec(word) ?? [];
    if (field !== undefined && value !== undefined && FIELDS.includes(field)) terms.push({ field, value, isExcluded });
    else if (isExcluded) terms.push({ field: 'text', value: word.slice(1), isExcluded });
    else if (word !== '') words.push(word);
  }
  return { terms, words };
}

/** Returns how an entry ended: "live" while it has not. */
export function outcome(entry: EntrySummary): Exclude<StatusGroup, 'all'> {
  if (entry.is_refused) return 'refused';
  const hasFailed = entry.code !== undefined || (entry.status ?? 0) >= 400 || (entry.graphql_errors ?? 0) > 0;
  if (hasFailed) return 'error';
  return entry.is_live ? 'live' : 'ok';
}

const searched = new WeakMap<EntrySummary, string>();

/** Returns the lower-case text of a summary that the words are searched in. */
export function searchText(entry: EntrySummary): string {
  let text = searched.get(entry);
  if (text === undefined) {
    const parts = [entry.name, entry.path, entry.method, entry.kind, entry.route, entry.status, entry.code, entry.client, entry.token, entry.protocol];
    text = parts.filter((part) => part !== undefined).join(' ').toLowerCase();
    searched.set(entry, text);
  }
  return text;
}

function statusMatches(entry: EntrySummary, value: string): boolean {
  if (['ok', 'error', 'refused', 'live'].includes(value)) return value === 'live' ? entry.is_live : outcome(entry) === value;
  const status = String(entry.status ?? '');
  return /^\dxx$/.test(value) ? status.length === 3 && status[0] === value[0] : status.startsWith(value);
}

function termMatches(entry: EntrySummary, { field, value }: Term): boolean {
  switch (field) {
    case 'text': return searchText(entry).includes(value);
    case 'status': return statusMatches(entry, value);
    case 'id': return String(entry.id) === value;
    case 'kind': return entry.kind === value;
    case 'route': return entry.route?.toLowerCase() === value;
    case 'name': return entry.name?.toLowerCase().includes(value) ?? false;
    case 'client': return `${entry.client ?? ''} ${entry.token ?? ''}`.toLowerCase().includes(value);
    case 'protocol': return entry.protocol.toLowerCase().includes(value);
    case 'code': return entry.code?.toLowerCase().includes(value) ?? false;
    case 'method': return entry.method?.toLowerCase() === value;
    case 'path': return entry.path?.toLowerCase().includes(value) ?? false;
    default: return false;
  }
}

/**
 * Returns whether the list shows an entry. `found` has the ids that the full-text search of the server found; it is
 * undefined until the server has answered.
 */
export function predicate(filter: Filter, found: ReadonlySet<number> | undefined): (entry: EntrySummary) => boolean {
  const { terms, words } = parseText(filter.text);
  const kinds = filter.kind === 'all' ? undefined : KINDS[filter.kind];
  return (entry) => {
    if (kinds && !kinds.includes(entry.kind)) return false;
    if (filter.status !== 'all' && !statusMatches(entry, filter.status)) return false;
    if (filter.route !== '' && entry.route !== filter.route) return false;
    if (!terms.every((term) => termMatches(entry, term) !== term.isExcluded)) return false;
    if (words.length === 0 || found?.has(entry.id)) return true;
    const text = searchText(entry);
    return words.every((word) => text.includes(word));
  };
}
