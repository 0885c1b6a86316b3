import { expect, test } from 'vitest';
import type { EntrySummary } from '../src/api';
import { EMPTY, type Filter, outcome, parseText, predicate } from '../src/filter';
import { entry } from './entry';

const ENTRIES: EntrySummary[] = [
  entry(1),
  entry(2, { kind: 'mutation', name: 'PostMessage', graphql_errors: 1 }),
  entry(3, { kind: 'http', name: undefined, path: '/orders/7', method: 'GET', route: 'orders', status: 503 }),
  entry(4, { kind: 'subscription', name: 'OnMessage', is_live: true, status: 0, protocol: 'graphql-transport-ws' }),
  entry(5, { is_refused: true, status: 403, code: 'ORIGIN_NOT_ALLOWED' }),
  entry(6, { kind: 'publish', name: undefined, route: 'events', client: undefined, token: 'ci' }),
];

function shown(change: Partial<Filter>, found?: number[]): number[] {
  const matches = predicate({ ...EMPTY, ...change }, found && new Set(found));
  return ENTRIES.filter(matches).map(({ id }) => id);
}

test('an empty filter shows everything', () => {
  expect(shown({})).toEqual([1, 2, 3, 4, 5, 6]);
});

test('kinds, statuses and routes narrow the list', () => {
  expect(shown({ kind: 'events' })).toEqual([6]);
  expect(shown({ kind: 'http' })).toEqual([3]);
  expect(shown({ status: 'error' })).toEqual([2, 3]);
  expect(shown({ status: 'refused' })).toEqual([5]);
  expect(shown({ status: 'live' })).toEqual([4]);
  expect(shown({ status: 'ok' })).toEqual([1, 6]);
  expect(shown({ route: 'orders' })).toEqual([3]);
});

test('fields of the search text narrow the list, and a minus excludes', () => {
  const cases: [string, number[]][] = [
    ['status:5xx', [3]], ['status:403', [5]], ['status:live', [4]], ['kind:mutation', [2]], ['-kind:query', [2, 3, 4, 6]], ['name:MESSAGE', [2, 4]],
    ['path:"/orders/7"', [3]], ['method:get', [3]], ['client:ci', [6]], ['code:origin', [5]], ['protocol:graphql-t', [4]], ['route:events', [6]], ['id:4', [4]],
    ['-message', [1, 3, 5, 6]], ['kind:query status:200', [1]],
  ];
  for (const [text, ids] of cases) expect(shown({ text }), text).toEqual(ids);
});

test('every word must occur, and what the server found counts', () => {
  expect(shown({ text: 'graphql message' })).toEqual([2, 4]);
  expect(shown({ text: 'lunch' })).toEqual([]);
  expect(shown({ text: 'lunch' }, [1, 3])).toEqual([1, 3]);
  expect(shown({ text: 'lunch kind:query' }, [1, 3])).toEqual([1]);
});

test('an unknown field is a word', () => {
  expect(parseText('http://localhost -x foo:bar "two words"')).toEqual({
    terms: [{ field: 'text', value: 'x', isExcluded: true }], words: ['http://localhost', 'foo:bar', 'two words'],
  });
});

test('a refusal is not an error, and an error of GraphQL is', () => {
  expect(ENTRIES.map(outcome)).toEqual(['ok', 'error', 'error', 'live', 'refused', 'ok']);
});
