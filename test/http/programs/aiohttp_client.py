"""aiohttp's client: asks the server at the URL that is given, and tells in JSON what it got."""

import asyncio
import json
import sys

import aiohttp


async def slices(text, size):
    for at in range(0, len(text), size):
        yield text[at : at + size].encode()


async def text_of(context):
    async with context as response:
        return [response.status, await response.text()]


async def length_of(context):
    async with context as response:
        return [response.status, len(await response.read())]


async def events(session, url):
    async with session.get(url + "/events") as response:
        lines = [line.decode().strip() async for line in response.content]
    return [line for line in lines if line.startswith("data")]


async def socket(session, url):
    got = []
    async with session.ws_connect(url + "/socket", compress=15) as peer:
        for message in ["hello", "ä" * 70_000, b"\x00\xff"]:
            if isinstance(message, str):
                await peer.send_str(message)
            else:
                await peer.send_bytes(message)
            answer = await peer.receive(timeout=20)
            got.append(answer.data == message)
        await peer.ping()
    return [got, peer.close_code]


async def abandoned(session, url):
    try:
        await session.get(url + "/never", timeout=aiohttp.ClientTimeout(total=0.05))
    except asyncio.TimeoutError:
        return "timed out"


async def main(url):
    made = 0

    async def count(*_):
        nonlocal made
        made += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    options = {"cookie_jar": aiohttp.CookieJar(unsafe=True), "trace_configs": [trace]}
    text = "x" * 300_000
    told = {}
    async with aiohttp.ClientSession(**options) as session:
        for _ in range(20):
            told["hello"] = await text_of(session.get(url + "/"))
        told["connections"] = made
        told["large"] = await length_of(session.get(url + "/large"))
        told["packed"] = await length_of(session.get(url + "/packed"))
        told["parts"] = await text_of(session.get(url + "/parts"))
        told["moved"] = await text_of(session.get(url + "/moved"))
        told["range"] = await text_of(session.get(url + "/file", headers={"Range": "bytes=2-4"}))
        told["head"] = await length_of(session.head(url + "/large"))
        told["cookies"] = [(await text_of(session.get(url + "/cookies")))[1] for _ in range(2)]
        told["echo"] = await text_of(session.post(url + "/echo", data="hello", expect100=True))
        told["chunked"] = await length_of(session.post(url + "/echo", data=slices(text, 7_000)))
        told["through"] = await length_of(session.post(url + "/through", data=slices(text, 900)))
        told["early"] = await text_of(session.post(url + "/early", data=text))
        told["form"] = await text_of(session.post(url + "/form", data={"a": "1 2", "b": "ä"}))
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("a", "ä")
        form.add_field("file", b"bytes", filename="ö.txt", content_type="text/plain")
        told["multipart"] = await text_of(session.post(url + "/form", data=form))
        told["events"] = await events(session, url)
        told["socket"] = await socket(session, url)
        told["abandoned"] = await abandoned(session, url)
        many = [text_of(session.post(url + "/echo", data=str(i))) for i in range(100)]
        told["many"] = [body for _, body in await asyncio.gather(*many)]
    print(json.dumps(told))


asyncio.run(main(sys.argv[1]))
