// Echo on uvio's callback layer: data -> write.
import { address, serve } from './uvio-shared.mjs';

class Echo {
  transport = null;

  connectionMade(transport) {
    this.transport = transport;
  }

  dataReceived(data) {
    this.transport.write(data);
  }
}

await serve((loop) => loop.createServer(() => new Echo(), address));
