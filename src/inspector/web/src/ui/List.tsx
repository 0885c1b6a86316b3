import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { memo } from '../memo';
import type { EntrySummary, Kind } from '../api';
import { clock, duration, rate } from '../format';
import { outcome } from '../filter';
import { phases } from '../phases';
import { go } from '../place';
import { statusText, title } from './words';

/** The height of a row and of the head in pixels, as in style.css. */
export const ROW = 30;
/** Rows above and below the visible ones, so that scrolling does not show gaps. */
const SPARE = 12;

interface Props {
  rows: readonly EntrySummary[];
  selected: number | undefined;
  label: string;
  isSubscriptions: boolean;
}

/** The list of entries. Only the visible rows are in the document. */
export function List({ rows, selected, label, isSubscriptions }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const anchor = useRef<{ id: number; offset: number } | undefined>(undefined);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const measure = () => setView({ top: element.scrollTop, height: element.clientHeight - ROW });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const scrolled = () => {
    const element = box.current;
    if (!element) return;
    const { scrollTop: top } = element;
    const height = element.clientHeight - ROW;
    const entry = rows[Math.floor(top / ROW)];
    anchor.current = top > 0 && entry ? { id: entry.id, offset: top % ROW } : undefined;
    setView({ top, height });
  };

  // New entries appear above. They do not move what the user looks at, unless that is the newest entry.
  useLayoutEffect(() => {
    const element = box.current;
    const held = anchor.current;
    if (!element || !held) return;
    const index = rows.findIndex(({ id }) => id === held.id);
    if (index >= 0 && index * ROW + held.offset !== element.scrollTop) element.scrollTop = index * ROW + held.offset;
  }, [rows]);

  useLayoutEffect(() => {
    const element = box.current;
    const index = selected === undefined ? -1 : rows.findIndex(({ id }) => id === selected);
    if (!element || index < 0) return;
    const top = index * ROW;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + 2 * ROW > element.scrollTop + element.clientHeight) element.scrollTop = top + 2 * ROW - element.clientHeight;
  }, [selected]);

  const first = Math.max(0, Math.floor(view.top / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + SPARE);
  const visible = rows.slice(first, last);
  const isSelectedVisible = visible.some(({ id }) => id === selected);
  return (
    <div
      class={`list ${isSubscriptions ? 'list-subscriptions' : ''}`}
      role="grid"
      aria-label={label}
      aria-rowcount={rows.length + 1}
      tabIndex={0}
      id="list"
      aria-activedescendant={isSelectedVisible ? `entry-${selected}` : undefined}
      ref={box}
      onScroll={scrolled}
    >
      <div class="row row-head" role="row" aria-rowindex={1}>
        <span role="columnheader" class="cell-time">Time</span>
        <span role="columnheader" class="cell-kind">Kind</span>
        <span role="columnheader" class="cell-name">Name</span>
        <span role="columnheader" class="cell-route">Route</span>
        <span role="columnheader" class="cell-client">{isSubscriptions ? 'Protocol' : 'Client'}</span>
        <span role="columnheader" class="cell-events">Events</span>
        {isSubscriptions && <span role="columnheader" class="cell-rate">Rate</span>}
        <span role="columnheader" class="cell-status">Status</span>
        <span role="columnheader" class="cell-duration">Duration</span>
      </div>
      <div class="rows" role="rowgroup" style={{ height: `${rows.length * ROW}px` }}>
        {visible.map((entry, index) => (
          <Row key={entry.id} entry={entry} place={first + index} isSelected={entry.id === selected} isSubscriptions={isSubscriptions} />
        ))}
      </div>
    </div>
  );
}

interface RowProps {
  entry: EntrySummary;
  place: number;
  isSelected: boolean;
  isSubscriptions: boolean;
}

const Row = memo(({ entry, place, isSelected, isSubscriptions }: RowProps) => {
  const { total } = entry.durations;
  return (
    <div
      id={`entry-${entry.id}`}
      class={`row row-${outcome(entry)}`}
      role="row"
      aria-rowindex={place + 2}
      aria-selected={isSelected}
      style={{ transform: `translateY(${place * ROW}px)` }}
      onClick={() => go({ id: entry.id })}
    >
      <span role="gridcell" class="cell-time">{clock(entry.time, false)}<span class="millis">{clock(entry.time).slice(8)}</span></span>
      <span role="gridcell" class="cell-kind"><KindLabel kind={entry.kind} /></span>
      <span role="gridcell" class="cell-name" title={title(entry)}>
        {title(entry)}
        {entry.replay_of !== undefined && <span class="tag">replay</span>}
      </span>
      <span role="gridcell" class="cell-route">{entry.route}</span>
      <span role="gridcell" class="cell-client">{isSubscriptions ? entry.protocol : (entry.token ?? entry.client)}</span>
      <span role="gridcell" class="cell-events">{entry.events}</span>
      {isSubscriptions && <span role="gridcell" class="cell-rate">{entry.is_live ? rate(entry.rate ?? 0) : ''}</span>}
      <span role="gridcell" class="cell-status">{statusText(entry)}</span>
      <span role="gridcell" class="cell-duration">
        {total === undefined ? '' : duration(total)}
        {total !== undefined && <Bar entry={entry} />}
      </span>
    </div>
  );
});

const SHORT: Partial<Record<Kind, string>> = { query: 'qry', mutation: 'mut', subscription: 'sub', subscribe: 'sub', publish: 'pub', tunnel: 'tun', batch: 'bat' };

function KindLabel({ kind }: { kind: Kind }) {
  const name = kind === 'none' ? 'http' : kind;
  return (
    <span class={`kind kind-${kind}`}>
      <span class="kind-long">{name}</span>
      <span class="kind-short" title={name}>{SHORT[kind] ?? name}</span>
    </span>
  );
}

/** A bar of the phases under the duration. */
function Bar({ entry }: { entry: EntrySummary }) {
  return (
    <span class="bar" aria-hidden="true">
      {phases(entry.durations).map(({ name, share }) => <span key={name} class={`phase-${name}`} style={{ flexGrow: String(share) }} />)}
    </span>
  );
}
