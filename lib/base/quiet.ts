/**
 * Promises that callers may leave alone.
 *
 * In: errors. Out: promises that reject without being reported. Never: an error that is swallowed:
 * whoever awaits gets it.
 */

export const resolved: Promise<void> = Promise.resolve();

export function ignore(): void {}

/** A rejection that is no unhandled one when nobody awaits it. */
export function quietReject(error: unknown): Promise<never> {
  return quieted(Promise.reject(error));
}

/** The same promise; if it rejects and nobody awaits it, nothing is reported. */
export function quieted<P extends Promise<unknown>>(promise: P): P {
  promise.catch(ignore);
  return promise;
}
