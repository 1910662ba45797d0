"""WebSocket peers of other libraries: servers that echo, then clients of the URL that is given.

One line of JSON each: the ports of the servers; then, once a line came, what the clients were
answered.
"""
import asyncio
import json
import sys

import aiohttp
import aiohttp.web
import websockets

SIZES = [0, 5, 1000, 70000, 5, 200000]


def message(size):
    return ('{"n":%d}' % size) * (size // 6) + 'é'


async def echo_of_websockets(socket):
    async for data in socket:
        await socket.send(data)


async def echo_of_aiohttp(request):
    socket = aiohttp.web.WebSocketResponse(compress=True, max_msg_size=0)
    await socket.prepare(request)
    async for message_ in socket:
        if message_.type == aiohttp.WSMsgType.TEXT:
            await socket.send_str(message_.data)
        else:
            await socket.send_bytes(message_.data)
    return socket


async def ask_by_websockets(url):
    async with websockets.connect(url, max_size=None) as socket:
        for size in SIZES:
            await socket.send(message(size))
            assert await socket.recv() == message(size), size
        pong = await socket.ping()
        await pong
        await socket.send(b'\x00\xff')
        assert await socket.recv() == b'\x00\xff'
        names = [one.name for one in socket.extensions]
    return [names, socket.close_code]


async def ask_by_aiohttp(url):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, compress=15, max_msg_size=0) as socket:
            for size in SIZES:
                await socket.send_str(message(size))
                assert await socket.receive_str() == message(size), size
            await socket.ping()
            compress = socket.compress
        return [compress, socket.close_code]


async def main():
    server = await websockets.serve(echo_of_websockets, '127.0.0.1', 0, max_size=None)
    app = aiohttp.web.Application()
    app.router.add_get('/', echo_of_aiohttp)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, '127.0.0.1', 0)
    await site.start()
    ports = [server.sockets[0].getsockname()[1], runner.addresses[0][1]]
    print(json.dumps(ports), flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    url = sys.argv[1]
    answers = [await ask_by_websockets(url), await ask_by_aiohttp(url)]
    print(json.dumps(answers), flush=True)
    await runner.cleanup()
    server.close()
    await server.wait_closed()


asyncio.run(main())
