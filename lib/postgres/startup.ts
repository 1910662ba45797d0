/**
 * From the first byte to the first ReadyForQuery: encryption, start-up, authentication.
 *
 * In: a transport that is open. Out: a session, or the reason why there is none. Never: a byte
 * that came before TLS was agreed on and is read after it; a password for a server that asks in a
 * way that was not expected; an end of SCRAM without the server's proof.
 */
import { Buffer } from 'node:buffer';
import { Waiter } from '../task/waiter.ts';
import { endPointOf } from './encrypt.ts';
import { PostgresConnectionError, PostgresError, ProtocolError, readFields } from './errors.ts';
import * as proto from './protocol.ts';
import { type ChannelBinding, md5Answer, Scram, unbound } from './scram.ts';
import type { Session } from './session.ts';
import type { StartupHandler, Wire } from './wire.ts';
import type { Writer } from './writer.ts';

const scramPlus = 'SCRAM-SHA-256-PLUS';

const OK = 0;
const CLEARTEXT = 3;
const MD5 = 5;
const SASL = 10;
const SASL_CONTINUE = 11;
const SASL_FINAL = 12;

/** Messages before the first ReadyForQuery: a server that goes on and on is none. */
const maxMessages = 2_000;

function writeStartup(out: Writer, session: Session): void {
  const { plan } = session;
  const settings: Record<string, string> = {
    user: plan.user,
    database: plan.database,
    client_encoding: 'UTF8',
    ...plan.serverSettings,
  };
  const mark = out.mark();
  out.int32(0);
  out.int32(proto.PROTOCOL_3_0);
  for (const [name, value] of Object.entries(settings)) {
    out.cstring(name);
    out.cstring(value);
  }
  out.byte(0);
  out.patchLength(mark, 4);
}

function fail(why: string): never {
  throw new PostgresConnectionError(`Authentication failed: ${why}`);
}

/** Waits for ReadyForQuery. */
export class Startup extends Waiter<void> implements StartupHandler {
  readonly #session: Session;
  readonly #wire: Wire;
  readonly #password: string | undefined;
  #scram: Scram | null = null;
  #proven = false;
  #authenticated = false;
  /** The answer to SCRAM is being computed. */
  #computing = false;
  #messages = 0;

  constructor(session: Session, password: string | undefined) {
    super('connect');
    this.#session = session;
    this.#wire = session.wire;
    this.#password = password;
  }

  /** Sends the start-up message. A cancellation ends the connection. */
  open(): Promise<void> {
    const promise = this.start();
    if (!this.active) {
      this.#wire.destroy(new PostgresConnectionError('Cancelled'));
      return promise;
    }
    this.#wire.startup = this;
    if (this.#wire.closed) this.lost(new PostgresConnectionError('The server closed at once'));
    writeStartup(this.#wire.out, this.#session);
    this.#wire.flush();
    return promise;
  }

  override onCancel(): void {
    this.#wire.startup = null;
    this.#wire.destroy(new PostgresConnectionError('Cancelled'));
  }

  lost(error: PostgresConnectionError): void {
    this.fail(error);
  }

  onMessage(type: number, body: Buffer): void {
    if (++this.#messages > maxMessages) throw new ProtocolError('no end of its start-up messages');
    if (this.#computing) throw new ProtocolError('a message before our answer to SCRAM');
    switch (type) {
      case proto.AUTHENTICATION:
        this.#authentication(body);
        return;
      case proto.ERROR:
        this.#refused(new PostgresError(readFields(body)));
        return;
      case proto.NOTICE:
        this.#session.notice(new PostgresError(readFields(body)));
        return;
      case proto.NEGOTIATE:
        // A server of 3.0 names the options it does not know; we send none.
        if (body.length < 8 || body.readInt32BE(0) >>> 16 !== 3) fail('an unknown protocol');
        return;
    }
    if (!this.#authenticated) {
      throw new ProtocolError(`a message '${String.fromCharCode(type)}' before authentication`);
    }
    this.#afterwards(type, body);
  }

  #afterwards(type: number, body: Buffer): void {
    const wire = this.#wire;
    switch (type) {
      case proto.PARAMETER_STATUS: {
        const at = body.byteOffset;
        wire.readStrings(type, at, at + body.length);
        return;
      }
      case proto.BACKEND_KEY:
        if (body.length < 8 || body.length > 260) throw new ProtocolError('its cancellation key');
        this.#session.pid = body.readInt32BE(0);
        this.#session.secret = Buffer.from(body.subarray(4));
        return;
      case proto.READY:
        if (body[0] !== proto.IDLE) throw new ProtocolError('a transaction at the start');
        wire.status = proto.IDLE;
        wire.startup = null;
        this.wake();
        return;
    }
    throw new ProtocolError(`a message '${String.fromCharCode(type)}' at the start`);
  }

  #refused(error: PostgresError): void {
    this.#wire.startup = null;
    this.fail(error);
    this.#wire.destroy(new PostgresConnectionError(error.message, { cause: error }));
  }

  #authentication(body: Buffer): void {
    if (body.length < 4) throw new ProtocolError('an authentication request without its kind');
    if (this.#authenticated) throw new ProtocolError('a second authentication');
    const kind = body.readInt32BE(0);
    switch (kind) {
      case OK:
        if (this.#scram !== null && !this.#proven) {
          fail('the server did not prove that it knows the password');
        }
        if (this.#scram === null && this.#session.plan.channelBinding === 'require') {
          fail('channel binding is required, and the server asked for no proof');
        }
        this.#authenticated = true;
        return;
      case CLEARTEXT:
        this.#checkFresh();
        this.#send(`${this.#secret('a password')}\0`);
        return;
      case MD5:
        this.#checkFresh();
        if (body.length !== 8) throw new ProtocolError('a salt of another length than 4');
        this.#send(
          `${md5Answer(this.#session.plan.user, this.#secret('md5'), body.subarray(4))}\0`,
        );
        return;
      case SASL:
        this.#checkFresh();
        this.#beginScram(body.toString('latin1', 4));
        return;
      case SASL_CONTINUE:
        this.#continueScram(body.toString('utf8', 4));
        return;
      case SASL_FINAL:
        if (this.#scram === null || this.#proven) throw new ProtocolError('an end of SCRAM');
        this.#scram.verify(body.toString('utf8', 4));
        this.#proven = true;
        return;
    }
    fail(`the server wants the method ${kind}, which this client does not have`);
  }

  /** A server that was not content with one method does not get the password by another. */
  #checkFresh(): void {
    if (this.#scram !== null || this.#asked) fail('the server asks for a second method');
    this.#asked = true;
  }

  #asked = false;

  #secret(method: string): string {
    const password = this.#password;
    if (password === undefined || password === '')
      fail(`the server asks for ${method}, there is none`);
    if (password.includes('\0')) fail('the password has a NUL');
    return password;
  }

  #beginScram(list: string): void {
    const offered = list.split('\0').filter(Boolean);
    const binding = this.#binding(offered);
    const mechanism = binding.data.length > 0 ? scramPlus : 'SCRAM-SHA-256';
    if (!offered.includes(mechanism)) {
      fail(`the server has none of our mechanisms, but ${offered.join(', ')}`);
    }
    const scram = new Scram(this.#secret('a password'), binding);
    this.#scram = scram;
    const first = Buffer.from(scram.first);
    const length = Buffer.alloc(4);
    length.writeInt32BE(first.length);
    this.#send(Buffer.concat([Buffer.from(`${mechanism}\0`), length, first]));
  }

  /** Bound to the server's certificate when both sides can (libpq: channel_binding). */
  #binding(offered: readonly string[]): ChannelBinding {
    const { transport } = this.#wire;
    const { channelBinding } = this.#session.plan;
    const data = channelBinding === 'disable' || transport === null ? null : endPointOf(transport);
    if (data !== null && offered.includes(scramPlus)) {
      return { flag: 'p=tls-server-end-point', data };
    }
    if (channelBinding === 'require') fail('channel binding is required, and there is none');
    // The server that could have bound sees that somebody took its offer away.
    return data === null ? unbound : { ...unbound, flag: 'y' };
  }

  #continueScram(serverFirst: string): void {
    const scram = this.#scram;
    if (scram === null || this.#continued) throw new ProtocolError('a SCRAM message out of order');
    this.#continued = true;
    this.#computing = true;
    scram.final(serverFirst, (error, answer) => {
      this.#computing = false;
      if (!this.active || this.#wire.closed) return;
      if (error) this.#wire.destroy(new PostgresConnectionError('pbkdf2 failed', { cause: error }));
      else this.#send(answer);
    });
  }

  #continued = false;

  #send(data: string | Uint8Array): void {
    const { out } = this.#wire;
    const mark = out.message(proto.PASSWORD);
    if (typeof data === 'string') out.text(data);
    else out.bytes(data);
    out.endMessage(mark);
    this.#wire.flush();
  }
}
