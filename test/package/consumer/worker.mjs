// The package in a worker thread, which is stopped while it serves.
import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { native, run, startServer } from 'uvio';

async function serve() {
  const server = await startServer(() => {}, { host: '127.0.0.1' });
  parentPort.postMessage(server.port);
  await server.serveForever();
}

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url));
  const [port] = await once(worker, 'message');
  const code = await worker.terminate();
  console.log(JSON.stringify({ listened: port > 0, code }));
} else {
  await run(serve, { policy: native() });
}
