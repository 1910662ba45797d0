/**
 * What Node itself still has to do: it may bring what a task waits for.
 *
 * In: the resources that Node says are active. Out: two answers. Never: a wait.
 *
 * A test runner has pipes and sockets open all the time; so only what is there beyond the least
 * that was ever seen counts. Timers, immediates and requests always count: they end by themselves.
 */

/** File system, name look-up, writes: they end without anybody else. */
const request = /Req/;
const endsByItself = /Req|^Timeout$|^Immediate$/;

/** Not every runtime tells: then nothing comes from outside. */
function activeResources(): readonly string[] {
  return process.getActiveResourcesInfo?.() ?? [];
}

export class ForeignWork {
  readonly #least: Map<string, number> = new Map();
  #first = true;

  constructor() {
    this.#look();
  }

  /** Requests are under way whose end is near. */
  get requests(): boolean {
    for (const type of activeResources()) if (request.test(type)) return true;
    return false;
  }

  /** Something outside of the simulation may still happen. */
  get any(): boolean {
    return this.#look();
  }

  #look(): boolean {
    const counts = new Map<string, number>();
    let found = false;
    for (const type of activeResources()) {
      if (endsByItself.test(type)) found = true;
      else counts.set(type, (counts.get(type) ?? 0) + 1);
    }
    const least = this.#least;
    if (this.#first) {
      this.#first = false;
      for (const [type, count] of counts) least.set(type, count);
      return true;
    }
    for (const [type, count] of least) {
      const now = counts.get(type) ?? 0;
      if (now < count) least.set(type, now);
    }
    for (const [type, count] of counts) if (count > (least.get(type) ?? 0)) found = true;
    return found;
  }
}
