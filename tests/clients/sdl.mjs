// graphql-js as a witness of `countersign schema`.
//
//   node sdl.mjs introspect < schema.graphql   prints the response to an introspection of this schema
//   node sdl.mjs print < schema.json           prints the SDL of such a response, in its order
//   node sdl.mjs same JSON < schema.graphql    checks that this SDL and the response of this file are one schema

import { readFileSync } from 'node:fs';
import {
  GraphQLSchema, buildClientSchema, buildSchema, introspectionFromSchema, isIntrospectionType,
  isSpecifiedDirective, isSpecifiedScalarType, lexicographicSortSchema, printSchema, printType, validateSchema,
} from 'graphql';

const [, , task, file] = process.argv;
const input = readFileSync(0, 'utf8');
const all = {
  descriptions: true, specifiedByUrl: true, directiveIsRepeatable: true, schemaDescription: true,
  inputValueDeprecation: true, oneOf: true,
};

// printSchema has its own order of types. A schema with nothing but directives has no types to order.
function inOrder(response) {
  const schema = buildClientSchema(response.data);
  const order = response.data.__schema.types.map((type) => schema.getType(type.name));
  const own = order.filter((type) => !isSpecifiedScalarType(type) && !isIntrospectionType(type));
  const directives = schema.getDirectives().filter((directive) => !isSpecifiedDirective(directive));
  const whole = printSchema(schema);
  const types = own.map(printType);
  // What is before the first type: the definition of the schema, and the directives.
  const starts = types.map((type) => whole.indexOf(`\n\n${type}`)).filter((start) => start >= 0);
  const before = whole.startsWith(types.find((type) => whole.startsWith(type)) ?? '\0')
    ? [] : [whole.slice(0, Math.min(...starts))];
  if (before.length === 0 && directives.length > 0) throw new Error('the directives are not printed');
  return [...before, ...types].join('\n\n') + '\n';
}

if (task === 'introspect') {
  const data = introspectionFromSchema(buildSchema(input), all);
  process.stdout.write(JSON.stringify({ data }));
} else if (task === 'print') {
  process.stdout.write(inOrder(JSON.parse(input)));
} else {
  const ours = buildSchema(input);
  const problems = validateSchema(ours);
  if (problems.length > 0) throw problems[0];
  const theirs = buildClientSchema(JSON.parse(readFileSync(file, 'utf8')).data);
  if (!(theirs instanceof GraphQLSchema)) throw new Error('no schema');
  const sorted = [ours, theirs].map((schema) => printSchema(lexicographicSortSchema(schema)));
  if (sorted[0] !== sorted[1]) throw new Error(`they differ:\n${sorted[0]}\n---\n${sorted[1]}`);
  process.stdout.write('same');
}
