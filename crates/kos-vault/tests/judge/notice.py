"""Verifies a death notice with the `cwt` library, by the key that it brings. Arguments: the notice (hex), the domain."""

import base64
import hashlib
import json
import sys

import cbor2
from cwt import COSE, COSEKey

notice, domain = bytes.fromhex(sys.argv[1]), sys.argv[2].encode()
claimed = cbor2.loads(cbor2.loads(notice).value[2])
spki = claimed[4]
key_id = hashlib.sha256(spki).digest()
pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(spki) + b"-----END PUBLIC KEY-----\n"
key = COSEKey.from_pem(pem, kid=key_id)
protected, _, payload = COSE.new(verify_kid=True).decode_with_headers(notice, key, external_aad=domain)
assert protected[16] == "application/kos-death-notice+cbor", protected
told = cbor2.loads(payload)
print(
    json.dumps(
        {
            "subject": told[0],
            "name": told[1],
            "authority": told.get(2),
            "keyId": key_id.hex(),
            "programDeleted": told[5],
            "entry": told.get(6),
            "checkpoint": told.get(7),
        }
    )
)
