/**
 * A server and a session that talks to it, for tests of applications.
 *
 * In: an application, or a fetch handler. Out: a client whose relative URLs go there. Never: a
 * server left open when the session could not be made.
 */
import { argTypeError } from '../base/errors.ts';
import { Application, type FetchHandler } from '../http/application.ts';
import { CookieJar } from '../http/client/cookie-jar.ts';
import { ClientSession } from '../http/client/session.ts';
import type { SessionOptions } from '../http/client/types.ts';
import { type HttpServer, serve } from '../http/server.ts';
import { shielded } from '../task/scope.ts';

/** A session whose relative URLs go to a server of its own on a free port. */
export interface TestClient extends ClientSession {
  readonly server: HttpServer;
}

class ServedSession extends ClientSession implements TestClient {
  readonly server: HttpServer;

  constructor(server: HttpServer, options: SessionOptions) {
    // Its host is an address, for which a jar keeps nothing unless told so.
    const { baseUrl = '', cookieJar = new CookieJar({ unsafe: true }) } = options;
    super({ ...options, cookieJar, baseUrl: new URL(baseUrl, server.url) });
    this.server = server;
  }

  /** As that of a session; then the server is closed, which waits for its handlers. */
  override async close(): Promise<void> {
    try {
      await super.close();
    } finally {
      await this.server.close();
    }
  }
}

/**
 * `await using client = await testClient(app)`; closing it closes the server too. The server is on
 * the loopback address, or in memory under `simulated()`, and goes through the whole life of an
 * application: start-up hooks before this resolves, clean-up hooks when it closes. Cookies are
 * kept; `client.wsConnect('/chat')` opens a WebSocket; a relative `baseUrl` is a prefix on the
 * server. Rejects as `serve` does, and as a ClientSession with bad options; then nothing stays
 * open. (aiohttp.test_utils.TestClient, Starlette's TestClient)
 */
export async function testClient(
  app: Application | { fetch: FetchHandler },
  options: SessionOptions = {},
): Promise<TestClient> {
  const where = { host: '127.0.0.1', port: 0 };
  if (typeof app?.fetch !== 'function') {
    throw argTypeError('app', 'an Application or an object with `fetch`', app);
  }
  const server = await (app instanceof Application
    ? serve(app, where)
    : serve({ ...where, fetch: (request) => app.fetch(request) }));
  try {
    return new ServedSession(server, options);
  } catch (error) {
    await shielded(() => server.close());
    throw error;
  }
}
