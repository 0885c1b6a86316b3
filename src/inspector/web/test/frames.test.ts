import { expect, test } from 'vitest';
import type { Frame } from '../src/api';
import { align, latency, merge } from '../src/frames';

/** Frames in the order of time: "c< subscribe" is from the client, "c> next" to it; "u" is the side of AWS. */
function frames(...texts: string[]): Frame[] {
  return texts.map((text, index) => {
    const [, side, direction, type] = /^([cu])([<>]) (\w+)$/.exec(text) ?? [];
    return { index, time: index * 10, side: side === 'c' ? 'client' : 'upstream', direction: direction === '<' ? 'in' : 'out', type: type ?? '', payload: { size: 1 } };
  });
}

const table = (...texts: string[]) => align(frames(...texts)).map(({ client, upstream }) => `${client?.type ?? ''} | ${upstream?.type ?? ''}`);

test('what was received and what was sent for it share a row', () => {
  const life = table('c< subscribe', 'u> start', 'u< start_ack', 'u< data', 'c> next', 'u< ka', 'c< complete', 'u> stop', 'u< complete');
  expect(life).toEqual(['subscribe | start', ' | start_ack', 'next | data', ' | ka', 'complete | stop', ' | complete']);
});

test('events keep their order when several arrive before the first is sent', () => {
  expect(table('u< data', 'u< data', 'c> next', 'c> next')).toEqual(['next | data', 'next | data']);
});

test('no column goes back in time', () => {
  // The ping came after the data, so the next cannot move above it.
  expect(table('u< data', 'c< ping', 'c> next')).toEqual([' | data', 'ping | ', 'next | ']);
});

test('frames of the same direction do not share a row', () => {
  expect(table('c< ping', 'u< ping')).toEqual(['ping | ', ' | ping']);
  expect(table('u> start', 'c> start')).toEqual([' | start', 'start | ']);
});

test('the time inside countersign is between the two frames of a row', () => {
  expect(align(frames('u< data', 'c> next')).map(latency)).toEqual([10]);
  expect(align(frames('u< ka')).map(latency)).toEqual([undefined]);
});

test('newer frames are added once, and evicted ones leave', () => {
  const all = frames('u< ka', 'u< ka', 'u< ka', 'u< ka');
  expect(merge(all.slice(0, 3), all.slice(2), 1).map(({ index }) => index)).toEqual([1, 2, 3]);
  expect(merge([], all, 0)).toEqual(all);
});
