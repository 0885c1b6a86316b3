import type { EntryDetail } from '../api';
import { Facts } from './Facts';
import { sentText } from './words';

/** Why AWS rejected a request, or which rule of countersign refused it. */
export function DiagnosisTab({ detail }: { detail: EntryDetail }) {
  const { diagnosis, summary } = detail;
  if (!diagnosis) return <p class="quiet">Nothing went wrong.</p>;
  return (
    <>
      {diagnosis.message && <p class="diagnosis">{diagnosis.message}</p>}
      {diagnosis.hint && <p class="hint"><b>What to do:</b> {diagnosis.hint}</p>}
      <Facts
        label="Diagnosis"
        facts={[
          ['Refused by', diagnosis.rule],
          ['Setting that allows it', diagnosis.setting && <code>{diagnosis.setting}</code>],
          ['Code', diagnosis.code && <code>{diagnosis.code}</code>],
          ['Cause', diagnosis.cause && <code>{diagnosis.cause}</code>],
          ['Confidence', diagnosis.confidence],
          ['IAM identity', diagnosis.identity],
          ['Not allowed', diagnosis.denied],
          ['Sent to AWS', sentText(summary, detail.upstream !== undefined)],
        ]}
      />
    </>
  );
}
