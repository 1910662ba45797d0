/** Servers and raw clients for tests of HTTP, on any policy. */

import {
  Application,
  type FetchServeOptions,
  type Handler,
  type HttpServer,
  type ServeOptions,
  serve,
} from '../../lib/http/index.ts';
import { type Connection, openConnection, sleep } from '../../lib/index.ts';
import { policyName } from '../support/policy.ts';

/** Beside the network: requests of fetch and other clients come from outside of a simulation. */
export const realNetwork: boolean = policyName !== 'simulated';

const local = { host: '127.0.0.1', port: 0 };

export async function withServer(
  app: Application | FetchServeOptions,
  test: (url: string, server: HttpServer) => unknown,
  options: ServeOptions = {},
): Promise<void> {
  await using server =
    app instanceof Application
      ? await serve(app, { ...local, ...options })
      : await serve({ ...local, ...options, ...app });
  await test(server.url.replace(/\/$/, ''), server);
}

/** A server of one handler for everything. */
export function withHandler(
  handler: Handler,
  test: (url: string, server: HttpServer) => unknown,
  options: ServeOptions = {},
): Promise<void> {
  return withServer(new Application().route('*', '/*', handler as Handler<'/*'>), test, options);
}

/** One handler for everything, without a server. */
export function appOf(handler: Handler, maxBodyBytes?: number): Application {
  const options = maxBodyBytes === undefined ? {} : { maxBodyBytes };
  return new Application(options).route('*', '/*', handler as Handler<'/*'>);
}

export async function fetchOf(
  handler: Handler,
  init: RequestInit = {},
  path = '/p?a=1&a=2&b=',
): Promise<globalThis.Response> {
  return await appOf(handler).fetch(new Request(`http://host:81${path}`, init));
}

export type Delivery = 'whole' | 'bytes' | 'random';

/** A small generator: the same cuts in each run. */
function* cuts(seed: number): Generator<number> {
  let state = seed;
  for (;;) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    yield 1 + (state % 23);
  }
}

export async function deliver(
  connection: Connection,
  text: string | Buffer,
  how: Delivery,
): Promise<void> {
  const bytes = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
  if (how === 'whole') {
    await connection.write(bytes);
    return;
  }
  const sizes = cuts(bytes.length);
  for (let at = 0; at < bytes.length && connection.open; ) {
    const size = how === 'bytes' ? 1 : (sizes.next().value as number);
    await connection.write(bytes.subarray(at, at + size));
    at += size;
    await sleep(0);
  }
}

/** Sends, and gives all that comes until the server closes. */
export async function exchangeRaw(
  port: number,
  text: string | Buffer,
  how: Delivery = 'whole',
): Promise<string> {
  await using connection = await openConnection({ host: '127.0.0.1', port });
  const sent = deliver(connection, text, how).catch(() => {});
  const answer = await readToEnd(connection);
  await sent;
  return answer;
}

export async function readToEnd(connection: Connection): Promise<string> {
  let text = '';
  try {
    for await (const chunk of connection) text += chunk.toString('latin1');
  } catch {
    text += '<reset>';
  }
  return text;
}

export function statusesOf(answer: string): number[] {
  return [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((found) => Number(found[1]));
}
