"""Whether every row of an authority's store has its entry in the log.

Reads the store alone, with nothing of kOS: SQLite, and the JSON that each leaf holds. Each row that speaks of the fleet or
of the authority has to be explained by entries about the same thing; each version of it by one of its own. A row that was
changed by hand, or by code that forgot the log, is one version ahead.

Usage: coverage.py STORE. Exits 1 with a line for each row that no entry explains.
"""

import collections
import json
import sqlite3
import sys

FREE = {"alert_state", "alerts", "answers", "deliveries", "heartbeats", "schema_version"}
SETTINGS = {
    "authority": {"authority_created"},
    "created_at": {"authority_created"},
    "keys_sealed": {"authority_created", "keys_sealed"},
    "listen_address": {"listen_changed"},
    "advertise": {"listen_changed"},
    "approval_rules": {"approval_rule_added", "approval_rule_removed"},
    "settings_file": {"config_changed"},
    "witness_threshold": {"witness_policy_changed"},
    "alert_rules": {"alert_rules_changed"},
    "attestation": {"ek_allowed", "ek_removed", "golden_added", "golden_removed"},
    "makers": {"maker_trusted", "maker_removed"},
    "modules": {"modules_changed"},
    "attestation": {"ek_allowed", "golden_added"},
    "manifest_floor": {"restore_opened"},
}


class Log:
    """What the entries say, by what they are about."""

    def __init__(self, db):
        self.size = 0
        self.events = collections.Counter()
        self.about = collections.defaultdict(list)
        self.texts = collections.Counter()
        self.subjects = set()
        rows = db.execute("SELECT position, event, target, leaf FROM entries ORDER BY position")
        for position, event, target, leaf in rows:
            if position != self.size:
                sys.exit(f"entry {self.size} is missing")
            start = leaf.index(b'{"actor"')
            entry, _ = json.JSONDecoder().raw_decode(leaf[start:].decode("utf-8", "replace"))
            if entry["sequence"] != position + 1 or entry["eventType"] != event:
                sys.exit(f"entry {position} is another than its leaf")
            self.size += 1
            self.events[event] += 1
            self.about[target].append(entry)
            self.take(entry)

    def take(self, value):
        """Each text anywhere in an entry counts once for that entry."""
        texts = set()
        walk = [value]
        while walk:
            value = walk.pop()
            if isinstance(value, dict):
                if "subject" in value and "sealed" in value:
                    self.subjects.add(value["subject"])
                walk.extend(value.values())
            elif isinstance(value, list):
                walk.extend(value)
            elif isinstance(value, str):
                texts.add(value)
        self.texts.update(texts)


def columns(db, table):
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}


def judge(db):
    bad = []

    def expect(holds, what):
        if not holds:
            bad.append(what)

    if next(db.execute("SELECT count(*) FROM archives"))[0]:
        print("entries are in archives, which are not looked at")
        sys.exit(0)
    log = Log(db)
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    rows = 0
    known = set(FREE) | {"archives"}

    def each(table, names):
        nonlocal rows
        known.add(table)
        for row in db.execute(f"SELECT {names} FROM {table}"):
            rows += 1
            yield row

    for device, version in each("devices", "id, version"):
        told = log.texts[device]
        expect(version <= told, f"devices: {device} has version {version} and {told} entries")
    for _, device in each("facts", "fact, device"):
        expect(log.texts[device], f"facts: no entry about {device}")
    for ticket, version in each("tickets", "id, version"):
        told = log.texts[ticket]
        expect(version <= told, f"tickets: {ticket} has version {version} and {told} entries")
    for ticket, device, number in each("admissions", "ticket, device, number"):
        expect(log.texts[ticket] and log.texts[device], f"admissions: no entry about {ticket} and {device}")
    certified = log.events["operator_added"]
    for issuer, serial, device in each("certificates", "issuer, serial, device"):
        expect(log.texts[serial.lower()] or certified, f"certificates: no entry about {serial}")
    removed = log.events["operator_removed"] + log.events["restore_opened"]
    for issuer, serial in each("revocations", "issuer, serial"):
        expect(log.texts[serial.lower()] or removed, f"revocations: no entry about {serial}")
    for issuer, number in each("crls", "issuer, number"):
        told = [entry["details"].get("crlNumber") for entry in log.about[issuer]]
        expect(number in told, f"crls: {issuer} is at {number}, and no entry says so")
    for operator, version in each("operators", "id, version"):
        # An erasure takes the name out of records, and does not say whose.
        told = log.texts[operator] + log.events["subject_erased"]
        expect(version <= told, f"operators: {operator} has version {version} and {told} entries")
    for name, _ in each("settings", "name, value"):
        expect(any(log.events[event] for event in SETTINGS.get(name, ())), f"settings: no entry about {name}")
    for environment, generation in each("vaults", "environment, generation"):
        told = [entry["details"].get("generation", 1) for entry in log.about[environment]]
        expect(generation in told, f"vaults: {environment} is at {generation}, and no entry says so")
    for environment, _ in each("vault_codes", "environment, added_at"):
        told = any(entry["eventType"] == "vault_authoriser_added" for entry in log.about[environment])
        expect(told, f"vault_codes: no entry about {environment}")
    for device, partner in each("pairings", "device, partner"):
        told = [entry["eventType"] for entry in log.about[device]]
        expect("pairing_proposed" in told, f"pairings: no entry about {device} and {partner}")
    for grant, _ in each("grants", "id, device"):
        expect(log.texts[grant], f"grants: no entry about {grant}")
    guarded = log.events["guardian_added"]
    for name, _ in each("guardians", "name, body"):
        expect(log.texts[name] or guarded, f"guardians: no entry about {name}")
    for device, size in each("device_logs", "device, size"):
        told = [entry["details"].get("size") for entry in log.about[device]]
        expect(size in told, f"device_logs: {device} is at {size}, and no entry says so")
    mirrored = sum(count for event, count in log.events.items() if event.startswith("mirror"))
    for name, _ in each("mirrors", "name, body"):
        expect(log.texts[name] or mirrored, f"mirrors: no entry about {name}")
    for name, version, digest in each("manifests", "name, version, digest"):
        expect(log.texts[digest], f"manifests: no entry about version {version} of {name}")
    for digest, _ in each("manifest_texts", "digest, signed"):
        expect(log.texts[digest], f"manifest_texts: no entry about {digest}")
    for table in ("vouchers", "vouching_grants"):
        for paper, version in each(table, "id, version"):
            told = log.texts[paper]
            expect(version <= told, f"{table}: {paper} has version {version} and {told} entries")
    for subject, _ in each("subjects", "subject, person"):
        expect(subject in log.subjects, f"subjects: no entry has a value of {subject}")
    heads = list(each("log_state", "name, size"))
    for name, size in heads:
        expect(size <= log.size, f"log_state: {name} of {size} where there are {log.size} entries")
    expect(any(size == log.size for _, size in heads), "log_state: no checkpoint of all entries")
    witnessing = log.events["witness_added"] + log.events["log_witnessed_for"]
    for table, name in (("witnesses", "name"), ("witnessed_logs", "origin")):
        for found, _ in each(table, f"{name}, added_at"):
            expect(log.texts[found] or witnessing, f"{table}: no entry about {found}")
    hashes = sum(len(found) // 32 for level, found in each("tiles", "level, hashes") if level == 0)
    expect(hashes == log.size, f"tiles: {hashes} hashes of {log.size} entries")
    known.add("entries")
    for table in tables:
        if not table.startswith("sqlite_"):
            expect(table in known, f"{table}: nobody has said what explains its rows")
    return rows, log.size, bad


def main():
    db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro&immutable=1", uri=True)
    rows, entries, bad = judge(db)
    for line in bad:
        print(line)
    if bad:
        sys.exit(1)
    print(f"{rows} rows are explained by {entries} entries")


main()
