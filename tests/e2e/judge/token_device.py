"""Somebody who has stolen the key of a device's certificate asks the authority about the device, as the device could.

Arguments: port, root, certificate, key, device id, and the device's own key in hex. Prints what the authority answered, as JSON.
"""

import json
import sys
import time

from token_client import Connection, request
from make import token, token_key

port, root, certificate, key, device, own = sys.argv[1:]
connection = Connection(port, root, certificate, key)
target = f"/api/v1/devices/{device}"
counter = 0


def ask(token_key):
    global counter
    counter += 1
    return connection.ask(request("GET", target, b"", [token(token_key, "GET", target, b"", int(time.time() * 1000), counter)]))


says = {
    "without a token": connection.ask(request("GET", target)),
    "without the own key": ask(token_key(connection.exporter)),
    "with another": ask(token_key(connection.exporter, bytes(32))),
    "with the own key": ask(token_key(connection.exporter, bytes.fromhex(own))),
}
connection.close()
print(json.dumps(says))
