/**
 * The resolving function of a promise, without a closure for each to bring it out.
 *
 * In: `new Promise(hold)`. Out: `heldResolve`, to be taken at once. Never: another promise between.
 */

export let heldResolve: (value: unknown) => void;

/** The executor runs inside of `new Promise`. */
export function hold(resolve: (value: never) => void): void {
  heldResolve = resolve as (value: unknown) => void;
}
