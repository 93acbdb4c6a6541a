"""Rows that are measured beside an older binary, and the databases that they need."""

import hashlib
import json
import statistics

FIRST_ID = 1_000_000
# Accounts over which edits are spread, and certificates of each.
ACCOUNTS = 1_000
EACH = 20
KEY_PREFIX = "demo-bench-club-"
# SOLAPI's part of the demo account, which signed edits go to, and the edges that they change.
API_KEY, SECRET = "NCSTESTKEY000001", "TESTSECRET0000000000000000000001"
PEOPLE, COMPANIES = "CRMET1260423081530123XYZ11122233", "CRMET1260423081530124XYZ11122234"
COMPANY, WORKS_AT = "CRMRC1260423081530124REC11122234", "CRMRT1260423091530123RTP11122233"
RECORD_PREFIX, EDGE_PREFIX = "CRMRC12604230915301230BE", "CRMRL12604230915301230BE"
EDGES = 2_000
# What is measured: certificates of one account edited and read, of a thousand accounts edited, signed edits, and
# certificates of a thousand accounts edited on two nodes at once.
WORKS = ("edit", "read", "accounts", "signed", "nodes")
KINDS = ("change", "account", "person", "credential", "form", "achievement")
SYSTEM = "id, account_id, version, change_id, created_at, updated_at, deleted_at"


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def body(**fields):
    return quoted(json.dumps(fields, ensure_ascii=False))


def in_parts(rows, size=1000):
    for start in range(0, len(rows), size):
        yield ", ".join(rows[start:start + size])


def filled(rows, base):
    """The statements that give one account `rows` certificates, a thousand accounts a few each, and the demo account edges
    to edit. Columns are named, so that databases of older binaries take them too."""
    at, changes, statements = 1_780_000_000_000_000, [], []

    def insert(table, columns, records):
        made = []
        for id, account, values in records:
            change = base + len(changes)
            changes.append(f"({change}, {account}, '{table}', '{id}', 1, NULL, {at}, 'operator', 'native', 'bench', 'create', "
                           "'null', '{}')")
            text = quoted(id) if isinstance(id, str) else str(id)
            made.append(f"({', '.join([text, str(account), '1', str(change), str(at), str(at), 'NULL', *values])})")
        for part in in_parts(made):
            statements.append(f"INSERT INTO {table} ({SYSTEM}, {columns}) VALUES {part};")

    clubs = [(FIRST_ID, rows), *((FIRST_ID + 1 + n, EACH) for n in range(ACCOUNTS))]
    insert("account", "body", [(club, club, [body(name=f"club {club}")]) for club, _ in clubs])
    insert("person", "name_key, body", [(club, club, [quoted("학생"), body(name="학생")]) for club, _ in clubs])
    insert("credential", "secret_hash, body", [
        (club, club, [quoted(hashlib.sha256(f"{KEY_PREFIX}{n}".encode()).hexdigest()), body(dialect="kolleges", label="bench")])
        for n, (club, _) in enumerate(clubs)])
    insert("form", "name_key, body", [(club, club, [quoted("form"), body(name="form")]) for club, _ in clubs])
    certificates = [club for club, count in clubs for _ in range(count)]
    insert("achievement", "form_id, person_id, certificate_number, issued_at, body", [
        (FIRST_ID + n, club, [str(club), str(club), quoted(f"BENCH-{n}"), str(at), "'{}'"]) for n, club in enumerate(certificates)])
    edges = range(EDGES)
    insert("crm_record", "entity_id, body", [(f"{RECORD_PREFIX}{n:08}", 3, [quoted(PEOPLE), body(name=f"person {n}")]) for n in edges])
    insert("relationship", "relationship_type_id, source_entity_id, source_record_id, target_entity_id, target_record_id, body", [
        (f"{EDGE_PREFIX}{n:08}", 3, [quoted(WORKS_AT), quoted(PEOPLE), quoted(f"{RECORD_PREFIX}{n:08}"), quoted(COMPANIES),
                                     quoted(COMPANY), "'{}'"]) for n in edges])
    for part in in_parts(changes):
        statements.append("INSERT INTO change (id, account_id, kind, record_id, version, previous_id, at, actor, dialect, "
                          f"request_id, action, before, after) VALUES {part};")
    return "\n".join(statements)


def works(store):
    """What is measured on a store: a file has one server."""
    return [work for work in WORKS if work != "nodes" or store == "postgres"]


def arguments(work, rows):
    """What load.lua is told for a work: what to send, whose key, which certificates, over how many accounts."""
    if work in ("accounts", "nodes"):
        return "edit", KEY_PREFIX, FIRST_ID + rows, FIRST_ID + rows + ACCOUNTS * EACH - 1, ACCOUNTS
    return work, f"{KEY_PREFIX}0", FIRST_ID, FIRST_ID + rows - 1


NAMES = {"edit": "edits", "read": "reads", "accounts": f"edits over {ACCOUNTS:,} accounts", "signed": "signed edits",
         "nodes": "edits on two nodes"}


def table(result):
    """The result as Markdown: ratios of a round, now to before."""
    lines = ["| beside the older binary | before, req/s | now, req/s | now / before, median (range) | p99 ms before / now |",
             "|---|---|---|---|---|"]
    for store, rounds in result["beside"]["rounds"].items():
        for work in works(store):
            before, now = ([one[work][label] for one in rounds] for label in ("before", "now"))
            ratios = [one["per_second"] / other["per_second"] for one, other in zip(now, before)]

            def middle(runs, name):
                return statistics.median(run[name] for run in runs)
            lines.append(f"| {NAMES[work]}, {store} | {middle(before, 'per_second'):,.0f} | {middle(now, 'per_second'):,.0f} "
                         f"| {statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f}) "
                         f"| {middle(before, 'p99_ms'):.1f} / {middle(now, 'p99_ms'):.1f} |")
        memory = result["beside"]["memory_mib"][store]
        lines.append(f"| memory after it, {store}, MiB | {memory['before']:.1f} | {memory['now']:.1f} "
                     f"| {memory['now'] / memory['before']:.3f} | |")
    return "\n".join(lines)
