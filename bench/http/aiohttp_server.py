"""aiohttp on uvloop beside the others of bench/http.mjs."""
import asyncio
import json
import sys

sys.path.insert(0, "/usr/lib/python3/dist-packages")
import uvloop
from aiohttp import web


@web.middleware
async def one(request, handler):
    response = await handler(request)
    response.headers["x-one"] = "1"
    return response


@web.middleware
async def two(request, handler):
    response = await handler(request)
    response.headers["x-two"] = "2"
    return response


async def hello(request):
    return web.Response(text="Hello, World!")


async def user(request):
    return web.json_response(
        {"id": request.match_info["id"], "name": "Someone", "tags": ["a", "b"]}
    )


async def echo(request):
    return web.Response(body=await request.read())


async def main():
    app = web.Application()
    app.router.add_get("/", hello)
    app.router.add_post("/echo", echo)
    sub = web.Application(middlewares=[one, two])
    sub.router.add_get("/{id}", user)
    app.add_subapp("/user", sub)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    print(json.dumps({"port": port}), flush=True)
    await asyncio.Event().wait()


uvloop.install()
asyncio.run(main())
