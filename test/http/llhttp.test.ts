/**
 * Changed requests, the same in each run: what is handled is what llhttp of plain node:http sees,
 * or less, and the same however the bytes are cut.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { Response } from '../../lib/http/index.ts';
import type { ServerRequest } from '../../lib/http/request.ts';
import { moveOnAfter, openConnection } from '../../lib/index.ts';
import { runTest } from '../task/support.ts';
import { plainRequests } from './fuzz/requests.ts';
import { type Delivery, deliver, readToEnd, withHandler } from './support.ts';

const seed = 0x5eed;
const count = 150;
const bytes = '\r\n\r\n :;,\t\0\x7f\xff"\\09afX-+/@';
const methods: readonly string[] = ['GET', 'POST', 'HEAD'];

function* numbers(): Generator<number> {
  let state = seed;
  for (;;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state >>> 8;
  }
}

function* changed(): Generator<string> {
  const source = numbers();
  const next = (below: number): number => (source.next().value as number) % below;
  for (let i = 0; i < count; i++) {
    let text = '';
    for (let parts = 1 + next(3); parts > 0; parts--)
      text += plainRequests[next(plainRequests.length)];
    for (let changes = 1 + next(2); changes > 0; changes--) {
      const at = next(text.length);
      const how = next(3);
      const insert = how === 1 ? '' : (bytes[next(bytes.length)] as string);
      text = text.slice(0, at) + insert + text.slice(how === 0 ? at : at + 1);
    }
    yield text;
  }
}

const told = (method: string, target: string, lines: readonly string[], body: string): string =>
  JSON.stringify([method, target, lines, body]);

/** The bodies of all answers that are 200. */
function handled(answer: string): string[] {
  const found: string[] = [];
  for (const part of answer.split(/(?=HTTP\/1\.1 \d{3} )/)) {
    if (part.startsWith('HTTP/1.1 200')) found.push(part.slice(part.indexOf('\r\n\r\n') + 4));
  }
  return found;
}

async function ask(port: number, text: string, how: Delivery): Promise<string[]> {
  const answer = await moveOnAfter(1_500, async () => {
    await using connection = await openConnection({ host: '127.0.0.1', port });
    const sent = deliver(connection, text, how)
      .then(() => connection.writeEof())
      .catch(() => {});
    const all = await readToEnd(connection);
    await sent;
    return all;
  });
  return handled(answer ?? 'left open');
}

/** What is told of a request goes into `log`: answers are lost when a bad one follows. */
async function plainServer(log: string[]): Promise<Server> {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('latin1').on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      const { method, url, rawHeaders } = request;
      log.push(told(method as string, url as string, rawHeaders, body));
      response.end();
    });
  });
  server.on('clientError', (_error, socket) => setImmediate(() => socket.destroy()));
  (server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

const echo = async (request: ServerRequest): Promise<Response> => {
  const { exchange } = request.call;
  const body = Buffer.from(await request.arrayBuffer()).toString('latin1');
  const text = told(exchange.method, exchange.target, exchange.headerList(), body);
  return new Response(Buffer.from(text, 'latin1'));
};

describe(`requests changed with seed ${seed}`, () => {
  test('are the same in each run', () => {
    expect([...changed()]).toEqual([...changed()]);
  });

  runTest('are understood as llhttp does, or refused; whole and cut', async () => {
    const theirs: string[] = [];
    const plain = await plainServer(theirs);
    const { port } = plain.address() as AddressInfo;
    const wrong: unknown[] = [];
    let seen = 0;
    await withHandler(echo as never, async (_url, server) => {
      for (const text of changed()) {
        const ours = await ask(server.port, text, 'whole');
        const cut = await ask(server.port, text, 'random');
        // llhttp knows no methods of one's own.
        const known = ours.filter((body) => methods.includes(JSON.parse(body)[0]));
        theirs.length = 0;
        await ask(port, text, 'whole');
        seen += ours.length;
        const same = JSON.stringify(ours) === JSON.stringify(cut);
        const fewer = known.length < ours.length || theirs.length >= ours.length;
        const prefix = known.every((body, i) => body === theirs[i]) || known.length < ours.length;
        if (!same || !fewer || !prefix) wrong.push({ text, ours, cut, theirs: [...theirs] });
      }
    });
    plain.closeAllConnections();
    await new Promise((resolve) => plain.close(resolve));
    expect(wrong).toEqual([]);
    expect(seen).toBeGreaterThan(count / 3);
  });
});
