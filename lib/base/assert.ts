/**
 * Assertions of the library about itself.
 *
 * In: a condition that holds unless uvio has a bug. Out: nothing. Never: checks of user input.
 */

/** Throws when uvio's own state is broken. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`uvio bug: ${message}`);
}

/** For the `default` of a switch over a closed union. */
export function unreachable(value: never): never {
  throw new Error(`uvio bug: unreachable ${String(value)}`);
}
