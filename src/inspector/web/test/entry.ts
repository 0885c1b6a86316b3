import type { EntrySummary } from '../src/api';

export function entry(id: number, change: Partial<EntrySummary> = {}): EntrySummary {
  return {
    id, time: id * 1000, protocol: 'http', kind: 'query', method: 'POST', path: '/graphql', route: 'graphql', name: 'ListRooms', client: '127.0.0.1:5000',
    status: 200, is_refused: false, is_live: false, durations: { total: 3 }, bytes_in: 1, bytes_out: 1, ...change,
  };
}
