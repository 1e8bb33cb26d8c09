"""Opens what we sealed, and seals for us. Arguments in hex: private key, public key, enc, ciphertext."""
import sys

from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

secret, public, enc, ciphertext = (bytes.fromhex(argument) for argument in sys.argv[1:])
suite = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.CHACHA20_POLY1305)

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

own = KEMKey.from_pyca_cryptography_key(X25519PrivateKey.from_private_bytes(secret))
recipient = suite.create_recipient_context(enc, own, info=b"kos test info")
print(recipient.open(ciphertext, aad=b"kos test aad").decode())

theirs = KEMKey.from_pyca_cryptography_key(X25519PublicKey.from_public_bytes(public))
enc, sender = suite.create_sender_context(theirs, info=b"kos test info")
print(enc.hex(), sender.seal(b"from the judge", aad=b"kos test aad").hex())
