// One echo program. UVIO_POLICY=pure or native chooses the loop; the code does not change.
import { getRunningLoop, type Protocol, run, type Transport } from 'uvio';

class Echo implements Protocol {
  #transport: Transport | undefined;

  connectionMade(transport: Transport): void {
    this.#transport = transport;
  }

  dataReceived(data: Buffer): void {
    this.#transport?.write(data);
  }

  // Back-pressure: a peer that does not read is not read from.
  pauseWriting(): void {
    this.#transport?.pauseReading();
  }

  resumeWriting(): void {
    this.#transport?.resumeReading();
  }
}

await run(async () => {
  const server = await getRunningLoop().createServer(() => new Echo(), {
    host: '127.0.0.1',
    port: Number(process.env['PORT'] ?? 0),
  });
  console.log(`listening on port ${server.port}`);
  await server.serveForever();
});
