import type { ComponentChildren } from 'preact';
import type { Credential, State } from '../api';
import { bytes, countdown, dateTime, duration, wholeSeconds } from '../format';
import { now, state } from '../store';
import { Facts } from './Facts';

/** What countersign is doing: credentials, clock, limits, memory, routes. */
export function Status() {
  const current = state.value;
  if (!current) return null;
  return (
    <div class="cards">
      <Card title="countersign">
        <Facts
          label="countersign"
          facts={[
            ['Version', current.version],
            ['Ready', current.is_draining ? 'no: shutting down' : current.is_ready ? 'yes' : `no: ${current.reasons.join('; ')}`],
            ['Running since', `${dateTime(current.started).slice(0, 19)} (${wholeSeconds(now.value - current.started)})`],
            ['Proxied port', current.listeners.join(', ')],
            ['Memory', current.metrics.resident_bytes !== undefined && `${bytes(current.metrics.resident_bytes)}${current.metrics.is_memory_short ? ', short' : ''}`],
          ]}
        />
      </Card>
      <Card title="Credentials">
        {current.credentials.length === 0 && <p class="quiet">None</p>}
        {current.credentials.map((credential) => <CredentialFacts key={credential.name} credential={credential} />)}
      </Card>
      <Card title="Recorder">
        <Facts
          label="Recorder"
          facts={[
            ['State', current.recorder.is_paused ? 'paused' : 'recording'],
            ['Entries', current.recorder.entries.toLocaleString('en')],
            ['Evicted', current.recorder.evicted > 0 && `${current.recorder.evicted.toLocaleString('en')} older entries made room for newer ones`],
            ['Largest part of a body', bytes(current.recorder.body_limit)],
          ]}
        />
      </Card>
      <Card title="Limits">
        {current.limits.map(({ setting, label, used, limit, unit }) => (
          <Meter key={setting} label={label} setting={setting} used={used} limit={limit} format={unit === 'bytes' ? bytes : (value) => value.toLocaleString('en')} />
        ))}
      </Card>
      <Card title="Routes" isWide><Routes current={current} /></Card>
    </div>
  );
}

function Card({ title, isWide = false, children }: { title: string; isWide?: boolean; children: ComponentChildren }) {
  return <section class={isWide ? 'card card-wide' : 'card'}><h2>{title}</h2>{children}</section>;
}

/** Credentials that expire within this time are marked. */
const SOON = 120_000;

function CredentialFacts({ credential }: { credential: Credential }) {
  const { expires } = credential;
  const left = expires === undefined ? Infinity : expires - now.value;
  const state = left <= 0 ? 'bad' : left < SOON ? 'soon' : 'good';
  return (
    <>
      <Facts
        label={`Credentials: ${credential.name}`}
        facts={[
          ['Source', credential.name],
          ['Provider', credential.provider],
          ['Access key', credential.access_key_id && <code>{credential.access_key_id}</code>],
          ['Account', credential.account],
          ['Validity', !credential.failure && <span class={`validity-${state}`}>{expires === undefined ? 'does not expire' : countdown(expires, now.value)}</span>],
        ]}
      />
      {credential.failure && <p class="notice">{credential.failure}</p>}
    </>
  );
}

function Meter({ label, setting, used, limit, format }: { label: string; setting?: string; used: number; limit: number; format: (value: number) => string }) {
  const share = limit === 0 ? 0 : Math.min(1, used / limit);
  const level = share >= 0.95 ? 'bad' : share >= 0.8 ? 'soon' : 'good';
  return (
    <div class="meter">
      <span class="meter-label">{label}{setting !== undefined && <code class="quiet">{setting}</code>}</span>
      <span class="meter-value">{format(used)} of {format(limit)}</span>
      <span class="meter-bar" role="meter" aria-label={setting ?? label} aria-valuemin={0} aria-valuemax={limit} aria-valuenow={Math.min(used, limit)} aria-valuetext={`${format(used)} of ${format(limit)}`}>
        <span class={`meter-fill meter-${level}`} style={{ width: `${share * 100}%` }} />
      </span>
    </div>
  );
}

function Routes({ current }: { current: State }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Routes">
      <table class="table">
        <thead><tr>{['Name', 'URL here', 'Upstream', 'Service', 'Region', 'Credentials', 'Clock'].map((name) => <th key={name} scope="col">{name}</th>)}</tr></thead>
        <tbody>
          {current.routes.map((route) => (
            <tr key={route.name}>
              <th scope="row">{route.name}</th>
              <td><code>{current.base_url}{route.path}</code></td>
              <td><code>{route.target}</code></td>
              <td>{route.service ?? ''}</td>
              <td>{route.region ?? ''}</td>
              <td>{route.credentials ?? 'not signed'}</td>
              <td>{offset(route.clock_offset_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Describes how far this machine's clock is from AWS's. */
function offset(ms: number | undefined): string {
  if (ms === undefined) return 'not known yet';
  if (Math.abs(ms) < 1000) return 'in step';
  return `${duration(Math.abs(ms))} ${ms > 0 ? 'behind' : 'ahead'}, corrected`;
}
