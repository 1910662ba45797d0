// What every peer in JavaScript does: one case, for a time, on one line of JSON.

/**
 * @param cases name -> async () => number of operations, or for `bytes`: (count) => starts sleepers
 * @param inside runs a function where the cases may run, as the system wants it
 */
export async function main(cases, inside) {
  const [name, seconds] = process.argv.slice(-2);
  const run = cases[name];
  if (run === undefined) process.stdout.write('{"missing":true}\n');
  else await inside(() => (name === 'bytes' ? measureBytes(run) : measure(run, Number(seconds))));
  process.exit(0);
}

async function measure(run, seconds) {
  const warmUntil = performance.now() + 400;
  while (performance.now() < warmUntil) await run();
  let operations = 0;
  const before = process.cpuUsage();
  const spentUs = () => {
    const { user, system } = process.cpuUsage(before);
    return user + system;
  };
  while (spentUs() < seconds * 1e6) operations += await run();
  process.stdout.write(`${JSON.stringify({ operations, cpuUs: spentUs() })}\n`);
}

const sleepers = 100_000;

/** Resident memory of a sleeping task, after a collection. */
async function measureBytes(start) {
  const settle = async () => {
    for (let i = 0; i < 5; i++) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return process.memoryUsage.rss();
  };
  await start(1000);
  const before = await settle();
  await start(sleepers);
  process.stdout.write(`${JSON.stringify({ bytes: ((await settle()) - before) / sleepers })}\n`);
}
