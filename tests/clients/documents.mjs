// Prints the operations that graphql-js finds in documents. Input: a file with a JSON array of texts.
// Output: an array of `[kind, name]` lists, or null for a syntax error.

import { readFileSync } from 'node:fs';
import { parse } from 'graphql';

function operations(text) {
  let document;
  try {
    document = parse(text, { noLocation: true });
  } catch {
    return null;
  }
  return document.definitions
    .filter((definition) => definition.kind === 'OperationDefinition')
    .map((definition) => [definition.operation, definition.name?.value ?? null]);
}

const texts = JSON.parse(readFileSync(process.argv[2], 'utf8'));
process.stdout.write(JSON.stringify(texts.map(operations)));
