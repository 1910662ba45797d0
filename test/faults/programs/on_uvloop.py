"""asyncio's streams on uvloop under the same faults and commands as uvio.mjs."""

import asyncio
import errno
import gc
import json
import resource
import socket
import sys

import uvloop

streams = {}
taken = {}


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


async def listen(host="127.0.0.1", echoes=False):
    async def accepted(reader, writer):
        if echoes:
            return await echo(reader, writer)
        number = keep(reader, writer)
        say({"event": "accepted", "id": number, "port": writer.get_extra_info("peername")[1]})

    server = await asyncio.start_server(accepted, host, 0, backlog=4096)
    return server.sockets[0].getsockname()[1] if server.sockets else None


async def connect(port, host="127.0.0.1", timeoutMs=60_000):
    return keep(*await asyncio.wait_for(asyncio.open_connection(host, port), timeoutMs / 1000))


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


# As Node does when it starts.
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
uvloop.install()
asyncio.run(main())
