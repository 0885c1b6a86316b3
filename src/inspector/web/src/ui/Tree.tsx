import { useMemo, useState } from 'preact/hooks';
import { type Json, type TreeLine, lines } from '../tree';

/** JSON as a tree whose objects and arrays open and close. */
export function Tree({ value, label }: { value: Json; label: string }) {
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set());
  const [pages, setPages] = useState<ReadonlyMap<string, number>>(new Map());
  const shown = useMemo(() => lines(value, toggled, pages), [value, toggled, pages]);

  const toggle = (path: string) => {
    const next = new Set(toggled);
    if (!next.delete(path)) next.add(path);
    setToggled(next);
  };
  const more = (path: string) => setPages(new Map(pages).set(path, (pages.get(path) ?? 1) + 1));
  return (
    <ul class="tree" aria-label={label}>
      {shown.map((line) => (
        <li key={`${line.path} ${line.kind === 'more'}`} style={{ paddingLeft: `${line.depth * 14 + (line.canOpen ? 0 : 14)}px` }}>
          <Line line={line} toggle={toggle} more={more} />
        </li>
      ))}
    </ul>
  );
}

function Line({ line, toggle, more }: { line: TreeLine; toggle: (path: string) => void; more: (path: string) => void }) {
  if (line.kind === 'more') return <button class="link" onClick={() => more(line.path)}>Show more ({line.text})</button>;
  const key = line.key === undefined ? null : <span class="tree-key">{line.key}: </span>;
  if (!line.canOpen) return <>{key}<span class={`tree-${line.kind}`}>{line.text}</span></>;
  return (
    <button class="tree-toggle" aria-expanded={line.isOpen} onClick={() => toggle(line.path)}>
      <span class="tree-arrow" aria-hidden="true">{line.isOpen ? '▾' : '▸'}</span>
      {key}
      <span class="tree-note">{line.kind === 'array' ? `[ ${line.text} ]` : `{ ${line.text} }`}</span>
    </button>
  );
}
