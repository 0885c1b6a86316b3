import type { ComponentChildren } from 'preact';

/** A table of names and values. Rows without a value are left out. */
export function Facts({ facts, label }: { facts: readonly (readonly [string, ComponentChildren])[]; label: string }) {
  const known = facts.filter(([, value]) => value !== undefined && value !== '' && value !== false && value !== null);
  return (
    <table class="facts" aria-label={label}>
      <tbody>{known.map(([name, value]) => <tr key={name}><th scope="row">{name}</th><td>{value}</td></tr>)}</tbody>
    </table>
  );
}
