#!/usr/bin/env node
// Runs the program of this platform's package, which npm installs as an optional dependency.
'use strict';

const { spawn } = require('node:child_process');
const { constants } = require('node:os');

const platform = `${process.platform}-${process.arch}`;
let program;
try {
  const file = process.platform === 'win32' ? 'countersign.exe' : 'countersign';
  program = require.resolve(`@countersign/${platform}/bin/${file}`);
} catch {
  const known = Object.keys(require('../package.json').optionalDependencies).map((name) => name.split('/')[1]);
  console.error(
    known.includes(platform)
      ? `countersign: the package @countersign/${platform} is missing. Install without --omit=optional (--no-optional)`
      : `countersign: ${platform} has no package; the packages are ${known.join(', ')}`,
  );
  process.exit(1);
}

const child = spawn(program, process.argv.slice(2), { stdio: 'inherit' });
child.on('error', (error) => {
  console.error(`countersign: cannot run ${program}: ${error.message}`);
  process.exit(1);
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) {
  // A terminal sends Ctrl-C to both; a process supervisor signals only this process.
  process.on(signal, () => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
