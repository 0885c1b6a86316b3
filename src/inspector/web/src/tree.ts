/** JSON as a tree of lines that open and close. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface TreeLine {
  /** The place of the value, such as "$.data.rooms[0]". */
  path: string;
  depth: number;
  /** The key or index in the parent. */
  key: string | undefined;
  kind: 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null' | 'more';
  /** The value as JSON; of an object or array what it contains, such as "3 items"; for "more" how many are left out. */
  text: string;
  isOpen: boolean;
  canOpen: boolean;
}

/** The number of members of one object or array that are shown before "more". */
export const PAGE = 100;
const OPEN_DEPTH = 5;
/** The members of a longer array start closed. */
const OPEN_ITEMS = 20;
const PREVIEW = 72;

/** Parses JSON. Returns undefined for another text. Numbers that JavaScript would change are in the raw view. */
export function parse(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

/** Returns the beginning of a closed object or array. */
function preview(value: Json[] | { [key: string]: Json }): string {
  const parts: string[] = [];
  let length = 0;
  for (const [key, member] of Object.entries(value)) {
    const isContainer = member !== null && typeof member === 'object';
    const text = isContainer ? (Array.isArray(member) ? '[…]' : '{…}') : JSON.stringify(member);
    const part = Array.isArray(value) ? text : `${key}: ${text}`;
    length += part.length + 2;
    if (length > PREVIEW) {
      parts.push(parts.length === 0 ? `${part.slice(0, PREVIEW)}…` : '…');
      break;
    }
    parts.push(part);
  }
  return parts.join(', ');
}

/** Returns the lines of a tree. `toggled` has the paths whose state differs from the default. */
export function lines(root: Json, toggled: ReadonlySet<string>, pages: ReadonlyMap<string, number>): TreeLine[] {
  const result: TreeLine[] = [];
  const add = (value: Json, key: string | undefined, path: string, depth: number, isInLong: boolean): void => {
    if (value === null || typeof value !== 'object') {
      const kind = value === null ? 'null' : (typeof value as 'string' | 'number' | 'boolean');
      result.push({ path, depth, key, kind, text: JSON.stringify(value), isOpen: false, canOpen: false });
      return;
    }
    const isArray = Array.isArray(value);
    const members: [string, Json][] = isArray ? value.map((item, index) => [String(index), item]) : Object.entries(value);
    const isOpenByDefault = depth < OPEN_DEPTH && !isInLong;
    const isOpen = members.length > 0 && isOpenByDefault !== toggled.has(path);
    const noun = isArray ? 'item' : 'field';
    const size = `${members.length} ${noun}${members.length === 1 ? '' : 's'}`;
    const text = members.length === 0 ? (isArray ? '[]' : '{}') : isOpen ? size : `${size}: ${preview(value)}`;
    result.push({ path, depth, key, kind: isArray ? 'array' : 'object', text, isOpen, canOpen: members.length > 0 });
    if (!isOpen) return;
    const shown = PAGE * (pages.get(path) ?? 1);
    for (const [name, member] of members.slice(0, shown)) {
      add(member, name, isArray ? `${path}[${name}]` : `${path}.${name}`, depth + 1, isArray && members.length > OPEN_ITEMS);
    }
    if (members.length > shown) {
      const left = members.length - shown;
      result.push({ path, depth: depth + 1, key: undefined, kind: 'more', text: `${left} more`, isOpen: false, canOpen: false });
    }
  };
  add(root, undefined, '$', 0, false);
  return result;
}
