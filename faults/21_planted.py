#!/usr/bin/env python3
"""Plants every corruption that a database can have, in every table that can have it, and asks `haksa check`: each is found
by its record's name, none hides another, and in what a random history left behind nothing is found."""

import json
import random
import shutil
import sqlite3
import subprocess
import threading
from contextlib import closing

from haksa import PROGRAM, Load, experiment, joined, newcomer, parallel, picture, told, upload

ISSUER = {"Authorization": "Bearer demo-kolleges-key"}
ADMIN = {"Authorization": "Bearer demo-admin-key"}
# Fields that follow from others, by table and column.
FOLDED = [("person", "name_key"), ("person", "email_key"), ("form", "name_key"), ("course", "search_key"),
          ("model", "search_key"), ("student", "search_key"), ("student", "email_key")]

# Columns whose values the database knows, or makes itself; and what history does not show, so that nobody can tell.
UNTOUCHED = ("id", "body", "grams", "design_type", "channel", "status", "secret_hash")
SECRET = ("client_secret_hash", "secret_sealed", "password_hash", "password_mark")
# What can be planted on one copy without the one hiding the other.
TOGETHER = [("a body", "a column", "a version", "a removal"), ("an owner",), ("a time", "a change's actor", "a change's after"),
            ("a row that is gone",), ("a change that is gone",), ("a change's time", "a change's before"), ("a change's account",)]
# What is planted on a copy of its own; everything else that only some tables have goes on one.
ALONE = ("a form that cannot be read", "tables")


def history(trial, server, rounds):
    """Edits, deletions, issues, redeemed and guessed codes, and undos of some of it, by several at once."""
    load = Load(server, 4).start()
    chance = random.Random(21)

    def issues():
        for count in [3] * rounds + [60]:
            users = [{"name": f"홍길동{count}", "email": f"{chance.randrange(500)}@planted.example.com"} for _ in range(count)]
            body = {"achievementFormId": 551, "mode": "email", "users": users}
            told(server, "POST", "/open-api/achievements/issue", body, {**ISSUER, "Content-Type": "application/json"})
        for n in range(2):
            status, _, answer = upload(server, picture())
            trial.expect(status == 201, f"an upload was answered {status} {answer[:200]}")

    def courses():
        for n in range(rounds):
            made = told(server, "POST", "/partner/7/course", {"title": f"planted {n}", "course_key": f"planted {n}"})
            target = f"/partner/7/course/{made['id']}"
            told(server, "PATCH", target, {"title": f"planted again {n}"})
            if n % 2:
                told(server, "DELETE", target)

    def classes():
        for n in range(max(2, rounds // 4)):
            joined(server, f"planted {n}")
        newcomer(server, "planted")
        told(server, "PATCH", "/partner/7/classes/11", {"course_id": 5})
        client = server.client()
        wrong = {"Content-Type": "application/json", **client.sign("partner", "POST", "")}
        client.send("POST", "/user/class/invites/redeem", wrong, json.dumps({"code": "ZZZZZZ"}))

    parallel([issues, courses, classes])
    load.stop()
    taken_back = 0
    for row in chance.sample(server.query("SELECT id FROM change WHERE account_id = 3 AND id > 110"), 12 * rounds // 4):
        status, _, _ = server.client().send("POST", f"/haksa/v1/changes/{row['id']}/undo", ADMIN)
        taken_back += status == 200
    trial.figure("changes", server.last_change())
    trial.figure("taken back", taken_back)
    trial.expect(taken_back > 0, "nothing could be taken back")


class Copies:
    """Copies of the database, each for a few corruptions."""

    def __init__(self, trial, server):
        self.trial, self.server, self.number, self.turn = trial, server, 0, threading.Lock()

    def make(self):
        with self.turn:
            self.number += 1
            number = self.number
            if self.server.url:
                server, database = self.server.url.rsplit("/", 1)
                self.trial.cluster.sql(f"CREATE DATABASE {database}_{number} TEMPLATE {database}")
                return f"{server}/{database}_{number}"
        folder = self.server.folder / str(number)
        folder.mkdir()
        shutil.copy2(self.server.folder / "haksa.db", folder)
        return f"sqlite:{folder / 'haksa.db'}"

    def spoil(self, database, statements):
        """Past all that a database would not let through."""
        if self.server.url:
            self.trial.cluster.sql("SET session_replication_role = replica; " + "; ".join(statements), database)
            return
        with closing(sqlite3.connect(database.removeprefix("sqlite:"), isolation_level=None)) as file:
            # This SQLite may be too old for the index of words that the triggers write.
            for name in ("insert", "update", "delete"):
                if any(word in statement for statement in statements for word in ("UPDATE person ", "INTO person ", "FROM person ")):
                    file.execute(f"DROP TRIGGER IF EXISTS person_search_{name}")
            file.execute("PRAGMA foreign_keys = OFF")
            file.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                file.execute(statement)

    def check(self, database):
        key = self.server.folder / "master.key"
        done = subprocess.run([str(PROGRAM), "check", "--database", database, "--master-key-file", str(key)],
                              capture_output=True, text=True, env=self.server.env)
        self.trial.expect(done.returncode in (0, 1), f"haksa check: {done.stderr[:300]}")
        return done.stdout.splitlines() if done.returncode else []

    def plant(self, what, plants):
        """Plants all of these, statement by statement, on one copy; each has to be found, in a line with all its words."""
        if not plants:
            self.trial.expect(False, f"{what}: there is nothing to plant it in")
            return 0
        database = self.make()
        self.spoil(database, [statement for statement, _ in plants])
        lines, found = self.check(database), 0
        for statement, words in plants:
            is_told = any(all(word in line for word in words) for line in lines)
            self.trial.expect(is_told, f"{what}: {statement[:120]}: no line has {words} of {len(lines)}")
            found += is_told
        if self.server.url:
            self.trial.cluster.sql(f"DROP DATABASE {database.rsplit('/', 1)[1]}")
        return found


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def other_json(text):
    """An object in which one text or number is another; none where there is none."""
    fields = json.loads(text)
    for name, value in fields.items() if isinstance(fields, dict) else ():
        if name in SECRET:
            continue
        if isinstance(value, str) and value and value != "•••":
            fields[name] = value + "x"
        elif isinstance(value, int) and not isinstance(value, bool):
            fields[name] = value + 1
        else:
            continue
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return None


def generic(server):
    """What can be planted in every table: by what it is, statements and the words that have to be found."""
    plants = {}

    def add(what, statement, *words):
        plants.setdefault(what, []).append((statement, words))

    kinds = [row["kind"] for row in server.query("SELECT DISTINCT kind FROM change ORDER BY kind")]
    for kind in kinds:
        rows = server.query(f"SELECT * FROM {kind} WHERE account_id = 3 ORDER BY id LIMIT 40")
        newest = {row["id"]: row for row in server.query(
            f"SELECT * FROM change WHERE id IN (SELECT change_id FROM {kind} WHERE account_id = 3)")}
        for row in rows:
            if (body := other_json(row["body"])) and not any(kind in words[0] for _, words in plants.get("a body", [])):
                add("a body", f"UPDATE {kind} SET body = {quoted(body)} WHERE id = {quoted(str(row['id']))}", f"{kind} {row['id']}")
        row = rows[-1]
        change, name, id = newest[row["change_id"]], f"{kind} {row['id']}", quoted(str(row["id"]))
        own = [column for column, value in row.items() if isinstance(value, str) and column not in UNTOUCHED]
        if own:
            add("a column", f"UPDATE {kind} SET {own[0]} = {quoted(row[own[0]] + 'x')} WHERE id = {id}", name)
        add("a version", f"UPDATE {kind} SET version = version + 1 WHERE id = {id}", f"{name}: change {change['id']} made version")
        add("an owner", f"UPDATE {kind} SET account_id = 77 WHERE id = {id}", name)
        add("a removal", f"UPDATE {kind} SET deleted_at = coalesce(deleted_at, 0) + 1 WHERE id = {id}", name, "removed it")
        add("a time", f"UPDATE {kind} SET updated_at = updated_at + 1 WHERE id = {id}", name, "at another time")
        add("a row that is gone", f"DELETE FROM {kind} WHERE id = {id}", f"of {kind} {row['id']}:", "belongs to nothing")
        add("a change that is gone", f"DELETE FROM change WHERE id = {change['id']}", name, f"change {change['id']} is not there")
        if row["updated_at"] == change["at"]:  # What was made elsewhere keeps the time that it was made at there.
            add("a change's time", f"UPDATE change SET at = at - 1 WHERE id = {change['id']}", name, "at another time")
        add("a change's actor", f"UPDATE change SET actor = 'credential:0' WHERE id = {change['id']}", f"of {kind} {row['id']}:",
            "nobody")
        add("a change's account", f"UPDATE change SET account_id = 4 WHERE id = {change['id']}", name)
        for column in ("before", "after"):
            # Of a record whose change has one.
            for row in rows:
                change = newest[row["change_id"]]
                if change[column] != "null" and (text := other_json(change[column])):
                    # (What a change found is what the one before left.)
                    add(f"a change's {column}", f"UPDATE change SET {column} = {quoted(text)} WHERE id = {change['id']}",
                        f"{kind} {row['id']}:", "says otherwise")
                    break
    return plants


def particular(server):
    """What only some tables can have."""
    plants = {}

    def add(what, statement, *words):
        plants.setdefault(what, []).append((statement, words))

    for table, column in FOLDED:
        found = server.query(f"SELECT id, {column} AS folded FROM {table} WHERE account_id = 3 AND {column} IS NOT NULL "
                             "AND deleted_at IS NULL ORDER BY id DESC LIMIT 1")
        for row in found:
            statement = f"UPDATE {table} SET {column} = {quoted(row['folded'] + 'x')} WHERE id = {row['id']}"
            add("a folded key", statement, "does not follow", f"{table} {row['id']}")
            if table == "person":
                add("search rows", statement, "search", f"person {row['id']}")
    image = server.query("SELECT id, content_hash FROM image ORDER BY id LIMIT 1")[0]
    byte = "X'00'" if server.url is None else "'\\x00'"
    add("a picture", f"UPDATE content SET bytes = {byte} WHERE hash = '{image['content_hash']}'", "picture", image["id"])
    other = server.query("SELECT id, content_hash FROM image ORDER BY id DESC LIMIT 1")[0]
    add("a picture that is gone", f"DELETE FROM content WHERE hash = '{other['content_hash']}'", "picture", other["id"])
    code = server.query("SELECT id, body FROM invite_code WHERE body LIKE '%used_count%' LIMIT 1")[0]
    body = json.loads(code["body"])
    body["used_count"] += 5
    add("a count", f"UPDATE invite_code SET body = {quoted(json.dumps(body))} WHERE id = {code['id']}",
        f"invite_code {code['id']}:", "used_count")
    person = server.query("SELECT * FROM person WHERE account_id = 3 AND version = 1 AND email_key IS NOT NULL "
                          "AND deleted_at IS NULL AND phone_key IS NULL AND login_key IS NULL AND learner_id IS NULL ORDER BY id LIMIT 1")[0]
    change = server.query(f"SELECT * FROM change WHERE id = {person['change_id']}")[0]
    values = {**person, "id": 900001, "change_id": 900002}
    change |= {"id": 900002, "record_id": "900001", "act_id": None, "act_end": None, "undoes": None}
    for table, row in (("person", values), ("change", change)):
        row = {name: value for name, value in row.items() if value is not None}
        texts = [quoted(value) if isinstance(value, str) else str(value) for value in row.values()]
        add("a person twice", f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(texts)})", "made twice",
            "person 900001", f"person {person['id']}")
    add("ends of a relationship", "UPDATE relationship SET source_entity_id = target_entity_id WHERE account_id = 3",
        "breaks a rule", "relationship CRMRL1260423091530123REL11122233")
    head, below = "5f0c2b9e-0000-4000-8000-0000000000d0", "5f0c2b9e-0000-4000-8000-0000000000d1"
    add("a circle", f"UPDATE department SET parent_id = '{below}' WHERE id = '{head}'", "circle", f"department {head}")
    sealed = [row for row in server.query("SELECT id, body FROM credential ORDER BY id") if "secret_sealed" in row["body"]]
    one, two, three = (json.loads(row["body"]) for row in sealed[:3])
    for row, body, secret in ((sealed[0], one, two["secret_sealed"]), (sealed[2], three, three["secret_sealed"][:-4] + "AAAA")):
        body["secret_sealed"] = secret
        add("a sealed secret", f"UPDATE credential SET body = {quoted(json.dumps(body))} WHERE id = {row['id']}",
            "secret", f"credential {row['id']}")
    form = server.query("SELECT id, body FROM form WHERE id = 551")[0]
    add("a form that cannot be read", f"UPDATE form SET body = '[' WHERE id = {form['id']}", "unreadable", "form 551")
    add("a form that cannot be read", "UPDATE achievement SET version = version + 1 WHERE id = 1539", "achievement 1539")
    columns = "credential_id, key, request_hash, status, headers, body, at, act_id"
    add("stored answers", f"INSERT INTO idempotency ({columns}) VALUES (1, 'broken', '', 200, '[', '', 1, NULL)", "stored answer", "broken")
    add("stored answers", f"INSERT INTO idempotency ({columns}) VALUES (1, 'lost', '', 200, '[]', '', 1, 987654)", "stored answer", "lost")
    add("stored answers", f"INSERT INTO idempotency ({columns}) VALUES (987, 'orphan', '', 200, '[]', '', 1, NULL)", "stored answer", "orphan")
    act = server.query("SELECT min(id) AS id FROM change WHERE act_end IS NOT NULL")[0]["id"]
    add("an act", f"UPDATE change SET act_end = act_end + 100000 WHERE id = {act}", "an act that is not whole", f"change {act} ")
    links = "INSERT INTO link (to_kind, to_id, from_kind, from_id) VALUES ('model', '2', 'class', '11')"
    add("links", links, "stray link", "class 11")
    add("links", "DELETE FROM link WHERE from_kind = 'person' AND from_id = '311'", "missing link", "person 311")
    add("tables", "DROP INDEX form_by_account_id", "schema", "form_by_account_id")
    add("tables", "ALTER TABLE form ADD COLUMN more TEXT", "schema", "form")
    if server.url is None:
        add("tables", "DROP TRIGGER person_search_update", "schema", "person_search_update")
        add("staging", "INSERT INTO change_staged SELECT * FROM change WHERE id = 1", "staging")
    else:
        add("tables", "ALTER TABLE form DROP CONSTRAINT form_badge_design_id_fkey", "schema", "form_badge_design_id_fkey")
        add("tables", "DROP TRIGGER person_grams_update ON person", "schema", "person_grams_update")
        add("a sequence", "SELECT setval('form_id_seq', 7)", "sequence", "form")
        add("a sequence", "SELECT setval('change_id_seq', 7)", "sequence", "change")
    return plants


def run(trial):
    server = trial.server().start()
    history(trial, server, 4 if trial.is_quick else 40)
    server.stop()
    copies = Copies(trial, server)
    faults = copies.check(server.database)
    trial.expect(not faults, f"in what nobody has harmed are found {faults[:5]}")
    every, some = generic(server), particular(server)
    groups = [(", ".join(those), [one for what in those for one in every.get(what, [])]) for those in TOGETHER]
    groups += [(what, some[what]) for what in ALONE]
    groups.append(("what only some have", [one for what, those in some.items() if what not in ALONE for one in those]))
    if not trial.is_quick:
        # One by one as well. (A person twice is a row and its change.)
        groups += [(what, [one]) for what, those in (every | some).items() if what != "a person twice" for one in those]
    trial.expect(sorted(what for those in TOGETHER for what in those) == sorted(every), "not all is planted")
    trial.figure("planted", sum(len(those) for _, those in groups))
    halves = parallel([lambda part=part: [copies.plant(*group) for group in groups[part::2]] for part in range(2)])
    trial.figure("found", sum(map(sum, halves)))
    trial.figure("checks", copies.number + 1)


experiment(run)
