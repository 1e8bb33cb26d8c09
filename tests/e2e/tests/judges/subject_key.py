"""The key of a subject as the store holds it, in hex; nothing when there is none. Reads the store's path and the subject's person, a line each."""

import sqlite3
import sys

store, person = sys.stdin.read().split("\n")[:2]
rows = (
    sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    .execute("SELECT hex(secret) FROM subjects WHERE person = ?", (person,))
    .fetchall()
)
print(rows[0][0].lower() if rows else "")
