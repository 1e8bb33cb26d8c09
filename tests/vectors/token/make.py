"""A second implementation of the tokens of requests, written from docs/spec/token.md alone.

Writes token.json into the folder that it is given. Uses no code of kOS, so that what both agree on is what the specification
says. Imported by other judges for `token`.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def token_key(exporter, device_key=None):
    """TOK-4"""
    info = b"kos request token v1 certificate" + (b" and device key" if device_key else b"")
    hkdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=b"kos request token v1", info=info)
    return hkdf.derive(exporter + (device_key or b""))


def message(method, target, body, time, counter, if_match="", again=""):
    """TOK-5"""
    parts = [
        b"kos request v1",
        method.encode(),
        target.encode(),
        hashlib.sha256(body).digest(),
        if_match.encode(),
        again.encode(),
        time.to_bytes(8, "big"),
        counter.to_bytes(8, "big"),
    ]
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def token(key, *said):
    """TOK-6"""
    time, counter = said[3:5]
    mac = hmac.new(key, message(*said), hashlib.sha256).digest()
    return f"kt1.{time}.{counter}." + base64.urlsafe_b64encode(mac).decode().rstrip("=")


def case(name, method, target, body, time, counter, device_key=None, if_match="", again=""):
    said = (method, target, body, time, counter, if_match, again)
    exporter = hashlib.sha256(b"exporter of " + name.encode()).digest()
    key = token_key(exporter, device_key)
    return {
        "name": name,
        "exporter": exporter.hex(),
        "deviceKey": device_key.hex() if device_key else None,
        "method": method,
        "target": target,
        "body": body.hex(),
        "ifMatch": if_match,
        "idempotencyKey": again,
        "time": time,
        "counter": counter,
        "key": key.hex(),
        "message": message(*said).hex(),
        "token": token(key, *said),
    }


def main():
    own = bytes(range(32))
    cases = [
        case("a read", "GET", "/api/v1/devices?limit=5", b"", 1764289622000, 1),
        case("a change", "POST", "/api/v1/tickets", b'{"role":"sensor"}', 1764289622001, 2),
        case("a device of SEC-1", "GET", "/api/v1/devices/kdev-0000000000000001", b"", 1764289622002, 3, own),
        case("the largest numbers", "PUT", "/", bytes(range(256)), 253402300799999, 2**64 - 2, own),
        case("a careful change", "POST", "/api/v1/devices/kdev-0000000000000001/suspend", b"{}", 1764289622003, 4,
             None, '"7"', "018f-again"),
        case("the smallest", "DELETE", "/", b"", 0, 0),
    ]
    folder = pathlib.Path(sys.argv[1])
    (folder / "token.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
