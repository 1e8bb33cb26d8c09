"""A receiver of webhooks that is not ours: verifies Standard Webhooks signatures with the standard library alone.

usage: webhook.py PORT SECRET-FILE [CERTIFICATE KEY]

Prints `ready PORT`, then one JSON object for each request: {"ok", "why", "id", "body"}. Answers 204, or 401 to what it
does not believe.
"""

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import sys
import time


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        why = self.judge(body)
        said = {"ok": why is None, "why": why, "id": self.headers["webhook-id"], "path": self.path}
        said["body"] = json.loads(body)
        self.send_response(204 if why is None else 401)
        self.end_headers()
        print(json.dumps(said), flush=True)

    def judge(self, body):
        with open(sys.argv[2]) as file:
            secret = file.read().strip()
        if not secret.startswith("whsec_"):
            return "no secret"
        key = base64.b64decode(secret[len("whsec_"):], validate=True)
        sent = self.headers["webhook-timestamp"]
        if abs(time.time() - int(sent)) > 300:
            return "too old or too new"
        signed = b".".join([self.headers["webhook-id"].encode(), sent.encode(), body])
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        given = [part.split(",", 1) for part in self.headers["webhook-signature"].split(" ")]
        good = any(version == "v1" and hmac.compare_digest(mac, wanted) for version, mac in given)
        return None if good else "the signature is wrong"

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True


server = Server(("127.0.0.1", int(sys.argv[1])), Receiver)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", server.server_address[1], flush=True)
server.serve_forever()
