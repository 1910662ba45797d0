// A worker that echoes on a port of its own, and a client in it that keeps the server busy.
import { parentPort, workerData } from 'node:worker_threads';
import {
  getRunningLoop,
  native,
  openConnection,
  pure,
  run,
  startServer,
} from '../../../dist/index.js';

const policy = workerData.policy === 'native' ? native({ required: true }) : pure();

class Echo {
  connectionMade(transport) {
    this.transport = transport;
  }

  dataReceived(data) {
    this.transport.write(data);
  }
}

await run(
  async () => {
    const server = await getRunningLoop().createServer(() => new Echo(), { host: '127.0.0.1' });
    const streams = await startServer(async (connection) => {
      for await (const chunk of connection) await connection.write(chunk);
    });
    const client = async (port) => {
      const connection = await openConnection({ host: '127.0.0.1', port });
      for (let round = 0; ; round += 1) {
        await connection.write(Buffer.alloc(100_000, round));
        await connection.readExactly(100_000);
        if (round === 2) parentPort.postMessage('busy');
        if (workerData.exitAt === round) process.exit(3);
      }
    };
    await Promise.all([client(server.port), client(streams.port)]);
  },
  { policy },
);
