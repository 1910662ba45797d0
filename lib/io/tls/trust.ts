/**
 * Who is trusted: the same rules for every engine, and Node's.
 *
 * In: a connection whose handshake is done, and the plan. Out: a verdict, with the error that ends
 * the connection. Never: a byte of the user's before it; trust because of a missing option.
 */
import type { DetailedPeerCertificate, PeerCertificate } from 'node:tls';
import { argTypeError } from '../../base/errors.ts';
import { ignore } from '../../base/quiet.ts';
import type { TlsEngine } from '../../loop/tls.ts';
import { catchAsync } from './callbacks.ts';
import type { TlsPlan } from './plan.ts';

export interface Verdict {
  readonly authorized: boolean;
  /** Code of what is wrong with the peer, when it is let in all the same. */
  readonly reason: string | null;
  readonly certificate: PeerCertificate | null;
  /** What ends the connection. */
  readonly error: Error | null;
}

const unasked: Verdict = { authorized: false, reason: null, certificate: null, error: null };

/** (node:tls: onConnectSecure, onServerSocketSecure) */
export function judgePeer(plan: TlsPlan, engine: TlsEngine): Verdict {
  const { isServer, requestCert } = plan.start;
  if (isServer && !requestCert) return unasked;
  const certificate = engine.peerCertificate(true) as DetailedPeerCertificate | null;
  let problem = engine.verifyError();
  // A resumed session was checked when it was made.
  if (problem === null && !isServer && !engine.state().sessionReused) {
    problem = identityError(plan, certificate);
  }
  if (problem === null) return { authorized: true, reason: null, certificate, error: null };
  const reason = (problem as NodeJS.ErrnoException).code ?? problem.message;
  const error = plan.start.rejectUnauthorized ? problem : null;
  return { authorized: false, reason, certificate, error };
}

/** An exception of the user's own check is a no. */
function identityError(plan: TlsPlan, certificate: DetailedPeerCertificate | null): Error | null {
  try {
    const error = plan.checkServerIdentity(
      plan.hostname,
      certificate ?? ({} as unknown as PeerCertificate),
    );
    if (error === undefined || error === null) return null;
    if (error instanceof Error) return error;
    if (!catchAsync(error, ignore)) return new Error(String(error));
    return argTypeError('checkServerIdentity()', 'an Error or undefined, no promise', error);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error), { cause: error });
  }
}
