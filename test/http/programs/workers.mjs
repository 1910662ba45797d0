/**
 * A program for workers.test.ts: serves with workers, as its argument says, and does what it is
 * told on stdin. Its text runs in the main thread and in each worker.
 */
import { createInterface } from 'node:readline';
import { isMainThread, threadId } from 'node:worker_threads';

const { policy, fault, after, ...options } = JSON.parse(process.argv[2]);

// Before the package is loaded, which takes most of the time of a start.
if (!isMainThread) {
  if (fault === 'throw' || process.env.BROKEN === '1') throw new Error('no database');
  if (fault === 'exit') process.exit(3);
  if (fault === 'hang') {
    console.log('worker starts');
    await new Promise(() => setInterval(() => {}, 60_000));
  }
}

const { CancelScope, native, pure, run, setLoopPolicy, sleep } = await import('uvio');
const { Application, Response, runApp, workerMetrics } = await import('uvio/http');
setLoopPolicy(policy === 'native' ? native({ required: true }) : pure());

/** Requests to /slow. */
let handled = 0;
const app = new Application();
app.get('/who', () => new Response(String(threadId)));
app.get('/slow/:ms', async (request) => {
  const ms = Number(request.params.ms);
  handled++;
  if (ms > 1) console.log('slow');
  await sleep(ms);
  return new Response('slept');
});
app.get('/block', () => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});
app.get('/exit', () => process.exit(5));
app.get('/throw', () => {
  setImmediate(() => {
    throw Object.assign(new Error('a bug in a worker'), { code: 'EBUG' });
  });
  return sleep(60_000);
});
app.get('/metrics', async () => Response.json(await workerMetrics({ timeoutMs: 300 })));
app.onCleanup(() => console.log(`worker ${threadId} handled ${handled}`));

const scope = new CancelScope();
const threads = [];
const commands = {
  cancel: () => scope.cancel(),
  /** For threads that start after it. */
  break: (value) => {
    process.env.BROKEN = value;
  },
  kill: (id) => threads.find(({ threadId }) => threadId === Number(id)).terminate(),
  metrics: async () => console.log(JSON.stringify(await workerMetrics({ timeoutMs: 300 }))),
};
if (isMainThread) {
  process.on('worker', (worker) => threads.push(worker));
  process.stdin.unref?.();
  createInterface({ input: process.stdin }).on('line', (line) => {
    const [verb, value] = line.split(' ');
    commands[verb](value);
  });
}

const serving = () => runApp(app, options);
if (isMainThread) await run(() => scope.run(serving), { handleSignals: false });
else await serving();
if (!isMainThread && after === 'hang') setInterval(() => {}, 1_000);
if (!isMainThread && after === 'again') throw new Error('a bad end');
if (isMainThread && after === 'again') await serving();
if (isMainThread) console.log('the end');
