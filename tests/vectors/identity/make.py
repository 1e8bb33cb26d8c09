"""A second implementation of device ids, the kOS extension and kIDs, written from docs/spec/identity.md alone.

Writes device-id.json, extension.json and kid.json into the folder that it is given. Uses no code of kOS, so that
what both agree on is what the specification says.
"""

import hashlib
import json
import pathlib
import sys

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def hash_parts(domain, parts):
    """SHA-256 over the domain and all parts, each after its length in eight bytes."""
    hasher = hashlib.sha256()
    for part in [domain.encode(), *parts]:
        hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.digest()


def count(items):
    return len(items).to_bytes(8, "big")


def device_id(case):
    macs = {bytes.fromhex(mac.replace(":", "")) for mac in case["macs"]}
    macs = sorted(mac for mac in macs if mac[0] & 3 == 0 and any(mac))
    serials = sorted({serial.encode() for serial in case["serials"]})
    uuid = bytes.fromhex(case["uuid"].replace("-", ""))
    parts = [uuid, count(macs), *macs, count(serials), *serials, bytes.fromhex(case["identityKeyId"])]
    bits = int.from_bytes(hash_parts("kos device id v1", parts)[:10], "big")
    digits = "0123456789abcdefghijklmnopqrstuv"
    return "kdev-" + "".join(digits[bits >> 5 * place & 31] for place in range(15, -1, -1))


def device_ids():
    uuid = "019ddbb8-6d50-7a07-8707-070707070707"
    key = "ab" * 32
    cases = [
        {"name": "only what there always is", "uuid": uuid, "macs": [], "serials": [], "identityKeyId": key},
        {
            "name": "order and repetition do not matter",
            "uuid": uuid,
            "macs": ["00:1a:2b:00:00:02", "00:1a:2b:00:00:01", "00:1a:2b:00:00:02"],
            "serials": ["SN-2", "SN-1", "SN-2"],
            "identityKeyId": key,
        },
        {
            "name": "the same in order and once",
            "uuid": uuid,
            "macs": ["00:1a:2b:00:00:01", "00:1a:2b:00:00:02"],
            "serials": ["SN-1", "SN-2"],
            "identityKeyId": key,
        },
        {
            "name": "addresses that no maker assigned do not count",
            "uuid": uuid,
            "macs": ["02:1a:2b:00:00:01", "01:1a:2b:00:00:01", "00:00:00:00:00:00"],
            "serials": [],
            "identityKeyId": key,
        },
        {
            "name": "a serial beyond ASCII",
            "uuid": uuid,
            "macs": [],
            "serials": ["Gerät-7"],
            "identityKeyId": key,
        },
    ]
    return [{**case, "deviceId": device_id(case)} for case in cases]


def der(tag, content):
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 | len(octets)]) + octets + content


def extension(case):
    capabilities = sorted({capability.encode() for capability in case["capabilities"]})
    hashed = hash_parts("kos capabilities v1", capabilities)
    words = [case[key].encode() for key in ("subject", "role", "profile", "evidence")]
    content = der(2, b"\x01") + b"".join(der(12, word) for word in words) + der(4, hashed)
    if case["group"] is not None:
        content += der(0x80, case["group"].encode())
    return {**case, "capabilitiesHash": hashed.hex(), "der": der(0x30, content).hex()}


def extensions():
    subject = "k:attic/kdev-7f4ac30123456789/001"
    long = "k:" + "a" * 63 + "/kdev-vvvvvvvvvvvvvvvv/4294967295"
    return [
        extension(case)
        for case in (
            {
                "name": "a sensor in a group",
                "subject": subject,
                "role": "sensor",
                "profile": "SEC-2",
                "evidence": "key-on-device",
                "group": "berlin/line-2",
                "capabilities": ["telemetry", "camera", "telemetry"],
            },
            {
                "name": "nothing that may be left out",
                "subject": subject,
                "role": "relay",
                "profile": "SEC-0",
                "evidence": "none",
                "group": None,
                "capabilities": [],
            },
            {
                "name": "the longest",
                "subject": long,
                "role": "companion",
                "profile": "SEC-4",
                "evidence": "ek-chain-verified",
                "group": "/".join(["g" * 31] * 4),
                "capabilities": ["c" * 48],
            },
        )
    ]


def kid(case):
    seed = bytes.fromhex(case["signerSeed"])
    private = Ed25519PrivateKey.from_private_bytes(seed)
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    issued = case["issuedAt"]
    words = {1: case["role"], 2: case["profile"], 3: case["group"], 4: case["user"]}
    words[5] = sorted(set(case["capabilities"]))
    words |= {6: case["evidence"], 7: case["channel"], 8: bytes.fromhex(case["agreementKey"])}
    claims = {
        1: "k:" + case["subject"][2:].split("/")[0],
        2: case["subject"],
        3: "k:" + case["audience"],
        4: min(issued + 24 * 3600, case["certificateNotAfter"]),
        5: issued - 300,
        6: issued,
        7: bytes.fromhex(case["id"]),
        8: {3: bytes.fromhex(case["holder"])},
        -65537: {key: value for key, value in words.items() if value is not None},
    }
    payload = cbor2.dumps(claims, canonical=False)
    header = {1: -8, 4: hashlib.sha256(spki).digest(), 16: "application/kos-kid+cwt"}
    protected = cbor2.dumps(header)
    signed = cbor2.dumps(["Signature1", protected, b"kos kid v1", payload])
    cwt = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, private.sign(signed)]))
    return {**case, "signerSpki": spki.hex(), "claims": payload.hex(), "cwt": cwt.hex()}


def kids():
    usual = {
        "name": "a sensor in a group",
        "signerSeed": "1e" * 32,
        "issuedAt": 1795170000,
        "certificateNotAfter": 1796379600,
        "subject": "k:attic/kdev-7f4ac30123456789/001",
        "audience": "attic",
        "id": "44" * 16,
        "holder": "ab" * 32,
        "role": "sensor",
        "profile": "SEC-2",
        "group": "berlin/line-2",
        "user": None,
        "capabilities": ["telemetry", "camera"],
        "evidence": "key-on-device",
        "channel": "stable",
        "agreementKey": "33" * 32,
    }
    return [
        kid(usual),
        kid(
            {
                **usual,
                "name": "with a user, without a group, ends with its certificate",
                "certificateNotAfter": 1795173600,
                "subject": "k:attic/kdev-7f4ac30123456789/1000",
                "audience": "cellar.example",
                "group": None,
                "user": "Änne",
                "capabilities": [],
            }
        ),
    ]


def main(folder):
    for name, cases in (("device-id", device_ids()), ("extension", extensions()), ("kid", kids())):
        text = json.dumps(cases, indent=2, ensure_ascii=False) + "\n"
        pathlib.Path(folder, name + ".json").write_text(text, encoding="utf-8")


main(sys.argv[1])
