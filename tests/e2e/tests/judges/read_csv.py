"""Reads a CSV file strictly, as RFC 4180 has it, and writes its rows as JSON. The file's path comes in."""

import csv
import json
import sys

with open(sys.stdin.read().strip(), newline="", encoding="utf-8") as file:
    print(json.dumps(list(csv.DictReader(file, strict=True))))
