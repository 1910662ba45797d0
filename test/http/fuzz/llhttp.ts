/**
 * llhttp, as Node has it, for comparison.
 *
 * In: bytes. Out: the messages that it saw, and its error. Never: a lenient flag.
 */
import { createRequire } from 'node:module';

export interface Message {
  method: string;
  target: string;
  status: number;
  /** Flat. */
  lines: string[];
  body: string;
  upgrade: boolean;
  complete: boolean;
}

interface Common {
  methods: readonly string[];
  HTTPParser: {
    new (): Parser;
    readonly REQUEST: number;
    readonly RESPONSE: number;
    readonly kOnHeaders: number;
    readonly kOnHeadersComplete: number;
    readonly kOnBody: number;
    readonly kOnMessageComplete: number;
  };
}

interface Parser {
  [callback: number]: unknown;
  initialize(type: number, resource: object, maxHeaderSize?: number): void;
  execute(bytes: Uint8Array): number | (Error & { code: string; bytesParsed: number });
  finish(): undefined | (Error & { code: string });
  close(): void;
}

const common = createRequire(import.meta.url)('_http_common') as Common;

export interface Parsed {
  readonly messages: Message[];
  readonly code: string;
}

/** @param skipBody of responses: the request was HEAD */
export function parseWithLlhttp(
  kind: 'REQUEST' | 'RESPONSE',
  bytes: Buffer,
  options: { readonly skipBody?: boolean; readonly ends?: boolean } = {},
): Parsed {
  const { HTTPParser, methods } = common;
  const parser = new HTTPParser();
  parser.initialize(HTTPParser[kind], {}, 16_384);
  const messages: Message[] = [];
  let lines: string[] = [];
  let target = '';
  parser[HTTPParser.kOnHeaders] = (more: string[], url: string) => {
    lines.push(...more);
    target += url;
  };
  parser[HTTPParser.kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    rest: string[] | undefined,
    method: number | undefined,
    url: string | undefined,
    status: number | undefined,
    _text: string | undefined,
    upgrade: boolean,
  ) => {
    messages.push({
      method: method === undefined ? '' : (methods[method] as string),
      target: target + (url ?? ''),
      status: status ?? 0,
      lines: [...lines, ...(rest ?? [])],
      body: '',
      upgrade,
      complete: false,
    });
    lines = [];
    target = '';
    return options.skipBody === true ? 1 : 0;
  };
  parser[HTTPParser.kOnBody] = (chunk: Buffer, from?: number, size?: number) => {
    const piece = from === undefined ? chunk : chunk.subarray(from, from + (size as number));
    (messages.at(-1) as Message).body += piece.toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    (messages.at(-1) as Message).complete = true;
    // Of trailers.
    lines = [];
    target = '';
  };
  const result = parser.execute(bytes);
  const failed = typeof result !== 'number';
  const end = failed || options.ends !== true ? undefined : parser.finish();
  // Its memory is not the collector's.
  parser.close();
  if (failed) return { messages, code: result.code };
  return { messages, code: end === undefined ? '' : end.code };
}
