// What node:net asks of any client on it: queries are bytes that are ready, of an answer only its
// end is looked for. No row is made, no length is read: no client can cost less there.
import { once } from 'node:events';
import net from 'node:net';

function message(type, ...parts) {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const head = Buffer.alloc(type.length + 4);
  head.write(type);
  head.writeInt32BE(body.length + 4, type.length);
  return Buffer.concat([head, body]);
}

const int16 = (value) => [(value >> 8) & 255, value & 255];
const int32 = (value) => [...int16(value >> 16), ...int16(value)];

/** Bind with text arguments and binary results, Execute, Sync. */
function asking(name, args) {
  const values = args.flatMap((arg) => {
    const bytes = Buffer.from(typeof arg === 'boolean' ? String(arg)[0] : String(arg));
    return [int32(bytes.length), bytes];
  });
  const bind = ['\0', `${name}\0`, int16(0), int16(args.length), ...values, int16(1), int16(1)];
  return [message('B', ...bind), message('E', '\0', int32(0)), message('S')];
}

/** ReadyForQuery is the last that the server says. */
const isEnd = (bytes) => bytes.length > 5 && bytes.readUInt32BE(bytes.length - 5) === 5;

export async function openFloor({ host, port, user, database }) {
  const socket = net.connect({ host, port, noDelay: true });
  await once(socket, 'connect');
  let wake = () => {};
  let tail = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    tail = chunk.length > 5 ? chunk : Buffer.concat([tail, chunk]);
    if (isEnd(tail) && tail[tail.length - 6] === 0x5a) wake();
  });
  const send = (bytes) =>
    new Promise((resolve) => {
      wake = resolve;
      socket.write(bytes);
    });
  const words = `user\0${user}\0database\0${database}\0\0`;
  await send(message('', int32(196_608), words));
  const known = new Map();
  return {
    fetch(sql, args) {
      const bytes = known.get(sql);
      if (bytes !== undefined) return send(bytes);
      const asked = asking(`s${known.size}`, args);
      const parse = message('P', `s${known.size}\0`, `${sql}\0`, int16(0));
      known.set(sql, Buffer.concat(asked));
      return send(Buffer.concat([parse, ...asked]));
    },
    end: () => socket.destroy(),
  };
}
