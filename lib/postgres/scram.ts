/**
 * SCRAM-SHA-256, with and without channel binding (RFC 5802, 7677) and PostgreSQL's md5.
 *
 * In: the password and the server's messages. Out: the answers. Never: trust in a server that has
 * not proven that it knows the password; a computation on this thread that the server may choose
 * the length of.
 */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import { PostgresConnectionError } from './errors.ts';
import { saslPrep } from './sasl-prep.ts';

/** PostgreSQL's default is 4096. */
const maxIterations = 100_000;

const sha256 = (data: Uint8Array): Buffer => createHash('sha256').update(data).digest();
const hmac = (key: Uint8Array, data: string): Buffer =>
  createHmac('sha256', key).update(data).digest();

function fail(why: string): never {
  throw new PostgresConnectionError(`SCRAM authentication failed: ${why}`);
}

/** The attributes of a message, in the order that the RFC wants. */
function attributes(message: string, ...names: string[]): string[] {
  const parts = message.split(',');
  return names.map((name, i) => {
    const part = parts[i];
    if (part === undefined || !part.startsWith(`${name}=`)) fail(`the server sent no '${name}'`);
    return part.slice(2);
  });
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

function bytesOf(text: string, what: string): Buffer {
  if (text === '' || !base64.test(text)) fail(`the server's ${what} is no base64`);
  return Buffer.from(text, 'base64');
}

/** What ties the proof to the TLS connection (RFC 5929). */
export interface ChannelBinding {
  /** `p=…`: bound; `y`: this client could have bound; `n`: it could not. */
  readonly flag: string;
  readonly data: Uint8Array;
}

export const unbound: ChannelBinding = { flag: 'n', data: new Uint8Array() };

/** One exchange. */
export class Scram {
  readonly #password: string;
  readonly #nonce: string;
  readonly #binding: ChannelBinding;
  #serverSignature: Buffer | null = null;

  constructor(
    password: string,
    binding: ChannelBinding = unbound,
    nonce: string = randomBytes(18).toString('base64'),
  ) {
    this.#password = password;
    this.#binding = binding;
    this.#nonce = nonce;
  }

  /** PostgreSQL takes the user from the start-up message. */
  get first(): string {
    return `${this.#binding.flag},,n=,r=${this.#nonce}`;
  }

  /** The answer to the server's first message, computed on another thread. */
  final(serverFirst: string, done: (error: unknown, answer: string) => void): void {
    const [nonce = '', saltText = '', count = ''] = attributes(serverFirst, 'r', 's', 'i');
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) {
      fail('the server did not add to our nonce');
    }
    const salt = bytesOf(saltText, 'salt');
    const iterations = /^[1-9]\d{0,9}$/.test(count) ? Number(count) : 0;
    if (iterations === 0) fail('the iteration count is no number');
    if (iterations > maxIterations) {
      fail(`the server asks for ${iterations} iterations, at most ${maxIterations} are allowed`);
    }
    pbkdf2(saslPrep(this.#password), salt, iterations, 32, 'sha256', (error, salted) => {
      if (error) return done(error, '');
      const { flag, data } = this.#binding;
      const bound = Buffer.concat([Buffer.from(`${flag},,`), data]).toString('base64');
      const withoutProof = `c=${bound},r=${nonce}`;
      const all = `n=,r=${this.#nonce},${serverFirst},${withoutProof}`;
      const clientKey = hmac(salted, 'Client Key');
      const signature = hmac(sha256(clientKey), all);
      const proof = clientKey.map((byte, i) => byte ^ (signature[i] as number));
      this.#serverSignature = hmac(hmac(salted, 'Server Key'), all);
      done(null, `${withoutProof},p=${Buffer.from(proof).toString('base64')}`);
    });
  }

  /** @throws PostgresConnectionError when the server does not know the password */
  verify(serverFinal: string): void {
    const expected = this.#serverSignature;
    if (expected === null) fail('the server ended before its turn');
    if (serverFinal.startsWith('e=')) fail(serverFinal.slice(2));
    const [text = ''] = attributes(serverFinal, 'v');
    const given = bytesOf(text, 'signature');
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      fail("the server's signature is wrong");
    }
  }
}

/** md5(md5(password + user) + salt), as PostgreSQL wants it. */
export function md5Answer(user: string, password: string, salt: Uint8Array): string {
  const inner = createHash('md5')
    .update(password + user)
    .digest('hex');
  return `md5${createHash('md5').update(inner).update(salt).digest('hex')}`;
}
