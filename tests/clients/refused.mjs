// Sends a query that is signed by hand without the session token of temporary credentials, and saves what a
// developer has afterwards: the answer, the request, the canonical request and the string to sign.
//
// usage: node refused.mjs ADDRESS API_HOST REGION CA_FILE DIRECTORY
// Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

import crypto from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';

const [address, host, region, caFile, directory] = process.argv.slice(2);
const hash = (text) => crypto.createHash('sha256').update(text).digest('hex');
const hmac = (key, text) => crypto.createHmac('sha256', key).update(text).digest();

function sign(method, target, headers, body) {
  const amzDate = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '');
  const signed = { ...headers, host, 'x-amz-date': amzDate };
  const names = Object.keys(signed).sort();
  const lines = names.map((name) => `${name}:${signed[name]}\n`).join('');
  const canonicalRequest = [method, target, '', lines, names.join(';'), hash(body)].join('\n');
  const scope = `${amzDate.slice(0, 8)}/${region}/appsync/aws4_request`;
  const stringToSign = ['AWS4-HMAC-SHA256', amzDate, scope, hash(canonicalRequest)].join('\n');
  const key = scope.split('/').reduce(hmac, `AWS4${process.env.AWS_SECRET_ACCESS_KEY}`);
  const signature = hmac(key, stringToSign).toString('hex');
  const credential = `${process.env.AWS_ACCESS_KEY_ID}/${scope}`;
  signed.authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  return { signed, canonicalRequest, stringToSign };
}

const body = JSON.stringify({ query: '{ rooms { id } }' });
const { signed, canonicalRequest, stringToSign } = sign('POST', '/graphql', { 'content-type': 'application/json' }, body);
const [hostname, port] = address.split(':');
const request = https.request({
  hostname,
  port,
  path: '/graphql',
  method: 'POST',
  headers: signed,
  servername: host,
  ca: fs.readFileSync(caFile),
  timeout: 10_000,
});
request.end(body);
request.on('response', async (response) => {
  let text = '';
  for await (const piece of response) text += piece;
  const lines = (raw) => raw.map((value, at) => (at % 2 ? `${value}\n` : `${value}: `)).join('');
  const save = (name, content) => fs.writeFileSync(path.join(directory, `${name}.txt`), content);
  save('answer', `HTTP/1.1 ${response.statusCode} ${response.statusMessage}\n${lines(response.rawHeaders)}\n${text}`);
  save('request', `POST /graphql HTTP/1.1\n${lines(Object.entries(signed).flat())}\n${body}`);
  // As console.log prints them in an object.
  save('canonical', JSON.stringify(canonicalRequest));
  save('string', JSON.stringify(stringToSign));
});
