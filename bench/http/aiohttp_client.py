"""aiohttp's client on uvloop beside the others of bench/http-client.mjs: URL MS CONNECTIONS."""
import asyncio
import json
import sys
import time

sys.path.insert(0, "/usr/lib/python3/dist-packages")
import aiohttp
import uvloop

url, ms, connections = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])


async def main():
    done = 0
    going = True

    async def one(session):
        nonlocal done
        while going:
            async with session.get(url) as response:
                await response.read()
            done += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        everyone = [asyncio.ensure_future(one(session)) for _ in range(connections)]
        await asyncio.sleep(0.7)
        cpu, first, start = time.process_time(), done, time.monotonic()
        await asyncio.sleep(ms / 1000)
        requests, seconds = done - first, time.monotonic() - start
        cpu_us = (time.process_time() - cpu) * 1e6 / requests
        going = False
        await asyncio.gather(*everyone)
    print(json.dumps({"cpuUs": cpu_us, "rate": requests / seconds}))


uvloop.install()
asyncio.run(main())
