import { useComputed } from '@preact/signals';
import type { EntryDetail, EntrySummary } from '../api';
import { bytes, count, dateTime, duration, rate, wholeSeconds } from '../format';
import { phases } from '../phases';
import { go } from '../place';
import { now, state } from '../store';
import { Facts } from './Facts';
import { Section } from './Message';
import { sentText, statusText } from './words';

export function Overview({ detail }: { detail: EntryDetail }) {
  const { summary, upstream, diagnosis } = detail;
  const route = useComputed(() => state.value?.routes.find(({ name }) => name === summary.route)).value;
  const connection = useComputed(() => state.value?.realtime.find(({ id, route }) => id === detail.realtime && route === summary.route)).value;
  const shared = connection?.entries.filter((id) => id !== summary.id) ?? [];
  return (
    <>
      {diagnosis && (
        <p class="notice">
          {diagnosis.message ?? diagnosis.code}{' '}
          <button class="link" onClick={() => go({ id: summary.id, tab: 'diagnosis' })}>Show the diagnosis</button>
        </p>
      )}
      <Phases summary={summary} />
      <Facts
        label="Overview"
        facts={[
          ['Status', <Outcome summary={summary} />],
          ['Started', dateTime(summary.time)],
          ['Kind', `${summary.kind} (${summary.protocol})`],
          ['HTTP status', summary.status !== undefined && summary.status !== 0 && summary.status],
          ['Request', summary.method && `${summary.method} ${summary.path ?? ''}`],
          ['Client', [summary.client, summary.token && `token ${summary.token}`].filter(Boolean).join(', ')],
          ['Route', summary.route && `${summary.route}${route ? ` → ${route.target}` : ''}`],
          ['Sent to AWS', sentText(summary, upstream !== undefined)],
          ['AWS request id', upstream?.request_id && <code>{upstream.request_id}</code>],
          ['Attempts', upstream && upstream.attempts > 1 && `${upstream.attempts}: signed and sent again`],
          ['Received', bytes(summary.bytes_in)],
          ['Returned', bytes(summary.bytes_out)],
          ['Events', summary.events !== undefined && `${count(summary.events, 'event')}${summary.is_live ? `, ${rate(summary.rate ?? 0)}` : ''}`],
          ['Realtime connection', detail.realtime !== undefined && (
            <>{detail.realtime}{shared.length > 0 && <>, shared with {shared.slice(0, 20).map((id) => <EntryLink key={id} id={id} />)}</>}</>
          )],
          ['Repeats', summary.replay_of ? <EntryLink id={summary.replay_of} /> : undefined],
        ]}
      />
    </>
  );
}

export function EntryLink({ id }: { id: number }) {
  return <button class="link chip" onClick={() => go({ view: 'traffic', id })}>#{id}</button>;
}

function Outcome({ summary }: { summary: EntrySummary }) {
  const code = summary.code === undefined ? null : <> <code>{summary.code}</code></>;
  return <>{statusText(summary)}{code}</>;
}

function Phases({ summary }: { summary: EntrySummary }) {
  const parts = phases(summary.durations);
  const { total } = summary.durations;
  if (total === undefined) {
    return summary.is_live ? <Section title="Duration"><Running since={summary.time} /></Section> : null;
  }
  return (
    <Section title={`Duration: ${duration(total)}`}>
      <div class="phases" aria-hidden="true">
        {parts.map(({ name, share }) => <span key={name} class={`phase phase-${name}`} style={{ flexGrow: String(share) }} />)}
      </div>
      <ul class="legend">
        {parts.map(({ name, label, ms }) => (
          <li key={name}><span class={`dot phase-${name}`} aria-hidden="true" />{label} <b>{duration(ms)}</b></li>
        ))}
      </ul>
    </Section>
  );
}

function Running({ since }: { since: number }) {
  return <p>Running for {wholeSeconds(now.value - since)}</p>;
}
