// I/O beside a task that never rests: round trips of one connection, undisturbed and beside a hog.
// node bench/micro/fairness.mjs [--policy native] [--rounds 5]
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ensureBuilt, loadBinary } from '../build.mjs';

const hogs = {
  none: () => {},
  'one task': ({ createTask, sleep }) => createTask(() => yieldFor(sleep)),
  '100 tasks': ({ createTask, sleep }) => {
    for (let i = 0; i < 100; i++) createTask(() => yieldFor(sleep));
  },
};

async function yieldFor(sleep) {
  for (;;) await sleep(0);
}

async function serve(hog, policyName) {
  const uvio = await import('../../dist/index.js');
  const policy = policyName === 'native' ? uvio.native({ required: true }) : uvio.pure();
  await uvio.run(
    async () => {
      const server = await uvio.startServer(async (connection) => {
        for await (const chunk of connection) await connection.write(chunk);
      });
      process.stdout.write(`${server.port}\n`);
      hogs[hog](uvio);
      await server.serveForever();
    },
    { policy, handleSignals: false },
  );
}

async function measure(hog, policy) {
  const script = fileURLToPath(import.meta.url);
  const args = ['-c', '0', process.execPath, script, '--serve', hog, '--policy', policy];
  const server = spawn('taskset', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(server.stdout, 'data');
  const words = ['--connections', '1', '--size', '64', '--seconds', '1.5'];
  const load = ['-c', '1', loadBinary, '--port', String(line).trim(), ...words];
  const { stdout } = spawnSync('taskset', load, { encoding: 'utf8' });
  server.kill();
  await once(server, 'exit');
  return JSON.parse(stdout).latencyUs;
}

const { values } = parseArgs({
  options: {
    serve: { type: 'string' },
    policy: { type: 'string', default: 'native' },
    rounds: { type: 'string', default: '5' },
  },
});
if (values.serve !== undefined) {
  await serve(values.serve, values.policy);
} else {
  ensureBuilt();
  const middle = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
  const all = Object.fromEntries(Object.keys(hogs).map((name) => [name, []]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const name of Object.keys(hogs)) all[name].push(await measure(name, values.policy));
  }
  for (const [name, rounds] of Object.entries(all)) {
    const p50 = middle(rounds.map((one) => one.p50));
    const p99 = middle(rounds.map((one) => one.p99));
    console.log(`${values.policy}, hog ${name}: p50 ${p50} us, p99 ${p99} us`);
  }
}
