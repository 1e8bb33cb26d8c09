"""Seals the plaintext of golden/inputs.json with pyhpke and its fixed ephemeral key; prints enc and ciphertext as hex."""

import json
import sys

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey
from pyhpke.kem_key import KEMKeyPair

with open(sys.argv[1], encoding="utf-8") as file:
    inputs = json.load(file)
sealing = inputs["encrypted"]


def private(hex_bytes):
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(hex_bytes))


recipient = private(inputs["authority"]["agreementSecret"]).public_key()
ephemeral = private(sealing["ephemeralSecret"])
pair = KEMKeyPair(
    KEMKey.from_pyca_cryptography_key(ephemeral), KEMKey.from_pyca_cryptography_key(ephemeral.public_key())
)
suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.CHACHA20_POLY1305)
enc, sender = suite.create_sender_context(
    KEMKey.from_pyca_cryptography_key(recipient), info=b"kos klp seal v1", eks=pair
)
print((enc + sender.seal(bytes.fromhex(sealing["plaintext"]), aad=bytes.fromhex(sealing["aad"]))).hex())
