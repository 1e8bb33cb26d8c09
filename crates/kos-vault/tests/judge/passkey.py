"""Derives the vector of KV-37 from what docs/spec/vault.md says goes in, with the functions of the reader beside this file.

Reads the page on stdin and prints the derived values, one a line, as the table of the page has them.
"""

import re
import sys

from vault import H, X, u64


def main() -> None:
    rows = dict(re.findall(r"^\| `([a-zA-Z]+)` \| `(.*)` \|$", sys.stdin.read(), re.MULTILINE))
    salt, output = bytes.fromhex(rows["salt"]), bytes.fromhex(rows["output"])
    head = H(
        "slot",
        bytes.fromhex(rows["vaultId"]),
        rows["environment"].encode(),
        rows["name"].encode(),
        u64(int(rows["created"])),
        b"passkey",
        bytes.fromhex(rows["credentialId"]),
        rows["relyingParty"].encode(),
        bytes.fromhex(rows["prfSalt"]),
        salt,
    )
    derived = {"head": head, "commitment": X(salt, output, "commitment", head), "wrap": X(salt, output, "wrap", head)}
    for name, value in derived.items():
        print(f"| `{name}` | `{value.hex()}` |")


if __name__ == "__main__":
    main()
