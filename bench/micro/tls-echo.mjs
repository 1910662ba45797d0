// TLS echo of one server process: uvio beside node:tls, CPU time of the server per message.
// node bench/micro/tls-echo.mjs [--rounds 5] [--ms 1000] [--servers node,uvio-native,uvio-pure]
//
// The client is node:tls in the parent, the same for all servers: TLS_AES_256_GCM_SHA384, `count`
// connections with one message each under way. Servers follow one another, A B A B, each in a
// process of its own. Printed is the median, and how often node:tls needs what the server does.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const pem = (name) => readFileSync(new URL(`../../test/support/tls/${name}.pem`, import.meta.url));
const scenarios = [
  { name: '1 KiB', bytes: 1024, count: 16 },
  { name: '64 KiB', bytes: 65_536, count: 4 },
];

async function serve(kind) {
  const tls = { key: pem('server-key'), cert: pem('server') };
  if (kind === 'node') {
    const server = createServer(tls, (socket) => {
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('data', (chunk) => socket.write(chunk));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    process.send({ port: server.address().port });
    return;
  }
  const { native, pure, run, startServer } = await import('uvio');
  const policy = kind.startsWith('uvio-native') ? native({ required: true }) : pure();
  const handler = async (connection) => {
    for await (const chunk of connection) await connection.write(chunk);
  };
  await run(
    async () => {
      const server = await startServer(handler, { host: '127.0.0.1', tls });
      process.send({ port: server.port });
      await server.serveForever();
    },
    { policy },
  );
}

async function measure(kind, { bytes, count }, ms) {
  const child = fork(fileURLToPath(import.meta.url), ['--serve', kind]);
  const [{ port }] = await once(child, 'message');
  const message = Buffer.alloc(bytes, 'x');
  let done = 0;
  const sockets = [];
  for (let i = 0; i < count; i++) {
    const options = { port, host: '127.0.0.1', ca: pem('ca'), servername: 'localhost' };
    const socket = connect(options);
    let left = bytes;
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      left -= chunk.length;
      if (left > 0) return;
      left += bytes;
      done++;
      socket.write(message);
    });
    await once(socket, 'secureConnect');
    socket.setNoDelay(true);
    socket.write(message);
    sockets.push(socket);
  }
  const used = async () => {
    child.send('cpu');
    const [{ user, system }] = await once(child, 'message');
    return user + system;
  };
  const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
  await pause(300);
  const cpu = await used();
  const before = done;
  const start = performance.now();
  await pause(ms);
  const messages = done - before;
  const cpuMicros = (await used()) - cpu;
  const seconds = (performance.now() - start) / 1000;
  for (const socket of sockets) socket.destroy();
  child.kill();
  await once(child, 'exit');
  return { cpu: cpuMicros / messages, rate: messages / seconds };
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

async function main(options) {
  const kinds = options.servers.split(',');
  for (const scenario of scenarios) {
    const results = new Map(kinds.map((kind) => [kind, []]));
    for (let round = 0; round < Number(options.rounds); round++) {
      for (const kind of kinds) {
        results.get(kind).push(await measure(kind, scenario, Number(options.ms)));
      }
    }
    const reference = results.get(kinds[0]);
    for (const [kind, list] of results) {
      const cpu = median(list.map((one) => one.cpu));
      const rate = median(list.map((one) => one.rate));
      // Paired round by round.
      const gain = median(list.map((one, round) => reference[round].cpu / one.cpu));
      const figures = `${cpu.toFixed(1)} us/msg  ${gain.toFixed(2)}x  ${rate.toFixed(0)} msg/s`;
      console.log(`${scenario.name.padEnd(8)} ${kind.padEnd(14)} ${figures}`);
    }
  }
}

const { values } = parseArgs({
  options: {
    serve: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    ms: { type: 'string', default: '1000' },
    servers: { type: 'string', default: 'node,uvio-native,uvio-pure' },
  },
});
if (values.serve === undefined) {
  await main(values);
} else {
  process.on('message', () => process.send(process.cpuUsage()));
  process.on('disconnect', () => process.exit());
  await serve(values.serve);
}
