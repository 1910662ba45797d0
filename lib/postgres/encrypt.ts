/**
 * Encryption of a connection: the question whether the server has TLS, the options of TLS, and what
 * ties a password's proof to it.
 *
 * In: an address and a plan. Out: an open transport whose protocol is the wire. Never: a byte that
 * came before TLS was agreed on and is read after it; a plain connection where TLS was required.
 */
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import '../io/loop-methods.ts';
import type { TlsClientOptions } from '../io/net-types.ts';
import type { Protocol, StreamProtocol, Transport } from '../io/protocols.ts';
import { Waiter } from '../task/waiter.ts';
import { PostgresConnectionError } from './errors.ts';
import type { Address, ConnectPlan } from './options.ts';
import * as proto from './protocol.ts';
import type { Loop } from './wire.ts';

/** A protocol that keeps its transport: the wire, and the courier of a cancellation. */
export type Passenger = StreamProtocol & { connectionMade(transport: Transport): void };

const alpn = 'postgresql';

const answerYes = 0x53;
const answerNo = 0x4e;

/** Asks for TLS and waits for one byte. */
class TlsQuestion extends Waiter<number> implements Protocol {
  transport: Transport | null = null;

  constructor() {
    super('connect');
  }

  ask(transport: Transport): Promise<number> {
    const promise = this.start();
    const message = Buffer.alloc(8);
    message.writeInt32BE(8, 0);
    message.writeInt32BE(proto.SSL_REQUEST, 4);
    if (this.active) transport.write(message);
    return promise;
  }

  dataReceived(data: Buffer): void {
    const transport = this.transport as Transport;
    transport.pauseReading();
    if (data.length === 1) {
      this.wake(data[0] as number);
      return;
    }
    // CVE-2021-23222: what came before TLS must not be read as if it had come through it.
    transport.abort();
    this.fail(new PostgresConnectionError('The server sent more than its answer about TLS'));
  }

  connectionMade(transport: Transport): void {
    this.transport = transport;
  }

  connectionLost(error?: Error): void {
    const message = 'The server closed the connection when asked for TLS';
    this.fail(new PostgresConnectionError(message, { cause: error }));
  }
}

/** Whether it is a folder of UNIX sockets. */
export function isSocketFile({ host, ip }: Address): boolean {
  return ip === undefined && host.startsWith('/');
}

/** What all of io's are. */
interface TcpTransport extends Transport {
  setKeepAlive?(enable: boolean, idleMs: number): void;
}

async function open(
  loop: Loop,
  { keepAliveMs }: ConnectPlan,
  address: Address,
  protocol: StreamProtocol,
): Promise<Transport> {
  const { host, port, ip } = address;
  if (isSocketFile(address)) {
    const path = join(host, `.s.PGSQL.${port}`);
    const [transport] = await loop.createUnixConnection(() => protocol, path);
    return transport;
  }
  const [transport] = await loop.createConnection(() => protocol, { host: ip ?? host, port });
  // Else the end of a server behind a gateway that has forgotten the connection is never noticed.
  if (keepAliveMs !== null) (transport as TcpTransport).setKeepAlive?.(true, keepAliveMs);
  return transport;
}

function tlsOptions(plan: ConnectPlan, host: string): TlsClientOptions {
  const options: TlsClientOptions = { servername: host, ...plan.tlsOptions };
  if (plan.tls === 'prefer' || plan.tls === 'require') options.rejectUnauthorized = false;
  if (plan.tls === 'verify-ca') options.checkServerIdentity = () => undefined;
  // Servers before 17 know no names of protocols, and no TLS that they were not asked for.
  if (plan.directTls) options.ALPNProtocols = [alpn];
  return options;
}

/** An open transport whose protocol is `passenger`. */
export async function openWire(
  loop: Loop,
  plan: ConnectPlan,
  address: Address,
  passenger: Passenger,
): Promise<void> {
  if (plan.tls === 'disable' || isSocketFile(address)) {
    await open(loop, plan, address, passenger);
    return;
  }
  const question = new TlsQuestion();
  let transport = await open(loop, plan, address, question);
  try {
    const answer = plan.directTls ? answerYes : await question.ask(transport);
    if (answer === answerYes) {
      transport = await loop.startTls(transport, passenger, tlsOptions(plan, address.host));
      // Nothing was asked in the clear, so that this is all that tells it from a server of others.
      if (plan.directTls && transport.tls?.alpn !== alpn) {
        throw new PostgresConnectionError('The server of directTls does not speak PostgreSQL');
      }
    } else if (answer !== answerNo) {
      throw new PostgresConnectionError('The server did not understand about TLS');
    } else if (plan.tls !== 'prefer') {
      throw new PostgresConnectionError('The server has no TLS');
    } else {
      transport.protocol = passenger;
    }
    passenger.connectionMade(transport);
    transport.resumeReading();
  } catch (error) {
    transport.abort();
    throw error;
  }
}

// --- Channel binding

/** The part after the tag and the length of the element of DER at `at`, and where it ends. */
function element(der: Uint8Array, at: number): [begin: number, end: number] {
  const first = der[at + 1] ?? 0;
  if (first < 0x80) return [at + 2, at + 2 + first];
  let length = 0;
  const bytes = first & 0x7f;
  for (let i = 0; i < bytes; i++) length = length * 256 + (der[at + 2 + i] ?? 0);
  return [at + 2 + bytes, at + 2 + bytes + length];
}

/** By the algorithm that signed the certificate, as the hex of its OID. */
const hashes: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5 and sha1 are replaced by sha256 (RFC 5929 4.1)
  '2a864886f70d010105': 'sha256',
  '2a864886f70d01010e': 'sha224',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a8648ce3d0401': 'sha256',
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
};

/**
 * `tls-server-end-point` of RFC 5929: a hash of the server's certificate. Null when there is none,
 * or its signature names no hash (Ed25519, RSA-PSS).
 */
export function endPointOf(transport: Transport): Buffer | null {
  const der = transport.tls?.peerCertificate?.raw;
  if (der === undefined) return null;
  const [inside] = element(der, 0);
  const [, afterBody] = element(der, inside);
  const [algorithm] = element(der, afterBody);
  const [begin, end] = element(der, algorithm);
  const hash = hashes[der.toString('hex', begin, end)];
  return hash === undefined ? null : createHash(hash).update(der).digest();
}
