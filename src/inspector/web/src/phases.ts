/** Divides the duration of an exchange into its phases. */

import type { Durations } from './api';

export interface Phase {
  name: 'signing' | 'connect' | 'first_byte' | 'rest';
  label: string;
  ms: number;
  /** The share of the total, from 0 to 1. */
  share: number;
}

const LABELS: Record<Phase['name'], string> = {
  signing: 'Signing',
  connect: 'Connecting',
  first_byte: 'Waiting for AWS',
  rest: 'Transfer and countersign',
};

/** Returns the phases that happened, in order. The rest of the total is the last one. */
export function phases(durations: Durations): Phase[] {
  const known = (['signing', 'connect', 'first_byte'] as const).flatMap((name) => {
    const ms = durations[name];
    return ms === undefined ? [] : [{ name, ms }];
  });
  const sum = known.reduce((total, { ms }) => total + ms, 0);
  const total = Math.max(durations.total ?? sum, sum);
  const rest = durations.total === undefined ? [] : [{ name: 'rest' as const, ms: total - sum }];
  return [...known, ...rest].map(({ name, ms }) => ({ name, label: LABELS[name], ms, share: total === 0 ? 0 : ms / total }));
}
