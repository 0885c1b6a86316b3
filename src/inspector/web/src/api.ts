// The API of the inspector: everything below /inspect/ on the admin listener.
//
// An operation over SSE or multipart has two entries: the HTTP request, whose body is the text of the stream, and the
// operation with its events. So has a WebSocket: its handshake is an entry of kind "http" with status 101, and each of its
// operations, or its tunnel, has an entry of its own.
//
// RULES OF THE API
//
// 1. Every request to /inspect/api/* (GET too) must have the header `x-countersign-inspector`. Its value is the
//    key of the page, or `1` if the page has none. A page of another origin cannot send it without a
//    preflight, which is never granted. Therefore: no EventSource, no <a download>, no <form>. Use fetch() for
//    everything, also for the stream (read response.body with a reader) and for downloads (Blob URL).
// 2. The key is in the fragment of the URL that countersign prints at start: `/inspect/#key=…`. It exists if the
//    listener is not on loopback, or if guard.token_file / guard.tokens is set; then it is required. Keep it
//    in sessionStorage, and remove it from the address bar with history.replaceState. A token of guard.token_file is
//    also accepted as key. 401 `KEY_MISSING`: ask the user for it (input field), then retry.
// 3. POST needs `content-type: application/json`, a JSON object as body (`{}` if nothing else), and Origin equal
//    to the page's own (browsers do that).
// 4. Errors: status >= 400 with `ApiError`.
// 5. All times are milliseconds since the epoch as numbers with fractions (`Date.now()` units). Durations are in
//    milliseconds with fractions. Sizes are in bytes. Absent members are left out (`?`), never null.
// 6. CSP of /inspect/ and its assets: `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;
//    font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`, plus
//    `require-trusted-types-for 'script'`, COOP same-origin, CORP same-origin, `referrer-policy: no-referrer`,
//    `x-content-type-options: nosniff`. So: no inline script or style (element.style.x = … by CSSOM is allowed; a
//    style attribute in HTML is not), no eval, no innerHTML with strings.
//
// MASKING
//
// Never stored, hence never in any answer: values of authorization, proxy-authorization, cookie, set-cookie,
// x-api-key, x-amz-security-token, x-countersign-token and similar headers (`value` is left out and `is_masked`
// is true); signatures; X-Amz-Signature, X-Amz-Security-Token, X-Amz-Credential in queries (shown as `***`).
// Access key ids appear as `AKIA****WXYZ`.
// Stored, but only given with `?reveal=bodies`: bodies, documents, variables, values of other query parameters, payloads of
// frames. Without it the members `text` of Payload are absent; sizes are always there.

// ---------------------------------------------------------------------------------------------------------
// GET /inspect/api/state  ->  State

export interface State {
  version: string;
  /** When the process started. */
  started: number;
  now: number;
  /** The listeners of the proxied port, such as "127.0.0.1:4100". The first is the one for links and curl. */
  listeners: string[];
  /** The base URL of the proxied port for links and curl, such as "http://127.0.0.1:4100". */
  base_url: string;
  /** True if the process is ready; `reasons` says why not. */
  is_ready: boolean;
  is_draining: boolean;
  reasons: string[];
  routes: Route[];
  credentials: Credential[];
  limits: Limit[];
  realtime: RealtimeConnection[];
  /** Of the inspector itself. */
  recorder: RecorderState;
  metrics: {
    /** Resident memory of the process; absent where the system does not report it. */
    resident_bytes?: number;
    is_memory_short: boolean;
  };
}

export interface Route {
  name: string;
  /** Local path, such as "/graphql". */
  path: string;
  kind: "graphql" | "events" | "http";
  /** The upstream's URL, without query. */
  target: string;
  region?: string;
  /** The service name in the signature, such as "appsync" or "execute-api". */
  service?: string;
  /** The name of the credential source (see `credentials`). */
  credentials?: string;
  /** How far upstream's clock is ahead of ours, in milliseconds, once it is known. */
  clock_offset_ms?: number;
}

export interface Credential {
  /** The name of the source, such as "default chain" or "profile dev". */
  name: string;
  /** Where the keys came from, such as "SSO session of profile dev". */
  provider?: string;
  /** The access key id, masked in the middle. */
  access_key_id?: string;
  /** The AWS account, if it is known. */
  account?: string;
  /** When they expire; absent if they do not expire, or there are none. */
  expires?: number;
  /** Why there are no valid credentials, with what to do. */
  failure?: string;
}

export interface Limit {
  /** The setting, such as "limits.connections". */
  setting: string;
  label: string;
  used: number;
  limit: number;
  unit: "count" | "bytes";
}

/** A connection to AppSync's realtime endpoint. */
export interface RealtimeConnection {
  /** Unique within its route. */
  id: number;
  route: string;
  subscriptions: number;
  /** The maximum number of subscriptions on it. */
  limit: number;
  /** The entries (ids) whose subscriptions share it. */
  entries: number[];
}

export interface RecorderState {
  is_paused: boolean;
  /** inspect.memory, in bytes. */
  memory_limit: number;
  memory_used: number;
  entries: number;
  /** Entries that were evicted for others since the start or the last clear. */
  evicted: number;
  /** The largest part of a body or frame that is stored, in bytes. */
  body_limit: number;
}

// ---------------------------------------------------------------------------------------------------------
// GET /inspect/api/entries?before=ID&limit=N&q=TEXT&kind=K&status=S&route=NAME  ->  EntryList
//
// Newest first. `before` pages backwards (exclusive). limit: default 100, maximum 1000.
// q: full text, case-insensitive; every word (separated by blanks) must occur in the summary, the headers, or a
//    stored body or frame.
// kind: query | mutation | subscription | publish | subscribe | http | tunnel | none (several with commas)
// status: ok | error | refused | live, or a number or a class such as 403 or 5xx (several with commas)

export interface EntryList {
  entries: EntrySummary[];
  /** Whether there are older ones that match. */
  has_more: boolean;
  /** Start the stream with this (`last-event-id`) to miss nothing. */
  revision: number;
}

export type Kind = "query" | "mutation" | "subscription" | "publish" | "subscribe" | "http" | "tunnel" | "batch" | "none";

export interface EntrySummary {
  id: number;
  /** When the request or operation began. */
  time: number;
  /** The client's address, "127.0.0.1:51234"; absent over a unix socket. */
  client?: string;
  /** The name of the client's token. */
  token?: string;
  route?: string;
  /** "http", or the client protocol: "graphql-transport-ws", "graphql-ws", "aws-appsync-event-ws", "sse", "multipart",
   *  "tunnel". */
  protocol: string;
  kind: Kind;
  /** The HTTP method; absent for an operation on a socket. */
  method?: string;
  /** The path without its query; absent for an operation on a socket. */
  path?: string;
  /** The name of the GraphQL operation. */
  name?: string;
  /** The HTTP status of the answer; 0 or absent for an operation on a socket, or while there is none. */
  status?: number;
  /** The error code of countersign, or AWS's error type. */
  code?: string;
  /** Whether upstream may have acted, if the request failed. */
  sent?: "no" | "maybe" | "yes";
  /** Refused by a rule of countersign (never signed). */
  is_refused: boolean;
  /** Not over: an answer or a subscription in progress. */
  is_live: boolean;
  /** Number of `errors` in a GraphQL answer of status 200. */
  graphql_errors?: number;
  durations: Durations;
  bytes_in: number;
  bytes_out: number;
  /** Of a subscription or stream. */
  events?: number;
  /** Events per second over the last ten seconds. */
  rate?: number;
  /** Sent by this inspector: the id of the entry that it repeats, or 0 for a new request. */
  replay_of?: number;
}

/** Steps of an exchange. Absent: did not happen. They follow one another from the start. `total` is absent while live. */
export interface Durations {
  signing?: number;
  connect?: number;
  /** From the end of connect to the head of upstream's answer. */
  first_byte?: number;
  total?: number;
}

// ---------------------------------------------------------------------------------------------------------
// GET /inspect/api/entries/ID[?reveal=bodies][&frames_after=N]  ->  EntryDetail        (404 NOT_FOUND if evicted)
//
// For a live entry: on each `entry` event of the stream for it, fetch again with frames_after=<last index>.

export interface EntryDetail {
  summary: EntrySummary;
  /** Bodies and payloads are included. */
  is_revealed: boolean;
  request: {
    headers: Header[];
    /** The query of the URL; values are masked unless revealed. */
    query?: Payload;
    body?: Payload;
    /** The GraphQL document and variables, if there are any. */
    document?: Payload;
    variables?: Payload;
  };
  response?: {
    status: number;
    headers: Header[];
    body?: Payload;
  };
  /** What was signed, and what AWS said to it. Absent if nothing was sent. */
  upstream?: {
    method: string;
    /** Scheme, host, path; the query is masked unless revealed. */
    url: string;
    headers: Header[];
    /** As SigV4 prescribes, lines separated by \n; the session token is masked. */
    canonical_request?: string;
    string_to_sign?: string;
    /** How many times it was signed and sent. */
    attempts: number;
    status?: number;
    /** x-amzn-requestid. */
    request_id?: string;
  };
  /** Why the request failed or was refused. */
  diagnosis?: Diagnosis;
  frames: FrameList;
  /** The entry's realtime connection (see State.realtime), while it is live. */
  realtime?: number;
}

export interface Header {
  name: string;
  /** Absent if masked. */
  value?: string;
  is_masked?: true;
}

export interface Payload {
  /** The whole size, in bytes. */
  size: number;
  /** Absent unless revealed. Text as received, not formatted. */
  text?: string;
  /** The bytes in base64 instead of `text`, if they are not UTF-8. Absent unless revealed. */
  base64?: string;
  /** Only the first part was stored (see RecorderState.body_limit), or the rest was evicted. */
  is_truncated?: true;
  content_type?: string;
  /** As on the wire: not decoded by countersign. */
  content_encoding?: string;
}

export interface Diagnosis {
  /** countersign's code or AWS's error type. */
  code?: string;
  /** The error's text. */
  message?: string;
  /** The stable name of the cause of a rejection by AWS, such as "signature-key" (docs/reference/causes.md). */
  cause?: string;
  confidence?: string;
  /** What to do. For a refusal: the setting that allows it. */
  hint?: string;
  /** The ARN of the IAM identity. */
  identity?: string;
  /** The IAM action and the resource that are not allowed. */
  denied?: string;
  /** For a refusal: the rule, as a sentence. */
  rule?: string;
  /** For a refusal: the setting that would allow it, such as "guard.allow_origins". */
  setting?: string;
}

export interface FrameList {
  frames: Frame[];
  /** Frames whose storage was taken for newer ones: the first index that is left is `first`. */
  first: number;
  /** Index of the next frame. */
  next: number;
}

export interface Frame {
  index: number;
  time: number;
  /** "client": between the client and countersign. "upstream": between countersign and AWS. */
  side: "client" | "upstream";
  /** "in": received by countersign. "out": sent by countersign. */
  direction: "in" | "out";
  /** The type of the message, such as "subscribe", "next", "start", "data", "ka". */
  type: string;
  payload: Payload;
}

// ---------------------------------------------------------------------------------------------------------
// GET /inspect/api/stream     (server-sent events by fetch; header `last-event-id: REVISION` to resume)
//
// Each event has an `id:` (a revision). Updates of one entry are coalesced: a slow page gets the latest only. At most ten
// batches a second. A comment line (`:`) every 15 seconds keeps the connection open.
// Reconnect with the last id after 1 s if the stream ends. 503 TOO_MANY_STREAMS: too many pages are open.

export type StreamEvent =
  /** An entry is new or has changed. */
  | { event: "entry"; data: EntrySummary }
  /** Entries were evicted. */
  | { event: "evicted"; data: { ids: number[] } }
  /** All finished entries were removed by `clear`, or the page missed too much: fetch the list again. */
  | { event: "resync"; data: { revision: number } }
  /** The state has changed, at most once a second, and on each open. */
  | { event: "state"; data: State };

// ---------------------------------------------------------------------------------------------------------
// POST /inspect/api/replay   Replay -> ReplayResult
//
// The request takes the whole way through countersign: access rules, policies, signing. It appears as a new entry. If tokens are
// required (guard.token_file), the header `x-countersign-token` of this request is passed on.
// 409 MUTATION_NOT_CONFIRMED if it is (or may be) a mutation, a publish, or another method than GET/HEAD, and `confirm` is not true.
// 422 NOT_REPLAYABLE: subscriptions, tunnels, and entries whose body was not stored whole.
// An operation of a socket is replayed as an HTTP POST to its route.

export type Replay =
  | { id: number; confirm?: boolean }
  | { request: EditedRequest; confirm?: boolean; replay_of?: number };

export interface EditedRequest {
  route: string;
  method: string;
  /** Path and query below the listener, such as "/graphql" or "/orders/7?x=1". Must belong to the route. */
  path: string;
  headers: { name: string; value: string }[];
  body?: string;
}

export interface ReplayResult {
  /** The new entry: fetch its detail. */
  id: number;
  status: number;
}

// GET /inspect/api/entries/ID/request  ->  EditedRequest        (what "edit and resend" begins with; it reveals the body)

// ---------------------------------------------------------------------------------------------------------
// GET /inspect/api/entries/ID/curl                    -> CopyText   curl through countersign
// GET /inspect/api/entries/ID/curl?form=signed        -> CopyText   curl straight to AWS, with a fresh signature
// GET /inspect/api/entries/ID/curl?form=presigned     -> CopyText   a presigned URL. 422 NOT_PRESIGNED unless it is a GET without a
//                                                                   body on a route that does not lead to AppSync
// The last two contain a signature that expires in five minutes (and the session token): made on demand, never stored or logged.

export interface CopyText {
  text: string;
  /** When a signature in it expires. */
  expires?: number;
}

// GET /inspect/api/har[?q=…&kind=…&status=…]  -> a HAR 1.2 document (application/json), credentials masked, bodies included
//   (the user asked for an export: say so on the button). WebSocket frames of both sides in `_webSocketMessages`.

// POST /inspect/api/clear   {}                    -> RecorderState    removes finished entries
// POST /inspect/api/pause   {is_paused: boolean}  -> RecorderState    while paused nothing new is recorded

export interface ApiError {
  error: {
    code: string;
    message: string;
  };
}
