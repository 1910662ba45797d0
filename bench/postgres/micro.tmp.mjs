import { readFileSync } from 'node:fs';

const dir = process.env.PGDIR ?? 'postgres';
const { makeShape } = await import(`../../dist/${dir}/rows.js`);
const { run } = await import('../../dist/index.js');
const { connect } = await import(`../../dist/${dir}/index.js`);
const cases = JSON.parse(readFileSync(new URL('./cases.json', import.meta.url)));
const only = process.argv[2]?.split(',');
await run(async () => {
  const c = await connect({
    host: '127.0.0.1',
    port: 54872,
    user: 'postgres',
    database: 'postgres',
    tls: 'disable',
  });
  for (const [name, { sql, args }] of Object.entries(cases)) {
    if (only && !only.includes(name)) continue;
    // capture raw
    const wire = c.session.wire;
    const orig = wire.dataReceived.bind(wire);
    const chunks = [];
    await c.fetch(sql, ...args);
    wire.dataReceived = (b) => {
      chunks.push(Buffer.from(b));
      orig(b);
    };
    const rows = await c.fetch(sql, ...args);
    delete wire.dataReceived;
    const all = Buffer.concat(chunks);
    // find the DataRows
    let at = 0;
    while (all[at] !== 0x44) at += 1 + all.readInt32BE(at + 1);
    const stmt = c.session.statements.get(sql);
    const { run: decode } = stmt.shape;
    const whole = Buffer.from(new Uint8Array(all));
    const own = Buffer.from(whole.buffer.slice(whole.byteOffset, whole.byteOffset + whole.length));
    const view = new DataView(own.buffer);
    let best = Infinity;
    for (let k = 0; k < 25; k++) {
      const n = Math.max(3, Math.floor(30000 / rows.length));
      const b = process.cpuUsage();
      for (let i = 0; i < n; i++) {
        const out = [];
        // as 32 KiB reads
        let p = at;
        for (let e = Math.min(at + 65536, own.length); ; e = Math.min(e + 65536, own.length)) {
          p = decode(own, view, p, e, out, 1e9);
          if (e === own.length) break;
        }
      }
      const u = process.cpuUsage(b);
      const us = (u.user + u.system) / n;
      if (us < best) best = us;
    }
    console.log(
      name.padEnd(8),
      `rows ${rows.length} bytes ${all.length}`,
      `${best.toFixed(1)} µs/query`,
      `${((best * 1000) / rows.length).toFixed(0)} ns/row`,
    );
  }
  await c.close();
});
