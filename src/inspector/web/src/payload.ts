/** Decodes payloads for display. */

import type { Payload } from './api';

/** Returns whether the API left the content out because bodies are hidden. */
export const isMasked = (payload: Payload): boolean => payload.size > 0 && payload.text === undefined && payload.base64 === undefined;

export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const binary = atob(base64);
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** Returns the text of a compressed payload; undefined if this browser cannot decompress it, or it is not text. */
export async function decompress(payload: Payload): Promise<string | undefined> {
  const format = ({ gzip: 'gzip', 'x-gzip': 'gzip', deflate: 'deflate' } as const)[payload.content_encoding?.trim().toLowerCase() ?? ''];
  if (format === undefined || payload.base64 === undefined) return undefined;
  try {
    const stream = new Blob([bytesOf(payload.base64)]).stream().pipeThrough(new DecompressionStream(format));
    const content = await new Response(stream).arrayBuffer();
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    return undefined;
  }
}

/** Returns bytes as lines of a hex dump. */
export function hexDump(content: Uint8Array, limit = 4096): string {
  const result: string[] = [];
  for (let at = 0; at < Math.min(content.length, limit); at += 16) {
    const part = [...content.subarray(at, at + 16)];
    const hex = part.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    result.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${text}`);
  }
  if (content.length > limit) result.push(`… ${content.length - limit} more bytes`);
  return result.join('\n');
}
