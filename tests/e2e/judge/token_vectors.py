"""Has OpenSSL make the key and the MAC of each vector of tests/vectors/token, beside Python's hmac and cryptography.

Argument: a folder to work in. Prints how many agreed.
"""

import base64
import json
import pathlib
import subprocess
import sys

here = pathlib.Path(__file__).parents[2] / "vectors/token"
desk = pathlib.Path(sys.argv[1])
subprocess.run([sys.executable, here / "make.py", desk], check=True)
cases = json.loads((here / "token.json").read_text())
assert json.loads((desk / "token.json").read_text()) == cases, "make.py writes something else"


def openssl(*arguments, given=b""):
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout


for case in cases:
    own = case["deviceKey"] or ""
    info = "kos request token v1 certificate" + (" and device key" if own else "")
    options = ["digest:SHA256", f"hexkey:{case['exporter']}{own}", "salt:kos request token v1", f"info:{info}"]
    options = [word for option in options for word in ("-kdfopt", option)]
    key = openssl("kdf", "-binary", "-keylen", "32", *options, "HKDF").hex()
    assert key == case["key"], case["name"]
    arguments = ["mac", "-binary", "-digest", "SHA256", "-macopt", f"hexkey:{key}", "-in", "-", "HMAC"]
    mac = openssl(*arguments, given=bytes.fromhex(case["message"]))
    shown = f"kt1.{case['time']}.{case['counter']}." + base64.urlsafe_b64encode(mac).decode().rstrip("=")
    assert shown == case["token"], case["name"]
print(len(cases))
