// Takes the place of AWS's endpoints: forwards port 443 of this container, whose names on the network are
// those of the API, to the emulator, which listens on the loopback of this network namespace.

import net from 'node:net';

const [from, to] = process.argv.slice(2).map(Number);
net
  .createServer((inside) => {
    const outside = net.connect(to, '127.0.0.1');
    for (const [one, other] of [[inside, outside], [outside, inside]]) {
      one.on('error', () => other.destroy());
      one.pipe(other);
    }
  })
  .listen(from, () => console.log('forwarding'));
