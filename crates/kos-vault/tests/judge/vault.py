"""A second reader of vaults, written from docs/spec/vault.md: KV-3 to KV-26, KV-34 to KV-36.

Reads a JSON list on stdin; each item has `file`, the text of a vault, and `unlock`, one of {"passphrase": text}, {"key": hex}
{"offline": hex} and {"passkey": hex}, the output of its function. For each it prints a line: `refused: WHY`, or everything in the file as JSON.
"""

import base64
import hashlib
import hmac
import json
import re
import sys

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TYPES = "api_key certificate password jwt ssh_key totp_seed private_key opaque".split()
SOURCES = "file credential tpm token shares".split()
VERSION = "kos.vault.v1"
LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
YEAR_9999 = 253_402_300_799_999


class Refused(Exception):
    pass


def need(holds: bool, why: str) -> None:
    if not holds:
        raise Refused(why)


def H(domain: str, *parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in (("kos vault v1 " + domain).encode(), *parts):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def X(salt: bytes, secret: bytes, domain: str, *parts: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, H(domain, *parts)).derive(secret)


def u64(number: int) -> bytes:
    need(type(number) is int and 0 <= number < 2**64, "a number")
    return number.to_bytes(8, "big")


def time(ms: int) -> bytes:
    need(type(ms) is int and 0 <= ms <= YEAR_9999, "a time")
    return u64(ms)


def b64(text: str, length: int | None = None) -> bytes:
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, "base64 that is written in another way")
    need(length is None or len(data) == length, "bytes of another length")
    return data


def hexed(text: str, length: int) -> bytes:
    need(re.fullmatch("[0-9a-f]{%d}" % (2 * length), text) is not None, "hex")
    return bytes.fromhex(text)


def no_twins(pairs: list) -> dict:
    need(len({name for name, _ in pairs}) == len(pairs), "a member twice")
    return dict(pairs)


def members(thing: dict, needed: str, optional: str = "") -> None:
    need(isinstance(thing, dict), "an object")
    need(set(needed.split()) <= set(thing) <= set((needed + " " + optional).split()), "other members")


def work(derivation: dict) -> tuple[bytes, int, int, int]:
    algorithm, rounds = derivation["algorithm"], derivation["iterations"]
    if algorithm == "Argon2id":
        members(derivation, "algorithm iterations memoryKib parallelism salt")
        memory, lanes = derivation["memoryKib"], derivation["parallelism"]
        need(19_456 <= memory <= 1 << 20 and 2 <= rounds <= 16 and 1 <= lanes <= 16, "the work")
        need(memory * rounds <= 4 << 20, "the work")
        return b"Argon2id", rounds, memory, lanes
    members(derivation, "algorithm iterations salt")
    need(algorithm == "PBKDF2" and 200_000 <= rounds <= 5_000_000, "the work")
    return b"PBKDF2", rounds, 0, 0


def slot_head(file: dict, slot: dict) -> tuple[bytes, bytes]:
    """The head of a slot and its salt (KV-14)."""
    common = "name kind created commitment iv wrapped tag"
    kind = slot["kind"]
    if kind == "passphrase":
        members(slot, common + " derivation")
        algorithm, *numbers = work(slot["derivation"])
        salt = b64(slot["derivation"]["salt"], 32)
        own = [algorithm, *map(u64, numbers), salt]
    elif kind == "key":
        members(slot, common + " source salt")
        need(slot["source"] in SOURCES, "the source of a key")
        salt = b64(slot["salt"], 32)
        own = [slot["source"].encode(), salt]
    elif kind == "passkey":
        members(slot, common + " credentialId relyingParty prfSalt salt")
        salt, credential, party = b64(slot["salt"], 32), b64(slot["credentialId"]), slot["relyingParty"]
        need(16 <= len(credential) <= 1023, "the id of a passkey")
        labels = party.split(".")
        need(len(party) <= 253 and all(re.fullmatch(LABEL, label) for label in labels), "a domain")
        own = [credential, party.encode(), b64(slot["prfSalt"], 32), salt]
    else:
        need(kind == "offline", "the kind of a slot")
        members(slot, common + " recipient ephemeral salt")
        salt = b64(slot["salt"], 32)
        own = [b64(slot["recipient"], 32), b64(slot["ephemeral"], 32), salt]
    place = hexed(file["vaultId"], 16), file["environment"].encode(), slot["name"].encode()
    return H("slot", *place, time(slot["created"]), kind.encode(), *own), salt


def slot_secret(slot: dict, unlock: dict) -> bytes | None:
    if slot["kind"] == "passphrase" and "passphrase" in unlock:
        secret, salt = unlock["passphrase"].encode(), b64(slot["derivation"]["salt"])
        algorithm, rounds, memory, lanes = work(slot["derivation"])
        if algorithm == b"Argon2id":
            return hash_secret_raw(secret, salt, rounds, memory, lanes, 32, Type.ID, 19)
        return hashlib.pbkdf2_hmac("sha512", secret, salt, rounds, 32)
    if slot["kind"] == "key" and "key" in unlock:
        return bytes.fromhex(unlock["key"])
    if slot["kind"] == "offline" and "offline" in unlock:
        own = X25519PrivateKey.from_private_bytes(bytes.fromhex(unlock["offline"]))
        return own.exchange(X25519PublicKey.from_public_bytes(b64(slot["ephemeral"])))
    if slot["kind"] == "passkey" and "passkey" in unlock:
        output = bytes.fromhex(unlock["passkey"])
        need(len(output) == 32 and any(output), "the output of a passkey")
        return output
    return None


def versions(entry: dict) -> list[dict]:
    """The versions of an entry, oldest first (KV-7)."""
    one = "ciphertext iv tag metadata versionNumber salt"
    members(entry, one + " history")
    members(entry["metadata"], "type created lastAccessed", "expiresAt")
    for past in entry["history"]:
        members(past, one)
        members(past["metadata"], "type created", "expiresAt")
    found = [*entry["history"], entry]
    numbers = [version["versionNumber"] for version in found]
    need(len(found) <= 10 and numbers[0] > 0 and sorted(set(numbers)) == numbers, "the versions")
    need(all(version["metadata"]["type"] in TYPES for version in found), "a type")
    return found


def expires(metadata: dict) -> bytes:
    return time(metadata["expiresAt"]) if "expiresAt" in metadata else b""


def record(name: str, entry: dict) -> bytes:
    """KV-24."""
    found = versions(entry)
    parts = [hexed(name, 32), time(entry["metadata"]["lastAccessed"]), u64(len(found))]
    for version in found:
        metadata = version["metadata"]
        parts += [u64(version["versionNumber"]), metadata["type"].encode(), time(metadata["created"])]
        parts += [expires(metadata), b64(version["salt"], 32), b64(version["iv"], 12)]
        parts += [b64(version["ciphertext"]), b64(version["tag"], 16)]
    return H("record", *parts)


def tree(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"".join(b"\0" + leaf for leaf in leaves)).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree(leaves[:half]) + tree(leaves[half:])).digest()


def root(file: dict) -> bytes:
    """KV-25."""
    slots = []
    for slot in file["slots"]:
        head, _ = slot_head(file, slot)
        lengths = ("commitment", 32), ("iv", 12), ("wrapped", 32), ("tag", 16)
        slots.append(H("sealed slot", head, *(b64(slot[name], length) for name, length in lengths)))
    records = [record(name, entry) for name, entry in sorted(file["encryptedData"].items())]
    return H(
        "root",
        file["version"].encode(),
        hexed(file["vaultId"], 16),
        file["environment"].encode(),
        u64(file["generation"]),
        hexed(file["previousRoot"], 32),
        time(file["integrity"]["lastModified"]),
        u64(len(slots)),
        *slots,
        tree(records),
    )


def master_key(file: dict, unlock: dict) -> bytes:
    """KV-15, KV-18: the commitment first."""
    for slot in file["slots"]:
        secret = slot_secret(slot, unlock)
        if secret is None:
            continue
        head, salt = slot_head(file, slot)
        if hmac.compare_digest(X(salt, secret, "commitment", head), b64(slot["commitment"])):
            sealed = b64(slot["wrapped"]) + b64(slot["tag"])
            return AESGCM(X(salt, secret, "wrap", head)).decrypt(b64(slot["iv"]), sealed, head)
    raise Refused("the secret")


def open_version(file: dict, keys: tuple, name: str, version: dict) -> tuple[str, bytes]:
    """KV-21 to KV-23."""
    environment_key, id_key = keys
    own, number, metadata = bytes.fromhex(name), u64(version["versionNumber"]), version["metadata"]
    associated = H(
        "version",
        bytes.fromhex(file["vaultId"]),
        file["environment"].encode(),
        own,
        number,
        metadata["type"].encode(),
        time(metadata["created"]),
        expires(metadata),
    )
    key = X(b64(version["salt"]), environment_key, "entry", own, number)
    sealed = b64(version["ciphertext"]) + b64(version["tag"])
    text = AESGCM(key).decrypt(b64(version["iv"]), sealed, associated)
    end = 2 + int.from_bytes(text[:2], "big")
    start = end + 4
    stop = start + int.from_bytes(text[end:start], "big")
    need(len(text) == max(64, 1 << (stop - 1).bit_length()) and not any(text[stop:]), "the padding")
    need(hmac.digest(id_key, text[2:end], "sha256") == own, "the name")
    return text[2:end].decode(), text[start:stop]


def read(text: str, unlock: dict) -> dict:
    file = json.loads(text, object_pairs_hook=no_twins)
    need(file.get("version") == VERSION, "the version")
    needed = "version vaultId environment generation previousRoot slots encryptedData integrity"
    members(file, needed, "masterKeyDerivation")
    members(file["integrity"], "checksum lastModified mac")
    need(file["generation"] > 0 and 1 <= len(file["slots"]) <= 16, "generation or slots")
    passphrases = [slot["derivation"] for slot in file["slots"] if slot["kind"] == "passphrase"]
    need(len(passphrases) <= 4, "too many passphrases")
    need([file.get("masterKeyDerivation")] == (passphrases[:1] or [None]), "masterKeyDerivation")
    need(len({slot["name"] for slot in file["slots"]}) == len(file["slots"]), "names of slots")
    fingerprint = root(file)
    need(fingerprint == hexed(file["integrity"]["checksum"], 32), "the checksum")
    master = master_key(file, unlock)
    vault, environment = bytes.fromhex(file["vaultId"]), file["environment"].encode()
    mac_key, id_key, environment_key = (X(vault, master, of, environment) for of in ("mac", "id", "environment"))
    mac = hexed(file["integrity"]["mac"], 32)
    need(hmac.compare_digest(hmac.digest(mac_key, fingerprint, "sha256"), mac), "the mac")
    entries = []
    for name, entry in file["encryptedData"].items():
        for version in versions(entry):
            title, value = open_version(file, (environment_key, id_key), name, version)
            metadata = version["metadata"]
            entries.append([title, version["versionNumber"], metadata["type"], metadata["created"],
                            metadata.get("expiresAt"), value.hex()])
    return {"generation": file["generation"], "root": fingerprint.hex(), "entries": sorted(entries)}


def judge(text: str, unlock: dict) -> str:
    try:
        return json.dumps(read(text, unlock), ensure_ascii=False)
    except Refused as why:
        return f"refused: {why}"
    except InvalidTag:
        return "refused: a tag"
    except (KeyError, TypeError, ValueError, AttributeError) as why:
        return f"refused: form, {type(why).__name__}"


def main() -> None:
    for given in json.load(sys.stdin):
        print(judge(given["file"], given["unlock"]))


if __name__ == "__main__":
    main()
