/**
 * Server-sent events of a response. (WHATWG HTML 9.2.6)
 *
 * In: a byte reader. Out: events. Never: an event that its blank line did not complete.
 */
import type { ByteReader } from '../../io/net-types.ts';
import { ClientPayloadError } from '../client-errors.ts';
import type { ServerSentEvent } from '../events.ts';

/** Data of one event, and a line of it. */
const maxEventLength = 4_194_304;

/** Cuts text into lines that end with CR, LF or both. */
class Lines {
  readonly #decoder = new TextDecoder();
  #rest = '';
  #afterCr = false;

  *add(chunk: Uint8Array): Generator<string> {
    let text = this.#decoder.decode(chunk, { stream: true });
    if (text === '') return;
    if (this.#afterCr && text.startsWith('\n')) text = text.slice(1);
    this.#afterCr = text.endsWith('\r');
    const lines = text.split(/\r\n|\r|\n/);
    // Looked at once, however small the pieces are in which a long line comes.
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop() as string;
    if (this.#rest.length > maxEventLength) throw new ClientPayloadError('A line is too long');
    yield* lines;
  }
}

class Pending {
  #data: string[] = [];
  #length = 0;
  #event = '';
  #retryMs: number | undefined = undefined;
  /** Stays for the events that follow. */
  #id: string | undefined = undefined;

  /** The event that the line completes; null: none. */
  add(line: string): ServerSentEvent | null {
    if (line === '') return this.#take();
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (name === 'data') {
      // Lines without text take memory as well.
      this.#length += value.length + 1;
      if (this.#length > maxEventLength) throw new ClientPayloadError('An event is too long');
      this.#data.push(value);
    } else if (name === 'event') this.#event = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
    else if (name === 'retry' && /^\d{1,9}$/.test(value)) this.#retryMs = Number(value);
    return null;
  }

  #take(): ServerSentEvent | null {
    const data = this.#data;
    const event = this.#event;
    const retryMs = this.#retryMs;
    const id = this.#id;
    this.#data = [];
    this.#length = 0;
    this.#event = '';
    if (data.length === 0) return null;
    this.#retryMs = undefined;
    return {
      data: data.join('\n'),
      ...(event === '' ? {} : { event }),
      ...(id === undefined ? {} : { id }),
      ...(retryMs === undefined ? {} : { retryMs }),
    };
  }
}

/** What is told of a loop over events. */
interface ReadingWatch {
  entered(): void;
  left(): void;
}

export async function* readEvents(
  reader: ByteReader,
  watch: ReadingWatch | null = null,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  const lines = new Lines();
  const pending = new Pending();
  watch?.entered();
  try {
    for await (const chunk of reader) {
      for (const line of lines.add(chunk)) {
        const event = pending.add(line);
        if (event !== null) yield event;
      }
    }
  } finally {
    watch?.left();
  }
}
