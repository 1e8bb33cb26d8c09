"""SHA-256 of files, one after the other. Their paths come in."""

import hashlib
import sys

digest = hashlib.sha256()
for path in sys.stdin.read().split():
    with open(path, "rb") as file:
        digest.update(file.read())
print(digest.hexdigest())
