"""A QUIC client that is not ours. Arguments: port, CA, certificate, key."""
import asyncio
import ssl
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StreamDataReceived

port, ca, certificate, key = sys.argv[1:]


class Link(QuicConnectionProtocol):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.received, self.arrived = b"", asyncio.Event()

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            self.received += event.data
            self.arrived.set()


async def main():
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["klp/1"], server_name="attic.local")
    configuration.load_verify_locations(ca)
    configuration.load_cert_chain(certificate, key)
    async with connect("127.0.0.1", int(port), configuration=configuration, create_protocol=Link) as link:
        frame = b"\x00\x00\x03\xe8" + b"y" * 1000
        stream = link._quic.get_next_available_stream_id(is_unidirectional=True)
        link._quic.send_stream_data(stream, frame)
        link.transmit()
        while len(link.received) < len(frame):
            link.arrived.clear()
            await asyncio.wait_for(link.arrived.wait(), 10)
        assert link.received == frame
        print("echoed", link._quic.tls.alpn_negotiated)


asyncio.run(main())
