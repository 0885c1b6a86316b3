/** The keyboard. */

import { copyAs, dialog, edit, replay, togglePause } from './actions';
import { TABS, VIEWS, go, place } from './place';
import { isRevealed, opened, subscriptions, traffic } from './store';
import { close } from './ui/Detail';

const isField = (target: EventTarget | null) => target instanceof HTMLElement && target.matches('input, textarea, select');

function rows() {
  const { view } = place.peek();
  return view === 'subscriptions' ? subscriptions.value : view === 'traffic' ? traffic.value : [];
}

/** Chooses another entry: `step` rows on, or the first or last. */
function choose(step: number): void {
  const all = rows();
  const { id } = place.peek();
  const at = all.findIndex((entry) => entry.id === id);
  const next = at < 0 && Number.isFinite(step) ? 0 : Math.min(all.length - 1, Math.max(0, at + step));
  const entry = all[next];
  if (entry) go({ id: entry.id });
}

function moveTab(step: number): void {
  const { id, tab } = place.peek();
  if (id === undefined) return;
  const shown = TABS.filter((name) => name !== 'diagnosis' || opened.peek()?.detail?.diagnosis !== undefined);
  const next = shown[(shown.indexOf(tab) + step + shown.length) % shown.length];
  if (next) go({ id, tab: next });
}

const isInPanel = (target: EventTarget | null) => target instanceof Element && target.closest('.panel, .tabs') !== null;

function handle(event: KeyboardEvent): boolean {
  const { key, target } = event;
  const { id } = place.peek();
  switch (key) {
    case 'j': choose(1); return true;
    case 'k': choose(-1); return true;
    // In the details the arrows scroll.
    case 'ArrowDown': case 'ArrowUp': case 'Home': case 'End':
      if (isInPanel(target) || rows().length === 0) return false;
      choose({ ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[key]);
      return true;
    case 'Enter':
      if (id === undefined || (target instanceof Element && target.closest('button, a'))) return false;
      document.querySelector<HTMLElement>('.tabs [aria-selected="true"]')?.focus();
      return true;
    case 'Escape': if (id === undefined) return false; close(); return true;
    case '[': moveTab(-1); return true;
    case ']': moveTab(1); return true;
    case '/': {
      const search = document.querySelector<HTMLInputElement>('#search');
      search?.focus();
      search?.select();
      return search !== null;
    }
    case '?': dialog.value = { kind: 'help' }; return true;
    case 'b': isRevealed.value = !isRevealed.peek(); return true;
    case 'p': void togglePause(); return true;
    case 'x': dialog.value = { kind: 'clear' }; return true;
    case 'r': if (id !== undefined) void replay(id); return id !== undefined;
    case 'e': if (id !== undefined) void edit(id); return id !== undefined;
    case 'c': if (id !== undefined) void copyAs(id, 'local'); return id !== undefined;
    case '1': case '2': case '3': case '4': {
      const view = VIEWS[Number(key) - 1];
      if (view) go({ view });
      return true;
    }
    default: return false;
  }
}

/** The element, because the state of the page changes only after a dialog has closed. */
const isDialogOpen = () => document.querySelector('dialog[open]') !== null;

export function followKeys(): void {
  addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isDialogOpen()) return;
    if (isField(event.target)) {
      if (event.key !== 'Escape') return;
      document.getElementById('list')?.focus();
      event.preventDefault();
    } else if (handle(event)) event.preventDefault();
  });
}
