/** GraphiQL, wired to a route of countersign for queries, mutations and subscriptions. */
/** @jsxImportSource react */

import { createGraphiQLFetcher, createLocalStorage } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import 'graphiql/style.css';
import { useEffect, useMemo } from 'react';
import { createRoot } from 'react-dom/client';
import type { Route, State } from '../api';
import { keyHeader, takeKey } from '../client';
import './style.css';

const QUERY = `# Queries, mutations and subscriptions go to countersign, which signs them and sends them to AWS.
# Ctrl-Space completes, Ctrl-Enter runs. The schema is under the book icon.
{
  __typename
}
`;

/** The text fields of CodeMirror, which GraphiQL gives no names. */
const FIELDS = {
  'Query': '.graphiql-query-editor textarea',
  'Variables': '.graphiql-editor-tool .graphiql-editor:nth-of-type(1) textarea',
  'Request headers': '.graphiql-editor-tool .graphiql-editor:nth-of-type(2) textarea',
  'Response': '.result-window textarea',
};

takeKey(location, history, sessionStorage);
const root = createRoot(document.getElementById('graphiql') ?? document.body);
void start();

async function start(): Promise<void> {
  let state: State;
  try {
    const response = await fetch('/inspect/api/state', { headers: keyHeader(), cache: 'no-store' });
    if (response.status === 401) throw new Error('This page needs a key: open the inspector first, with the URL that countersign printed at start.');
    if (!response.ok) throw new Error(`countersign answered ${response.status}.`);
    state = (await response.json()) as State;
  } catch (error) {
    root.render(<Message text={error instanceof Error ? error.message : String(error)} />);
    return;
  }
  const routes = state.routes.filter(({ kind }) => kind === 'graphql');
  const asked = new URLSearchParams(location.search).get('route');
  const route = routes.find(({ name }) => name === asked) ?? routes[0];
  root.render(route ? <Page state={state} routes={routes} route={route} /> : <Message text="No route leads to a GraphQL API." />);
}

/** Names the text fields, now and again when GraphiQL replaces them. */
function nameFields(): () => void {
  const name = () => {
    for (const [label, selector] of Object.entries(FIELDS)) {
      for (const field of document.querySelectorAll(`${selector}:not([aria-label])`)) field.setAttribute('aria-label', label);
    }
  };
  const observer = new MutationObserver(name);
  observer.observe(document.body, { childList: true, subtree: true });
  name();
  return () => observer.disconnect();
}

function Head({ children }: { children?: React.ReactNode }) {
  return (
    <header className="head">
      <h1>countersign</h1>
      <nav aria-label="Views">
        <a href="/inspect/#/traffic">Traffic</a>
        <a href="/inspect/#/subscriptions">Subscriptions</a>
        <a href="/inspect/#/realtime">Realtime</a>
        <a href="/inspect/#/status">Status</a>
        <a href="/inspect/graphiql" aria-current="page">GraphiQL</a>
      </nav>
      {children}
    </header>
  );
}

function Message({ text }: { text: string }) {
  return <><Head /><p className="message" role="alert">{text} <a href="/inspect/">Open the inspector</a></p></>;
}

function Page({ state, routes, route }: { state: State; routes: Route[]; route: Route }) {
  const url = state.base_url + route.path;
  const fetcher = useMemo(() => createGraphiQLFetcher({ url, subscriptionUrl: url.replace(/^http/, 'ws') }), [url]);
  // Each route has its own tabs and history.
  const storage = useMemo(() => createLocalStorage({ namespace: `countersign-${route.name}` }), [route.name]);
  useEffect(nameFields, []);
  const choose = (name: string) => { location.search = new URLSearchParams({ route: name }).toString(); };
  return (
    <>
      <Head>
        {routes.length > 1 && (
          <select aria-label="Route" value={route.name} onChange={(event) => choose(event.currentTarget.value)}>
            {routes.map(({ name }) => <option key={name} value={name}>{name}</option>)}
          </select>
        )}
        <code className="target" title={route.target}>{url}</code>
      </Head>
      <main className="editor">
        <GraphiQL fetcher={fetcher} storage={storage} defaultQuery={QUERY}>
          <GraphiQL.Logo>{' '}</GraphiQL.Logo>
        </GraphiQL>
      </main>
    </>
  );
}
