"""A client of the API that is not ours: OpenSSL holds the connection, Python writes requests into it and makes their tokens.

Arguments: port, root, certificate, key. Prints what the authority answered, as JSON. The process `openssl s_client` is what a proxy
with the operator's certificate is: whatever somebody writes into it goes out under that certificate.
"""

import json
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "vectors/token"))
from make import token, token_key

LABEL = "EXPORTER-kOS-request-token-v1"


class Connection:
    """One connection, and the secret that its owner exports from it."""

    def __init__(self, port, root, certificate, key):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-alpn", "http/1.1", "-CAfile", root]
        command += ["-cert", certificate, "-cert_chain", certificate, "-key", key, "-verify_return_error"]
        command += ["-keymatexport", LABEL, "-keymatexportlen", "32", "-nocommands", "-ign_eof"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        while not (line := self.process.stdout.readline()).strip().startswith(b"Keying material:"):
            assert line, "no connection"
        self.exporter = bytes.fromhex(line.split(b":")[1].strip().decode())
        while self.process.stdout.readline().strip() != b"---":
            pass
        self.key = token_key(self.exporter)

    def write(self, requests):
        self.process.stdin.write(b"".join(requests))
        self.process.stdin.flush()

    def answer(self):
        """The next answer: its status, and its code where there is one."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.process.stdout.read(1)
            assert byte, "the connection is closed"
            head += byte
        at = head.index(b"HTTP/1.1 ")
        lines = head[at:].decode().split("\r\n")
        lengths = [line.split(":")[1] for line in lines if line.lower().startswith("content-length:")]
        body = self.process.stdout.read(int(lengths[0])) if lengths else b""
        try:
            code = json.loads(body).get("code")
        except ValueError:
            code = None
        return [int(lines[0].split(" ")[1]), code]

    def ask(self, *requests):
        self.write(requests)
        answers = [self.answer() for _ in requests]
        return answers[0] if len(answers) == 1 else answers

    def close(self):
        self.process.kill()
        self.process.wait()


def request(method, target, body=b"", shown=(), more=()):
    lines = [f"{method} {target} HTTP/1.1", "Host: authority", f"Content-Length: {len(body)}"]
    if body:
        lines.append("Content-Type: application/json")
    lines += [f"kos-token: {value}" for value in shown]
    lines += more
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def main():
    port, root, certificate, key = sys.argv[1:]
    first, second = [Connection(port, root, certificate, key) for _ in range(2)]
    now = int(time.time() * 1000)
    target, body = "/api/v1/tickets", b'{"role":"sensor"}'
    other = b'{"role":"compute","profile":"SEC-2"}'

    def made(counter, connection=first, at=now, of=body, again=""):
        return token(connection.key, "POST", target, of, at, counter, "", again)

    once = "Idempotency-Key: once"

    good = request("POST", target, body, [made(1)])
    says = {
        # The same connection, certificate and rights: only the token differs.
        "exempt without a token": first.ask(request("GET", "/api/v1/status")),
        "read without a token": first.ask(request("GET", "/api/v1/devices")),
        "change without a token": first.ask(request("POST", target, body)),
        "change with its token": first.ask(good),
        "the same bytes again": first.ask(good),
        "on the other connection": second.ask(good),
        "another body": first.ask(request("POST", target, other, [made(2)])),
        "another path": first.ask(request("POST", target + "?dryRun=true", body, [made(2)])),
        "long ago": first.ask(request("POST", target, body, [made(2, at=now - 120_000)])),
        "too early": first.ask(request("POST", target, body, [made(2, at=now + 120_000)])),
        "two tokens": first.ask(request("POST", target, body, [made(2), made(3)])),
        "nonsense": first.ask(request("POST", target, body, ["kt1.1.1.x"])),
        "too long": first.ask(request("POST", target, body, ["k" * 4000])),
        # What a proxy is talked into: a request in the wake of a good one, in the same bytes.
        "inserted behind a good one": first.ask(request("POST", target, body, [made(4)]), request("POST", target, other)),
        "a replay behind a good one": first.ask(request("POST", target, body, [made(5)]), good),
        "the other one's own token": second.ask(request("POST", target, body, [made(1, connection=second)])),
        # A proxy that adds a header would have the answer of an earlier request given for this one.
        "another header": first.ask(request("POST", target, body, [made(6)], [once])),
        "a header taken away": first.ask(request("POST", target, body, [made(6, again="once")])),
        "a header twice": first.ask(request("POST", target, body, [made(6, again="once")], [once, once])),
        "a header of its own": first.ask(request("POST", target, body, [made(6, again="once")], [once])),
        "overtaken": first.ask(request("POST", target, body, [made(3)])),
    }
    for connection in (first, second):
        connection.close()
    print(json.dumps(says))


if __name__ == "__main__":
    main()
