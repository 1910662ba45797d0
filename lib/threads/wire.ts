/**
 * What goes between this thread and the ones that work for it: calls there, replies back.
 *
 * In: replies. Out: values and errors. Never: an error that lost its class name, stack or cause.
 */

/** One job. Either `source` or `url` says what to run. */
export interface Call {
  /** The text of a function. */
  readonly source: string | null;
  /** A module whose default export is called. */
  readonly url: string | null;
  readonly args: readonly unknown[];
}

export type Reply =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly thrown: Thrown };

/** What comes back: the work itself may send messages, too, which are none of ours. */
export interface Answer {
  /** Of the job: both sides count. */
  readonly number: number;
  readonly reply: Reply;
}

/** What was thrown: an error in parts, since a structured clone of one keeps little of it. */
export type Thrown =
  | { readonly error: ErrorParts; readonly value?: undefined }
  | { readonly error: null; readonly value: unknown };

export interface ErrorParts {
  /** The nearest class that JavaScript itself knows. */
  readonly base: string;
  /** Its name, or that of its class. */
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly cause: Thrown | null;
  /** Of an AggregateError. */
  readonly errors: readonly Thrown[];
  /** `code`, `errno` and whatever else the error carries and can be copied. */
  readonly fields: Readonly<Record<string, unknown>>;
}

const baseClasses: Readonly<Record<string, new (message: string) => Error>> = {
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
};

/** The value that was thrown on the other side. */
export function revive(thrown: Thrown): unknown {
  if (thrown.error === null) return thrown.value;
  const parts = thrown.error;
  const error = makeError(parts);
  if (error.name !== parts.name) hidden(error, 'name', parts.name);
  hidden(error, 'stack', parts.stack);
  if (parts.cause !== null) hidden(error, 'cause', revive(parts.cause));
  // Not by assignment: a field of that name may have no setter, as `code` of a DOMException.
  for (const [key, value] of Object.entries(parts.fields)) {
    Object.defineProperty(error, key, {
      value,
      configurable: true,
      enumerable: true,
      writable: true,
    });
  }
  return error;
}

function makeError({ base, message, name, errors }: ErrorParts): Error {
  if (base === 'AggregateError') return new AggregateError(errors.map(revive), message);
  if (base === 'DOMException') return new DOMException(message, name);
  return new (baseClasses[base] ?? Error)(message);
}

function hidden(error: Error, key: string, value: unknown): void {
  Object.defineProperty(error, key, { value, configurable: true, writable: true });
}
