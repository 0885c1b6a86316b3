// All known ways in which a page whose origin is not allowed can make a browser send a request to
// countersign. Each vector has its own path, and goes through a relay that records the request as the
// browser sent it, and the response. Every response must have a status of at least 400, and no request
// may reach the emulator.

import { EventEmitter, once } from 'node:events';
import { createServer, request as connect } from 'node:http';
import net from 'node:net';
import { assert, check, within } from './check.mjs';

const AT_A_TIME = 8;
const SENT_MS = 30_000;
// If the browser sends nothing, no event can be awaited.
const UNSENT_MS = 1_500;

/**
 * name: function from a URL to the page's action. It runs in the browser, with `add` (adds an element that
 * loads something) and `pages` (the foreign server, whose /found, /redirect, /refresh and /certified lead to a URL).
 */
const ACTS = {
  'speculation rules: prefetch': (url) => rules({ prefetch: [{ source: 'list', urls: [url], eagerness: 'immediate' }] }),
  'speculation rules: prefetch, eager': (url) => rules({ prefetch: [{ source: 'list', urls: [url], eagerness: 'eager' }] }),
  'speculation rules: prefetch without a referrer': (url) => rules({ prefetch: [{ source: 'list', urls: [url], eagerness: 'immediate', referrer_policy: 'no-referrer' }] }),
  'speculation rules: prerender': (url) => rules({ prerender: [{ source: 'list', urls: [url], eagerness: 'immediate' }] }),
  'speculation rules: prerender without a referrer': (url) => rules({ prerender: [{ source: 'list', urls: [url], eagerness: 'immediate', referrer_policy: 'no-referrer' }] }),
  'speculation rules: prefetch of a redirect': (url, pages) => rules({ prefetch: [{ source: 'list', urls: [`${pages}/found?${encodeURIComponent(url)}`], eagerness: 'immediate' }] }),
  'speculation rules by header': (url, pages) => { location.href = `${pages}/speculates?${encodeURIComponent(url)}`; },
  'link prefetch': (url) => add('link', { rel: 'prefetch', href: url }),
  'link prefetch without a referrer': (url) => add('link', { rel: 'prefetch', href: url, referrerPolicy: 'no-referrer' }),
  'link prefetch as a document': (url) => add('link', { rel: 'prefetch', href: url, as: 'document' }),
  'link prerender': (url) => add('link', { rel: 'prerender', href: url }),
  'link preload of an image': (url) => add('link', { rel: 'preload', href: url, as: 'image' }),
  'link preload of a fetch': (url) => add('link', { rel: 'preload', href: url, as: 'fetch', crossOrigin: '' }),
  'link modulepreload': (url) => add('link', { rel: 'modulepreload', href: url }),
  'link icon': (url) => add('link', { rel: 'icon', href: url }),
  'link search': (url) => add('link', { rel: 'search', type: 'application/opensearchdescription+xml', href: url }),
  'link manifest': (url) => add('link', { rel: 'manifest', href: url }),
  'link manifest with credentials': (url) => add('link', { rel: 'manifest', href: url, crossOrigin: 'use-credentials' }),
  'link compression dictionary': (url) => add('link', { rel: 'compression-dictionary', href: url }),
  'style sheet': (url) => add('link', { rel: 'stylesheet', href: url }),
  'style import': (url) => add('style', { textContent: `@import url(${JSON.stringify(url)});` }),
  'style background': (url) => add('div', { style: `background: url(${JSON.stringify(url)}); width: 9px; height: 9px` }),
  'font': (url) => {
    add('style', { textContent: `@font-face { font-family: f; src: url(${JSON.stringify(url)}); } p { font-family: f; }` });
    add('p', { textContent: 'text' });
  },
  'image': (url) => add('img', { src: url }),
  'image without a referrer': (url) => add('img', { src: url, referrerPolicy: 'no-referrer' }),
  'image with CORS': (url) => add('img', { src: url, crossOrigin: '' }),
  'image by a redirect': (url, pages) => add('img', { src: `${pages}/found?${encodeURIComponent(url)}` }),
  'image button': (url) => add('input', { type: 'image', src: url }),
  'SVG image': (url) => { document.body.innerHTML += `<svg><image href="${url}"/></svg>`; },
  'video': (url) => add('video', { src: url, autoplay: true }),
  'video poster': (url) => add('video', { poster: url }),
  'audio': (url) => add('audio', { src: url, preload: 'auto' }),
  'script': (url) => add('script', { src: url }),
  'module script': (url) => add('script', { src: url, type: 'module' }),
  'import of JSON': (url) => add('script', { type: 'module', textContent: `import x from ${JSON.stringify(url)} with { type: 'json' };` }),
  'dynamic import': (url) => { import(url).catch(() => {}); },
  'frame': (url) => add('iframe', { src: url }),
  'frame without a referrer': (url) => add('iframe', { src: url, referrerPolicy: 'no-referrer' }),
  'sandboxed frame': (url) => add('iframe', { sandbox: 'allow-scripts', src: url }),
  'frame by a redirect': (url, pages) => add('iframe', { src: `${pages}/found?${encodeURIComponent(url)}` }),
  'object': (url) => add('object', { data: url }),
  'object of HTML': (url) => add('object', { data: url, type: 'text/html' }),
  'embed': (url) => add('embed', { src: url }),
  'fetch': (url) => { fetch(url).catch(() => {}); },
  'fetch, no-cors': (url) => { fetch(url, { mode: 'no-cors' }).catch(() => {}); },
  'fetch, no-cors, without a referrer': (url) => { fetch(url, { mode: 'no-cors', referrerPolicy: 'no-referrer' }).catch(() => {}); },
  'fetch, no-cors, by a redirect': (url, pages) => { fetch(`${pages}/found?${encodeURIComponent(url)}`, { mode: 'no-cors' }).catch(() => {}); },
  'fetch, no-cors, keepalive': (url) => { fetch(url, { mode: 'no-cors', keepalive: true }).catch(() => {}); },
  'fetch, no-cors, of this machine': (url) => { fetch(url, { mode: 'no-cors', targetAddressSpace: 'loopback' }).catch(() => {}); },
  'XMLHttpRequest': (url) => { const xhr = new XMLHttpRequest(); xhr.open('GET', url); xhr.send(); },
  'beacon': (url) => { navigator.sendBeacon(url, 'x'); },
  'EventSource': (url) => { new EventSource(url); },
  'EventSource with credentials': (url) => { new EventSource(url, { withCredentials: true }); },
  'WebSocket': (url) => { new WebSocket(url.replace('http', 'ws')); },
  'importScripts': (url) => worker(`importScripts(${JSON.stringify(url)})`),
  'fetch of a worker': (url) => worker(`fetch(${JSON.stringify(url)}, { mode: 'no-cors' })`),
  'fetch of a sandboxed frame': (url) => add('iframe', { sandbox: 'allow-scripts', srcdoc: `<script>fetch(${JSON.stringify(url)}, { mode: 'no-cors' })</script>` }),
  'form': (url) => form(url, 'get'),
  'form, POST': (url) => form(url, 'post'),
  'form into a frame': (url) => { add('iframe', { name: 'f' }); form(url, 'get', 'f'); },
  'navigation': (url) => { location.href = url; },
  'navigation without a referrer': (url) => { document.head.innerHTML += '<meta name="referrer" content="no-referrer">'; location.href = url; },
  'navigation by a redirect': (url, pages) => { location.href = `${pages}/found?${encodeURIComponent(url)}`; },
  'navigation by two redirects': (url, pages) => { location.href = `${pages}/redirect?${encodeURIComponent(`${pages}/found?${encodeURIComponent(url)}`)}`; },
  'meta refresh': (url) => { document.head.innerHTML += `<meta http-equiv="refresh" content="0;url=${url}">`; },
  'meta refresh without a referrer': (url) => {
    document.head.innerHTML += `<meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0;url=${url}">`;
  },
  'refresh by header': (url, pages) => { location.href = `${pages}/refresh?${encodeURIComponent(url)}`; },
  'window': (url) => { open(url); },
  'window without an opener': (url) => { open(url, '_blank', 'noopener,noreferrer'); },
  'navigation by a link': (url) => add('a', { href: url }).click(),
  'link without a referrer': (url) => add('a', { href: url, rel: 'noreferrer', target: '_blank' }).click(),
  'link to download': (url) => add('a', { href: url, download: 'x' }).click(),
  'link with a ping': (url) => add('a', { href: '#x', ping: url }).click(),
  'issuer of a certificate': (url, pages) => add('img', { src: `${pages}/certified?${encodeURIComponent(url)}` }),
  'report of a policy': (url, pages) => { location.href = `${pages}/reports?${encodeURIComponent(url)}`; },
};

/** A link in another program: the browser loads the URL itself, without a page. */
const LOADS = {
  'opened from another program': (url) => url,
  'opened from another program, by a redirect': (url, pages) => `${pages}/found?${encodeURIComponent(url)}`,
  'opened from another program, by two redirects': (url, pages) => `${pages}/redirect?${encodeURIComponent(`${pages}/found?${encodeURIComponent(url)}`)}`,
  'opened from another program, by a refresh': (url, pages) => `${pages}/refresh?${encodeURIComponent(url)}`,
};

/** Name prefixes of the vectors that need a separate page, because they navigate away or change it. */
const LEAVES = ['speculation rules by header', 'form', 'navigation', 'meta refresh', 'refresh', 'link to download', 'report'];

/** Vectors that current browsers ignore, or send only together with others. */
const UNSENT = ['link prerender', 'link compression dictionary', 'link search', 'link manifest', 'link manifest with credentials', 'link icon'];

const helpers = () => {
  globalThis.add = (name, properties) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key in element && !['sandbox', 'style'].includes(key)) element[key] = value;
      else element.setAttribute(key, value);
    }
    document.body.append(element);
    return element;
  };
  globalThis.rules = (json) => { add('script', { type: 'speculationrules', textContent: JSON.stringify(json) }); };
  globalThis.worker = (script) => { globalThis.kept = new Worker(URL.createObjectURL(new Blob([script], { type: 'text/javascript' }))); };
  globalThis.form = (action, method, target = '') => {
    const element = add('form', { action, method, target });
    const { searchParams } = new URL(action);
    // A form by GET replaces the query.
    for (const [name, value] of searchParams) element.append(Object.assign(document.createElement('input'), { name, value }));
    element.submit();
  };
};

/** Runs all vectors against countersign at `host`. */
export async function vectors({ context, isPublic, host, foreignPort, evil, totals, none }) {
  const relay = await start(host);
  const sites = [`http://127.0.0.1:${foreignPort}`, `http://${evil}:${foreignPort}`];
  const names = [`localhost:${relay.port}`, `127.0.0.1:${relay.port}`, `[::ffff:127.0.0.1]:${relay.port}`];
  const table = [];
  const before = await totals();
  for (const pages of sites) {
    for (const name of names) {
      const rows = [...Object.keys(ACTS), ...Object.keys(LOADS)].map((vector) => {
        const id = `${table.length}-${name}-${vector}`.replace(/[^\w]+/g, '-');
        const row = { pages, name, vector, id, url: `http://${name}/http/orders?v=${id}` };
        table.push(row);
        return row;
      });
      const leaves = ({ vector }) => LEAVES.some((start) => vector.startsWith(start));
      // Browsers prefetch nothing for a page in the background, so run one page at a time.
      const inAdvance = rows.filter(({ vector }) => vector.startsWith('speculation rules'));
      for (const part of [inAdvance.filter((row) => !leaves(row)), inAdvance.filter(leaves)]) {
        await visit(context, pages, part, relay, isPublic);
      }
      const others = rows.filter((row) => !inAdvance.includes(row));
      const together = others.filter((row) => row.vector in ACTS && !leaves(row));
      const waiting = [together, ...others.filter((row) => !together.includes(row)).map((row) => [row])];
      await Promise.all(Array.from({ length: AT_A_TIME }, async () => {
        while (waiting.length > 0) await visit(context, pages, waiting.shift(), relay, isPublic);
      }));
    }
  }
  const after = await totals();
  for (const row of table) row.answers = relay.all(row.id);
  console.log('| page | countersign as | vector | sent | answered |\n|---|---|---|---|---|');
  for (const { pages, name, vector, answers } of table) {
    const sent = answers.map(({ marks }) => marks).join('; ');
    console.log(`| ${pages} | ${name} | ${vector} | ${sent} | ${answers.map(({ status, code }) => `${status} ${code}`).join('; ')} |`);
  }
  for (const row of table) {
    const { pages, name, vector, answers } = row;
    await check(`${pages} to ${name}: ${vector}`, async () => {
      for (const { status, code } of answers) {
        assert.ok(status >= 400 && code !== '', `answered ${status} ${code}`);
      }
      if (!isPublic && !mayBeUnsent(row)) {
        assert.ok(answers.length > 0, 'the browser sent nothing');
      }
    });
  }
  await check('at least the vectors that no permission stops were sent', async () => {
    const sent = new Set(table.filter(({ answers }) => answers.length > 0).map(({ vector }) => vector));
    for (const vector of ['speculation rules: prefetch', 'speculation rules: prefetch without a referrer', 'navigation',
      'window', 'form', ...Object.keys(LOADS)]) {
      assert.ok(sent.has(vector), vector);
    }
  });
  await check('the emulator saw nothing', async () => {
    const grown = Object.fromEntries(Object.keys(none).map((key) => [key, after[key] - before[key]]));
    assert.deepEqual(grown, none);
  });
  relay.close();
}

/** One page, and the responses to its vectors. */
async function visit(context, pages, rows, relay, isPublic) {
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const [{ vector, url }] = rows;
  if (vector in LOADS) {
    page.goto(LOADS[vector](url, pages)).catch(() => {});
  } else {
    await page.addInitScript(helpers);
    await page.goto(`${pages}/`);
    const acts = rows.map(({ vector, url }) => [`${ACTS[vector]}`, url]);
    // A page does not report that it has navigated away.
    await page.evaluate(([acts, pages]) => {
      for (const [act, url] of acts) eval(`(${act})`)(url, pages);
    }, [acts, pages]).catch(({ message }) => {
      if (!/closed|destroyed|navigat/i.test(message)) console.log(`# ${message}`);
    });
  }
  await Promise.all(rows.map((row) => {
    const isSent = !isPublic && !mayBeUnsent(row);
    return relay.answered(row.id, isSent ? SENT_MS : UNSENT_MS);
  }));
  page.close().catch(() => {});
}

/** Requests that the browser itself never sends. */
function mayBeUnsent({ vector, name }) {
  if (UNSENT.includes(vector)) return true;
  if (vector.startsWith('speculation rules')) {
    // Sent only to trustworthy addresses; "eager" waits for a pointer, and a redirect from plain HTTP fails.
    return name.startsWith('[') || vector.endsWith('eager') || vector.endsWith('of a redirect');
  }
  return false;
}

/** A relay to countersign that records each request with a `v` in its query, and its response. */
async function start(host) {
  const [hostname, port] = host.split(':');
  const noted = new Map();
  const changes = new EventEmitter().setMaxListeners(0);
  const note = (url, marks, status, code) => {
    const id = new URL(url, 'http://x').searchParams.get('v');
    if (id === null) return;
    noted.set(id, [...(noted.get(id) ?? []), { marks, status, code: code ?? '' }]);
    changes.emit(id);
  };
  const marksOf = (request) => {
    const of = (name) => request.headers[name] ?? '-';
    const site = ['site', 'mode', 'dest'].map((name) => of(`sec-fetch-${name}`)).join(' ');
    const purpose = request.headers['sec-purpose'];
    return `${request.method} ${site}, origin ${of('origin')}${purpose ? `, ${purpose}` : ''}${request.headers.referer ? ', referer' : ''}`;
  };
  const server = createServer((request, response) => {
    const { method, url: path, rawHeaders: headers } = request;
    const upstream = connect({ hostname, port, method, path, headers }, (answer) => {
      note(path, marksOf(request), answer.statusCode, answer.headers['x-countersign-error']);
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
    });
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
  });
  server.on('upgrade', (request, socket) => {
    const upstream = net.connect({ host: hostname, port: Number(port) });
    const lines = [`${request.method} ${request.url} HTTP/1.1`];
    for (let at = 0; at < request.rawHeaders.length; at += 2) lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
    upstream.write(`${lines.join('\r\n')}\r\n\r\n`);
    upstream.once('data', (data) => {
      const text = data.toString('latin1');
      const code = /^x-countersign-error: (.*)\r$/im.exec(text)?.[1];
      note(request.url, marksOf(request), Number(text.split(' ')[1]), code);
    });
    for (const [from, to] of [[socket, upstream], [upstream, socket]]) {
      from.on('error', () => to.destroy());
      from.pipe(to);
    }
  });
  server.listen(0, '127.0.0.1');
  await within(once(server, 'listening'), 5_000, 'a free port');
  return {
    port: server.address().port,
    all: (id) => noted.get(id) ?? [],
    /** Returns the responses to a vector: as soon as there is one, or after a timeout. */
    answered: async (id, ms) => {
      const come = noted.has(id) ? undefined : once(changes, id, { signal: AbortSignal.timeout(ms) });
      await come?.catch(() => {});
      return noted.get(id) ?? [];
    },
    close: () => { server.closeAllConnections(); server.close(); },
  };
}
