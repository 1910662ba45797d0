// The ready queue: callSoon against setImmediate and process.nextTick. Columns: uvio, Node, ratio.
//
//   npm run build && node bench/micro/call-soon.mjs [--policy native] [--json FILE]
import { fileURLToPath } from 'node:url';
import { cpuNs, main } from './side-by-side.mjs';

async function makeLoop() {
  const { getLoopPolicy } = await import('../../dist/index.js');
  return getLoopPolicy().createLoop();
}

/** Each callback queues the next: one a turn. */
function chain(soon) {
  return (count) =>
    new Promise((resolve) => {
      let left = count;
      const link = () => (--left === 0 ? resolve() : soon(link));
      soon(link);
    });
}

/** All queued at once: one turn. */
function batch(soon) {
  return (count) =>
    new Promise((resolve) => {
      let left = count;
      const callback = () => --left === 0 && resolve();
      for (let i = 0; i < count; i++) soon(callback);
    });
}

async function ours(shape, count) {
  const loop = await makeLoop();
  return await cpuNs(
    shape((callback) => loop.callSoon(callback)),
    count,
  );
}

async function node(shape, count) {
  return await cpuNs(
    shape((callback) => setImmediate(callback)),
    count,
  );
}

/** Extra turns of Node that a hog allows: how long setImmediate waits, in us. */
async function fairness(soon) {
  let going = true;
  const hog = () => going && soon(hog);
  hog();
  const turns = 20_000;
  const start = performance.now();
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
  going = false;
  return ((performance.now() - start) * 1000) / turns;
}

await main(fileURLToPath(import.meta.url), {
  'chain, each callback': {
    unit: 'ns',
    ours: () => ours(chain, 100_000),
    node: () => node(chain, 100_000),
  },
  'batches of 100, each callback': {
    unit: 'ns',
    ours: () => ours(batch, 100),
    node: () => node(batch, 100),
  },
  'batches of 10,000, each callback': {
    unit: 'ns',
    ours: () => ours(batch, 10_000),
    node: () => node(batch, 10_000),
  },
  'a turn of Node beside an endless chain': {
    unit: 'us',
    ours: async () => {
      const loop = await makeLoop();
      return await fairness((callback) => loop.callSoon(callback));
    },
    node: () => fairness((callback) => setImmediate(callback)),
  },
});
