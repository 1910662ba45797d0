/**
 * Streams of the backend, for rooms above io that speak a protocol on them.
 *
 * In: types of the loop. Out: the same. Never: behaviour.
 */
export type {
  ByteParsers,
  CallbackContext,
  StreamHandle,
  StreamSink,
} from '../loop/backend.ts';
export type { EventLoop } from '../loop/event-loop.ts';
export type { LoopPolicy } from '../loop/policy.ts';
