// Echo that reads into memory of its own: BufferedProtocol, one block per connection.
import { address, serve } from './uvio-shared.mjs';

const BLOCK_BYTES = 256 * 1024;

class Echo {
  transport = null;
  block = Buffer.allocUnsafeSlow(BLOCK_BYTES);

  connectionMade(transport) {
    this.transport = transport;
  }

  // write() has sent or copied the last bytes before it returned.
  getBuffer() {
    return this.block;
  }

  bufferUpdated(bytes) {
    this.transport.write(this.block.subarray(0, bytes));
  }
}

await serve((loop) => loop.createServer(() => new Echo(), address));
