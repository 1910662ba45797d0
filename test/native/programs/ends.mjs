// Ways in which a process with open connections ends.
import {
  getRunningLoop,
  native,
  openConnection,
  pure,
  run,
  startServer,
} from '../../../dist/index.js';

const [name, how] = process.argv.slice(2);
const policy = name === 'native' ? native({ required: true }) : pure();

class Echo {
  connectionMade(transport) {
    this.transport = transport;
  }

  dataReceived(data) {
    if (how === 'exit-in-callback') process.exit(7);
    this.transport.write(data);
  }
}

async function main() {
  const loop = getRunningLoop();
  const server = await loop.createServer(() => new Echo(), { host: '127.0.0.1' });
  const connection = await openConnection({ host: '127.0.0.1', port: server.port });
  await connection.write('hello');
  await connection.readExactly(5);
  if (how === 'throw-in-callback') {
    setImmediate(() => {
      throw new Error('on purpose');
    });
    await connection.read();
  }
  if (how === 'reject') Promise.reject(new Error('on purpose'));
  if (how === 'leave-open') return;
  if (how === 'uncaught-handled') {
    process.once('uncaughtException', () => console.log('handled'));
    queueMicrotask(() => {
      throw new Error('on purpose');
    });
    await connection.write('again!');
    await connection.readExactly(6);
  }
  await connection.close();
  server.close();
}

if (how === 'top-level') {
  // Without run(): the default loop; the process ends when the last handle is closed.
  const server = await startServer(async (connection) => {
    await connection.write('bye');
  });
  const connection = await openConnection({ port: server.port, host: '127.0.0.1' });
  console.log(String(await connection.readAll()));
  await connection.close();
  server.close();
} else {
  await run(main, { policy });
}
console.log('done');
