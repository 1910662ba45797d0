/** The states of a future; apart from it, for what it is made of. */
export const PENDING = 0;
export const RESOLVED = 1;
export const FAILED = 2;
export const CANCELLED = 3;

export type FutureStatus = typeof PENDING | typeof RESOLVED | typeof FAILED | typeof CANCELLED;
