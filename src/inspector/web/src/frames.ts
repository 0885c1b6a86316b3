/** Puts the frames of both sides of the bridge next to each other in time. */

import type { Frame } from './api';

export interface FrameRow {
  client?: Frame;
  upstream?: Frame;
}

/** Types of the client protocols and of AppSync's protocol that mean the same. */
const MEANINGS: Record<string, string> = {
  connection_init: 'init', connection_ack: 'ack',
  subscribe: 'begin', start: 'begin',
  start_ack: 'begun', subscribe_success: 'begun',
  next: 'event', data: 'event', event: 'event',
  publish: 'publish', publish_success: 'published',
  error: 'error', subscribe_error: 'error', broadcast_error: 'error', connection_error: 'error', publish_error: 'error',
  complete: 'end', stop: 'end', unsubscribe: 'end', unsubscribe_success: 'ended',
  ka: 'alive', ping: 'alive', pong: 'alive',
};

const meaning = (frame: Frame) => MEANINGS[frame.type] ?? frame.type;

/**
 * Returns the rows of the table. A frame that countersign received on one side shares its row with the frame that it sent
 * on the other side for it. Each column stays in the order of time.
 */
export function align(frames: readonly Frame[]): FrameRow[] {
  const rows: FrameRow[] = [];
  // The row of the newest frame on each side: a frame never moves above it.
  const newest = { client: -1, upstream: -1 };
  for (const frame of [...frames].sort((a, b) => a.index - b.index)) {
    const { side } = frame;
    const other = side === 'client' ? 'upstream' : 'client';
    let place = -1;
    if (frame.direction === 'out') {
      for (let at = newest[side] + 1; at < rows.length && place < 0; at += 1) {
        const cause = rows[at]?.[other];
        if (cause?.direction === 'in' && meaning(cause) === meaning(frame)) place = at;
      }
    }
    if (place < 0) place = rows.push({}) - 1;
    const row = rows[place];
    if (row) row[side] = frame;
    newest[side] = place;
  }
  return rows;
}

/** Returns the time of a row's first frame. */
export const rowTime = ({ client, upstream }: FrameRow): number => Math.min(client?.time ?? Infinity, upstream?.time ?? Infinity);

/** Returns how long countersign took from the first frame of a row to the second. */
export function latency({ client, upstream }: FrameRow): number | undefined {
  return client && upstream ? Math.abs(client.time - upstream.time) : undefined;
}

/** Adds newer frames of a subscription to those that the page already has. */
export function merge(old: readonly Frame[], added: readonly Frame[], first: number): Frame[] {
  const last = old.at(-1)?.index ?? -1;
  return [...old.filter(({ index }) => index >= first), ...added.filter(({ index }) => index > last)];
}
