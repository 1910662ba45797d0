"""Echo on asyncio's streams: read -> write, drain. On uvloop, or with `asyncio` on asyncio."""

import asyncio

from python_shared import serve


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def start():
    return await asyncio.start_server(echo, "127.0.0.1", 0, backlog=511)


serve(start)
