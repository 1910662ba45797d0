/**
 * Functions of the user that an engine calls in the middle of a handshake.
 *
 * In: SNICallback, ALPNCallback, pskCallback. Out: the same, which never throw and never return
 * what Node would throw for: that would end the process. Never: a decision of its own.
 */
import { Buffer } from 'node:buffer';
import type { PSKCallbackNegotation, SecureContext } from 'node:tls';
import { argTypeError, rangeError } from '../../base/errors.ts';
import { ignore } from '../../base/quiet.ts';
import type { EventLoop } from '../../loop/event-loop.ts';
import type { TlsRareOptions } from '../../loop/tls.ts';
import { isThenable } from '../../task/enter.ts';

export type SniCallback = NonNullable<TlsRareOptions['sniCallback']>;
export type AlpnCallback = NonNullable<TlsRareOptions['alpnCallback']>;
export type ClientPskCallback = (hint: string | null) => PSKCallbackNegotation | null;
export type ServerPskCallback = (socket: unknown, identity: string) => Uint8Array | null;

/** OpenSSL's limits. */
const mostPskBytes = 256;
const mostIdentityBytes = 128;

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}

/** A mistake of the program, not of a peer: so the loop is told. */
function report(loop: EventLoop, name: string, error: unknown): void {
  loop.callExceptionHandler({ message: `Exception in the ${name} of a TLS server`, error });
}

/**
 * An async function fails by its promise, which nobody else looks at: unhandled, it would end the
 * process.
 * @returns whether it is a promise
 */
export function catchAsync(result: unknown, onError: (error: unknown) => void): boolean {
  if (!isThenable(result)) return false;
  Promise.resolve(result).catch(onError);
  return true;
}

export function guardSni(loop: EventLoop, callback: SniCallback): SniCallback {
  return (servername, done) => {
    let asked = true;
    // What comes after the first answer is ignored: the handshake has gone on.
    const once = (error: Error | null, context?: SecureContext): void => {
      if (!asked) return;
      asked = false;
      if (error) done(toError(error));
      else done(null, context);
    };
    const fail = (error: unknown): void => {
      report(loop, 'SNICallback', error);
      once(toError(error));
    };
    try {
      catchAsync(callback(servername, once), fail);
    } catch (error) {
      fail(error);
    }
  };
}

export function guardAlpn(loop: EventLoop, callback: AlpnCallback): AlpnCallback {
  return (offer) => {
    try {
      const chosen = callback(offer);
      if (chosen === undefined || offer.protocols.includes(chosen)) return chosen;
      catchAsync(chosen, ignore);
      throw rangeError('ALPNCallback()', `one of ${offer.protocols.join(', ')}`, chosen);
    } catch (error) {
      report(loop, 'ALPNCallback', error);
      return undefined;
    }
  };
}

export function guardServerPsk(loop: EventLoop, callback: ServerPskCallback): ServerPskCallback {
  return (socket, identity) => {
    try {
      const psk = callback(socket, identity);
      if (psk !== null) checkPsk(psk);
      return psk;
    } catch (error) {
      report(loop, 'pskCallback', error);
      return null;
    }
  };
}

export function guardClientPsk(loop: EventLoop, callback: ClientPskCallback): ClientPskCallback {
  return (hint) => {
    try {
      const answer = callback(hint);
      catchAsync(answer, ignore);
      if (answer === null || answer === undefined) return null;
      checkPsk(answer.psk);
      const { identity } = answer;
      if (typeof identity !== 'string') throw argTypeError('identity', 'a string', identity);
      if (Buffer.byteLength(identity) > mostIdentityBytes) {
        throw rangeError('identity', `at most ${mostIdentityBytes} bytes`, identity);
      }
      return answer;
    } catch (error) {
      const message = 'Exception in the pskCallback of a TLS client';
      loop.callExceptionHandler({ message, error });
      return null;
    }
  };
}

function checkPsk(psk: unknown): void {
  catchAsync(psk, ignore);
  if (!ArrayBuffer.isView(psk)) throw argTypeError('psk', 'a Buffer, a TypedArray or null', psk);
  if (psk.byteLength > mostPskBytes) {
    throw rangeError('psk.byteLength', `at most ${mostPskBytes}`, psk.byteLength);
  }
}
