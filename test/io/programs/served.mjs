/**
 * A program for run-server.test.ts: answers lines with workers, as its argument says. Its text runs
 * in the main thread and in each worker.
 */
import { createInterface } from 'node:readline';
import { isMainThread, threadId } from 'node:worker_threads';

const {
  getRunningLoop,
  native,
  pure,
  runServer,
  setLoopPolicy,
  sleep,
  startServer,
  workerMetrics,
} = await import('uvio');

const { policy, protocols = false, ...options } = JSON.parse(process.argv[2]);
setLoopPolicy(policy === 'native' ? native({ required: true }) : pure());

/** Lines that were answered. */
let handled = 0;

async function answer(line) {
  handled++;
  if (line === 'who') return `${threadId}\n`;
  if (line === 'exit') process.exit(5);
  if (line === 'metrics') return `${JSON.stringify(await workerMetrics())}\n`;
  console.log('slow');
  await sleep(Number(line));
  return 'slept\n';
}

async function converse(connection, signal) {
  try {
    for (;;) {
      const line = await connection.readLine({ signal });
      if (line === null) return;
      await connection.write(await answer(line));
    }
  } catch (error) {
    if (error !== signal.reason) throw error;
  }
}

class Answers {
  connectionMade(transport) {
    this.transport = transport;
  }
  async dataReceived(data) {
    this.transport.write(await answer(String(data).trim()));
  }
}

if (isMainThread) {
  createInterface({ input: process.stdin }).on('line', async (line) => {
    if (line === 'metrics') console.log(JSON.stringify(await workerMetrics({ timeoutMs: 300 })));
  });
  process.stdin.unref?.();
}

await runServer(
  (listen, stopping) =>
    protocols
      ? getRunningLoop().createServer(() => new Answers(), listen)
      : startServer((connection) => converse(connection, stopping), listen),
  options,
);
console.log(isMainThread ? 'the end' : `worker ${threadId} handled ${handled}`);
