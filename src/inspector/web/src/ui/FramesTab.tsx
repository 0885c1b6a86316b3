import { useMemo, useState } from 'preact/hooks';
import type { EntryDetail, Frame } from '../api';
import { bytes, count, duration, since } from '../format';
import { align, latency, rowTime } from '../frames';
import { PayloadView } from './PayloadView';

/** The number of rows that are shown before older ones are asked for. */
const SHOWN = 300;

/** The frames of both sides of the bridge, next to each other in time. */
export function FramesTab({ detail }: { detail: EntryDetail }) {
  const { frames, first, next } = detail.frames;
  const rows = useMemo(() => align(frames), [frames]);
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
  const [shown, setShown] = useState(SHOWN);
  if (rows.length === 0) return <p class="quiet">No frames: this request was not on a socket or a stream.</p>;

  const toggle = (index: number) => {
    const changed = new Set(open);
    if (!changed.delete(index)) changed.add(index);
    setOpen(changed);
  };
  const visible = rows.slice(-shown);
  const cell = (frame: Frame | undefined) => <td>{frame && <FrameCell frame={frame} isOpen={open.has(frame.index)} toggle={toggle} />}</td>;
  return (
    <>
      <p class="quiet">
        {count(next, 'frame')} so far{first > 0 && `, of which the first ${first} are no longer recorded`}. A row joins what
        countersign received on one side with what it sent for it on the other.
      </p>
      {rows.length > shown && <button class="link" onClick={() => setShown(shown + 1000)}>Show older ({rows.length - shown})</button>}
      <table class="frames" aria-label="Frames of both sides">
        <thead><tr><th scope="col">Time</th><th scope="col">Client ⇄ countersign</th><th scope="col">countersign ⇄ AWS</th></tr></thead>
        <tbody>
          {visible.map((row) => {
            const between = latency(row);
            return (
              <tr key={(row.client ?? row.upstream)?.index}>
                <td class="frame-time">
                  {since(rowTime(row) - detail.summary.time)}
                  {between !== undefined && <span class="quiet" title="Time inside countersign">{duration(between)} inside</span>}
                </td>
                {cell(row.client)}
                {cell(row.upstream)}
              </tr>
            );
          })}
        </tbody>
      </table>
    </>
  );
}

function FrameCell({ frame, isOpen, toggle }: { frame: Frame; isOpen: boolean; toggle: (index: number) => void }) {
  // Requests flow to the right, answers to the left.
  const isRight = (frame.side === 'client') === (frame.direction === 'in');
  const peer = frame.side === 'client' ? 'the client' : 'AWS';
  const label = `${frame.direction === 'in' ? 'from' : 'to'} ${peer}`;
  return (
    <>
      <button class={`frame frame-${isRight ? 'right' : 'left'}`} aria-expanded={isOpen} onClick={() => toggle(frame.index)}>
        <span role="img" aria-label={label} class="frame-arrow">{isRight ? '→' : '←'}</span>
        <b>{frame.type}</b>
        <span class="quiet">{bytes(frame.payload.size)}</span>
      </button>
      {isOpen && <PayloadView payload={frame.payload} label={`${frame.type} ${label}`} isCompact />}
    </>
  );
}
