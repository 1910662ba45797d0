// HTTP clients side by side: GET of 1 KiB over 50 kept connections, CPU time of the client.
// node bench/http-client.mjs [--peers a,b] [--rounds 5] [--ms 1500] [--name http-client]
//
// The server is a process of its own that sends one prepared response for each request, so that it
// is never what is measured. The peer 'aiohttp' needs Debian's python3-aiohttp and python3-uvloop.
// Clients follow one another in fresh processes on another core.
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chooseCores, facts, takeTurn, warnWhenBusy } from './lib/machine.mjs';
import { makeProgress, printTable, ratioText, save, short } from './lib/report.mjs';
import { pairedRatio, summarize } from './lib/stats.mjs';

const script = fileURLToPath(import.meta.url);
const python = fileURLToPath(new URL('http/aiohttp_client.py', import.meta.url));
const connections = 50;
const body = 'x'.repeat(1024);

function serve() {
  const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: Wed, 01 Jan 2025 00:00:00 GMT';
  const response = Buffer.from(`${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => {});
    // Requests come whole: one is under way on each connection.
    socket.on('data', () => socket.write(response));
  });
  server.listen(0, '127.0.0.1', () => process.send(server.address().port));
}

/** Each gives a function that makes one request and reads its body. */
const clients = {
  async undici(url) {
    const { Agent, request } = await import('undici');
    const dispatcher = new Agent({ connections, pipelining: 1 });
    return async () => (await (await request(url, { dispatcher })).body.text()).length;
  },
  async 'undici-fetch'(url) {
    const { Agent, fetch } = await import('undici');
    const dispatcher = new Agent({ connections, pipelining: 1 });
    return async () => (await (await fetch(url, { dispatcher })).text()).length;
  },
  async 'node-http'(url) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
    return () =>
      new Promise((resolve, reject) => {
        const request = http.get(url, { agent }, (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk) => {
            text += chunk;
          });
          response.on('end', () => resolve(text.length));
        });
        request.on('error', reject);
      });
  },
  async uvio(url) {
    const { ClientSession } = await import('uvio/http');
    const session = new ClientSession({ connector: { limit: connections } });
    return async () => (await session.get(url).text()).length;
  },
  /** The floor: the same bytes, one promise, and no more of HTTP than where a response ends. */
  async 'uvio-raw'(url) {
    const { getRunningLoop } = await import('uvio');
    const { hostname, port } = new URL(url);
    const request = `GET / HTTP/1.1\r\nhost: ${hostname}:${port}\r\naccept: */*\r\n\r\n`;
    const idle = [];
    class Raw {
      connectionMade(transport) {
        this.transport = transport;
      }
      get() {
        this.transport.write(request);
        return new Promise((resolve) => {
          this.resolve = resolve;
        });
      }
      dataReceived(chunk) {
        const length = chunk.length - chunk.indexOf('\r\n\r\n') - 4;
        if (length !== body.length) throw new Error('A response came in pieces');
        idle.push(this);
        this.resolve(chunk.toString('latin1', chunk.length - length).length);
      }
    }
    const open = async () => {
      const raw = new Raw();
      await getRunningLoop().createConnection(() => raw, { host: hostname, port: Number(port) });
      return raw;
    };
    return async () => (idle.pop() ?? (await open())).get();
  },
};

async function work(get, ms) {
  let done = 0;
  let going = true;
  const one = async () => {
    while (going) {
      if ((await get()) !== body.length) throw new Error('wrong body');
      done++;
    }
  };
  const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));
  const all = Array.from({ length: connections }, one);
  await pause(700);
  const before = process.cpuUsage();
  const first = done;
  const startMs = performance.now();
  await pause(ms);
  const { user, system } = process.cpuUsage(before);
  const requests = done - first;
  const seconds = (performance.now() - startMs) / 1000;
  going = false;
  await Promise.all(all);
  return { cpuUs: (user + system) / requests, rate: requests / seconds };
}

async function runClient(name, url, ms) {
  const report = (figures) => process.stdout.write(JSON.stringify(figures));
  if (!name.startsWith('uvio')) {
    report(await work(await clients[name](url), ms));
  } else {
    const { native, pure, run } = await import('uvio');
    const policy = name === 'uvio-pure' ? pure() : native({ required: true });
    const client = clients[name] ?? clients.uvio;
    await run(async () => report(await work(await client(url), ms)), { policy });
  }
  process.exit();
}

async function measure(name, url, ms, core) {
  const command =
    name === 'aiohttp'
      ? ['/usr/bin/python3', python, url, String(ms), String(connections)]
      : [process.execPath, script, '--client', name, '--url', url, '--ms', String(ms)];
  const child = spawn('taskset', ['-c', String(core), ...command]);
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  child.stderr.pipe(process.stderr);
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${name} failed`);
  return JSON.parse(text);
}

async function main(options) {
  const release = takeTurn();
  warnWhenBusy();
  const { serverCore, loadCore } = chooseCores();
  const server = fork(script, ['--serve']);
  const [port] = await once(server, 'message');
  const url = `http://127.0.0.1:${port}/`;
  const peers = options.peers.split(',');
  const rounds = Number(options.rounds);
  const progress = makeProgress(peers.length * rounds);
  const runs = [];
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < peers.length; i++) {
      const peer = peers[(i + round) % peers.length];
      const figures = await measure(peer, url, Number(options.ms), serverCore ?? loadCore);
      runs.push({ peer, round, ...figures });
      progress.step(`${peer} ${figures.cpuUs.toFixed(1)} us`);
    }
  }
  progress.end();
  server.kill();
  if (typeof release === 'function') release();
  const of = (peer, key) => runs.filter((run) => run.peer === peer).map((run) => run[key]);
  const rows = peers.map((peer) => [
    peer,
    short(summarize(of(peer, 'cpuUs')).median),
    short(summarize(of(peer, 'rate')).median),
    peer === peers[0]
      ? ratioText(null)
      : ratioText(pairedRatio(of(peer, 'cpuUs'), of(peers[0], 'cpuUs'))),
  ]);
  printTable(
    'GET 1 KiB, 50 kept connections',
    ['client', 'CPU us', 'requests/s', 'CPU ratio'],
    rows,
  );
  save(options.name, { name: options.name, ...facts(), connections, bodyBytes: body.length, runs });
}

const { values } = parseArgs({
  options: {
    serve: { type: 'boolean' },
    client: { type: 'string' },
    url: { type: 'string' },
    peers: { type: 'string', default: 'undici,uvio-native,uvio-pure,undici-fetch,node-http' },
    rounds: { type: 'string', default: '5' },
    ms: { type: 'string', default: '1500' },
    name: { type: 'string', default: 'http-client' },
  },
});
if (values.serve) serve();
else if (values.client) await runClient(values.client, values.url, Number(values.ms));
else await main(values);
