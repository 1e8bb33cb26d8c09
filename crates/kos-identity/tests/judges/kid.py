"""Verifies a kID with the `cwt` library. Arguments: the signer's SubjectPublicKeyInfo, the kID (hex), the domain."""

import base64
import json
import sys

import cbor2
from cwt import COSE, COSEKey

spki, kid, domain = bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2]), sys.argv[3].encode()
pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(spki) + b"-----END PUBLIC KEY-----\n"
signer_id = cbor2.loads(cbor2.loads(kid).value[0])[4]
key = COSEKey.from_pem(pem, kid=signer_id)
protected, _, payload = COSE.new(verify_kid=True).decode_with_headers(kid, key, external_aad=domain)
claims = cbor2.loads(payload)
traits = claims[-65537]
print(
    json.dumps(
        {
            "typ": protected[16],
            "iss": claims[1],
            "sub": claims[2],
            "aud": claims[3],
            "exp": claims[4],
            "nbf": claims[5],
            "iat": claims[6],
            "cti": claims[7].hex(),
            "cnf": claims[8][3].hex(),
            "role": traits[1],
            "profile": traits[2],
            "group": traits.get(3),
            "user": traits.get(4),
            "capabilities": traits[5],
            "evidence": traits[6],
            "channel": traits[7],
            "agreement": traits[8].hex(),
        }
    )
)
