import { useState } from 'preact/hooks';
import { dialog } from '../actions';
import { setKey } from '../client';
import { countdown } from '../format';
import { type View, go, place } from '../place';
import { connection, live, now, problem, run, state, subscriptions, total, traffic } from '../store';
import { Detail } from './Detail';
import { Dialogs, ToastView } from './Dialogs';
import { List } from './List';
import { Realtime } from './Realtime';
import { Status } from './Status';
import { Toolbar } from './Toolbar';

export function App() {
  if (connection.value === 'locked') return <Locked />;
  return (
    <>
      <Head />
      <Main />
      <Dialogs />
      <ToastView />
    </>
  );
}

const VIEWS: [View, string][] = [['traffic', 'Traffic'], ['subscriptions', 'Subscriptions'], ['realtime', 'Realtime'], ['status', 'Status']];
const hasGraphql = () => state.value?.routes.some(({ kind }) => kind === 'graphql') ?? false;

function Head() {
  const { view } = place.value;
  const badge = (name: View) => (name === 'subscriptions' ? live.value : name === 'realtime' ? (state.value?.realtime.length ?? 0) : 0);
  return (
    <header class="head">
      <h1>countersign</h1>
      <nav aria-label="Views">
        {VIEWS.map(([name, label]) => (
          <a key={name} href={`#/${name}`} aria-current={view === name ? 'page' : undefined} onClick={(event) => { event.preventDefault(); go({ view: name }); }}>
            {label}{badge(name) > 0 && <span class="badge">{badge(name)}</span>}
          </a>
        ))}
        {hasGraphql() && <a href="/inspect/graphiql">GraphiQL</a>}
      </nav>
      <Credentials />
      <Connection />
      <button class="help" aria-label="Keyboard and search help" title="Help (?)" onClick={() => { dialog.value = { kind: 'help' }; }}>?</button>
    </header>
  );
}

/** Warns of credentials that are missing, or expire within minutes. */
function Credentials() {
  const bad = state.value?.credentials.find(({ failure, expires }) => failure !== undefined || (expires !== undefined && expires - now.value < 300_000));
  if (!bad) return null;
  const text = bad.failure !== undefined || bad.expires === undefined ? 'No credentials' : `Credentials: ${countdown(bad.expires, now.value)}`;
  return <a class="warning" href="#/status" onClick={(event) => { event.preventDefault(); go({ view: 'status' }); }}>{text}</a>;
}

function Connection() {
  const isPaused = state.value?.recorder.is_paused ?? false;
  const shown = connection.value === 'live' && isPaused ? 'paused' : connection.value;
  const text = { live: 'Live', paused: 'Paused', connecting: 'Connecting', lost: 'Disconnected', locked: 'Locked' }[shown];
  return <span class={`connection connection-${shown}`} role="status" title={problem.value}>{text}</span>;
}

function Main() {
  const { view, id } = place.value;
  if (view === 'realtime') return <main class="plain"><Realtime /></main>;
  if (view === 'status') return <main class="plain"><Status /></main>;
  const isSubscriptions = view === 'subscriptions';
  const rows = isSubscriptions ? subscriptions.value : traffic.value;
  return (
    <main class={id === undefined ? 'split' : 'split split-open'}>
      <div class="side">
        <Toolbar hasKinds={!isSubscriptions} />
        {connection.value === 'lost' && <p class="notice" role="alert">{problem.value || 'The connection to countersign was lost.'} Trying again …</p>}
        <List key={view} rows={rows} selected={id} label={isSubscriptions ? 'Subscriptions' : 'Traffic'} isSubscriptions={isSubscriptions} />
        {rows.length === 0 && <Empty isSubscriptions={isSubscriptions} />}
      </div>
      {id !== undefined && <Detail />}
    </main>
  );
}

function Empty({ isSubscriptions }: { isSubscriptions: boolean }) {
  const current = state.value;
  if (connection.value === 'connecting' || !current) return null;
  if (total.value > 0) return <p class="empty">{isSubscriptions ? 'No subscription matches.' : 'No entry matches.'}</p>;
  const graphql = current.routes.find(({ kind }) => kind === 'graphql') ?? current.routes[0];
  return (
    <div class="empty">
      <p>Nothing yet. Requests to {current.base_url} appear here as they happen.</p>
      {graphql?.kind === 'graphql' && (
        <pre class="code" tabIndex={0} aria-label="Example">{`curl ${current.base_url}${graphql.path} -H 'content-type: application/json' \\\n  -d '{"query":"{ __typename }"}'`}</pre>
      )}
    </div>
  );
}

function Locked() {
  const [key, change] = useState('');
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    setKey(key.trim());
    connection.value = 'connecting';
    void run();
  };
  return (
    <main class="locked">
      <h1>countersign inspector</h1>
      <form onSubmit={submit}>
        <p>This page needs a key. countersign printed it at start, in the URL of the inspector after <code>#key=</code>.</p>
        <label>Key <input type="password" autocomplete="off" autofocus value={key} onInput={(event) => change(event.currentTarget.value)} /></label>
        <p class="buttons"><button class="primary" type="submit">Open</button></p>
        {problem.value && <p class="notice" role="alert">{problem.value}</p>}
      </form>
    </main>
  );
}
