import type { ComponentChildren } from 'preact';
import type { EntryDetail, Header } from '../api';
import { PayloadView } from './PayloadView';

export function Section({ title, children }: { title: string; children: ComponentChildren }) {
  return <section><h3>{title}</h3>{children}</section>;
}

export function Headers({ headers, label }: { headers: readonly Header[]; label: string }) {
  if (headers.length === 0) return <p class="quiet">None</p>;
  return (
    <table class="facts" aria-label={label}>
      <tbody>
        {headers.map(({ name, value, is_masked }, index) => (
          <tr key={index}>
            <th scope="row">{name}</th>
            <td>{is_masked ? <span class="quiet">hidden: a credential, which is never recorded</span> : value}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function RequestTab({ detail }: { detail: EntryDetail }) {
  const { request } = detail;
  const isOperation = request.document !== undefined;
  return (
    <>
      {request.document && <Section title="Document"><PayloadView payload={request.document} label="Document" /></Section>}
      {request.variables && <Section title="Variables"><PayloadView payload={request.variables} label="Variables" /></Section>}
      {request.query && <Section title="Query of the URL"><PayloadView payload={request.query} label="Query of the URL" /></Section>}
      {!isOperation && request.body && <Section title="Body"><PayloadView payload={request.body} label="Request body" /></Section>}
      <Section title="Headers"><Headers headers={request.headers} label="Request headers" /></Section>
      {isOperation && request.body && <Section title="Body"><PayloadView payload={request.body} label="Request body" /></Section>}
    </>
  );
}

export function ResponseTab({ detail }: { detail: EntryDetail }) {
  const { response, summary } = detail;
  if (!response) {
    const isSocket = summary.method === undefined;
    const text = summary.is_live ? 'Waiting for the response.'
      : isSocket ? 'The answer to an operation on a socket is in its frames.' : 'The client received no response.';
    return <p class="quiet">{text}</p>;
  }
  return (
    <>
      {response.body && <Section title="Body"><PayloadView payload={response.body} label="Response body" /></Section>}
      <Section title="Headers"><Headers headers={response.headers} label="Response headers" /></Section>
    </>
  );
}
