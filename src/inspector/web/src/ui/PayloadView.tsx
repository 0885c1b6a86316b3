import { useEffect, useMemo, useState } from 'preact/hooks';
import { copy } from '../actions';
import type { Payload } from '../api';
import { bytes } from '../format';
import { bytesOf, decompress, hexDump, isMasked } from '../payload';
import { isRevealed } from '../store';
import { parse } from '../tree';
import { Tree } from './Tree';

/** The longest text that is shown at once, in characters. */
const MAX_TEXT = 200_000;

/** A body, document, or payload of a frame: hidden until revealed, then as a tree and as raw text. */
export function PayloadView({ payload, label, isCompact = false }: { payload: Payload; label: string; isCompact?: boolean }) {
  const [isRaw, setRaw] = useState(false);
  const [decoded, setDecoded] = useState<string | undefined>(undefined);
  useEffect(() => {
    let isCurrent = true;
    setDecoded(undefined);
    void decompress(payload).then((text) => { if (isCurrent) setDecoded(text); });
    return () => { isCurrent = false; };
  }, [payload.base64, payload.content_encoding]);
  const text = payload.text ?? decoded;
  const json = useMemo(() => (text === undefined ? undefined : parse(text)), [text]);

  if (payload.size === 0) return <p class="quiet">Empty</p>;
  if (isMasked(payload)) {
    return (
      <p class="masked">
        <span aria-hidden="true" class="masked-dots">••••••</span> {bytes(payload.size)}, hidden{' '}
        <button class="link" onClick={() => { isRevealed.value = true; }}>Reveal bodies</button>
      </p>
    );
  }
  const notes = [
    bytes(payload.size),
    payload.content_type,
    payload.content_encoding && (decoded === undefined ? payload.content_encoding : `decompressed from ${payload.content_encoding}`),
    payload.is_truncated && 'only the first part was recorded',
  ].filter(Boolean);
  const isTree = json !== undefined && json !== null && typeof json === 'object';
  return (
    <div class="payload">
      <div class="payload-bar">
        {isTree && (
          <span class="segments" role="group" aria-label={`View of ${label}`}>
            <button aria-pressed={!isRaw} onClick={() => setRaw(false)}>Tree</button>
            <button aria-pressed={isRaw} onClick={() => setRaw(true)}>Raw</button>
          </span>
        )}
        {!isCompact && <span class="quiet">{notes.join(' · ')}</span>}
        {text !== undefined && <button class="link" onClick={() => void copy(text)}>Copy</button>}
      </div>
      {isTree && !isRaw
        ? <Tree value={json} label={label} />
        : <pre class="code" tabIndex={0} aria-label={label}>{text === undefined ? hexDump(bytesOf(payload.base64 ?? '')) : cut(text)}</pre>}
    </div>
  );
}

const cut = (text: string) => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}\n… ${text.length - MAX_TEXT} more characters: use Copy` : text);
