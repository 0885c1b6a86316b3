// A room whose messages arrive by a subscription, and a form that posts to it by a mutation.
import { useState } from 'react';
import { createRoot } from 'react-dom/client';
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { ApolloProvider, useMutation, useQuery, useSubscription } from '@apollo/client/react';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { createClient } from 'graphql-ws';
import { OperationTypeNode } from 'graphql';

const url = import.meta.env.VITE_GRAPHQL_URL ?? 'http://127.0.0.1:4100/graphql';

const client = new ApolloClient({
  // One socket carries all subscriptions: a browser opens at most six HTTP connections to a host.
  link: ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(createClient({ url: url.replace('http', 'ws'), shouldRetry: () => true })),
    new HttpLink({ uri: url }),
  ),
  cache: new InMemoryCache(),
});

const ROOMS = gql`{ rooms { id name } }`;
const MESSAGES = gql`subscription { onMessage(room: "lobby") { room body } }`;
// A mutation selects what subscriptions filter by and show: `room` and `body`.
const POST = gql`mutation Post($body: String!) { postMessage(room: "lobby", body: $body) { room body } }`;

function Room() {
  const [messages, setMessages] = useState([]);
  const rooms = useQuery(ROOMS);
  const [post, posting] = useMutation(POST);
  const subscription = useSubscription(MESSAGES, {
    onData: ({ data }) => setMessages((all) => [...all, data.data.onMessage.body]),
  });
  const error = rooms.error ?? posting.error ?? subscription.error;

  async function submit(event) {
    event.preventDefault();
    const form = event.currentTarget;
    await post({ variables: { body: new FormData(form).get('body') } });
    form.reset();
  }

  return (
    <>
      <h1>{rooms.data?.rooms.find(({ id }) => id === 'lobby')?.name ?? '…'}</h1>
      <ul>{messages.map((body, index) => <li key={index}>{body}</li>)}</ul>
      <form onSubmit={submit}>
        <input name="body" required aria-label="Message" />
        <button>Post</button>
      </form>
      {error && <p role="alert">{error.message}</p>}
    </>
  );
}

createRoot(document.getElementById('app')).render(<ApolloProvider client={client}><Room /></ApolloProvider>);
