import { dialog, exportHar, togglePause } from '../actions';
import { EMPTY, type KindGroup, type StatusGroup } from '../filter';
import { count } from '../format';
import { filter, isRevealed, isSearching, state, total, traffic } from '../store';

const KINDS: [KindGroup, string][] = [
  ['all', 'All'], ['query', 'Queries'], ['mutation', 'Mutations'], ['subscription', 'Subscriptions'], ['events', 'Events'], ['http', 'HTTP'],
];
const STATUSES: [StatusGroup, string][] = [
  ['all', 'Any status'], ['ok', 'Succeeded'], ['error', 'Failed'], ['refused', 'Refused'], ['live', 'Live'],
];

/** Search, filters and actions above the list. */
export function Toolbar({ hasKinds }: { hasKinds: boolean }) {
  const { text, kind, status, route } = filter.value;
  const routes = state.value?.routes ?? [];
  const isPaused = state.value?.recorder.is_paused ?? false;
  const set = (change: Partial<typeof EMPTY>) => { filter.value = { ...filter.value, ...change }; };
  const isFiltered = text !== '' || kind !== 'all' || status !== 'all' || route !== '';
  return (
    <div class="toolbar">
      <div class="search">
        <input
          id="search"
          type="search"
          placeholder="Search, or status:403 name:rooms -kind:query"
          aria-label="Search in everything that was recorded"
          autocomplete="off"
          spellcheck={false}
          value={text}
          onInput={(event) => set({ text: event.currentTarget.value })}
        />
      </div>
      {hasKinds && (
        <div class="segments kinds" role="group" aria-label="Kind">
          {KINDS.map(([value, label]) => <button key={value} aria-pressed={kind === value} onClick={() => set({ kind: value })}>{label}</button>)}
        </div>
      )}
      {hasKinds && (
        <select class="kind-select" aria-label="Kind" value={kind} onChange={(event) => set({ kind: event.currentTarget.value as KindGroup })}>
          {KINDS.map(([value, label]) => <option key={value} value={value}>{value === 'all' ? 'All kinds' : label}</option>)}
        </select>
      )}
      <select aria-label="Status" value={status} onChange={(event) => set({ status: event.currentTarget.value as StatusGroup })}>
        {STATUSES.map(([value, label]) => <option key={value} value={value}>{label}</option>)}
      </select>
      {routes.length > 1 && (
        <select aria-label="Route" value={route} onChange={(event) => set({ route: event.currentTarget.value })}>
          <option value="">All routes</option>
          {routes.map(({ name }) => <option key={name} value={name}>{name}</option>)}
        </select>
      )}
      {isFiltered && <button onClick={() => { filter.value = EMPTY; }}>Reset</button>}
      <span class="count quiet" role="status">
        {isSearching.value ? 'Searching …' : isFiltered ? `${traffic.value.length.toLocaleString('en')} of ${count(total.value, 'entry', 'entries')}` : count(total.value, 'entry', 'entries')}
      </span>
      <span class="actions">
        <button aria-pressed={isRevealed.value} onClick={() => { isRevealed.value = !isRevealed.value; }} title="Show bodies, variables and payloads (b)">
          {isRevealed.value ? 'Hide bodies' : 'Reveal bodies'}
        </button>
        <button aria-pressed={isPaused} onClick={() => void togglePause()} title="Stop or continue recording (p)">{isPaused ? 'Resume' : 'Pause'}</button>
        <button onClick={() => { dialog.value = { kind: 'clear' }; }} title="Remove all finished entries (x)">Clear</button>
        <button onClick={() => void exportHar()} title="Save as HAR, with bodies, without credentials">Export HAR with bodies</button>
      </span>
    </div>
  );
}

