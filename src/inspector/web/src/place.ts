/** What the page shows, which is in the fragment of the URL: `#/traffic/17/frames`. */

import { signal } from '@preact/signals';

export const VIEWS = ['traffic', 'subscriptions', 'realtime', 'status'] as const;
export const TABS = ['overview', 'request', 'response', 'frames', 'signing', 'diagnosis'] as const;
export type View = (typeof VIEWS)[number];
export type Tab = (typeof TABS)[number];

export interface Place {
  view: View;
  /** The id of the open entry. */
  id?: number;
  tab: Tab;
}

export function parsePlace(hash: string): Place {
  const [view, id, tab] = hash.replace(/^#\/?/, '').split('/');
  const place: Place = {
    view: VIEWS.find((known) => known === view) ?? 'traffic',
    tab: TABS.find((known) => known === tab) ?? 'overview',
  };
  if (id !== undefined && /^\d+$/.test(id)) place.id = Number(id);
  return place;
}

export function placeHash({ view, id, tab }: Place): string {
  return id === undefined ? `#/${view}` : `#/${view}/${id}/${tab}`;
}

export const place = signal<Place>({ view: 'traffic', tab: 'overview' });

/** Shows another place. Moving from entry to entry leaves no trail in the history of the browser. */
export function go(change: Partial<Place>, isClosing = false): void {
  const old = place.value;
  const next: Place = { ...old, ...change };
  if (isClosing || (change.view !== undefined && change.id === undefined)) delete next.id;
  const hash = placeHash(next);
  if (old.id === undefined || next.id === undefined) history.pushState(null, '', hash);
  else history.replaceState(null, '', hash);
  place.value = next;
}

export function followHistory(): void {
  const read = () => { place.value = parsePlace(location.hash); };
  read();
  addEventListener('popstate', read);
  addEventListener('hashchange', read);
}
