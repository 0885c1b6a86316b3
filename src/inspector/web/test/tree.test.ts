import { expect, test } from 'vitest';
import { PAGE, type Json, lines, parse } from '../src/tree';

function shown(value: Json, toggled: string[] = [], pages: [string, number][] = []): string[] {
  return lines(value, new Set(toggled), new Map(pages)).map(({ depth, key, text }) => `${' '.repeat(depth)}${key === undefined ? '' : `${key}: `}${text}`);
}

test('objects and arrays start open and close', () => {
  const value = { data: { rooms: [{ id: 1, name: 'lobby' }], next: null } };
  expect(shown(value)).toEqual(['1 field', ' data: 2 fields', '  rooms: 1 item', '   0: 2 fields', '    id: 1', '    name: "lobby"', '  next: null']);
  expect(shown(value, ['$.data.rooms'])).toEqual(['1 field', ' data: 2 fields', '  rooms: 1 item: {…}', '  next: null']);
});

test('members of a long array start closed, with a preview', () => {
  const all = shown(Array.from({ length: 30 }, (_, id) => ({ id, body: 'x'.repeat(100) })));
  expect(all.length).toBe(31);
  expect(all[1]).toBe(' 0: 2 fields: id: 0, …');
});

test('a long array is shown in pages', () => {
  const value = Array.from({ length: PAGE * 2 + 5 }, (_, index) => index);
  expect(shown(value).at(-1)).toBe(` ${PAGE + 5} more`);
  expect(shown(value).length).toBe(PAGE + 2);
  expect(shown(value, [], [['$', 3]]).length).toBe(PAGE * 2 + 6);
});

test('empty containers and scalars do not open', () => {
  expect(shown({ a: [], b: {}, c: true, d: 'é"' })).toEqual(['4 fields', ' a: []', ' b: {}', ' c: true', ' d: "é\\""']);
  expect(lines([[]], new Set(), new Map()).map(({ canOpen }) => canOpen)).toEqual([true, false]);
});

test('what is not JSON is not parsed', () => {
  expect([parse('{'), parse(''), parse('null'), parse('[1]')]).toEqual([undefined, undefined, null, [1]]);
});
