/**
 * Taking what a stream of Node holds.
 *
 * In: a paused stream. Out: its bytes. Never: a part of them. (From Node 26 on `read()` gives one
 * chunk, and gave all of them before.)
 */
import { Buffer } from 'node:buffer';

/** Null: nothing is there. */
export function readHeld(stream: { read(): unknown }): Buffer | null {
  const first = stream.read() as Buffer | null;
  if (first === null) return null;
  const chunks: Buffer[] = [];
  for (let chunk: Buffer | null = first; chunk !== null; chunk = stream.read() as Buffer | null) {
    chunks.push(chunk);
  }
  return chunks.length === 1 ? first : Buffer.concat(chunks);
}
