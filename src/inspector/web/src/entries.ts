/** The entries that the page knows, in the order of their ids. */

import type { EntrySummary, StreamEvent } from './api';

export class Entries {
  private byId: EntrySummary[] = [];

  get size(): number {
    return this.byId.length;
  }

  get(id: number): EntrySummary | undefined {
    const entry = this.byId[this.position(id)];
    return entry?.id === id ? entry : undefined;
  }

  get oldest(): number | undefined {
    return this.byId[0]?.id;
  }

  /** Adds entries, or replaces those that the page already has. */
  put(entries: readonly EntrySummary[]): void {
    const added: EntrySummary[] = [];
    for (const entry of entries) {
      const last = this.byId.at(-1);
      if (!last || entry.id > last.id) {
        this.byId.push(entry);
        continue;
      }
      const at = this.position(entry.id);
      if (this.byId[at]?.id === entry.id) this.byId[at] = entry;
      else added.push(entry);
    }
    if (added.length > 0) {
      const ids = new Map(added.map((entry) => [entry.id, entry]));
      this.byId = [...ids.values(), ...this.byId].sort((a, b) => a.id - b.id);
    }
  }

  /** Adds what a page of the list contains. It is older than what the stream has reported meanwhile. */
  putMissing(entries: readonly EntrySummary[]): void {
    this.put(entries.filter(({ id }) => this.get(id) === undefined).sort((a, b) => a.id - b.id));
  }

  remove(ids: readonly number[]): void {
    const removed = new Set(ids);
    this.byId = this.byId.filter(({ id }) => !removed.has(id));
  }

  clear(): void {
    this.byId = [];
  }

  /** Applies events of the stream. Returns whether the list must be fetched again. */
  apply(events: readonly StreamEvent[]): boolean {
    const latest = new Map<number, EntrySummary>();
    let isStale = false;
    for (const event of events) {
      if (event.event === 'entry') latest.set(event.data.id, event.data);
      else if (event.event === 'evicted') {
        this.put([...latest.values()]);
        latest.clear();
        this.remove(event.data.ids);
      } else if (event.event === 'resync') isStale = true;
    }
    this.put([...latest.values()].sort((a, b) => a.id - b.id));
    return isStale;
  }

  /** Returns the entries that match, newest first. */
  matching(matches: (entry: EntrySummary) => boolean): EntrySummary[] {
    const result: EntrySummary[] = [];
    for (let at = this.byId.length - 1; at >= 0; at -= 1) {
      const entry = this.byId[at];
      if (entry && matches(entry)) result.push(entry);
    }
    return result;
  }

  /** Returns the index of the first entry whose id is not below `id`. */
  private position(id: number): number {
    let low = 0;
    let high = this.byId.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.byId[middle]?.id ?? Infinity) < id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
