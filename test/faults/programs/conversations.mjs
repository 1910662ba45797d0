// What clients of a program say, and whether the answers are right: for the other programs here.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';

const pem = (name) => readFileSync(new URL(`../../support/tls/${name}.pem`, import.meta.url));

export const serverTls = () => ({ key: pem('server-key'), cert: pem('server') });
export const clientTls = () => ({ ca: pem('ca'), servername: 'server.test' });

export const pattern = (bytes) =>
  Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + (i >> 8)) & 255));

/** Calls a function so many times, some at a time. */
export async function times(count, parallel, visit) {
  let left = count;
  const some = async () => {
    while (left > 0) {
      left -= 1;
      await visit();
    }
  };
  await Promise.all(Array.from({ length: parallel }, some));
}

export const wrongBytes = Object.assign(new Error('wrong bytes'), { code: 'wrong bytes' });

async function ask(options, body) {
  const method = body === undefined ? 'GET' : 'POST';
  const sent = request({ ...options, method });
  sent.end(body);
  const [response] = await once(sent, 'response');
  return await buffer(response);
}

export const conversations = {
  /** Requests with bodies both ways, on connections that are kept. */
  async converse({ host, port, count }) {
    const agent = new Agent({ keepAlive: true, maxSockets: 3 });
    const data = pattern(5_000);
    const right = async (path, wanted, body) => {
      const answer = await ask({ host, port, agent, path }, body);
      if (!answer.equals(wanted)) throw wrongBytes;
    };
    const parts = Buffer.concat([0, 1].map((i) => Buffer.alloc(65_536, i)));
    for (let i = 0; i < count; i++) {
      await Promise.all([
        right('/', Buffer.from('hello')),
        right('/echo', data, data),
        right('/stream/2', parts),
      ]);
    }
    agent.destroy();
  },
  /** How many answers come, and how many of them are none. */
  async sendDatagrams({ host, port, count, bytes, quietMs }) {
    const socket = createSocket('udp4');
    const sent = new Set();
    let answers = 0;
    let foreign = 0;
    socket.on('message', (data, from) => {
      answers += 1;
      if (from.port !== port || !sent.has(data.toString('latin1'))) foreign += 1;
    });
    for (let i = 0; i < count; i++) {
      const data = Buffer.alloc(bytes, `${i}.`);
      sent.add(data.toString('latin1'));
      socket.send(data, port, host);
      // A burst of a few at a time, as much as a queue takes.
      if (i % 20 === 19) await pause(2);
    }
    for (let last = -1; last !== answers; ) {
      last = answers;
      await pause(quietMs);
    }
    socket.close();
    return { answers, foreign };
  },
};
