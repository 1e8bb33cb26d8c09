"""A maker of devices that has nothing of kOS: signs vouchers with `cbor2` and `cryptography`, from docs/spec/voucher.md alone.

Reads one JSON object from stdin, writes one to stdout.

  {"do": "key", "alg": A}                          -> {"private": pem, "public": pem, "id": hex}
  {"do": "id", "public": pem}                      -> {"id": hex}
  {"do": "voucher", "private": pem, "nonce": hex, "subject": S, "pin": hex, "owner": pem, "created": ms,
   "expires": ms or null, "spoil": one of SPOILS or null}      -> {"file": base64, "id": hex}
  {"do": "endorse", "file": base64, "private": pem, "pin": hex, "owner": pem, "created": ms, "times": n}
                                                   -> {"file": base64}
  {"do": "image", "private": pem, "files": {path: text}}          -> {"manifest": base64, "signer": base64}
  {"do": "ca"}                                     -> {"private": pem, "certificate": pem}
  {"do": "idevid", "ca": {..}, "public": pem, "serial": text, "module": bool, "self": bool} -> {"certificate": pem}

A is "EdDSA" or "ES256". S is ["key", hex], ["ek", hex] or ["serial", text, hex].
"""

import base64
import datetime
import hashlib
import json
import sys

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

VOUCHER = ("kos voucher v1", "application/kos-voucher+cbor")
IMAGE = ("kos image manifest v1", "application/vnd.kos.image-manifest+cose")
ENDORSEMENT = ("kos voucher endorsement v1", "application/kos-voucher-endorsement+cbor")
PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def private_of(pem):
    return serialization.load_pem_private_key(pem.encode(), None)


def public_of(pem):
    return serialization.load_pem_public_key(pem.encode())


def spki(public):
    return public.public_bytes(DER, SPKI)


def key_id(public):
    return hashlib.sha256(spki(public)).digest()


def dumps(value):
    return cbor2.dumps(value, canonical=True)


def parts_hash(domain, *parts):
    parts = (domain.encode(), *parts)
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def sign(private, purpose, payload, spoil=None):
    """COSE_Sign1 of RFC 9052, tagged, with alg, kid and typ in the protected header and the domain as external data."""
    domain, typ = purpose
    is_ed = isinstance(private, ed25519.Ed25519PrivateKey)
    header = {1: -8 if is_ed else -7, 4: key_id(private.public_key()), 16: typ}
    if spoil == "critical":
        header[2] = ["kos-unknown"]
        header["kos-unknown"] = 1
    if spoil == "algorithm":
        header[1] = -7 if is_ed else -8
    protected = dumps(header)
    message = dumps(["Signature1", protected, domain.encode(), payload])
    if is_ed:
        signature = private.sign(message)
    else:
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    if spoil == "signature":
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    unprotected = {4: b"x"} if spoil == "unprotected" else {}
    return dumps(cbor2.CBORTag(18, [protected, unprotected, payload, signature]))


def owner(ask):
    return {0: bytes.fromhex(ask["pin"]), 1: spki(public_of(ask["owner"]))}


def subject(said):
    kind, name, *more = said
    if kind == "key":
        return [0, [bytes.fromhex(name)]]
    if kind == "ek":
        return [1, [bytes.fromhex(name)]]
    return [2, [name, bytes.fromhex(more[0])]]


def voucher(ask):
    private = private_of(ask["private"])
    nonce = bytes.fromhex(ask["nonce"])
    statement = {0: nonce, 1: subject(ask["subject"]), 2: owner(ask), 3: ask["created"]}
    if ask["expires"] is not None:
        statement[4] = ask["expires"]
    spoil = ask.get("spoil")
    if spoil == "field":
        statement[9] = 1
    payload = dumps(statement)
    if spoil == "payload":
        payload += b"\0"
    signed = sign(private, VOUCHER, payload, spoil)
    name = parts_hash("kos voucher id v1", key_id(private.public_key()), nonce)[:16]
    return {"file": base64.b64encode(dumps([signed, []])).decode(), "id": name.hex()}


def endorse(ask):
    signed, endorsements = cbor2.loads(base64.b64decode(ask["file"]))
    private = private_of(ask["private"])
    for _ in range(ask.get("times", 1)):
        before = endorsements[-1] if endorsements else signed
        link = parts_hash("kos voucher link v1", before)
        said = {0: link, 1: owner(ask), 2: ask["created"]}
        endorsements.append(sign(private, ENDORSEMENT, dumps(said)))
    return {"file": base64.b64encode(dumps([signed, endorsements])).decode()}


def image(ask):
    private = private_of(ask["private"])
    files = [[path, hashlib.sha256(text.encode()).digest()] for path, text in ask["files"].items()]
    signed = sign(private, IMAGE, dumps({0: "kitchen", 1: "1", 2: files}))
    signer = spki(private.public_key())
    return {"manifest": base64.b64encode(signed).decode(), "signer": base64.b64encode(signer).decode()}


def key(ask):
    make = ed25519.Ed25519PrivateKey.generate
    private = make() if ask["alg"] == "EdDSA" else ec.generate_private_key(ec.SECP256R1())
    public = private.public_key()
    return {
        "private": private.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "public": public.public_bytes(PEM, SPKI).decode(),
        "id": key_id(public).hex(),
    }


def certificate(names, issuer, public, private, extensions, ca):
    end = datetime.datetime(9999, 12, 31, 23, 59, 59)
    builder = (
        x509.CertificateBuilder()
        .subject_name(names)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    algorithm = None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(private, algorithm).public_bytes(PEM).decode()


def common(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def ca(ask):
    private = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = certificate(common("Acme devices"), common("Acme devices"), private.public_key(), private, [(usage, True)], True)
    pem = private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return {"private": pem, "certificate": made, "id": key_id(private.public_key()).hex()}


def idevid(ask):
    issuer = ask["ca"]
    private = private_of(issuer["private"])
    public = public_of(ask["public"])
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    extensions = [(usage, True)]
    names = [x509.NameAttribute(NameOID.COMMON_NAME, "sensor")]
    if ask.get("module"):
        serial = ask["serial"].encode()
        # SEQUENCE { OBJECT IDENTIFIER 1.3.6.1.4.1.99999, OCTET STRING serial }
        kind = bytes.fromhex("06082b06010401868d1f")
        inner = kind + b"\x04" + bytes([len(serial)]) + serial
        module = b"\x30" + bytes([len(inner)]) + inner
        other = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4"), module)
        extensions.append((x509.SubjectAlternativeName([other]), True))
    else:
        names.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, ask["serial"]))
    made = certificate(x509.Name(names), common("Acme devices"), public, private, extensions, False)
    return {"certificate": made}


def main():
    ask = json.load(sys.stdin)
    does = {"key": key, "voucher": voucher, "endorse": endorse, "ca": ca, "idevid": idevid}
    does["image"] = image
    does["id"] = lambda said: {"id": key_id(public_of(said["public"])).hex()}
    json.dump(does[ask["do"]](ask), sys.stdout)


main()
