/** Names the lines of a canonical request and of a string to sign (Signature Version 4). */

export interface SignedLine {
  label: string;
  text: string;
}

/** Labels each line of a canonical request. */
export function canonicalLines(canonical: string): SignedLine[] {
  const all = canonical.split('\n');
  const tail = all.length - 2;
  return all.map((text, index) => {
    if (index === 0) return { label: 'Method', text };
    if (index === 1) return { label: 'Path', text };
    if (index === 2) return { label: 'Query', text };
    if (index === all.length - 1) return { label: 'Hash of the body', text };
    if (index === tail) return { label: 'Signed headers', text };
    if (index === tail - 1 && text === '') return { label: '', text };
    return { label: index === 3 ? 'Headers' : '', text };
  });
}

const STRING_TO_SIGN = ['Algorithm', 'Time', 'Scope', 'Hash of the canonical request'];

/** Labels each line of a string to sign. */
export function stringToSignLines(text: string): SignedLine[] {
  return text.split('\n').map((line, index) => ({ label: STRING_TO_SIGN[index] ?? '', text: line }));
}
