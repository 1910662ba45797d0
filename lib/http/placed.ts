/**
 * Lists that many join and leave, in no order.
 *
 * In: items that keep their places. Out: the same list. Never: a Set: its tables cost more, and V8
 * keeps old ones, with all that was in them, alive.
 */
export interface Placed {
  /** In its list; -1: in none. */
  place: number;
}

export function joinList<T extends Placed>(list: T[], one: T): void {
  one.place = list.length;
  list.push(one);
}

/** The last one takes its place. Nothing where it is in no list. */
export function leaveList<T extends Placed>(list: T[], one: T): void {
  const { place } = one;
  if (place < 0) return;
  one.place = -1;
  const last = list.pop() as T;
  if (last === one) return;
  list[place] = last;
  last.place = place;
}
