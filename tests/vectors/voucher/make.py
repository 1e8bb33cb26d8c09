"""A second implementation of vouchers, grants and vouches, written from docs/spec/voucher.md alone.

Writes voucher.json into the folder that it is given. Uses no code of kOS, so that what both agree on is what the
specification says. Ed25519 only, since its signatures are the same each time.
"""

import hashlib
import json
import pathlib
import sys

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MADE = 1_795_170_000_000
DAY = 86_400_000


def hash_parts(domain, *parts):
    hasher = hashlib.sha256()
    for part in [domain.encode(), *parts]:
        hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.digest()


def key(seed):
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def spki(seed):
    return key(seed).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_id(seed):
    return hashlib.sha256(spki(seed)).digest()


def sign(seed, domain, typ, payload):
    protected = cbor2.dumps({1: -8, 4: key_id(seed), 16: typ}, canonical=True)
    message = cbor2.dumps(["Signature1", protected, domain.encode(), payload])
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, key(seed).sign(message)]))


def owner(pin, seed):
    return {0: bytes([pin]) * 32, 1: spki(seed)}


def voucher(subject, expires):
    nonce = bytes(range(16))
    statement = {0: nonce, 1: subject, 2: owner(0xA0, 2), 3: MADE}
    if expires:
        statement[4] = expires
    signed = sign(1, "kos voucher v1", "application/kos-voucher+cbor", cbor2.dumps(statement))
    return signed, hash_parts("kos voucher id v1", key_id(1), nonce)[:16]


def endorse(before, by, pin, seed):
    said = {0: hash_parts("kos voucher link v1", before), 1: owner(pin, seed), 2: MADE + DAY}
    domain, typ = "kos voucher endorsement v1", "application/kos-voucher-endorsement+cbor"
    return sign(by, domain, typ, cbor2.dumps(said))


def vouchers():
    subjects = {
        "identity": [0, [bytes([0xB0]) * 32]],
        "endorsement": [1, [bytes([0xB1]) * 32]],
        "serial": [2, ["SN-1", bytes([0xB2]) * 32]],
    }
    cases = []
    for name, subject in subjects.items():
        signed, named = voucher(subject, MADE + 30 * DAY if name == "identity" else None)
        first = endorse(signed, 2, 0xA1, 3)
        second = endorse(first, 3, 0xA2, 4)
        cases.append(
            {
                "subject": name,
                "id": named.hex(),
                "file": cbor2.dumps([signed, []]).hex(),
                "endorsed": cbor2.dumps([signed, [first, second]]).hex(),
            }
        )
    return cases


def grant():
    said = {
        0: bytes(range(16)),
        1: "kdev-7f4ac30123456789",
        2: "attic",
        3: bytes([0xA0]) * 32,
        4: "SEC-1",
        5: 5,
        6: MADE + DAY,
    }
    return sign(2, "kos vouching grant v1", "application/kos-vouching-grant+cbor", cbor2.dumps(said))


def vouch():
    said = {
        0: bytes(range(16)),
        1: "kdev-7f4ac30123456789",
        2: "attic",
        3: bytes([0xA0]) * 32,
        4: bytes([0xB0]) * 32,
        5: "SEC-1",
        6: MADE,
        7: MADE + DAY,
    }
    return sign(5, "kos vouch v1", "application/kos-vouch+cbor", cbor2.dumps(said))


def main():
    made = {
        "makerSpki": spki(1).hex(),
        "ordersSpki": spki(2).hex(),
        "nodeSpki": spki(5).hex(),
        "vouchers": vouchers(),
        "grant": grant().hex(),
        "vouch": vouch().hex(),
    }
    text = json.dumps(made, indent=2) + "\n"
    (pathlib.Path(sys.argv[1]) / "voucher.json").write_text(text)


main()
