// Does the load generator notice what it exists to notice? It is run against servers that are
// right and servers that are wrong in one way each. `--asan` runs the sanitizer build.
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildLoad } from '../build.mjs';

const binary = buildLoad({ asan: process.argv.includes('--asan') });
const socketPath = join(tmpdir(), `uvio-load-selftest-${process.pid}.sock`);

/** Echoes what `change(data, offset, socket)` returns; undefined sends nothing. */
function echoWith(change) {
  return (socket) => {
    let offset = 0;
    socket.on('error', () => {});
    socket.on('data', (data) => {
      const out = change(data, offset, socket);
      offset += data.length;
      if (out !== undefined && socket.writable) socket.write(out);
    });
  };
}

function flipByteAt(position) {
  return (data, offset) => {
    const index = position - offset;
    if (index >= 0 && index < data.length) data[index] ^= 1;
    return data;
  };
}

let other = null;
function crossOver(data, _offset, socket) {
  // The answers of two connections are exchanged.
  if (other === null || other.socket === socket) {
    other = { socket, data };
    return undefined;
  }
  other.socket.write(data);
  const answer = other.data;
  other = null;
  return answer;
}

const right = echoWith((data) => data);
const window = ['--messages', '2000', '--warmup', '50', '--stall', '700'];

const cases = [
  ['a right echo, small messages', right, [], {}],
  ['a right echo, 16 in flight', right, ['--pipeline', '16'], {}],
  ['a right echo, 1 MiB messages', right, ['--size', '1048576', '--messages', '20'], {}],
  ['a right echo, stream mode', right, ['--mode', 'stream', '--size', '3000'], {}],
  ['a right echo, connect mode', right, ['--mode', 'connect', '--messages', '200'], {}],
  ['a right echo, idle mode', right, ['--mode', 'idle', '--connections', '300'], {}],
  ['a right echo, UNIX socket', right, ['--unix', socketPath], {}],
  ['one bit flipped in the first byte', echoWith(flipByteAt(0)), [], { corrupt: 1 }],
  ['one bit flipped far in', echoWith(flipByteAt(99_999)), ['--size', '1000'], { corrupt: 1 }],
  [
    'one bit flipped, connect mode',
    echoWith(flipByteAt(63)),
    ['--mode', 'connect'],
    { corrupt: 1 },
  ],
  ['one bit flipped, idle mode', echoWith(flipByteAt(5)), ['--mode', 'idle'], { corrupt: 1 }],
  ['a message is left out', echoWith((d, at) => (at === 6400 ? undefined : d)), [], { stalled: 1 }],
  ['a message is left out of a pipeline', echoWith(dropByte), ['--pipeline', '4'], { corrupt: 1 }],
  ['a message comes twice', echoWith((d) => Buffer.concat([d, d])), [], { corrupt: 1 }],
  ['connections exchanged', echoWith(crossOver), ['--connections', '2'], { corrupt: 1 }],
  ['the server hangs up', echoWith((_d, _at, s) => void s.end()), [], { lost: 1 }],
  ['the server resets', echoWith((_d, _at, s) => void s.resetAndDestroy()), [], { lost: 1 }],
  ['the server is silent', echoWith(() => undefined), [], { stalled: 1 }],
  ['nobody listens', null, [], { refused: 1 }],
];

function dropByte(data, offset) {
  return offset === 0 && data.length > 1 ? data.subarray(1) : data;
}

function listen(handler, path) {
  const server = createServer({ noDelay: true }, handler ?? right);
  const where = path === undefined ? { host: '127.0.0.1', port: 0 } : { path };
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(where, () => resolve(server));
  });
}

/** Runs the load generator to its end; its JSON line, exit status and standard error. */
function runLoad(args) {
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let errors = '';
  child.stdout.on('data', (text) => (out += text));
  child.stderr.on('data', (text) => (errors += text));
  return new Promise((resolve) => {
    child.on('close', (status) => {
      const last = out.trim().split('\n').at(-1);
      resolve({ status, errors, report: last?.startsWith('{') ? JSON.parse(last) : null });
    });
  });
}

function complaint({ status, errors, report }, expected) {
  if (report === null) return `no report (status ${status}): ${errors.slice(0, 400)}`;
  const kinds = Object.keys(expected);
  const seen = JSON.stringify(report.errorKinds);
  if (kinds.length === 0) {
    if (report.errors !== 0 || status !== 0) return `errors ${seen}: ${report.firstError}`;
    return report.messages > 0 ? null : 'no message was counted';
  }
  if (status !== 1) return `status ${status}, not 1`;
  const missing = kinds.filter((kind) => !(report.errorKinds[kind] >= expected[kind]));
  return missing.length === 0 ? null : `not found: ${missing.join()}; found ${seen}`;
}

let failed = 0;
for (const [name, handler, args, expected] of cases) {
  const path = args.includes('--unix') ? socketPath : undefined;
  const server = await listen(handler, path);
  const port = path === undefined ? ['--port', String(server.address().port)] : [];
  if (handler === null) await new Promise((resolve) => server.close(resolve));
  const result = await runLoad(['--connections', '8', ...port, ...window, ...args]);
  const why = complaint(result, expected);
  if (why !== null) failed += 1;
  console.log(why === null ? `ok      ${name}` : `FAILED  ${name}: ${why}`);
  if (handler !== null) server.close();
}
rmSync(socketPath, { force: true });
console.log(`load selftest: ${cases.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
