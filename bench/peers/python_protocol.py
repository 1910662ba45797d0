"""Echo on asyncio's Protocol: data_received -> write. On uvloop, or with `asyncio` on asyncio."""

import asyncio

from python_shared import serve


class Echo(asyncio.Protocol):
    __slots__ = ("transport",)

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def start():
    loop = asyncio.get_running_loop()
    return await loop.create_server(Echo, "127.0.0.1", 0, backlog=511)


serve(start)
