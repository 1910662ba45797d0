// A worker that echoes over TLS, and a client in it that keeps the server busy.
import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { native, openConnection, pure, run, startServer } from '../../../dist/index.js';

const policy = workerData.policy === 'native' ? native({ required: true }) : pure();
const pem = (name) => readFileSync(new URL(`../../support/tls/${name}`, import.meta.url));

await run(
  async () => {
    const tls = { key: pem('server-key.pem'), cert: pem('server.pem') };
    const echo = async (connection) => {
      for await (const chunk of connection) await connection.write(chunk);
    };
    const { port } = await startServer(echo, { host: '127.0.0.1', tls });
    const client = async () => {
      const trust = { ca: pem('ca.pem'), servername: 'server.test' };
      const connection = await openConnection({ host: '127.0.0.1', port, tls: trust });
      for (let round = 0; ; round += 1) {
        await connection.write(Buffer.alloc(100_000, round));
        await connection.readExactly(100_000);
        if (round === 2) parentPort.postMessage('busy');
        if (workerData.exitAt === round) process.exit(3);
      }
    };
    await Promise.all([client(), client()]);
  },
  { policy },
);
