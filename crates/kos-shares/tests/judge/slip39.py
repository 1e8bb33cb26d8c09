"""The reference implementation of SLIP-39: joins shares of ours, makes shares for us, and says what its list of words is.

Reads {"join": [[share, ..], ..], "make": [{threshold, groups, passphrase, isExtendable, exponent, secret}, ..],
"commit": share} from stdin, writes {"words", "joined", "made", "commitment"}. All bytes are in hex.
"""

import hashlib
import json
import sys

from shamir_mnemonic import combine_mnemonics, generate_mnemonics, wordlist


def commitment(share: str) -> str:
    # docs/spec/recovery.md RCV-17: each part preceded by its length as eight bytes.
    hashed = hashlib.sha256()
    for part in (b"kos recovery share v1", share.encode()):
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.hexdigest()


given = json.load(sys.stdin)
words = "".join(word + "\n" for word in wordlist.WORDLIST)
json.dump(
    {
        "words": hashlib.sha256(words.encode()).hexdigest(),
        "joined": [combine_mnemonics(shares).hex() for shares in given["join"]],
        "made": [
            generate_mnemonics(
                one["threshold"],
                [tuple(group) for group in one["groups"]],
                bytes.fromhex(one["secret"]),
                one["passphrase"].encode(),
                one["isExtendable"],
                one["exponent"],
            )
            for one in given["make"]
        ],
        "commitment": commitment(given["commit"]),
    },
    sys.stdout,
)
