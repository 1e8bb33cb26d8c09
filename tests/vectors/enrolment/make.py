"""A second implementation of tickets, proofs, codes, messages, orders and records, written from docs/spec/enrolment.md and
docs/spec/quarantine.md alone.

Writes ticket.json, proof.json, code.json, message.json, ending.json and quarantine.json into the folder that it is given. Uses no code
of kOS, so that what both agree on is what the specification says.
"""

import base64
import hashlib
import json
import pathlib
import sys

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def hash_parts(domain, parts):
    """SHA-256 over the domain and all parts, each after its length in eight bytes."""
    hasher = hashlib.sha256()
    for part in [domain.encode(), *parts]:
        hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.digest()


def uuid(text):
    return bytes.fromhex(text.replace("-", ""))


def key(seed):
    return Ed25519PrivateKey.from_private_bytes(seed)


def spki(private):
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# Tickets: TIC


def proof_seed(secret):
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"kos ticket proof key v1").derive(secret)


def ticket(case):
    secret, pins = bytes.fromhex(case["secret"]), [bytes.fromhex(pin) for pin in case["pins"]]
    time = case["expiresAtMs"]
    parts = [case["authority"].encode(), uuid(case["id"]), secret, time.to_bytes(8, "big")]
    parts += [case["role"].encode(), case["profileCap"].encode(), *pins]
    parts += [address.encode() for address in case["addresses"]]
    fields = [case["authority"], uuid(case["id"]), secret, pins, case["addresses"], time]
    fields += [case["role"], case["profileCap"], hash_parts("kos ticket check v1", parts)[:4]]
    text = "kos1." + base64.urlsafe_b64encode(cbor2.dumps(fields)).rstrip(b"=").decode()
    seed = proof_seed(secret)
    return {**case, "text": text, "proofSeed": seed.hex(), "proofKeySpki": spki(key(seed)).hex()}


def tickets():
    plain = {
        "name": "one pin, one address",
        "authority": "attic",
        "id": "019ddbb8-6d50-7a07-8707-070707070707",
        "secret": "07" * 32,
        "pins": ["ab" * 32],
        "addresses": ["192.168.178.20:8641"],
        "expiresAtMs": 1795170600000,
        "role": "sensor",
        "profileCap": "SEC-2",
    }
    two = {"name": "two pins, two addresses", "pins": ["ab" * 32, "cd" * 32], "secret": "00" * 31 + "01"}
    two |= {"addresses": ["a.example:1", "[::1]:8641"], "role": "gateway", "profileCap": "SEC-1"}
    return [ticket(plain), ticket({**plain, **two})]


# Proofs: PRF


def ticket_proof(case):
    fields = ["kos ticket proof v1", *(bytes.fromhex(case[name]) for name in ("exporter", "identityKeyId", "csr"))]
    return cbor2.dumps([*fields, uuid(case["ticket"]), case["role"], case["profile"]])


def renewal_proof(case):
    domain = {"renewal": "kos renewal proof v1", "recovery": "kos recovery proof v1"}[case["kind"]]
    fields = [domain, bytes.fromhex(case["exporter"]), bytes.fromhex(case["challenge"]), case["device"]]
    return cbor2.dumps([*fields, bytes.fromhex(case["csr"]), case["issue"]])


def proofs():
    common = {"exporter": "01" * 32, "csr": "03" * 32, "seed": proof_seed(b"\x07" * 32).hex()}
    by_ticket = {
        **common,
        "name": "a ticket",
        "kind": "ticket",
        "identityKeyId": "02" * 32,
        "ticket": "019ddbb8-6d50-7a07-8707-070707070707",
        "role": "sensor",
        "profile": "SEC-2",
    }
    renewal = {
        **common,
        "name": "a renewal",
        "kind": "renewal",
        "challenge": "04" * 32,
        "device": "kdev-7f4ac30123456789",
        "issue": 41,
    }
    recovery = {**renewal, "name": "a recovery", "kind": "recovery", "issue": 65536}
    cases = []
    for case in (by_ticket, renewal, recovery):
        signed = ticket_proof(case) if case["kind"] == "ticket" else renewal_proof(case)
        signature = key(bytes.fromhex(case["seed"])).sign(signed)
        cases.append({**case, "toBeSigned": signed.hex(), "signature": signature.hex()})
    return cases


# Comparison codes: PRF


def code(case):
    nonces = [bytes.fromhex(case[name]) for name in ("deviceNonce", "authorityNonce")]
    device = spki(key(bytes.fromhex(case["deviceSeed"])))
    hashed = hash_parts("kos comparison code v1", [device, bytes.fromhex(case["rootKeyId"]), *nonces])
    digits = int.from_bytes(hashed[:8], "big") % 1_000_000
    commitment = hash_parts("kos enrolment commitment v1", nonces[:1])
    return {**case, "commitment": commitment.hex(), "code": f"{digits:06}"}


def codes():
    case = {"deviceSeed": "11" * 32, "rootKeyId": "ab" * 32, "deviceNonce": "05" * 32, "authorityNonce": "06" * 32}
    other = {**case, "name": "the authority chose another nonce", "authorityNonce": "61" * 32}
    return [code({"name": "with a zero in front", **case}), code(other)]


# Messages: ENR


def messages():
    mac, serial = bytes.fromhex("001122334455"), "SN-0001"
    nonce, token = b"\x05" * 32, b"\x08" * 32
    commitment = hash_parts("kos enrolment commitment v1", [nonce])
    identity = uuid("019ddbb8-6d50-7a07-8707-070707070707")
    signing, orders, log = (spki(key(bytes([seed]) * 32)) for seed in (11, 12, 13))
    hello = {0: commitment, 1: {0: [mac], 1: [serial]}, 2: [0, []], 3: "sensor", 4: "SEC-2", 6: ["telemetry"]}
    full = {**hello, 2: [1, [b"\x09" * 32]], 5: "Küche 2", 6: []}
    prove = {0: token, 1: nonce, 2: b"\x30\x00", 3: b"\x0a" * 32}
    role = {0: "sensor", 1: "SEC-2", 2: "stable", 3: [0, 1, 2], 4: [0, 3], 5: 60}
    grant = {0: [b"\x30\x01", b"\x30\x02", b"\x30\x03"], 1: b"\xd2\x80", 2: "kdev-7f4ac30123456789", 3: 1}
    grant |= {4: "attic-1", 5: "berlin/line-2", 6: role, 7: {0: signing, 1: orders, 2: log}, 8: [b"\x30\x04"]}
    welcome = {0: token, 1: b"\x06" * 32, 2: identity, 3: 1795170000000, 4: "attic", 5: 0}
    from_device = [
        ("hello", 0, {key: hello[key] for key in sorted(hello)}),
        ("hello with an image and a name", 0, {key: full[key] for key in sorted(full)}),
        ("prove: lobby", 1, {**prove, 4: [0, []]}),
        ("prove: ticket", 1, {**prove, 4: [1, [identity, b"\x0b" * 64]]}),
        ("prove: renewal", 1, {**prove, 4: [2, [41, b"\x0b" * 64, b"\x0c" * 64]]}),
        ("prove: recovery", 1, {**prove, 4: [3, [41, b"\x0b" * 64, b"\x0c" * 64]]}),
        ("stored", 2, {0: 1}),
        ("stored, bootloader locked", 2, {0: 1, 1: 0}),
        ("notice", 3, {0: b"\xd2\x80"}),
        ("receipt", 4, {0: "kdev-7f4ac30123456789", 1: b"\x0d" * 32, 2: b"\xd2\x80"}),
    ]
    from_authority = [
        ("welcome", 0, [welcome]),
        ("pending", 1, [{0: 5}]),
        ("issued", 2, [grant]),
        ("recorded", 3, []),
        ("refused", 4, [{0: 202}]),
        ("refused for now", 4, [{0: 216, 1: 60}]),
        ("order", 5, [{0: b"\xd2\x80"}]),
    ]
    cases = [(name, "device", [number, [fields]]) for name, number, fields in from_device]
    cases += [(name, "authority", [number, fields]) for name, number, fields in from_authority]
    return [{"name": name, "from": side, "bytes": cbor2.dumps(message).hex()} for name, side, message in cases]


# Orders and records: END


def sealed(private, domain, typ, payload):
    header = {1: -8, 4: hashlib.sha256(spki(private)).digest(), 16: typ}
    protected = cbor2.dumps(header)
    signature = private.sign(cbor2.dumps(["Signature1", protected, domain.encode(), payload]))
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))


def endings():
    receipt, order = b"\x0d" * 32, uuid("019ddbb8-6d50-7a07-8707-070707070708")
    device, authority, time = "kdev-7f4ac30123456789", "attic", 1795170000000
    said = cbor2.dumps({0: order, 1: device, 2: authority, 3: time, 4: receipt})
    ordered = {0: device, 1: authority, 2: time, 3: order, 4: receipt, 5: 0, 6: b"\xab" * 32, 7: ["a.example:1"]}
    alone = {0: device, 1: authority, 2: time, 4: receipt, 5: 1, 6: b"\xab" * 32, 7: []}
    types = "application/kos-order+cbor", "application/kos-record+cbor"
    by = key(b"\x0c" * 32), key(b"\x0e" * 32)
    cases = [
        ("an order", by[0], "kos decommission order v1", types[0], said),
        ("a record of an order", by[1], "kos decommission record v1", types[1], cbor2.dumps(ordered)),
        ("a record of a device that ended itself", by[1], "kos decommission record v1", types[1], cbor2.dumps(alone)),
    ]
    hashed = hash_parts("kos decommission receipt v1", [receipt]).hex()
    return [
        {"name": name, "signerSpki": spki(private).hex(), "payload": payload.hex(), "receiptHash": hashed}
        | {"cose": sealed(private, domain, typ, payload).hex()}
        for name, private, domain, typ, payload in cases
    ]


# Orders and records: QRN-3, QRN-5, QRN-16


def quarantines():
    receipt, order = b"\x0d" * 32, uuid("019ddbb8-6d50-7a07-8707-070707070709")
    device, authority, time = "kdev-7f4ac30123456789", "attic", 1795170000000
    recipient = "age1" + "q" * 58
    ordered = {0: order, 1: device, 2: authority, 3: time, 4: 7, 5: receipt, 6: [recipient]}
    record = {0: device, 1: authority, 2: order, 3: receipt, 4: time + 900}
    types = "application/kos-quarantine-order+cbor", "application/kos-quarantine-record+cbor"
    domains = "kos quarantine order v1", "kos quarantine record v1"
    by = key(b"\x0c" * 32), key(b"\x0e" * 32)
    cases = [
        ("an order", 0, ordered),
        ("an order without a recipient", 0, ordered | {6: []}),
        ("a record with a bundle", 1, record | {5: hashlib.sha256(b"bundle").digest()}),
        ("a record without a bundle", 1, record),
    ]
    hashed = hash_parts("kos quarantine receipt v1", [receipt]).hex()
    return [
        {"name": name, "signerSpki": spki(by[of]).hex(), "payload": (payload := cbor2.dumps(said)).hex()}
        | {"receiptHash": hashed, "cose": sealed(by[of], domains[of], types[of], payload).hex()}
        for name, of, said in cases
    ]


def main(folder):
    files = {"ticket": tickets(), "proof": proofs(), "code": codes(), "message": messages(), "ending": endings()}
    files |= {"quarantine": quarantines()}
    for name, cases in files.items():
        text = json.dumps(cases, indent=2, ensure_ascii=False) + "\n"
        pathlib.Path(folder, name + ".json").write_text(text, encoding="utf-8")


main(sys.argv[1])
