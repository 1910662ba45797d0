/**
 * Typed names, and the values that applications and requests keep under them.
 *
 * In: keys and values. Out: the same, with their types. Never: a clash of names: a key is itself.
 */

/** A typed name for a value in `app.state` or `request.state` (aiohttp: AppKey, RequestKey). */
export class Key<T> {
  readonly name: string;
  /** Type carrier; has no value. */
  declare private readonly type: T;

  constructor(name: string) {
    this.name = name;
  }
}

export interface State {
  /** Error when unset. */
  get<T>(key: Key<T>): T;
  set<T>(key: Key<T>, value: T): void;
  // biome-ignore lint/suspicious/noExplicitAny: a key of whatever type.
  has(key: Key<any>): boolean;
}

export class StateMap implements State {
  readonly #values: Map<object, unknown> = new Map();

  get<T>(key: Key<T>): T {
    if (!this.#values.has(key)) throw new Error(`The state has no value for '${key.name}'`);
    return this.#values.get(key) as T;
  }

  set<T>(key: Key<T>, value: T): void {
    this.#values.set(key, value);
  }

  has(key: Key<unknown>): boolean {
    return this.#values.has(key);
  }
}
