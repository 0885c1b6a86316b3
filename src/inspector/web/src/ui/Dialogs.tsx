import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Dialog, clear, copy, dialog, isUnsafe, replay, send, toast } from '../actions';
import { token } from '../store';

export function Dialogs() {
  const open = dialog.value;
  if (!open) return null;
  switch (open.kind) {
    case 'help': return <Help />;
    case 'clear': return <Question title="Clear the list?" text="This removes all finished entries. Live subscriptions stay." action="Clear" act={() => void clear()} />;
    case 'confirm': return (
      <Question
        title="Send it again?"
        text={`This is ${open.what}. AWS will execute it once more.`}
        action="Replay"
        act={() => void replay(open.id, true)}
      />
    );
    case 'edit': return <Edit open={open} />;
    case 'copy': return <CopyText text={open.text} />;
  }
}

const close = () => { dialog.value = undefined; };

function Modal({ title, isWide = false, children }: { title: string; isWide?: boolean; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const returnTo = document.activeElement;
    element.current?.showModal();
    return () => { if (returnTo instanceof HTMLElement) returnTo.focus(); };
  }, []);
  return (
    <dialog ref={element} class={isWide ? 'wide' : ''} aria-labelledby="dialog-title" onClose={close}>
      <h2 id="dialog-title">{title}</h2>
      {children}
    </dialog>
  );
}

function Question({ title, text, action, act }: { title: string; text: string; action: string; act: () => void }) {
  return (
    <Modal title={title}>
      <p>{text}</p>
      <p class="buttons">
        <button onClick={close}>Cancel</button>
        <button class="primary" autofocus onClick={() => { close(); act(); }}>{action}</button>
      </p>
    </Modal>
  );
}

const KEYS: [string, string][] = [
  ['j, ↓ / k, ↑', 'Next or previous entry'],
  ['Home / End', 'Newest or oldest entry'],
  ['Enter', 'Move into the details'],
  ['Esc', 'Close the details, or leave the search'],
  ['[ / ]', 'Previous or next tab of the details'],
  ['/', 'Search'],
  ['b', 'Reveal or hide bodies'],
  ['r', 'Replay'],
  ['e', 'Edit and resend'],
  ['c', 'Copy as curl'],
  ['p', 'Pause or resume recording'],
  ['x', 'Clear'],
  ['1 … 4', 'Traffic, subscriptions, realtime, status'],
  ['?', 'This help'],
];

function Help() {
  return (
    <Modal title="Keyboard and search" isWide>
      <table class="facts" aria-label="Keys"><tbody>
        {KEYS.map(([key, text]) => <tr key={key}><th scope="row"><kbd>{key}</kbd></th><td>{text}</td></tr>)}
      </tbody></table>
      <p>
        The search finds words in names, paths, headers, bodies and frames. Narrow it with <code>status:403</code>, <code>status:5xx</code>,{' '}
        <code>kind:mutation</code>, <code>route:graphql</code>, <code>name:rooms</code>, <code>client:127.0.0.1</code>, <code>code:denied</code>,{' '}
        <code>path:/orders</code>; a minus excludes: <code>-kind:query</code>.
      </p>
      <p>Bodies, variables and payloads are hidden until you reveal them. Credentials, tokens and signatures are never recorded.</p>
      <p class="buttons"><button class="primary" autofocus onClick={close}>Close</button></p>
    </Modal>
  );
}

function Edit({ open }: { open: Extract<Dialog, { kind: 'edit' }> }) {
  const { request, entryKind } = open;
  const [method, setMethod] = useState(request.method);
  const [path, setPath] = useState(request.path);
  const [headers, setHeaders] = useState(request.headers.map(({ name, value }) => `${name}: ${value}`).join('\n'));
  const [body, setBody] = useState(request.body ?? '');
  const [isConfirmed, setConfirmed] = useState(false);
  const [failure, setFailure] = useState('');
  const [isSending, setSending] = useState(false);
  const what = isUnsafe(entryKind === 'query' && /\bmutation\b/.test(body) ? 'mutation' : entryKind, method);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setSending(true);
    setFailure('');
    try {
      await send({ route: request.route, method, path, headers: parseHeaders(headers), ...(body === '' ? {} : { body }) }, open.id, isConfirmed);
    } catch (error) {
      setFailure(error instanceof Error ? error.message : String(error));
    }
    setSending(false);
  };
  return (
    <Modal title="Edit and resend" isWide>
      <form class="edit" onSubmit={(event) => void submit(event)}>
        <div class="edit-line">
          <label>Method <input value={method} onInput={(event) => setMethod(event.currentTarget.value.toUpperCase())} required pattern="[A-Z]+" size={8} /></label>
          <label class="grow">Path <input value={path} onInput={(event) => setPath(event.currentTarget.value)} required spellcheck={false} /></label>
        </div>
        <label>Headers <textarea rows={5} value={headers} onInput={(event) => setHeaders(event.currentTarget.value)} spellcheck={false} /></label>
        <label>Body <textarea rows={12} value={body} onInput={(event) => setBody(event.currentTarget.value)} spellcheck={false} /></label>
        <label>Token of countersign, if it requires one <input type="password" autocomplete="off" value={token.value} onInput={(event) => { token.value = event.currentTarget.value; }} /></label>
        {what !== undefined && (
          <label class="check"><input type="checkbox" checked={isConfirmed} onChange={(event) => setConfirmed(event.currentTarget.checked)} /> This is {what}: let AWS execute it</label>
        )}
        {failure && <p class="notice" role="alert">{failure}</p>}
        <p class="buttons">
          <button type="button" onClick={close}>Cancel</button>
          <button type="submit" class="primary" disabled={isSending || (what !== undefined && !isConfirmed)}>Send</button>
        </p>
      </form>
    </Modal>
  );
}

/** Parses lines of `name: value`. */
export function parseHeaders(text: string): { name: string; value: string }[] {
  return text.split('\n').flatMap((line) => {
    const colon = line.indexOf(':');
    return colon < 1 ? [] : [{ name: line.slice(0, colon).trim(), value: line.slice(colon + 1).trim() }];
  });
}

function CopyText({ text }: { text: string }) {
  return (
    <Modal title="Copy" isWide>
      <p>This browser does not allow the page to use the clipboard here. Copy the text yourself:</p>
      <textarea class="copy" readonly rows={10} value={text} aria-label="Text to copy" autofocus onFocus={(event) => event.currentTarget.select()} />
      <p class="buttons"><button onClick={() => void copy(text)}>Try again</button><button class="primary" onClick={close}>Close</button></p>
    </Modal>
  );
}

export function ToastView() {
  const current = toast.value;
  return (
    <div class="toasts" role="status" aria-live="polite">
      {current && <p class={current.isError ? 'toast toast-error' : 'toast'}>{current.text}</p>}
    </div>
  );
}
