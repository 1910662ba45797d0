// Echo that reads into memory of its own: BufferedProtocol, one block per connection.
import { address, serve } from './uvio-shared.mjs';

const BLOCK_BYTES = 256 * 1024;

class Echo {
  transport = null;
  block = null;

  connectionMade(transport) {
    this.transport = transport;
  }

  // What write() was given belongs to the transport until it is written: the block may be filled
  // again only while nothing waits, else the next read gets a new one.
  getBuffer() {
    if (this.block === null || this.transport.writeBufferBytes > 0) {
      this.block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    }
    return this.block;
  }

  bufferUpdated(bytes) {
    this.transport.write(this.block.subarray(0, bytes));
  }
}

await serve((loop) => loop.createServer(() => new Echo(), address));
