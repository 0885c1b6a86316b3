import { canReplay, copyAs, edit, replay } from '../actions';
import type { EntryDetail } from '../api';
import { type Tab, TABS, go, place } from '../place';
import { opened, summaryOf } from '../store';
import { DiagnosisTab } from './DiagnosisTab';
import { FramesTab } from './FramesTab';
import { RequestTab, ResponseTab } from './Message';
import { Overview } from './Overview';
import { SigningTab } from './SigningTab';
import { outcome } from '../filter';
import { statusText, title } from './words';

const LABELS: Record<Tab, string> = {
  overview: 'Overview', request: 'Request', response: 'Response', frames: 'Frames', signing: 'Signing', diagnosis: 'Diagnosis',
};

/** The open entry. */
export function Detail() {
  const current = opened.value;
  if (!current) return null;
  const { id, detail, failure } = current;
  const summary = summaryOf(id) ?? detail?.summary;
  const { tab } = place.value;
  const shown = TABS.filter((name) => name !== 'diagnosis' || detail?.diagnosis !== undefined);
  const active = shown.includes(tab) ? tab : 'overview';

  // The handshake of a socket is not a request that can be sent again.
  const isRepeatable = summary !== undefined && canReplay(summary.kind) && summary.status !== 101;
  const wasSent = detail?.upstream !== undefined;
  const move = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const next = shown[(shown.indexOf(active) + step + shown.length) % shown.length] ?? 'overview';
    go({ id, tab: next });
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <section class="detail" aria-label="Details" id="detail">
      <header class="detail-head">
        <button class="close" onClick={() => close()} aria-label="Close the details" title="Close (Esc)">✕</button>
        <h2 title={summary && title(summary)}>
          {summary && <span class={`kind kind-${summary.kind}`}>{summary.kind}</span>} {summary ? title(summary) : `Entry ${id}`}
        </h2>
        {summary && <span class={`outcome outcome-${outcome(summary)}`}>{statusText(summary)}</span>}
        <span class="actions">
          {isRepeatable && (
            <>
              <button onClick={() => void replay(id)} title="Send it again (r)">Replay</button>
              <button onClick={() => void edit(id)} title="Change it and send it (e)">Edit and resend</button>
              <span class="segments" role="group" aria-label="Copy">
                <button onClick={() => void copyAs(id, 'local')} title="Copy as curl through countersign (c)">Copy as curl</button>
                {wasSent && <button onClick={() => void copyAs(id, 'signed')} title="Copy as curl straight to AWS, with a fresh signature">Signed curl</button>}
                {wasSent && summary.kind === 'http' && summary.method === 'GET' && (
                  <button onClick={() => void copyAs(id, 'presigned')} title="Copy as a URL that needs no credentials and is valid for five minutes">Presigned URL</button>
                )}
              </span>
            </>
          )}
        </span>
      </header>
      <div class="tabs" role="tablist" aria-label="Parts of the entry" onKeyDown={move}>
        {shown.map((name) => (
          <button
            key={name} id={`tab-${name}`} role="tab" aria-selected={name === active} aria-controls="panel"
            tabIndex={name === active ? 0 : -1} onClick={() => go({ id, tab: name })}
          >
            {LABELS[name]}
            {name === 'frames' && detail && detail.frames.next > 0 && <span class="badge">{detail.frames.next}</span>}
          </button>
        ))}
      </div>
      <div class="panel" id="panel" role="tabpanel" aria-labelledby={`tab-${active}`} tabIndex={0}>
        {failure !== undefined && <p class="notice">{failure}</p>}
        {detail && <Panel key={id} tab={active} detail={detail} />}
      </div>
    </section>
  );
}

function Panel({ tab, detail }: { tab: Tab; detail: EntryDetail }) {
  switch (tab) {
    case 'overview': return <Overview detail={detail} />;
    case 'request': return <RequestTab detail={detail} />;
    case 'response': return <ResponseTab detail={detail} />;
    case 'frames': return <FramesTab detail={detail} />;
    case 'signing': return <SigningTab detail={detail} />;
    case 'diagnosis': return <DiagnosisTab detail={detail} />;
  }
}

export function close(): void {
  go({}, true);
  document.getElementById('list')?.focus();
}
