"""Verifies and opens the frames of a folder like tests/vectors/klp/golden with foreign libraries; prints what they say.

COSE (RFC 9052) and COSE-HPKE by `cwt`, keys and HKDF by `cryptography`, CBOR by `cbor2`. The batch's audit path is climbed here.
"""

import hashlib
import json
import pathlib
import sys

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cwt import COSE, COSEKey, VerifyError
from pyhpke import AEADId, CipherSuite, KDFId, KEMId
from pyhpke.keys.x25519_key import X25519Key

TYPE, FROM, TO, EPOCH, BODY = 1, 2, 3, 7, 9
folder = pathlib.Path(sys.argv[1])
inputs = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))


def unhex(text):
    return bytes.fromhex(text)


def frame(name):
    version, hop, item = cbor2.loads((folder / f"{name}.cbor").read_bytes())
    assert version == 1
    return hop, item


def aad(number):
    return cbor2.dumps(["kos klp", 1, number])


def signing_key(node):
    # OKP, EdDSA, Ed25519.
    return COSEKey.new({1: 1, 2: unhex(node["keyId"]), 3: -8, -1: 6, -2: unhex(node["signingPublic"])})


def sender_of(message):
    return next(inputs[name] for name in ("device", "stranger", "authority") if inputs[name]["party"] == message[FROM])


def check(message):
    assert message[TO] == inputs["authority"]["party"]
    return {"type": message[TYPE], "body": message[BODY].hex()}


def decode(item, key, additional):
    """What the library makes of the object, after it has refused the same object for another type."""
    for wrong in (aad(31), b""):
        try:
            COSE.new(verify_kid=True).decode(cbor2.dumps(item), key, external_aad=wrong)
        except VerifyError:
            continue
        raise AssertionError("a proof held for another type")
    return cbor2.loads(COSE.new(verify_kid=True).decode(cbor2.dumps(item), key, external_aad=additional))


def signed(item):
    message = cbor2.loads(item.value[2])
    return check(decode(item, signing_key(sender_of(message)), aad(message[TYPE])))


def link():
    _, item = frame("link")
    message = cbor2.loads(item.value[2])
    extract = HMAC(b"kos klp link v1", hashes.SHA256())
    extract.update(unhex(inputs["linkSecret"]))
    dialler, listener = inputs[inputs["linkDialler"]], inputs[inputs["linkListener"]]
    info = cbor2.dumps([
        "kos klp link v1", "dialler",
        dialler["party"], unhex(dialler["keyId"]), listener["party"], unhex(listener["keyId"]),
    ])
    secret = HKDFExpand(hashes.SHA256(), 32, info).derive(extract.finalize())
    # Symmetric, HMAC 256/256.
    key = COSEKey.new({1: 4, 2: unhex(dialler["keyId"]), 3: 5, -1: secret})
    return check(decode(item, key, aad(message[TYPE])))


def batch():
    _, (item, index, path, payload) = frame("batch")
    message = cbor2.loads(payload)
    statement = decode(item, signing_key(sender_of(message)), aad(0))
    root, count, recipient, epoch = (statement[key] for key in (1, 2, 3, 4))
    assert (recipient, epoch) == (message[TO], message[EPOCH])
    assert climb(hashlib.sha256(b"\0" + payload).digest(), index, count, path) == root
    return check(message)


def climb(own, index, count, path):
    """RFC 6962, 2.1.1, from the definition: the split is at the largest power of two below the count."""
    if count == 1:
        assert not path
        return own
    half = 1 << (count - 1).bit_length() - 1
    *rest, sibling = path
    if index < half:
        left, right = climb(own, index, half, rest), sibling
    else:
        left, right = sibling, climb(own, index - half, count - half, rest)
    return hashlib.sha256(b"\1" + left + right).digest()


def encrypted():
    hop, item = frame("encrypted")
    recipient = inputs["authority"]
    external = cbor2.dumps(["kos klp", 1, hop[1]])
    private, public = unhex(recipient["agreementSecret"]), unhex(recipient["agreementPublic"])
    kid = cbor2.loads(item.value[0])[4]
    assert kid == hashlib.sha256(unhex("302a300506032b656e032100") + public).digest()
    # OKP, HPKE-4, X25519.
    key = COSEKey.new({1: 1, 2: kid, 3: 42, -1: 4, -2: public, -4: private})
    plaintext = COSE.new().decode(cbor2.dumps(item), key, external_aad=external, hpke_info=b"kos klp seal v1")

    # The same by HPKE alone.
    protected, unprotected, ciphertext = item.value
    suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.CHACHA20_POLY1305)
    context = suite.create_recipient_context(
        unprotected[-4], X25519Key.from_private_bytes(private), info=b"kos klp seal v1"
    )
    assert context.open(ciphertext, aad=cbor2.dumps(["Encrypt0", protected, external])) == plaintext
    return signed(cbor2.loads(plaintext))


print(json.dumps({"link": link(), "solo": signed(frame("solo")[1]), "batch": batch(), "encrypted": encrypted()}))
