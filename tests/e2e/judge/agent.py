"""A node of kAI that knows nothing of kOS but its specification: it has a key, and signs what it says with it.

CBOR and COSE_Sign1 are written here from docs/spec/pairing.md and docs/spec/grant.md, with `cbor2` and `cryptography`.

Reads a JSON object from standard input: `do` is one of
  key         {seed}                                          prints the public key in PEM
  statement   {seed, authority, device, partner, pairing, word, at}
  call        {seed, authority, agent, device, grant, capability, resource, at, number}
  open        {signed, key, purpose}                          prints the payload of what a key signed, as JSON
All but `key` and `open` print base64 of the signed object. `seed` is a number.
"""

import base64
import hashlib
import json
import sys
import uuid

import cbor2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives import hashes

ABILITIES = ["device.status", "device.log", "device.regen-cert"]
WORDS = ["confirm", "end"]
PURPOSES = {
    "statement": ("kos pairing agent v1", "application/kos-pairing-agent+cbor"),
    "call": ("kos agent call v1", "application/kos-agent-call+cbor"),
    "grant": ("kos agent grant v1", "application/kos-agent-grant+cbor"),
}


def key_of(seed):
    return ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"agent {seed}".encode()).digest())


def spki(public):
    kinds = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(*kinds)


def sign(seed, purpose, payload):
    domain, typ = PURPOSES[purpose]
    key = key_of(seed)
    kid = hashlib.sha256(spki(key.public_key())).digest()
    protected = cbor2.dumps({1: -8, 4: kid, 16: typ}, canonical=True)
    body = cbor2.dumps(payload, canonical=True)
    signature = key.sign(cbor2.dumps(["Signature1", protected, domain.encode(), body]))
    return base64.b64encode(cbor2.dumps(cbor2.CBORTag(18, [protected, {}, body, signature]))).decode()


def unsign(asked):
    domain, typ = PURPOSES[asked["purpose"]]
    tagged = cbor2.loads(base64.b64decode(asked["signed"]))
    assert tagged.tag == 18
    protected, unprotected, body, signature = tagged.value
    headers = cbor2.loads(protected)
    assert not unprotected and headers[16] == typ and set(headers) == {1, 4, 16}, headers
    public = serialization.load_der_public_key(base64.b64decode(asked["key"]))
    assert headers[4] == hashlib.sha256(spki(public)).digest()
    told = cbor2.dumps(["Signature1", protected, domain.encode(), body])
    if isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(signature, told)
    else:
        half = len(signature) // 2
        pair = [int.from_bytes(part, "big") for part in (signature[:half], signature[half:])]
        digest = hashes.SHA256() if half == 32 else hashes.SHA384()
        public.verify(utils.encode_dss_signature(*pair), told, ec.ECDSA(digest))
    return cbor2.loads(body)


def main():
    asked = json.load(sys.stdin)
    what = asked["do"]
    if what == "key":
        kinds = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        print(key_of(asked["seed"]).public_key().public_bytes(*kinds).decode(), end="")
    elif what == "statement":
        payload = {
            1: asked["authority"],
            2: asked["device"],
            3: asked["partner"],
            4: uuid.UUID(asked["pairing"]).bytes,
            5: WORDS.index(asked["word"]),
            6: asked["at"],
        }
        print(sign(asked["seed"], what, payload))
    elif what == "call":
        payload = {
            1: asked["authority"],
            2: asked["agent"],
            3: asked["device"],
            4: uuid.UUID(asked["grant"]).bytes,
            5: ABILITIES.index(asked["capability"]),
            6: asked["resource"],
            7: asked["at"],
            8: asked["number"],
        }
        print(sign(asked["seed"], what, payload))
    elif what == "open":
        payload = unsign(asked)
        print(json.dumps({str(key): str(value) for key, value in payload.items()}))


main()
