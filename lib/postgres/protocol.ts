/**
 * The numbers of PostgreSQL's protocol 3, and the limits that we set.
 *
 * In: types and lengths. Out: names and verdicts. Never: state.
 */
import { ProtocolError } from './errors.ts';

const code = (letter: string): number => letter.charCodeAt(0);

/** Messages of the server. */
export const AUTHENTICATION: number = code('R');
export const BACKEND_KEY: number = code('K');
export const BIND_COMPLETE: number = code('2');
export const CLOSE_COMPLETE: number = code('3');
export const COMMAND_COMPLETE: number = code('C');
export const COPY_BOTH: number = code('W');
export const COPY_DATA: number = code('d');
export const COPY_DONE: number = code('c');
export const COPY_IN: number = code('G');
export const COPY_OUT: number = code('H');
export const DATA_ROW: number = code('D');
export const EMPTY_QUERY: number = code('I');
export const ERROR: number = code('E');
export const NEGOTIATE: number = code('v');
export const NO_DATA: number = code('n');
export const NOTICE: number = code('N');
export const NOTIFICATION: number = code('A');
export const PARAMETER_DESCRIPTION: number = code('t');
export const PARAMETER_STATUS: number = code('S');
export const PARSE_COMPLETE: number = code('1');
export const PORTAL_SUSPENDED: number = code('s');
export const READY: number = code('Z');
export const ROW_DESCRIPTION: number = code('T');

/** Messages of ours. */
export const BIND: number = code('B');
export const CLOSE: number = code('C');
export const COPY_FAIL: number = code('f');
export const DESCRIBE: number = code('D');
export const EXECUTE: number = code('E');
export const FLUSH: number = code('H');
export const PARSE: number = code('P');
export const PASSWORD: number = code('p');
export const QUERY: number = code('Q');
export const SYNC: number = code('S');
export const TERMINATE: number = code('X');

export const PROTOCOL_3_0: number = 3 << 16;
export const SSL_REQUEST: number = 80_877_103;
export const CANCEL_REQUEST: number = 80_877_102;

export const IDLE: number = code('I');
export const IN_TRANSACTION: number = code('T');
export const IN_FAILED: number = code('E');

/** A gigabyte, as PostgreSQL's own allocations: also what a length that wrapped would show. */
const maxLength = 0x3fff_ffff;

/** Before the server has proven anything. */
const maxStartupLength = 64 * 1024;

/** The longest form of each message, its length field included; 0: no such message. */
const longest: Uint32Array = new Uint32Array(256);
const small = 1024;
const medium = 1 << 20;
for (const type of [PARSE_COMPLETE, BIND_COMPLETE, CLOSE_COMPLETE, COPY_DONE, EMPTY_QUERY]) {
  longest[type] = 4;
}
for (const type of [NO_DATA, PORTAL_SUSPENDED]) longest[type] = 4;
longest[READY] = 5;
for (const type of [COMMAND_COMPLETE, BACKEND_KEY]) longest[type] = small;
for (const type of [COPY_IN, COPY_OUT, COPY_BOTH, NOTIFICATION, NEGOTIATE]) {
  longest[type] = medium;
}
longest[PARAMETER_STATUS] = maxStartupLength;
for (const type of [AUTHENTICATION, PARAMETER_DESCRIPTION]) longest[type] = medium;
for (const type of [ERROR, NOTICE, ROW_DESCRIPTION]) longest[type] = 16 * medium;
for (const type of [DATA_ROW, COPY_DATA]) longest[type] = maxLength;

/** @throws ProtocolError for what cannot be; asked before anything of the message is kept. */
export function checkLength(type: number, length: number, starting: boolean): void {
  const max = longest[type] as number;
  if (max === 0) throw new ProtocolError(`a message of the unknown type ${type}`);
  if (length < 4 || length > max || (starting && length > maxStartupLength)) {
    throw new ProtocolError(`a message '${String.fromCharCode(type)}' of ${length} bytes`);
  }
}
