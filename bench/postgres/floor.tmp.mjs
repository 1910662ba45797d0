import { readFileSync } from 'node:fs';

const dir = process.env.PGDIR ?? 'postgres';
const { run, native, pure, setLoopPolicy } = await import('../../dist/index.js');
const { connect } = await import(`../../dist/${dir}/index.js`);
const cases = JSON.parse(readFileSync(new URL('./cases.json', import.meta.url)));
const [, , policy, list, conns = '10'] = process.argv;
setLoopPolicy(policy === 'native' ? native({ required: true }) : pure());
await run(async () => {
  const cs = await Promise.all(
    Array.from({ length: Number(conns) }, () =>
      connect({
        host: '127.0.0.1',
        port: 54872,
        user: 'postgres',
        database: 'postgres',
        tls: 'disable',
      }),
    ),
  );
  let reads = 0;
  for (const c of cs) {
    const w = c.session.wire;
    const o = w.dataReceived;
    w.dataReceived = function (b) {
      reads++;
      o.call(this, b);
    };
  }
  for (const name of list.split(',')) {
    const { sql, args } = cases[name];
    const modes = { fetch: (c) => c.fetch(sql, ...args) };
    if (args.length === 0) {
      const s2 = sql + ' WHERE $1::int IS NULL OR true';
      modes.tag =
        name === 'mixed' || name === 'text' || name === 'wide' || name === 'bytea'
          ? (c) => c.execute(s2, 1)
          : undefined;
    } else modes.tag = (c) => c.execute(sql, ...args);
    const best = {};
    const rd = {};
    for (let k = 0; k < 12; k++)
      for (const [m, f] of Object.entries(modes)) {
        if (!f) continue;
        let n = 0;
        const loop = async (c, end) => {
          while (performance.now() < end) {
            await f(c);
            n++;
          }
        };
        reads = 0;
        const b = process.cpuUsage();
        const end = performance.now() + 150;
        await Promise.all(cs.map((c) => loop(c, end)));
        const u = process.cpuUsage(b);
        const us = (u.user + u.system) / n;
        if (!(best[m] <= us)) {
          best[m] = us;
          rd[m] = reads / n;
        }
      }
    console.log(
      policy,
      name.padEnd(8),
      Object.entries(best)
        .map(([m, v]) => `${m} ${v.toFixed(1)} (${rd[m].toFixed(1)} reads)`)
        .join('  '),
    );
  }
  await Promise.all(cs.map((c) => c.close()));
});
