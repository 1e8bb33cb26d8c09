"""Works the secure channel of docs/spec/klp.md (KLP-52 to KLP-64) out from fixed private keys and prints it as JSON.

Written from the specification alone, on other libraries than the Rust code: tests/vectors/klp/channel.json is what this prints.
"""

import hashlib
import json

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

DOMAIN = "kos klp channel v1"
GENERATION_RECORDS = 1 << 20


def hash_parts(domain, *parts):
    state = hashlib.sha256()
    for part in (domain.encode(), *parts):
        state.update(len(part).to_bytes(8, "big") + part)
    return state.digest()


def extract(salt, secret):
    mac = HMAC(salt, hashes.SHA256())
    mac.update(secret)
    return mac.finalize()


def expand(secret, label, length):
    return HKDFExpand(hashes.SHA256(), length, f"{DOMAIN} {label}".encode()).derive(secret)


def spki(public):
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def raw(public):
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class End:
    def __init__(self, party, operational_seed, ephemeral, credential):
        self.party, self.credential = party, credential
        self.operational_seed, self.ephemeral_secret = operational_seed, ephemeral
        self.operational = Ed25519PrivateKey.from_private_bytes(operational_seed)
        self.ephemeral = X25519PrivateKey.from_private_bytes(ephemeral)
        self.key_id = hashlib.sha256(spki(self.operational.public_key())).digest()
        self.ephemeral_public = raw(self.ephemeral.public_key())

    def to_be_signed(self, role, transcript):
        return cbor2.dumps([DOMAIN, role, transcript, hashlib.sha256(self.credential).digest()])

    def inputs(self):
        return {
            "party": self.party,
            "operationalSeed": self.operational_seed.hex(),
            "operationalKeyId": self.key_id.hex(),
            "ephemeralSecret": self.ephemeral_secret.hex(),
            "ephemeralPublic": self.ephemeral_public.hex(),
            "credential": self.credential.hex(),
        }


def record(secret, channel_id, sequence, plaintext):
    for _ in range(sequence // GENERATION_RECORDS):
        secret = expand(secret, "next", 32)
    iv = int.from_bytes(expand(secret, "iv", 12), "big") ^ sequence
    sealed = AESGCM(expand(secret, "key", 32)).encrypt(
        iv.to_bytes(12, "big"), plaintext, cbor2.dumps([4, channel_id, sequence])
    )
    return cbor2.dumps([4, channel_id, sequence, sealed])


def main():
    channel_id = bytes(range(0xA0, 0xB0))
    a = End("attic/kdev-7f4ac30123456789", bytes([0x11] * 32), bytes([0x22] * 32), b"credential of the initiator")
    b = End("attic/kdev-0123456789abcdef", bytes([0x33] * 32), bytes([0x44] * 32), b"credential of the responder")

    hello = cbor2.dumps([1, 1, channel_id, a.party, b.party, a.key_id, a.ephemeral_public])
    reply_head = cbor2.dumps([2, channel_id, b.key_id, b.ephemeral_public])
    transcript = hash_parts(f"{DOMAIN} transcript", hello, reply_head)
    shared = a.ephemeral.exchange(b.ephemeral.public_key())
    assert shared == b.ephemeral.exchange(a.ephemeral.public_key())
    prk = extract(transcript, shared)

    tbs_b = b.to_be_signed("responder", transcript)
    inner = cbor2.dumps([b.credential, b.operational.sign(tbs_b)])
    sealed_b = AESGCM(expand(prk, "reply", 32)).encrypt(bytes(12), inner, reply_head)
    reply = cbor2.dumps([2, channel_id, b.key_id, b.ephemeral_public, sealed_b])

    tbs_a = a.to_be_signed("initiator", hash_parts(f"{DOMAIN} finish", hello, reply))
    inner = cbor2.dumps([a.credential, a.operational.sign(tbs_a)])
    finish_head = cbor2.dumps([3, channel_id])
    sealed_a = AESGCM(expand(prk, "finish", 32)).encrypt(bytes(12), inner, finish_head)
    finish = cbor2.dumps([3, channel_id, sealed_a])

    secrets = {"initiator": expand(prk, "initiator", 32), "responder": expand(prk, "responder", 32)}
    records = []
    for sender, sequence, plaintext in [
        ("initiator", 1, b"first"),
        ("initiator", 2, b"second"),
        ("responder", 1, b"answer"),
        ("responder", GENERATION_RECORDS, b"next generation"),
        ("initiator", 3, b""),
    ]:
        records.append({
            "sender": sender,
            "sequence": sequence,
            "plaintext": plaintext.hex(),
            "record": record(secrets[sender], channel_id, sequence, plaintext).hex(),
        })

    print(json.dumps({
        "channelId": channel_id.hex(),
        "initiator": a.inputs(),
        "responder": b.inputs(),
        "shared": shared.hex(),
        "hello": hello.hex(),
        "transcript": transcript.hex(),
        "responderSigns": tbs_b.hex(),
        "reply": reply.hex(),
        "initiatorSigns": tbs_a.hex(),
        "finish": finish.hex(),
        "exporter": expand(prk, "exporter", 32).hex(),
        "records": records,
    }, indent=2))


main()
