/** What the user can do with entries. */

import { signal } from '@preact/signals';
import type { EditedRequest, Kind } from './api';
import { ApiFailure, type CopyForm, api } from './client';
import { KINDS, parseText } from './filter';
import { go, place } from './place';
import { filter, state, summaryOf, token } from './store';

export interface Toast {
  text: string;
  isError: boolean;
}

export type Dialog =
  | { kind: 'help' }
  | { kind: 'clear' }
  | { kind: 'confirm'; id: number; what: string }
  | { kind: 'edit'; id: number; request: EditedRequest; entryKind: Kind }
  | { kind: 'copy'; text: string };

export const toast = signal<Toast | undefined>(undefined);
export const dialog = signal<Dialog | undefined>(undefined);
let timer: ReturnType<typeof setTimeout> | undefined;

export function say(text: string, isError = false): void {
  toast.value = { text, isError };
  clearTimeout(timer);
  timer = setTimeout(() => { toast.value = undefined; }, isError ? 8000 : 3000);
}

/** Runs an action, and shows its error. */
async function attempt(action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
  }
}

const UNSAFE: Partial<Record<Kind, string>> = { mutation: 'a mutation', publish: 'a publish', batch: 'a batch, which may contain mutations' };

/** Returns what a repetition would do again, for the question whether to do it; undefined for a read. */
export function isUnsafe(kind: Kind, method: string | undefined): string | undefined {
  if (UNSAFE[kind]) return UNSAFE[kind];
  if (kind === 'query') return undefined;
  return method === undefined || method === 'GET' || method === 'HEAD' ? undefined : `a ${method} request`;
}

export const canReplay = (kind: Kind) => !['subscription', 'subscribe', 'tunnel'].includes(kind);

export function replay(id: number, confirm = false): Promise<void> {
  return attempt(async () => {
    const summary = summaryOf(id);
    if (summary && !canReplay(summary.kind)) {
      say('Subscriptions and tunnels cannot be replayed.', true);
      return;
    }
    const what = summary && isUnsafe(summary.kind, summary.method);
    if (what !== undefined && !confirm) {
      dialog.value = { kind: 'confirm', id, what };
      return;
    }
    try {
      const { id: added, status } = await api.replay({ id, confirm }, token.peek());
      say(`Replayed: ${status}`);
      go({ id: added });
    } catch (error) {
      const needsConfirmation = error instanceof ApiFailure && error.code === 'MUTATION_NOT_CONFIRMED';
      if (!needsConfirmation || confirm) throw error;
      dialog.value = { kind: 'confirm', id, what: 'a request that may change data' };
    }
  });
}

export function edit(id: number): Promise<void> {
  return attempt(async () => {
    const entryKind = summaryOf(id)?.kind ?? 'http';
    dialog.value = { kind: 'edit', id, request: await api.request(id), entryKind };
  });
}

/** Sends an edited request. Throws, so that the dialog can stay open. */
export async function send(request: EditedRequest, id: number, confirm: boolean): Promise<void> {
  const { id: added, status } = await api.replay({ request, confirm, replay_of: id }, token.peek());
  dialog.value = undefined;
  say(`Sent: ${status}`);
  go({ id: added });
}

const COPIED: Record<CopyForm, string> = { local: 'curl command', signed: 'Signed curl command', presigned: 'Presigned URL' };

export function copyAs(id: number, form: CopyForm): Promise<void> {
  return attempt(async () => {
    const { text, expires } = await api.curl(id, form);
    const note = expires === undefined ? '' : '. Its signature expires in five minutes';
    await copy(text, `${COPIED[form]} copied${note}`);
  });
}

export async function copy(text: string, note = 'Copied'): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    say(note);
  } catch {
    // Browsers allow the clipboard only on loopback and https.
    dialog.value = { kind: 'copy', text };
  }
}

export function togglePause(): Promise<void> {
  return attempt(async () => {
    const current = state.peek();
    const recorder = await api.pause(!current?.recorder.is_paused);
    if (current) state.value = { ...current, recorder };
    say(recorder.is_paused ? 'Paused: nothing new is recorded' : 'Recording');
  });
}

export function clear(): Promise<void> {
  return attempt(async () => {
    const recorder = await api.clear();
    const current = state.peek();
    if (current) state.value = { ...current, recorder };
    if (place.peek().id !== undefined) go({}, true);
  });
}

export function exportHar(): Promise<void> {
  return attempt(async () => {
    const { text: searched, kind, status, route } = filter.peek();
    const text = await api.har({
      q: parseText(searched).words.join(' '),
      kind: kind === 'all' ? '' : KINDS[kind].join(','),
      status: status === 'all' ? '' : status,
      route,
    });
    const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
    const link = document.createElement('a');
    link.href = url;
    link.download = 'countersign.har';
    link.click();
    setTimeout(() => { URL.revokeObjectURL(url); }, 10_000);
  });
}
