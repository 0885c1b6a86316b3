// Builds the pages into dist/: one gzip file for each file, and files.rs, which countersign includes.
// usage: node build.mjs [DIRECTORY]

import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const TYPES = { html: 'text/html', js: 'text/javascript', css: 'text/css', md: 'text/plain' };
const root = import.meta.dirname;
const target = process.argv[2] ?? join(root, 'dist');
const plain = join(root, 'node_modules/.inspector-build');

await build({ root, logLevel: 'warn', build: { outDir: plain, emptyOutDir: true } });
await rm(target, { recursive: true, force: true });
const files = (await readdir(plain, { recursive: true, withFileTypes: true }))
  .filter((file) => file.isFile())
  .map((file) => relative(plain, join(file.parentPath, file.name)))
  .sort();
let size = 0;
const lines = [];
for (const file of files) {
  const extension = file.split('.').pop();
  const type = TYPES[extension];
  if (!type) throw new Error(`${file}: no content type is known for it`);
  const compressed = gzipSync(await readFile(join(plain, file)), { level: 9 });
  // The system that compressed it: 255 is unknown, on every machine.
  compressed[9] = 255;
  size += compressed.length;
  await mkdir(dirname(join(target, file)), { recursive: true });
  await writeFile(join(target, `${file}.gz`), compressed);
  lines.push(`    ("${file}", "${type}; charset=utf-8", include_bytes!("${file}.gz")),`);
}
await writeFile(join(target, 'files.rs'), `// Written by build.mjs: the path, content type, and gzip form of each file.\n&[\n${lines.join('\n')}\n]\n`);
const LIMIT = 1_500_000;
if (size > LIMIT) throw new Error(`the pages have ${size} bytes, more than ${LIMIT}`);
console.log(`${files.length} files, ${size} bytes compressed`);
