const { run, native, setLoopPolicy } = await import('../../dist/index.js');
const { connect } = await import('../../dist/postgres/index.js');
setLoopPolicy(native({ required: true }));
const copySql = `SELECT i, 'text ' || i, i * 1.5::float8, now() FROM generate_series(1, 10000) i`;
const copied = Array.from({ length: 10_000 }, (_, i) => [i, `text ${i}`, i / 2, new Date(i * 1e6)]);
const one = 'SELECT $1::int4 AS a, $2::text AS b';
await run(async () => {
  const c = await connect({ host: '127.0.0.1', port: 54872, user: 'postgres', database: 'postgres', tls: 'disable' });
  await c.execute('CREATE TEMP TABLE bench_copy (a int, b text, c float8, d timestamptz); CREATE TEMP TABLE bench_many (a int, b text)');
  let reads = 0; { const w = c.session.wire; const o = w.dataReceived; w.dataReceived = function (b) { reads++; o.call(this, b); }; }
  const rows = copied.slice(0, 1000).map((r) => [r[0], r[1]]);
  const jobs = {
    out: () => c.copyFromQuery(copySql, [], { output: () => {} }),
    in: async () => { await c.copyRecordsToTable('bench_copy', { records: copied }); await c.execute('TRUNCATE bench_copy'); },
    many: () => c.executeMany('INSERT INTO bench_many VALUES ($1, $2)', rows),
    pipelined: () => Promise.all(Array.from({ length: 100 }, (_, i) => c.fetch(one, i, 'hello'))),
  };
  for (const [name, f] of Object.entries(jobs)) {
    if (process.argv[2] && !process.argv[2].split(',').includes(name)) continue;
    let best = Infinity, r = 0;
    for (let k = 0; k < 15; k++) { let n = 0; reads = 0; const b = process.cpuUsage(); const end = performance.now() + 200; while (performance.now() < end) { await f(); n++; } const u = process.cpuUsage(b); const us = (u.user + u.system) / n; if (us < best) { best = us; r = reads / n; } }
    console.log(name, best.toFixed(1), 'reads', r.toFixed(1));
  }
  await c.close();
});
