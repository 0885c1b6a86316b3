import type { EntrySummary, Kind } from '../api';
import { count } from '../format';

/** Returns whether AWS may have acted, as far as it is known: it executes nothing that it rejects. */
export function sentText({ sent }: EntrySummary, wasSent: boolean): string | undefined {
  switch (sent) {
    case 'no': return wasSent ? 'AWS rejected it, and executed nothing' : 'nothing was sent';
    case 'maybe': return 'AWS may have executed it';
    case 'yes': return 'AWS received it';
    case undefined: return undefined;
  }
}

/** Kinds of requests that have a path instead of a name. */
const PLAIN: readonly Kind[] = ['http', 'tunnel', 'batch', 'none'];

/** Returns the title of an entry: the name of the operation, or the method and path. */
export function title(entry: EntrySummary): string {
  if (entry.name !== undefined) return entry.name;
  if (!PLAIN.includes(entry.kind)) return `unnamed ${entry.kind}`;
  return [entry.method, entry.path].filter(Boolean).join(' ') || entry.protocol;
}

/** Returns the status of an entry in a word or two. */
export function statusText(entry: EntrySummary): string {
  if (entry.is_refused) return 'refused';
  const errors = entry.graphql_errors ?? 0;
  if (errors > 0) return count(errors, 'error');
  if (entry.is_live) return 'live';
  if (entry.status) return String(entry.status);
  return entry.code === undefined ? 'ended' : 'failed';
}
