/** Calls the API below /inspect/api/. */

import type { ApiError, CopyText, EditedRequest, EntryDetail, EntryList, RecorderState, Replay, ReplayResult, State, StreamEvent } from './api';
import { SseParser } from './sse';

const API = '/inspect/api/';
const KEY = 'countersign-inspector-key';

/** An error that the API answered, or that kept the request from reaching it (`status` 0). */
export class ApiFailure extends Error {
  constructor(readonly status: number, readonly code: string, message: string) {
    super(message);
  }
}

/** Moves the key from the fragment of the URL to the storage of this tab, so that the address bar does not show it. */
export function takeKey(location: Location, history: History, storage: Storage): void {
  const fragment = new URLSearchParams(location.hash.replace(/^#/, ''));
  const key = fragment.get('key');
  if (key === null) return;
  storage.setItem(KEY, key);
  history.replaceState(null, '', location.pathname + location.search);
}

export function setKey(key: string): void {
  sessionStorage.setItem(KEY, key);
}

const key = () => sessionStorage.getItem(KEY) ?? '';

export const keyHeader = (): Record<string, string> => ({ 'x-countersign-inspector': key() || '1' });

async function call(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(API + path, { cache: 'no-store', ...init, headers: { ...keyHeader(), ...init.headers } });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiFailure(0, 'UNREACHABLE', 'countersign does not answer. Is it still running?');
  }
  if (response.ok) return response;
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as ApiError;
    throw new ApiFailure(response.status, error.code, error.message);
  } catch (error) {
    if (error instanceof ApiFailure) throw error;
    throw new ApiFailure(response.status, '', text || `countersign answered ${response.status}`);
  }
}

async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await call(path, signal ? { signal } : {});
  return (await response.json()) as T;
}

async function post<T>(path: string, body: object, token = ''): Promise<T> {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (token !== '') headers['x-countersign-token'] = token;
  const response = await call(path, { method: 'POST', headers, body: JSON.stringify(body) });
  return (await response.json()) as T;
}

function query(values: Record<string, string | number | undefined>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined && value !== '') parameters.set(name, String(value));
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

export type CopyForm = 'local' | 'signed' | 'presigned';

export const api = {
  state: () => get<State>('state'),
  entries: (options: { before?: number; limit?: number; q?: string }, signal?: AbortSignal) =>
    get<EntryList>(`entries${query(options)}`, signal),
  detail: (id: number, isRevealed: boolean, framesAfter: number | undefined, signal?: AbortSignal) =>
    get<EntryDetail>(`entries/${id}${query({ reveal: isRevealed ? 'bodies' : undefined, frames_after: framesAfter })}`, signal),
  request: (id: number) => get<EditedRequest>(`entries/${id}/request`),
  curl: (id: number, form: CopyForm) => get<CopyText>(`entries/${id}/curl${query({ form: form === 'local' ? undefined : form })}`),
  har: async (shown: { q: string; kind: string; status: string; route: string }) => (await call(`har${query(shown)}`)).text(),
  /** If countersign requires tokens, the key of the page may be one. */
  replay: (replay: Replay, token: string) => post<ReplayResult>('replay', replay, token || key()),
  clear: () => post<RecorderState>('clear', {}),
  pause: (isPaused: boolean) => post<RecorderState>('pause', { is_paused: isPaused }),
};

/** Reads the stream of events until it ends. `received` gets each batch with the revision to resume from. */
export async function readStream(
  revision: string,
  opened: () => void,
  received: (events: StreamEvent[], revision: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const response = await call('stream', { signal, headers: { accept: 'text/event-stream', 'last-event-id': revision } });
  if (!response.body) return;
  opened();
  const parser = new SseParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const messages = parser.push(value);
    const last = messages.at(-1);
    if (!last) continue;
    // The names and the shapes of the data are those of the API's own declaration.
    const events = messages.map(({ event, data }) => ({ event, data: JSON.parse(data) as unknown }) as StreamEvent);
    received(events, last.id);
  }
}
