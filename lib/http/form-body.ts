/**
 * Forms that are sent.
 *
 * In: a FormData. Out: a Blob of multipart/form-data (RFC 7578, WHATWG HTML 4.10.21.8): its length
 * is known, and files are read while they are sent. Never: a name that breaks out of its line.
 */
import { randomBytes } from 'node:crypto';

/** Inside quotes. */
function escaped(name: string): string {
  return name.replace(/\r\n|\r|\n|"/g, (one) => {
    return one === '"' ? '%22' : one === '\r' ? '%0D' : one === '\n' ? '%0A' : '%0D%0A';
  });
}

/**
 * Not by the Web's Response, whose stream of a form ends the process when it is cancelled during a
 * read (undici of Node 22 to 26), and has no length.
 */
export function formBlob(form: FormData): Blob {
  const boundary = `----uvio${randomBytes(16).toString('hex')}`;
  const parts: (string | Blob)[] = [];
  for (const [name, value] of form) {
    let head = `--${boundary}\r\nContent-Disposition: form-data; name="${escaped(lineEnds(name))}"`;
    if (typeof value === 'string') {
      parts.push(`${head}\r\n\r\n${lineEnds(value)}\r\n`);
    } else {
      head += `; filename="${escaped(value.name)}"\r\nContent-Type: ${value.type || octets}`;
      parts.push(`${head}\r\n\r\n`, value, '\r\n');
    }
  }
  parts.push(`--${boundary}--\r\n`);
  return new Blob(parts, { type: `multipart/form-data; boundary=${boundary}` });
}

const octets = 'application/octet-stream';

/** Names and texts have CRLF, wherever they come from. */
function lineEnds(text: string): string {
  return text.replace(/\r\n|\r|\n/g, '\r\n');
}
