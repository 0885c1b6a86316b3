import { expect, test } from 'vitest';
import { Entries } from '../src/entries';
import { entry } from './entry';

const ids = (entries: Entries) => entries.matching(() => true).map(({ id }) => id);

test('entries are newest first, whatever the order of their arrival', () => {
  const entries = new Entries();
  entries.put([entry(5), entry(6)]);
  entries.putMissing([entry(4), entry(2)]);
  entries.put([entry(3), entry(7)]);
  expect(ids(entries)).toEqual([7, 6, 5, 4, 3, 2]);
  expect(entries.oldest).toBe(2);
});

test('an update replaces, and a page of the list does not replace what the stream reported', () => {
  const entries = new Entries();
  entries.put([entry(1), entry(2, { is_live: true })]);
  entries.apply([{ event: 'entry', data: entry(2, { name: 'new' }) }]);
  entries.putMissing([entry(2, { name: 'old' })]);
  expect(entries.get(2)?.name).toBe('new');
  expect(entries.size).toBe(2);
  expect(entries.get(9)).toBeUndefined();
});

test('evicted entries disappear, and a resync is reported', () => {
  const entries = new Entries();
  entries.put([1, 2, 3].map((id) => entry(id)));
  const isStale = entries.apply([
    { event: 'entry', data: entry(4) }, { event: 'evicted', data: { ids: [1, 4] } }, { event: 'entry', data: entry(5) },
  ]);
  expect(isStale).toBe(false);
  expect(ids(entries)).toEqual([5, 3, 2]);
  expect(entries.apply([{ event: 'resync', data: { revision: 3 } }])).toBe(true);
});

test('a batch with the same entry twice keeps the last', () => {
  const entries = new Entries();
  entries.put([entry(9)]);
  entries.apply([
    { event: 'entry', data: entry(3, { name: 'a' }) }, { event: 'entry', data: entry(2) }, { event: 'entry', data: entry(3, { name: 'b' }) },
  ]);
  expect(ids(entries)).toEqual([9, 3, 2]);
  expect(entries.get(3)?.name).toBe('b');
});
