"""A mail server that is not ours: aiosmtpd. Prints `ready`, then one JSON object for each mail that it takes.

usage: mail.py PORT [CERTIFICATE KEY]
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.controller import Controller


class Box:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        said = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "hello": session.host_name,
            "headers": [[name, str(value)] for name, value in message.items()],
            "text": message.get_content(),
        }
        print(json.dumps(said), flush=True)
        return "250 taken"


context = None
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
controller = Controller(Box(), hostname="127.0.0.1", port=int(sys.argv[1]), ssl_context=context)
controller.start()
print("ready", flush=True)
asyncio.new_event_loop().run_forever()
