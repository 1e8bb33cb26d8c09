"""Tells every key of a vault: what must not be found where none belongs.

Arguments: the file of a vault, and a file with a passphrase. A line for each key: what it is, and its bytes in hex.
"""

import json
import pathlib
import sys

import vault


def main() -> None:
    file = json.loads(pathlib.Path(sys.argv[1]).read_text())
    unlock = {"passphrase": pathlib.Path(sys.argv[2]).read_text()}
    master = vault.master_key(file, unlock)
    own, environment = bytes.fromhex(file["vaultId"]), file["environment"].encode()
    keys = {"master key": master}
    for of in ("mac", "id", "environment"):
        keys[f"{of} key"] = vault.X(own, master, of, environment)
    slots = [slot for slot in file["slots"] if slot["kind"] == "passphrase"]
    for slot in slots:
        head, salt = vault.slot_head(file, slot)
        secret = vault.slot_secret(slot, unlock)
        keys["slot secret"], keys["wrapping key"] = secret, vault.X(salt, secret, "wrap", head)
    for name, entry in file["encryptedData"].items():
        for version in vault.versions(entry):
            number = vault.u64(version["versionNumber"])
            key = vault.X(vault.b64(version["salt"]), keys["environment key"], "entry", bytes.fromhex(name), number)
            keys[f"key of version {version['versionNumber']} of {name[:8]}"] = key
    for what, key in keys.items():
        print(f"{what}: {key.hex()}")


if __name__ == "__main__":
    main()
