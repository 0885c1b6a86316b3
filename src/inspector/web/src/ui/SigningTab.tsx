import { copy } from '../actions';
import type { EntryDetail } from '../api';
import { type SignedLine, canonicalLines, stringToSignLines } from '../signing';
import { Facts } from './Facts';
import { Headers, Section } from './Message';

/** What was signed, and what AWS answered to it. */
export function SigningTab({ detail }: { detail: EntryDetail }) {
  const { upstream } = detail;
  if (!upstream) return <p class="quiet">Nothing was signed or sent to AWS for this entry.</p>;
  const { canonical_request: canonical, string_to_sign: text } = upstream;
  return (
    <>
      <Facts
        label="Request to AWS"
        facts={[
          ['Request', `${upstream.method} ${upstream.url}`],
          ['Attempts', upstream.attempts],
          ['Status', upstream.status],
          ['AWS request id', upstream.request_id],
        ]}
      />
      {canonical !== undefined && <Lines title="Canonical request" text={canonical} lines={canonicalLines(canonical)} />}
      {text !== undefined && <Lines title="String to sign" text={text} lines={stringToSignLines(text)} />}
      <Section title="Headers sent to AWS"><Headers headers={upstream.headers} label="Headers sent to AWS" /></Section>
    </>
  );
}

function Lines({ title, text, lines }: { title: string; text: string; lines: SignedLine[] }) {
  return (
    <section>
      <h3>{title} <button class="link" onClick={() => void copy(text)}>Copy</button></h3>
      <table class="signed" aria-label={title}>
        <tbody>
          {lines.map((line, index) => (
            <tr key={index}>{line.label === '' ? <td /> : <th scope="row">{line.label}</th>}<td>{line.text === '' ? <span class="quiet">(empty line)</span> : line.text}</td></tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
