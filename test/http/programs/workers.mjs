/**
 * A program for workers.test.ts: serves with workers, as its argument says, and does what it is
 * told on stdin. Its text runs in the main thread and in each worker.
 */
import { createInterface } from 'node:readline';
import { isMainThread, threadId } from 'node:worker_threads';
import { moveOnAfter, native, pure, run, setLoopPolicy, sleep } from 'uvio';
import { Application, Response, runApp, workerMetrics } from 'uvio/http';

const { policy, fault, cancelMs, after, ...options } = JSON.parse(process.argv[2]);
setLoopPolicy(policy === 'native' ? native({ required: true }) : pure());

let handled = 0;
const counted = async (request, next) => {
  handled++;
  return next();
};
const app = new Application({ middlewares: [counted] });
app.get('/who', () => new Response(String(threadId)));
app.get('/slow/:ms', async (request) => {
  await sleep(Number(request.params.ms));
  return new Response('slept');
});
app.get('/spin/:ms', (request) => {
  const end = Date.now() + Number(request.params.ms);
  while (Date.now() < end);
  return new Response('span');
});
app.get('/exit', () => process.exit(5));
app.get('/throw', () => {
  setImmediate(() => {
    throw Object.assign(new Error('a bug in a worker'), { code: 'EBUG' });
  });
  return sleep(60_000);
});
app.get('/metrics', async () => Response.json(await workerMetrics({ timeoutMs: 300 })));
app.onStartup(async () => {
  if (fault === 'throw' || process.env.BROKEN === '1') throw new Error('no database');
  if (fault === 'exit') process.exit(3);
  if (fault === 'hang') {
    console.log('worker starts');
    await sleep(60_000);
  }
});
app.onCleanup(() => console.log(`worker ${threadId} handled ${handled}`));

const threads = [];
if (isMainThread) {
  process.on('worker', (worker) => threads.push(worker));
  process.stdin.unref();
  createInterface({ input: process.stdin }).on('line', async (line) => {
    const [verb, value] = line.split(' ');
    if (verb === 'break') process.env.BROKEN = value;
    if (verb === 'kill') threads.find((thread) => thread.threadId === Number(value)).terminate();
    if (verb === 'metrics') console.log(JSON.stringify(await workerMetrics({ timeoutMs: 300 })));
  });
}

const serving = () => runApp(app, { host: '127.0.0.1', ...options });
if (cancelMs !== undefined && isMainThread) await run(() => moveOnAfter(cancelMs, serving));
else await serving();
if (after === 'again') await serving();
if (after === 'hang' && !isMainThread) setInterval(() => {}, 1_000);
if (isMainThread) console.log('the end');
