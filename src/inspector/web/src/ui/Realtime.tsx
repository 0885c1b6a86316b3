import { count, rate } from '../format';
import { go } from '../place';
import { state, summaryOf } from '../store';
import { title } from './words';

const SHOWN = 200;

/** The connections to AppSync's realtime endpoints, and the subscriptions that share each. */
export function Realtime() {
  const connections = state.value?.realtime ?? [];
  if (connections.length === 0) {
    return <p class="empty">No realtime connection is open. The first subscription of a client opens one.</p>;
  }
  return (
    <div class="cards">
      {connections.map((connection) => (
        <section key={`${connection.route} ${connection.id}`} class="card card-wide">
          <h2>Connection {connection.id}: {connection.route}</h2>
          <p class="quiet">
            {count(connection.subscriptions, 'subscription')} of at most {connection.limit}
          </p>
          <span class="meter-bar" role="meter" aria-label={`Subscriptions on connection ${connection.id}`} aria-valuemin={0} aria-valuemax={connection.limit} aria-valuenow={connection.subscriptions}>
            <span class="meter-fill meter-good" style={{ width: `${Math.min(100, (connection.subscriptions / connection.limit) * 100)}%` }} />
          </span>
          {connection.entries.length > 0 && (
            <table class="table" aria-label={`Subscriptions on connection ${connection.id}`}>
              <thead><tr>{['Subscription', 'Client', 'Events', 'Rate'].map((name) => <th key={name} scope="col">{name}</th>)}</tr></thead>
              <tbody>{connection.entries.slice(0, SHOWN).map((id) => <SharedEntry key={id} id={id} />)}</tbody>
            </table>
          )}
          {connection.entries.length > SHOWN && <p class="quiet">and {count(connection.entries.length - SHOWN, 'other')}</p>}
        </section>
      ))}
    </div>
  );
}

function SharedEntry({ id }: { id: number }) {
  const entry = summaryOf(id);
  return (
    <tr>
      <td><button class="link" onClick={() => go({ view: 'subscriptions', id })}>{entry ? title(entry) : 'subscription'} #{id}</button></td>
      <td>{entry?.token ?? entry?.client ?? ''}</td>
      <td>{entry?.events ?? ''}</td>
      <td>{entry ? rate(entry.rate ?? 0) : ''}</td>
    </tr>
  );
}
