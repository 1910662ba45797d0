"""Tasks of asyncio: python_tasks.py asyncio|uvloop CASE SECONDS."""

import asyncio
import gc
import json
import sys
import time


async def nothing():
    pass


async def spawn_one():
    for _ in range(1000):
        await asyncio.create_task(nothing())
    return 1000


async def spawn_many():
    for task in [asyncio.create_task(nothing()) for _ in range(1000)]:
        await task
    return 1000


async def yielder(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def sleep0_1():
    await yielder(1000)
    return 1000


async def sleep0_100():
    for task in [asyncio.create_task(yielder(100)) for _ in range(100)]:
        await task
    return 10_000


async def ping_pong():
    there, back = asyncio.Queue(), asyncio.Queue()

    async def answer():
        for _ in range(1000):
            await back.put(await there.get())

    task = asyncio.create_task(answer())
    for i in range(1000):
        await there.put(i)
        await back.get()
    await task
    return 1000


async def bounded_queue():
    queue = asyncio.Queue(100)

    async def consume():
        for _ in range(10_000):
            await queue.get()

    task = asyncio.create_task(consume())
    for i in range(10_000):
        await queue.put(i)
    await task
    return 10_000


async def gather():
    await asyncio.gather(*[nothing() for _ in range(10_000)])
    return 10_000


async def cancel():
    tasks = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(10_000)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return 10_000


def resident():
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


async def measure_bytes():
    kept = []

    async def start(count):
        kept.extend(asyncio.create_task(asyncio.sleep(3600)) for _ in range(count))
        await asyncio.sleep(0.1)

    await start(1000)
    before = resident()
    await start(100_000)
    return {"bytes": (resident() - before) / 100_000}


async def measure(case, seconds):
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        await case()
    operations = 0
    start = time.process_time()
    while time.process_time() - start < seconds:
        operations += await case()
    return {"operations": operations, "cpuUs": (time.process_time() - start) * 1e6}


def main():
    system, name, seconds = sys.argv[1:]
    if system == "uvloop":
        import uvloop

        uvloop.install()
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
    if name == "bytes":
        print(json.dumps(asyncio.run(measure_bytes())))
    else:
        print(json.dumps(asyncio.run(measure(cases[name], float(seconds)))))
    sys.stdout.flush()


main()
