/**
 * Taking what a stream of Node holds.
 *
 * In: a paused stream. Out: its bytes. Never: a part of them. (From Node 26 on `read()` gives one
 * chunk, and gave all of them before.)
 */
import { Buffer } from 'node:buffer';

/** Null: nothing is there. */
export function readHeld(stream: { read(): unknown }): Buffer | null {
  const chunks: Buffer[] = [];
  for (let chunk = stream.read(); chunk !== null; chunk = stream.read()) {
    chunks.push(chunk as Buffer);
  }
  return chunks.length > 1 ? Buffer.concat(chunks) : (chunks[0] ?? null);
}
