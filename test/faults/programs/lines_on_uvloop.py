"""The server of uvio_lines.mjs with asyncio's streams on uvloop; asyncio has no workers."""

import asyncio
import json
import os
import signal
import sys

import uvloop


def say(message):
    print(json.dumps(message), flush=True)


async def main():
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    idle = set()
    handlers = set()
    started = 0

    async def answer(line):
        nonlocal started
        started += 1
        if line == "/who":
            return str(os.getpid())
        await asyncio.sleep(0.02)
        return line[len("/id/") :]

    async def converse(reader, writer):
        task = asyncio.current_task()
        handlers.add(task)
        try:
            while not stopping.is_set():
                idle.add(task)
                line = await reader.readline()
                idle.discard(task)
                if not line:
                    break
                writer.write(f"{await answer(line.decode().strip())}\n".encode())
                await writer.drain()
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            idle.discard(task)
            handlers.discard(task)
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, backlog=4096)
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    # Whoever started this may be gone.
    loop.add_reader(sys.stdin, lambda: os._exit(1))
    say({"event": "ready", "port": server.sockets[0].getsockname()[1]})
    await stopping.wait()
    server.close()
    for task in idle:
        task.cancel()
    while handlers:
        await asyncio.wait(handlers)
    say({"event": "end", "started": started})


uvloop.install()
asyncio.run(main())
