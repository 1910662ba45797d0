// A server of uvio that answers lines: `node uvio_lines.mjs pure|native [workers]`. A line is
// `/id/N` (answered with N, after a while), `/who` or `/exit`. Others here do the same.
import { isMainThread, threadId } from 'node:worker_threads';
import { native, pure, runServer, sleep, startServer } from '../../../dist/index.js';
import { endWithInput, say } from './commands.mjs';

let started = 0;

if (isMainThread) endWithInput();

async function answer(line) {
  started += 1;
  if (line === '/who') return String(threadId);
  if (line === '/exit') process.exit(5);
  await sleep(20);
  return line.slice('/id/'.length);
}

async function converse(connection, signal) {
  try {
    for (;;) {
      const line = await connection.readLine({ signal });
      if (line === null) return;
      await connection.write(`${await answer(line)}\n`);
    }
  } catch (error) {
    if (error !== signal.reason) throw error;
  }
}

const make = (listen, stopping) =>
  startServer((connection) => converse(connection, stopping), listen);

await runServer(make, {
  host: '127.0.0.1',
  backlog: 4096,
  workers: Number(process.argv[3] ?? 1),
  policy: process.argv[2] === 'native' ? native({ required: true }) : pure(),
  print: (text) => say({ event: 'ready', port: Number(/:(\d+)/.exec(text)[1]) }),
});
say({ event: 'end', started });
