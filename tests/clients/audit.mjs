// Runs the audits of npm graphql-http through countersign and directly against the emulator.
//
// In the direct run Amplify's own signer signs each request, so every difference between the two runs
// is caused by countersign. Usage: node audit.mjs URL DIRECT_URL [--strict]

import { signRequest } from '@aws-amplify/core/internals/aws-client-utils';
import { serverAudits } from 'graphql-http';
import { assert, check, deadline, finish } from './check.mjs';

const [url, direct, mode] = process.argv.slice(2);
const isStrict = mode === '--strict';
if (!url || !direct) {
  console.error('usage: node audit.mjs URL DIRECT_URL [--strict]');
  process.exit(2);
}
deadline(90);

const credentials = {
  accessKeyId: process.env.AWS_ACCESS_KEY_ID,
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
  sessionToken: process.env.AWS_SESSION_TOKEN,
};

function signedFetch(target, { method = 'GET', headers = {}, body } = {}) {
  const request = { method, headers: { ...headers }, url: new URL(target), body };
  const signed = signRequest(request, { credentials, signingRegion: 'us-east-1', signingService: 'appsync' });
  return fetch(signed.url, { method, headers: signed.headers, body });
}

async function audit(at, fetchFn) {
  const found = { ok: [], notice: [], warn: [], error: [] };
  for (const { fn } of serverAudits({ url: at, fetchFn })) {
    const { status, id, name, reason } = await fn();
    found[status].push(id);
    if (status === 'error' || status === 'warn') console.log(`${status} ${id} ${name}: ${reason}`);
  }
  return found;
}

// AppSync answers request errors with 200 and `data: null`, regardless of the accepted type.
const CORRECTED = ['865D', '556A', 'D586', '51FE', '74FF', '5E5B', '86EE'];

const counts = (found) => Object.entries(found).map(([status, ids]) => `${ids.length} ${status}`).join(', ');
let through;
let straight;

await check('the audits run through countersign', async () => {
  through = await audit(url, fetch);
  console.log(`through countersign: ${counts(through)}`);
});

await check('the audits run straight at the emulator', async () => {
  straight = await audit(direct, signedFetch);
  console.log(`straight at the emulator: ${counts(straight)}`);
});

await check('no audit is an error', async () => {
  assert.deepEqual(through.error, []);
});

await check('no audit is skipped', async () => {
  const all = Object.values(through).flat();
  assert.equal(all.length, 61);
  assert.deepEqual(new Set(all), new Set(Object.values(straight).flat()));
});

await check('no warning is countersign\'s own', async () => {
  const own = through.warn.filter((id) => !straight.warn.includes(id) && !straight.error.includes(id));
  assert.deepEqual(own, []);
});

if (isStrict) {
  await check('a strict route gives no warning', async () => {
    assert.deepEqual(through.warn, []);
  });
} else {
  await check('the only remaining differences are those that a strict route corrects', async () => {
    assert.deepEqual(through.warn.filter((id) => !CORRECTED.includes(id)), []);
  });
}

finish();
