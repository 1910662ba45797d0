// Timers: callLater and cancel against setTimeout and clearTimeout. Columns: uvio, Node, ratio.
//
//   npm run build && node bench/micro/timers.mjs [--policy native] [--only fire] [--json FILE]
import { fileURLToPath } from 'node:url';
import { cpuNs, main } from './side-by-side.mjs';

const durations = Array.from({ length: 1000 }, (_, i) => 1 + ((i * 7919) % 1000));
const nothing = () => {};

async function makeLoop() {
  const { getLoopPolicy } = await import('../../dist/index.js');
  return getLoopPolicy().createLoop();
}

async function ourPairs(outstanding) {
  const loop = await makeLoop();
  const kept = [];
  for (let i = 0; i < outstanding; i++) {
    kept.push(loop.callLater(600_000 + durations[i % 1000] * 1000, nothing));
  }
  return await cpuNs((count) => {
    for (let i = 0; i < count; i++) loop.callLater(durations[i % 1000], nothing).cancel();
  }, 100_000);
}

async function nodePairs(outstanding) {
  const kept = [];
  for (let i = 0; i < outstanding; i++) {
    kept.push(setTimeout(nothing, 600_000 + durations[i % 1000] * 1000));
  }
  return await cpuNs((count) => {
    for (let i = 0; i < count; i++) clearTimeout(setTimeout(nothing, durations[i % 1000]));
  }, 100_000);
}

/** A thousand armed, then all cancelled, as requests with deadlines do. */
async function ourBatches() {
  const loop = await makeLoop();
  const handles = new Array(1000);
  return await cpuNs((count) => {
    for (let done = 0; done < count; done += 1000) {
      for (let i = 0; i < 1000; i++) handles[i] = loop.callLater(1000 + durations[i], nothing);
      for (const handle of handles) handle.cancel();
    }
  }, 100_000);
}

async function nodeBatches() {
  const handles = new Array(1000);
  return await cpuNs((count) => {
    for (let done = 0; done < count; done += 1000) {
      for (let i = 0; i < 1000; i++) handles[i] = setTimeout(nothing, 1000 + durations[i]);
      for (const handle of handles) clearTimeout(handle);
    }
  }, 100_000);
}

const due = 200_000;

/** Arms 200,000 for the next 20 ms, blocks until all are due, times the callbacks: ns for one. */
async function firing(arm) {
  let best = Infinity;
  for (let attempt = 0; attempt < 5; attempt++) {
    let left = due;
    let first = 0;
    await new Promise((resolve) => {
      const callback = () => {
        if (left === due) first = performance.now();
        if (--left === 0) resolve();
      };
      const start = performance.now();
      for (let i = 0; i < due; i++) arm(callback, 1 + (durations[i % 1000] % 20));
      while (performance.now() < start + 400);
    });
    best = Math.min(best, ((performance.now() - first) * 1e6) / due);
  }
  return best;
}

async function ourFiring() {
  const loop = await makeLoop();
  return await firing((callback, ms) => loop.callLater(ms, callback));
}

const million = 1_000_000;

function footprint() {
  for (let i = 0; i < 4; i++) globalThis.gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function bytesEach(arm) {
  const kept = new Array(million).fill(null);
  const before = footprint();
  for (let i = 0; i < million; i++) kept[i] = arm(600_000 + durations[i % 1000] * 1000);
  const bytes = (footprint() - before) / million;
  return kept.length === million ? bytes : 0;
}

async function ourBytes() {
  const loop = await makeLoop();
  return bytesEach((ms) => loop.callLater(ms, nothing));
}

/** Lateness in us of 500 timers that re-arm themselves while every turn works for 0.1 to 1 ms. */
async function lateness(arm, share) {
  const samples = [];
  let going = true;
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };
  const again = () => {
    const ms = 1 + Math.floor(random() * 50);
    const start = performance.now();
    arm(() => {
      samples.push((performance.now() - start - ms) * 1000);
      if (going) again();
    }, ms);
  };
  const work = () => {
    const end = performance.now() + 0.1 + random() * 0.9;
    while (performance.now() < end);
    if (going) setTimeout(work, 1);
  };
  for (let i = 0; i < 500; i++) again();
  work();
  await new Promise((resolve) => setTimeout(resolve, 3000));
  going = false;
  samples.sort((a, b) => a - b);
  return samples[Math.floor(share * (samples.length - 1))];
}

async function ourLateness(share) {
  const loop = await makeLoop();
  return await lateness((callback, ms) => loop.callLater(ms, callback), share);
}

const nodeTimer = (callback, ms) => setTimeout(callback, ms);

function pairs(outstanding) {
  return {
    unit: 'ns',
    ours: () => ourPairs(outstanding),
    node: () => nodePairs(outstanding),
  };
}

function late(share) {
  return {
    unit: 'us',
    ours: () => ourLateness(share),
    node: () => lateness(nodeTimer, share),
  };
}

await main(fileURLToPath(import.meta.url), {
  'arm + cancel, none outstanding': pairs(0),
  'arm + cancel, 10,000 outstanding': pairs(10_000),
  'arm + cancel, 1,000,000 outstanding': pairs(million),
  'arm 1,000, then cancel 1,000, each': { unit: 'ns', ours: ourBatches, node: nodeBatches },
  'fire one of 200,000 due': { unit: 'ns', ours: ourFiring, node: () => firing(nodeTimer) },
  'memory of one of 1,000,000': {
    unit: 'bytes',
    ours: ourBytes,
    node: () => Promise.resolve(bytesEach((ms) => setTimeout(nothing, ms))),
  },
  'lateness under load, first (negative: early)': late(0),
  'lateness under load, p50': late(0.5),
  'lateness under load, p99': late(0.99),
});
