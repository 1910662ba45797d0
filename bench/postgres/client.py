"""asyncpg on uvloop, measured: client.py <case> <seconds> <port> prints JSON."""
import asyncio
import json
import os
import sys
import time
from datetime import datetime, timezone

import asyncpg
import uvloop

name, seconds, port = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
with open(os.path.join(os.path.dirname(__file__), 'cases.json')) as file:
    cases = json.load(file)
copied = [
    (i, f'text {i}', i / 2, datetime.fromtimestamp(i * 1000, timezone.utc)) for i in range(10_000)
]
copy_sql = "SELECT i, 'text ' || i, i * 1.5::float8, now() FROM generate_series(1, 10000) i"
rows = [(i, f'text {i}') for i in range(1000)]


async def measure(clients, step, for_s):
    count = 0

    async def loop(client, end):
        nonlocal count
        while time.monotonic() < end:
            await step(client)
            count += 1

    async def everyone(length):
        end = time.monotonic() + length
        await asyncio.gather(*(loop(client, end) for client in clients))

    await everyone(2.5)
    count = 0
    before, begin = time.process_time(), time.monotonic()
    await everyone(for_s)
    cpu = time.process_time() - before
    return {'cpuMicros': cpu * 1e6 / count, 'perS': count / (time.monotonic() - begin)}


async def main():
    single = name not in cases
    where = {'host': '127.0.0.1', 'port': port, 'user': 'postgres', 'database': 'postgres'}
    clients = [await asyncpg.connect(**where) for _ in range(1 if single else 10)]
    if name == 'executeMany':
        await clients[0].execute('CREATE TEMP TABLE bench_many (a int, b text)')
        step = lambda c: c.executemany('INSERT INTO bench_many VALUES ($1, $2)', rows)
    elif name == 'copyOut':
        async def drop(data):
            pass

        step = lambda c: c.copy_from_query(copy_sql, output=drop)
    elif name == 'copyIn':
        await clients[0].execute(
            'CREATE TEMP TABLE bench_copy (a int, b text, c float8, d timestamptz)')

        async def step(client):
            await client.copy_records_to_table('bench_copy', records=copied)
            await client.execute('TRUNCATE bench_copy')
    elif name == 'pipelined':
        sql = cases['one']['sql']

        async def step(client):
            for i in range(100):
                await client.fetch(sql, i, 'hello')
    else:
        sql, args = cases[name]['sql'], cases[name]['args']
        step = lambda c: c.fetch(sql, *args)
    print(json.dumps(await measure(clients, step, seconds)))
    for client in clients:
        await client.close()


uvloop.install()
asyncio.run(main())
