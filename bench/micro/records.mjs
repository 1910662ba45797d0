// User-level cost of a message on native(): records in, Protocol echo, out slab; no kernel, no
// sockets. `node bench/micro/records.mjs [bytes] [records a batch]`

import { defaultLimits } from '../../dist/io/limits.js';
import { StreamTransport } from '../../dist/io/transport.js';
import { EventLoop } from '../../dist/loop/event-loop.js';
import { NativeBackend } from '../../dist/loop/native/backend.js';
import { loadBinding } from '../../dist/loop/native/binding.js';
import { NativeHub } from '../../dist/loop/native/hub.js';
import { CTL_OUT_COUNT, CTL_OUT_POS, REC_DATA } from '../../dist/loop/native/layout.js';
import { NativeStream } from '../../dist/loop/native/stream.js';

const bytes = Number(process.argv[2] ?? 64);
const batch = Number(process.argv[3] ?? 64);
const { binding, info } = loadBinding();
if (binding === null) throw new Error(info.reason);

// The real layout, no real hub: calls are answered here.
let dispatch;
const nothing = () => 0;
const fake = new Proxy(
  { layout: binding.layout, now: () => performance.now() },
  { get: (target, name) => target[name] ?? nothing },
);
const inOffset = binding.layout[2];
let shared;
fake.setup = (memory, fn) => {
  shared = memory;
  dispatch = fn;
  return 0;
};
const hub = new NativeHub(fake);
let backend;
const loop = new EventLoop((host) => {
  backend = new NativeBackend(hub, host, 0);
  return backend;
});

class Echo {
  connectionMade(transport) {
    this.transport = transport;
  }

  dataReceived(data) {
    this.transport.write(data);
  }
}

const records = new Int32Array(shared.buffer, inOffset, batch * 4);
for (let id = 0; id < batch; id += 1) {
  const stream = new NativeStream(backend, id);
  backend.added(stream);
  const transport = new StreamTransport(loop, stream, defaultLimits, null);
  stream.sink = transport;
  transport.begin(new Echo());
  records.set([id, REC_DATA, (id * bytes) % 32_768, bytes], id * 4);
}

for (let round = 0; round < 8; round += 1) {
  const batches = Math.ceil(2e6 / batch);
  const start = process.hrtime.bigint();
  for (let i = 0; i < batches; i += 1) {
    dispatch(batch);
    hub.ctl[CTL_OUT_COUNT] = 0;
    hub.ctl[CTL_OUT_POS] = 0;
  }
  const ns = Number(process.hrtime.bigint() - start) / (batches * batch);
  console.log(`${bytes} B, ${batch} a batch: ${ns.toFixed(1)} ns a message`);
}
process.exit(0);
