"""Tasks of trio: trio_tasks.py CASE SECONDS."""

import json
import sys
import time

import trio


async def nothing():
    pass


async def spawn_one():
    for _ in range(1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nothing)
    return 1000


async def spawn_many():
    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(nothing)
    return 1000


async def yielder(count):
    for _ in range(count):
        await trio.sleep(0)


async def sleep0_1():
    await yielder(1000)
    return 1000


async def sleep0_100():
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(yielder, 100)
    return 10_000


async def ping_pong():
    to_other, there = trio.open_memory_channel(1)
    to_self, back = trio.open_memory_channel(1)

    async def answer():
        for _ in range(1000):
            await to_self.send(await there.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        for i in range(1000):
            await to_other.send(i)
            await back.receive()
    return 1000


async def bounded_queue():
    send, receive = trio.open_memory_channel(100)

    async def consume():
        for _ in range(10_000):
            await receive.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        for i in range(10_000):
            await send.send(i)
    return 10_000


async def gather():
    async with trio.open_nursery() as nursery:
        for _ in range(10_000):
            nursery.start_soon(nothing)
    return 10_000


async def cancel():
    async with trio.open_nursery() as nursery:
        for _ in range(10_000):
            nursery.start_soon(trio.sleep, 3600)
        await trio.sleep(0)
        nursery.cancel_scope.cancel()
    return 10_000


async def measure(case, seconds):
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        await case()
    operations = 0
    start = time.process_time()
    while time.process_time() - start < seconds:
        operations += await case()
    print(json.dumps({"operations": operations, "cpuUs": (time.process_time() - start) * 1e6}))


def main():
    name, seconds = sys.argv[1:]
    cases = {
        "spawn-one": spawn_one,
        "spawn-many": spawn_many,
        "sleep0-1": sleep0_1,
        "sleep0-100": sleep0_100,
        "ping-pong": ping_pong,
        "bounded-queue": bounded_queue,
        "gather": gather,
        "cancel": cancel,
    }
    if name in cases:
        trio.run(measure, cases[name], float(seconds))
    else:
        print('{"missing":true}')


main()
