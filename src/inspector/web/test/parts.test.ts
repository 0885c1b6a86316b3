import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { takeKey } from '../src/client';
import { decompress, hexDump, isMasked } from '../src/payload';
import { phases } from '../src/phases';
import { parsePlace, placeHash } from '../src/place';
import { canonicalLines, stringToSignLines } from '../src/signing';
import { SseParser } from '../src/sse';
import { parseHeaders } from '../src/ui/Dialogs';

test('events of a stream are complete, however the stream is cut', () => {
  const stream = ': open\n\nid: 7\nevent: entry\ndata: {"a":\ndata: 1}\n\ndata: x\r\n\r\nevent: none\n\nid: 8\nevent: state\ndata:{}\n\ndata: cut';
  const expected = [{ id: '7', event: 'entry', data: '{"a":\n1}' }, { id: '7', event: 'message', data: 'x' }, { id: '8', event: 'state', data: '{}' }];
  for (let size = 1; size <= stream.length; size += 1) {
    const parser = new SseParser();
    const pieces = stream.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? [];
    expect(pieces.flatMap((piece) => parser.push(piece)), String(size)).toEqual(expected);
  }
});

test('phases fill the total, in order', () => {
  const parts = phases({ signing: 1, first_byte: 7, total: 10 });
  expect(parts.map(({ name, ms, share }) => [name, ms, share])).toEqual([['signing', 1, 0.1], ['first_byte', 7, 0.7], ['rest', 2, 0.2]]);
  expect(phases({ signing: 3, first_byte: 8, total: 10 }).at(-1)?.ms).toBe(0);
  expect(phases({})).toEqual([]);
  expect(phases({ total: 0 })[0]?.share).toBe(0);
});

test('lines of a canonical request have their names', () => {
  const text = 'POST\n/graphql\n\nhost:h\nx-amz-date:d\n\nhost;x-amz-date\nabc';
  expect(canonicalLines(text).map(({ label }) => label)).toEqual(['Method', 'Path', 'Query', 'Headers', '', '', 'Signed headers', 'Hash of the body']);
  expect(stringToSignLines('A\nB\nC\nD').map(({ label }) => label)).toEqual(['Algorithm', 'Time', 'Scope', 'Hash of the canonical request']);
});

test('a payload is masked only if its content was left out', () => {
  expect([isMasked({ size: 3 }), isMasked({ size: 0 }), isMasked({ size: 3, text: 'abc' }), isMasked({ size: 3, base64: 'AAAA' })]).toEqual([true, false, false, false]);
});

test('a compressed payload is decompressed, and other bytes are not text', async () => {
  const base64 = gzipSync('{"data":"é"}').toString('base64');
  expect(await decompress({ size: 1, base64, content_encoding: 'gzip' })).toBe('{"data":"é"}');
  expect(await decompress({ size: 1, base64: base64.slice(0, 12), content_encoding: 'gzip' })).toBeUndefined();
  expect(await decompress({ size: 1, base64, content_encoding: 'br' })).toBeUndefined();
  expect(hexDump(Uint8Array.from([72, 105, 0, 255]))).toBe(`000000  48 69 00 ff${' '.repeat(36)}  Hi..`);
});

test('the place in the URL survives a reload, and nonsense leads to the list', () => {
  for (const hash of ['#/traffic', '#/status', '#/subscriptions/7/frames']) expect(placeHash(parsePlace(hash))).toBe(hash);
  expect(parsePlace('#/x/abc/y')).toEqual({ view: 'traffic', tab: 'overview' });
  expect(parsePlace('')).toEqual({ view: 'traffic', tab: 'overview' });
});

test('the key leaves the address bar and stays in the tab', () => {
  const stored = new Map<string, string>();
  const shown: string[] = [];
  const storage = { setItem: (name: string, value: string) => stored.set(name, value) } as unknown as Storage;
  const history = { replaceState: (_state: unknown, _title: string, url: string) => shown.push(url) } as unknown as History;
  takeKey({ hash: '#key=a%2Bb', pathname: '/inspect/', search: '' } as Location, history, storage);
  expect([...stored.values()]).toEqual(['a+b']);
  expect(shown).toEqual(['/inspect/']);
  takeKey({ hash: '#/traffic', pathname: '/inspect/', search: '' } as Location, history, storage);
  expect(shown.length).toBe(1);
});

test('edited headers are read line by line', () => {
  expect(parseHeaders('a: 1\nb:x:y \n\nnonsense\n: z')).toEqual([{ name: 'a', value: '1' }, { name: 'b', value: 'x:y' }]);
});
