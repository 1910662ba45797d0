"""What both Python peers do: choose the loop, say where they listen, end on SIGTERM."""

import asyncio
import gc
import os
import signal
import sys


def serve(start):
    """Runs the server that `start()` makes, on uvloop or with `asyncio` as argument on asyncio."""
    if "asyncio" not in sys.argv[1:]:
        import uvloop

        uvloop.install()
    asyncio.run(_serve(start))


async def _serve(start):
    server = await start()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR2, _collect)
    port = server.sockets[0].getsockname()[1]
    print('{"port":%d}' % port, flush=True)
    await stop.wait()
    # Connections that are left would only be reported as cancelled.
    os._exit(0)


def _collect():
    gc.collect()
    print('{"collected":true}', flush=True)
