"""Judges one entry with foreign code: cwt for the signature, rfc8785 for the JSON, cryptography for the sealed value.

Reads JSON on stdin: leaf, key (32 bytes) and keyId in hex, subjectKey in hex, and what the entry's actor and its detail
`user` must open to. The formulas are those of docs/spec/audit.md, written down a second time.
"""

import hashlib
import json
import sys
import uuid
from base64 import urlsafe_b64decode

import rfc8785
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cwt import COSE, COSEKey


def sha256_parts(domain: str, *parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in (domain.encode(), *parts):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def open_sealed(value: dict, key: bytes, entry: str, kind: str, name: str) -> str:
    sealed, subject = (urlsafe_b64decode(value[part] + "==") for part in ("sealed", "subject"))
    assert subject == sha256_parts("kos audit subject v1", key), "another subject"
    place = (subject, uuid.UUID(entry).bytes, kind.encode(), name.encode())
    associated = sha256_parts("kos audit personal v1", *place)
    padded = AESGCM(key).decrypt(sealed[:12], sealed[12:], associated)
    assert len(padded) % 32 == 0, "not padded"
    return padded.rstrip(b"\0").removesuffix(b"\x80").decode()


def main() -> None:
    given = json.load(sys.stdin)
    leaf, key_id = bytes.fromhex(given["leaf"]), bytes.fromhex(given["keyId"])
    key = COSEKey.new({1: 1, 2: key_id, 3: -8, -1: 6, -2: bytes.fromhex(given["key"])})
    payload = COSE.new(verify_kid=True).decode(leaf, key, external_aad=b"kos audit entry v1")
    try:
        COSE.new(verify_kid=True).decode(leaf, key, external_aad=b"kos other v1")
    except Exception:
        pass
    else:
        raise AssertionError("the signature holds for another purpose")
    entry = json.loads(payload)
    assert rfc8785.dumps(entry) == payload, "not canonical"
    assert entry["keyId"] == given["keyId"], "another key"
    subject_key = bytes.fromhex(given["subjectKey"])
    actor = open_sealed(entry["actor"]["id"], subject_key, entry["id"], "actor", "")
    user = open_sealed(entry["details"]["user"], subject_key, entry["id"], "detail", "user")
    assert (actor, user) == (given["actor"], given["user"]), "other people"
    print("ok", entry["eventType"])


main()
