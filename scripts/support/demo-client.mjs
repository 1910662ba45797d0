// The demo's load client: keeps one request in flight on each connection and checks every answer.
// Prints a line of JSON four times a second, and a last one with `done`.
//
//   node demo-client.mjs '{"port":1,"kind":"lines","connections":32,"seconds":3}'
import { createConnection } from 'node:net';

const { port, kind, connections, seconds } = JSON.parse(process.argv[2]);
const WARM_UP_MS = 500;
const LINES_PER_REQUEST = 8;
const ECHO_BYTES = 64;

/** What one connection sends again and again, and what it must get. */
function conversation(id) {
  if (kind === 'echo') {
    const message = Buffer.alloc(ECHO_BYTES, `echo ${id} `);
    return { request: message, answer: message, messages: 1 };
  }
  let request = '';
  let answer = '';
  for (let i = 0; i < LINES_PER_REQUEST / 2; i += 1) {
    const value = `value-${id}-${i}`.padEnd(32, '.');
    request += `SET key-${id}-${i} ${value}\nGET key-${id}-${i}\n`;
    answer += `OK\n${value}\n`;
  }
  const messages = LINES_PER_REQUEST;
  return { request: Buffer.from(request), answer: Buffer.from(answer), messages };
}

let measuring = false;
let messages = 0;
let latenciesUs = [];

function fail(why) {
  console.error(`demo client: ${why}`);
  process.exit(1);
}

function talk(id) {
  const { request, answer, messages: perRequest } = conversation(id);
  const socket = createConnection({ port, host: '127.0.0.1', noDelay: true });
  let received = 0;
  let sentMs = 0;
  const send = () => {
    received = 0;
    sentMs = performance.now();
    socket.write(request);
  };
  socket.on('connect', send);
  socket.on('error', (error) => fail(error.message));
  socket.on('data', (chunk) => {
    const end = received + chunk.length;
    if (end > answer.length || answer.compare(chunk, 0, chunk.length, received, end) !== 0) {
      fail(`a wrong answer on connection ${id}`);
    }
    received = end;
    if (received < answer.length) return;
    if (measuring) {
      messages += perRequest;
      latenciesUs.push((performance.now() - sentMs) * 1000);
    }
    send();
  });
}

function report(sinceMs, done) {
  const elapsed = (performance.now() - sinceMs) / 1000;
  const line = { done, messages, messagesPerSecond: messages / elapsed };
  if (done) {
    const sorted = Float64Array.from(latenciesUs).sort();
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
    line.latencyUs = { p50: at(0.5), p99: at(0.99) };
  }
  console.log(JSON.stringify(line));
}

for (let id = 0; id < connections; id += 1) talk(id);
setTimeout(() => {
  measuring = true;
  messages = 0;
  latenciesUs = [];
  console.log(JSON.stringify({ begin: true }));
  const beginMs = performance.now();
  setInterval(() => report(beginMs, false), 250);
  setTimeout(() => {
    report(beginMs, true);
    process.exit(0);
  }, seconds * 1000);
}, WARM_UP_MS);
