"""Writes a vault as the source document shapes it, by docs/spec/vault.md KV-30 and KV-31. Argument: PBKDF2 or Argon2id."""

import base64
import hashlib
import json
import sys

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PASSPHRASE = "an old passphrase".encode()
SALT = bytes(range(16))
ENTRIES = {
    "github": ("api_key", b"ghp_0123456789", None),
    "tls/front": ("certificate", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", 1_826_706_000_000),
    "Büro \"1\"": ("password", "Schlüssel".encode(), None),
    "session": ("jwt", b"e30.e30.", 1_795_170_060_000),
}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    algorithm = sys.argv[1]
    if algorithm == "PBKDF2":
        iterations, key = 200_000, hashlib.pbkdf2_hmac("sha512", PASSPHRASE, SALT, 200_000, 32)
    else:
        iterations, key = 3, hash_secret_raw(PASSPHRASE, SALT, 3, 65_536, 4, 32, Type.ID, 19)
    entries = {}
    for at, (name, (kind, value, expires)) in enumerate(ENTRIES.items()):
        iv = bytes([at] * 12)
        sealed = AESGCM(key).encrypt(iv, value, None)
        metadata = {"type": kind, "created": 1_700_000_000_000 + at, "lastAccessed": 1_750_000_000_000 + at}
        if expires is not None:
            metadata["expiresAt"] = expires
        entries[name] = {"ciphertext": b64(sealed[:-16]), "iv": b64(iv), "tag": b64(sealed[-16:]), "metadata": metadata}
    compact = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    checksum = hashlib.sha256(compact) if algorithm == "PBKDF2" else hashlib.sha512(compact)
    file = {
        "version": "1.0.0",
        "masterKeyDerivation": {"algorithm": algorithm, "iterations": iterations, "salt": b64(SALT)},
        "encryptedData": entries,
        "integrity": {"checksum": checksum.hexdigest(), "lastModified": 1_760_000_000_000},
    }
    # One as `JSON.stringify(file)` writes it, one as `JSON.stringify(file, null, 2)` does.
    written = {"separators": (",", ":")} if algorithm == "PBKDF2" else {"indent": 2}
    sys.stdout.write(json.dumps(file, ensure_ascii=False, **written))


main()
