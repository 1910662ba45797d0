/**
 * What the addon's HTTP/1 parser and JavaScript tell each other, as far as a server needs it;
 * `native/parse/http1.h` is its other half.
 *
 * In: nothing. Out: names of words, and the texts of refusals. Never: behaviour.
 */

// Words of the state.
export const PHASE = 0;
export const MODE = 1;
export const MAX_BYTES = 2;
export const MAX_HEADERS = 3;
export const BUDGET = 4;
export const HEAD_START = 5;
export const CONSUMED = 6;
export const STOP = 7;
export const TRAILERS = 24;
/** Records begin here. */
export const STATE_WORDS = 32;

// Phases.
export const PHASE_START = 0;
export const PHASE_FIRST_OF_HEAD = 2;
export const PHASE_LAST_OF_HEAD = 14;

// Why a call returned.
export const STOP_NO_ROOM = 1;
export const STOP_NO_BUDGET = 2;
export const STOP_UPGRADED = 3;

// Records.
export const RECORD_HEAD = 1;
export const RECORD_DATA = 2;
export const RECORD_END = 3;
export const RECORD_BAD = 5;
/** Words of a head's record. */
export const HEAD_WORDS = 13;

// Flags of a head.
export const FLAG_KEEP_ALIVE = 1;
export const FLAG_EXPECT_CONTINUE = 2;
export const FLAG_UPGRADE = 4;
export const FLAG_HAS_BODY = 8;
export const FLAG_CHUNKED = 16;
export const FLAG_HTTP_10 = 32;

/** A target's id with this bit: the table of targets has a new text there. */
export const TARGET_FRESH = 0x10000;

/** By id; the empty one is any other token. */
export const METHODS: readonly string[] = [
  '',
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'OPTIONS',
  'PATCH',
  'CONNECT',
  'TRACE',
];

/** Why a message was refused, by reason. */
export const REASONS: readonly string[] = [
  'Bad request',
  'Bad request target',
  'HTTP version not supported',
  'Header fields too large',
  'Bad Host header',
  'Exactly one Host header is needed',
  'Bad Content-Length',
  'Transfer coding not supported',
  'Ambiguous framing',
  'Expectation failed',
  'CONNECT is not supported',
  'Bad chunk',
  'Chunk extensions too large',
];
