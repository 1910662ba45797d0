// Starts workers that echo, and ends each of them in the middle of it.
import { Worker } from 'node:worker_threads';

const [policy, count, how, name = 'echo-worker.mjs'] = process.argv.slice(2);
const program = new URL(name, import.meta.url);
let ended = 0;

async function one() {
  const exitAt = how === 'exit' ? 4 : -1;
  const worker = new Worker(program, { workerData: { policy, exitAt } });
  const exited = new Promise((resolve) => worker.once('exit', resolve));
  await new Promise((resolve, reject) => {
    let busy = 0;
    worker.on('message', () => {
      busy += 1;
      if (busy === 2) resolve();
    });
    worker.once('error', reject);
    worker.once('exit', resolve);
  });
  if (how === 'terminate') await worker.terminate();
  await exited;
  ended += 1;
}

for (let started = 0; started < Number(count); started += 4) {
  await Promise.all([one(), one(), one(), one()]);
}
console.log(`ended ${ended}`);
