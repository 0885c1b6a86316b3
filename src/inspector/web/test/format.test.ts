import { expect, test } from 'vitest';
import { bytes, count, countdown, duration, rate, since, wholeSeconds } from '../src/format';

test('durations have a unit and about three digits', () => {
  const cases: [number, string][] = [
    [0, '0.00 ms'], [0.417, '0.42 ms'], [2.76, '2.8 ms'], [9.99, '10.0 ms'], [28.4, '28 ms'], [999.4, '999 ms'], [999.6, '1.00 s'],
    [1250, '1.25 s'], [9999, '10 s'], [59_900, '59.9 s'], [59_990, '1 min'], [185_000, '3 min 5 s'], [7_440_000, '2 h 4 min'],
    [200 * 3_600_000, '8 d 8 h'], [-1500, '-1.50 s'], [NaN, ''],
  ];
  for (const [ms, text] of cases) expect(duration(ms), String(ms)).toBe(text);
});

test('sizes use binary units', () => {
  const cases: [number, string][] = [[0, '0 B'], [812, '812 B'], [1023, '1023 B'], [1024, '1 KiB'], [1434, '1.4 KiB'], [102_400, '100 KiB'], [67_108_864, '64 MiB']];
  for (const [size, text] of cases) expect(bytes(size)).toBe(text);
});

test('a countdown changes once a second and says when it is over', () => {
  expect(countdown(845_300, 0)).toBe('expires in 14 min 5 s');
  expect(countdown(400, 0)).toBe('expires in 1 s');
  expect(countdown(5000, 5000)).toBe('expired 1 s ago');
  expect(countdown(0, 12_000)).toBe('expired 12 s ago');
  expect(wholeSeconds(36_400)).toBe('36 s');
});

test('times since the start keep milliseconds', () => {
  expect([since(0.4), since(-3), since(12_104), since(150_104)]).toEqual(['+0.40 ms', '+0.00 ms', '+12.104 s', '+2:30.104']);
});

test('counts and rates are in words', () => {
  expect([count(1, 'event'), count(12_000, 'event'), count(2, 'entry', 'entries')]).toEqual(['1 event', '12,000 events', '2 entries']);
  expect([rate(0), rate(0.34), rate(12.4)]).toEqual(['0/s', '0.3/s', '12/s']);
});
