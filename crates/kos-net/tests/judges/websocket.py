"""A WebSocket client that is not ours. Arguments: port, CA, certificate, key."""
import asyncio
import ssl
import sys

import websockets

port, ca, certificate, key = sys.argv[1:]


async def main():
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    address = f"wss://attic.local:{port}/klp/v1"
    options = {"ssl": context, "host": "127.0.0.1", "compression": None}
    async with websockets.connect(address, **options) as socket:
        for size in (1, 125, 126, 65_535, 65_536):
            await socket.send(b"x" * size)
            assert await socket.recv() == b"x" * size
        await socket.ping()
        print("echoed")
    for what, message in (("text", "text"), ("empty", b""), ("too long", b"x" * 65_537)):
        async with websockets.connect(address, **options) as socket:
            try:
                await socket.send(message)
                await socket.recv()
            except websockets.ConnectionClosed:
                print(what, "refused")


asyncio.run(main())
