"""asyncio's streams on uvloop under the same faults and commands as uvio.mjs."""

import asyncio
import errno
import gc
import json
import os
import resource
import socket
import ssl
import sys
from pathlib import Path

import uvloop

streams = {}
taken = {}
endpoints = []
datagrams = 0
pems = Path(__file__).parents[2] / "support" / "tls"


def say(message):
    print(json.dumps(message), flush=True)


def code_of(error):
    if isinstance(error, asyncio.TimeoutError):
        return "ETIMEDOUT"
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, type(error).__name__)


def keep(reader, writer):
    number = len(streams) + 1
    streams[number] = (reader, writer)
    return number


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


def server_tls():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pems / "server.pem", pems / "server-key.pem")
    return context


def client_tls():
    return ssl.create_default_context(cafile=pems / "ca.pem")


async def listen(host="127.0.0.1", echoes=False, secure=False):
    async def accepted(reader, writer):
        if echoes:
            return await echo(reader, writer)
        number = keep(reader, writer)
        say({"event": "accepted", "id": number, "port": writer.get_extra_info("peername")[1]})

    context = server_tls() if secure else None
    server = await asyncio.start_server(accepted, host, 0, backlog=4096, ssl=context)
    return server.sockets[0].getsockname()[1] if server.sockets else None


async def connect(port, host="127.0.0.1", timeoutMs=60_000):
    return keep(*await asyncio.wait_for(asyncio.open_connection(host, port), timeoutMs / 1000))


async def visit(port, host="127.0.0.1", count=1, bytes=4, parallel=1, secure=False):
    data = pattern(bytes)
    options = {"ssl": client_tls(), "server_hostname": "server.test"} if secure else {}

    async def some(visits):
        for _ in range(visits):
            reader, writer = await asyncio.open_connection(host, port, **options)
            writer.write(data)
            if await reader.readexactly(bytes) != data:
                raise ValueError("wrong bytes")
            writer.close()
            await writer.wait_closed()

    await asyncio.gather(*(some(count // parallel) for _ in range(parallel)))


def pattern(count):
    return bytes((i * 31 + (i >> 8)) & 255 for i in range(count))


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        global datagrams
        datagrams += 1
        self.transport.sendto(data, address)


async def echo_datagrams(host):
    global datagrams
    datagrams = 0
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(DatagramEcho, (host, 0))
    endpoints.append(transport)
    return transport.get_extra_info("sockname")[1]


async def datagram_count():
    return datagrams


async def read(id, timeoutMs=60_000):
    data = await asyncio.wait_for(streams[id][0].read(65536), timeoutMs / 1000)
    return len(data) or None


async def write(id, bytes):
    writer = streams[id][1]
    writer.write(b"y" * bytes)
    await writer.drain()


async def flood(id, bytes):
    writer = streams[id][1]
    chunk = b"x" * 65536
    taken[id] = 0
    while taken[id] < bytes:
        writer.write(chunk)
        await writer.drain()
        taken[id] += len(chunk)


async def told(id):
    return taken.get(id)


async def keep_alive(id, idleMs):
    raw = streams[id][1].get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, idleMs // 1000))


async def close(id):
    streams[id][1].close()


async def abort(id):
    streams[id][1].transport.abort()


async def collect():
    gc.collect()


operations = {
    "visit": visit,
    "echoDatagrams": echo_datagrams,
    "datagrams": datagram_count,
    "listen": listen,
    "connect": connect,
    "read": read,
    "write": write,
    "flood": flood,
    "taken": told,
    "keepAlive": keep_alive,
    "close": close,
    "abort": abort,
    "collect": collect,
}


async def answer(command):
    number, operation = command.pop("n"), command.pop("op")
    try:
        say({"n": number, "ok": await operations[operation](**command)})
    except Exception as error:
        say({"n": number, "error": {"code": code_of(error)}})


async def main():
    loop = asyncio.get_running_loop()

    def failed(_loop, context):
        say({"event": "loop error", "code": code_of(context.get("exception"))})

    loop.set_exception_handler(failed)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say({"event": "ready"})
    running = set()
    while line := await reader.readline():
        task = asyncio.ensure_future(answer(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    os._exit(0)


# As Node does when it starts.
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
uvloop.install()
asyncio.run(main())
