/** Exact comparison of types, checked by `npm run typecheck` alone: nothing of this runs. */

/** True when the two types are identical: `any`, `readonly`, overloads and their order included. */
export type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** `Members<Class, Shape>`: what the class has under the names of the shape. */
export type Members<C, Shape> = Pick<C, keyof Shape & keyof C>;

/** A list of `true`; the compiler names the first that is not. */
export type AllTrue<T extends readonly true[]> = T;
