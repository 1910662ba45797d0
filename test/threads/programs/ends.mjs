// Programs with threads and processes, and how they end. Arguments: policy, what to do.
import {
  defaultThreadLimiter,
  native,
  pure,
  run,
  setLoopPolicy,
  sleep,
  ThreadPool,
  toProcess,
  toThread,
} from '../../../dist/index.js';

const [policy, what] = process.argv.slice(2);
setLoopPolicy(policy === 'native' ? native({ required: true }) : pure());

const held = () => new Promise((resolve) => setTimeout(resolve, 50, 'late'));

function outOfMemory() {
  const kept = [];
  for (;;) kept.push(new Array(100_000).fill(kept.length));
}

const programs = {
  // Idle threads and an idle process, nothing closed.
  async idle() {
    const pool = new ThreadPool({ idleMs: 600_000 });
    console.log(await pool.submit((a) => a, ['pool']));
    console.log(await toThread((a) => a, 'default'), await toProcess((a) => a, 'process'));
  },
  // Nothing but the job keeps the program alive.
  async running() {
    toThread(held).then(console.log);
  },
  async processRunning() {
    toProcess(held).then(console.log);
  },
  async inRun() {
    await run(async () => {
      defaultThreadLimiter().totalTokens = 4;
      const jobs = Array.from({ length: 10 }, (_, i) => toThread((a) => a, i));
      console.log((await Promise.all(jobs)).join(), await toProcess(() => 1));
      toThread(held).then(console.log);
    });
    console.log('run ended');
  },
  async channel() {
    await run(async () => {
      const { getRunningLoop } = await import('../../../dist/index.js');
      const loop = getRunningLoop();
      loop.registerThreadsafe('name', console.log);
      loop.callSoonThreadsafe('name', 'called', loop.threadsafeChannel.startsWith('uvio-loop-'));
      await sleep(1);
    });
  },
  async closedAtOnce() {
    const pool = new ThreadPool();
    await pool.submit(() => {
      for (let i = 0; i < 200; i++) console.log(`line ${i} ${'x'.repeat(100)}`);
    }, []);
    await pool.close();
  },
  async outOfMemory() {
    await run(async () => {
      const error = await toThread(outOfMemory).catch((caught) => caught);
      console.log(error.name, error.cause.code);
      console.log(await toThread((a) => a, 'goes on'));
    });
  },
  async interrupted() {
    await run(async () => {
      setTimeout(() => process.kill(0, 'SIGINT'), 400);
      await toProcess(() => {
        for (;;);
      });
    });
  },
};

await programs[what]();
