// curl: JSON, and server-sent events with -N, one process for each subscription.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { matrix, messages } from './cells.mjs';

await matrix({
  curl: ({ http }) => {
    const processes = new Set();
    const curl = (operation, ...options) => {
      const { name, query, variables } = operation;
      const body = JSON.stringify({ query, operationName: name, variables });
      const common = ['-sS', '--noproxy', '*', '-H', 'content-type: application/json', '-d', body, http];
      const child = spawn('curl', [...options, ...common], { stdio: ['ignore', 'pipe', 'inherit'] });
      processes.add(child);
      child.on('close', () => processes.delete(child));
      return child;
    };
    return {
      run: async (operation) => {
        const child = curl(operation, '-m', '10');
        let text = '';
        for await (const piece of child.stdout.setEncoding('utf8')) text += piece;
        return result(text);
      },
      subscribe: (operation, sink) => {
        const child = curl(operation, '-N', '-H', 'accept: text/event-stream');
        let event = {};
        createInterface({ input: child.stdout }).on('line', (line) => {
          const [, field, value] = /^(event|data): ?(.*)$/.exec(line) ?? [];
          if (field) event[field] = value;
          if (line !== '') return;
          if (event.event === 'next') sink.next(result(event.data));
          if (event.event === 'complete') sink.complete();
          event = {};
        });
        child.on('close', (code) => sink.error(new Error(`curl ended with ${code}`)));
        return () => child.kill();
      },
      close: () => {
        for (const child of processes) child.kill();
      },
    };
  },
});

function result(text) {
  const { data, errors } = JSON.parse(text);
  return { data, errors: messages(errors) };
}
