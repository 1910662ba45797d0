// CPU time of an HTTP/2 server per request: uvio beside node:http2, asked by node:http2 over TLS.
// node bench/micro/http2-server.mjs [--rounds 3] [--seconds 2] [--servers a,b]
//
// One client in this process: two connections, 32 streams under way on each. Servers follow one
// another, each in a process of its own. `node-stream` answers with the stream API of node:http2,
// `node-compat` with its request and response; `uvio-1.1` is HTTP/1.1 over TLS for comparison.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createSecureServer } from 'node:http2';
import { Agent, request } from 'node:https';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from '../lib/stats.mjs';

const text = 'Hello, World!';
const streams = 32;
const connections = 2;
const kinds = ['node-stream', 'node-compat', 'uvio-native', 'uvio-pure', 'uvio-1.1'];

const pem = (name) => readFileSync(new URL(`../../test/support/tls/${name}`, import.meta.url));

async function serveNode(kind) {
  const server = createSecureServer({ key: pem('server-key.pem'), cert: pem('server.pem') });
  const type = 'text/plain';
  if (kind === 'node-stream') {
    server.on('stream', (stream) => {
      stream.respond({ ':status': 200, 'content-type': type });
      stream.end(text);
    });
  } else {
    server.on('request', (_request, response) => {
      response.setHeader('content-type', type);
      response.end(text);
    });
  }
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

async function serveHere(kind) {
  process.on('message', () => process.send({ usage: process.cpuUsage() }));
  if (kind.startsWith('node')) {
    process.send({ port: await serveNode(kind) });
    return;
  }
  const { native, pure, run } = await import('uvio');
  const { Application, Response, serve } = await import('uvio/http');
  const policy = kind === 'uvio-pure' ? pure() : native({ required: true });
  await run(
    async () => {
      const app = new Application().get('/', () => new Response(text));
      const tls = { key: pem('server-key.pem'), cert: pem('server.pem') };
      const options = { host: '127.0.0.1', port: 0, tls, http2: kind !== 'uvio-1.1' };
      const server = await serve(app, options);
      process.send({ port: server.port });
      await server.waitClosed();
    },
    { policy },
  );
}

const trust = { ca: pem('ca.pem'), servername: 'server.test' };

function askH2(session) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': '/' });
    stream.on('error', reject);
    stream.on('data', () => {});
    stream.on('end', resolve);
  });
}

function askH1(agent, port) {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, agent, ...trust }, (answer) => {
      answer.on('end', resolve);
      answer.resume();
    });
    sent.on('error', reject);
    sent.end();
  });
}

async function load(kind, port, seconds) {
  let count = 0;
  const until = performance.now() + seconds * 1000;
  const loop = async (ask) => {
    while (performance.now() < until) {
      await ask();
      count++;
    }
  };
  const all = [];
  const closers = [];
  if (kind === 'uvio-1.1') {
    const agent = new Agent({ keepAlive: true, maxSockets: connections * streams });
    for (let i = 0; i < connections * streams; i++) all.push(loop(() => askH1(agent, port)));
    closers.push(() => agent.destroy());
  } else {
    for (let i = 0; i < connections; i++) {
      const session = connect(`https://127.0.0.1:${port}`, trust);
      for (let j = 0; j < streams; j++) all.push(loop(() => askH2(session)));
      closers.push(() => session.destroy());
    }
  }
  await Promise.all(all);
  for (const close of closers) close();
  return count;
}

async function measure(kind, seconds) {
  const child = fork(fileURLToPath(import.meta.url), ['--serve', kind]);
  const [{ port }] = await once(child, 'message');
  await load(kind, port, 1);
  const usage = async () => {
    child.send('usage');
    return (await once(child, 'message'))[0].usage;
  };
  const before = await usage();
  const requests = await load(kind, port, seconds);
  const after = await usage();
  child.kill();
  await once(child, 'exit');
  const micros = after.user + after.system - before.user - before.system;
  return { cpuMicros: micros / requests, perSecond: requests / seconds };
}

async function compare(options) {
  const servers = options.servers.split(',');
  const results = new Map(servers.map((kind) => [kind, []]));
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const kind of servers) {
      results.get(kind).push(await measure(kind, Number(options.seconds)));
    }
  }
  console.log(`${cpus()[0].model}, Node ${process.version}`);
  for (const [kind, rounds] of results) {
    const micros = median(rounds.map((one) => one.cpuMicros));
    const rate = median(rounds.map((one) => one.perSecond));
    console.log(`${kind.padEnd(12)} ${micros.toFixed(1).padStart(7)} us CPU ${rate.toFixed(0)}/s`);
  }
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    servers: { type: 'string', default: kinds.join(',') },
    serve: { type: 'string' },
  },
});
if (values.serve === undefined) await compare(values);
else await serveHere(values.serve);
