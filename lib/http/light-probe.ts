/**
 * Whether this Node's server works with light messages.
 *
 * In: nothing. Out: true once a request, a body and a response went through it as they should.
 * Never: a socket; a throw.
 */
import { Buffer } from 'node:buffer';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { Duplex } from 'node:stream';
import { ignore } from '../base/quiet.ts';
import { LightMessage, LightResponse } from './light-message.ts';

let fits: boolean | null = null;

/** Tried at the first call, in a fraction of a millisecond. */
export function lightMessagesFit(): boolean {
  fits ??= tried();
  return fits;
}

/** @internal For tests: null tries again. */
export function setLightMessages(fit: boolean | null): void {
  fits = fit;
}

const requests =
  'GET /one HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\r\n' +
  'POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc';

function tried(): boolean {
  let sent = '';
  const told: string[] = [];
  const options = { IncomingMessage: LightMessage, ServerResponse: LightResponse };
  try {
    const server = http.createServer(options as never, (request, response) => {
      told.push(`${request.method} ${request.url} ${request.rawHeaders.length}`);
      if (request.url === '/one') {
        response.emit('finish');
        return;
      }
      request.on('data', (chunk: Buffer) => told.push(chunk.toString()));
      request.resume();
      response.writeHead(200, ['content-length', '2']);
      response.end('ok');
    });
    const socket = new Duplex({
      read: ignore,
      write(chunk: Buffer, _encoding, done) {
        sent += chunk.toString('latin1');
        done();
      },
    });
    socket.on('error', ignore);
    server.emit('connection', socket);
    socket.emit('data', Buffer.from(requests));
    const { _httpMessage } = socket as { _httpMessage?: unknown };
    const response = _httpMessage as ServerResponse & { req: IncomingMessage };
    const right =
      told.join() === 'GET /one 4,POST /two 4,abc' &&
      response.req.complete &&
      sent.startsWith('HTTP/1.1 200 ') &&
      sent.endsWith('\r\n\r\nok');
    socket.destroy();
    return right;
  } catch {
    return false;
  }
}
