#!/usr/bin/env python3
"""Another account's ids in every operation: answered as absent ones, as fast; and no edit reaches a closed field."""

import json
import random
import re
import statistics
import subprocess
import time
import urllib.parse

from haksa import PROGRAM, Wire, experiment, operations, request, told
from routes import JSON, KINDS, OWN_IDS, fill, good_body, kind_of, own_id

# Differs from answer to answer.
PASSING = ("date", "x-request-id")
# References in a body: dialect, method, target, body, kind.
REFERENCES = [
    ("partner", "PATCH", "/partner/7/classes/11", '{"course_id":%s}', "course"),
    ("partner", "PATCH", "/partner/7/classes/11", '{"primary_model_id":%s}', "model"),
    ("partner", "PATCH", "/partner/7/classes/11", '{"allowed_model_ids":[%s]}', "model"),
]
# Names under which something closed might be reached, and a value of the other account's where there is one.
CLOSED = {
    "id": 9001, "account_id": 4, "accountId": 4, "owner_id": 4, "ownerId": 4, "account": {"id": 4},
    "meta": {"account_id": 4}, "kind": "account", "version": 99, "change_id": 1, "updated_at": 1,
    "updatedAt": "2001-01-01T00:00:00Z", "createdAt": 1, "deleted_at": "2001-01-01T00:00:00Z", "deletedAt": 1,
    "created_by": 8, "partner_id": 8, "partnerId": 8, "class_id": 12, "form_id": 9000, "formId": 9000,
    "person_id": 502, "personId": 502, "certificate_number": "X", "issued_at": 1, "status_changed_at": 1,
    "tenant_id": 1, "tenantId": "x", "clientId": "x", "clientSecret": "x", "client_secret_hash": "x",
    "applicationId": "x", "relationshipId": "x", "relationshipTypeId": "x", "sourceEntityId": "x",
    "sourceRecordId": "x", "targetEntityId": "x", "targetRecordId": "x", "dateCreated": "x", "dateUpdated": "x",
    "courseId": 303, "learnerId": "x", "enrollmentId": "x", "content_item_id": "x", "organization_id": 4,
    "secret_hash": "x", "__proto__": {"account_id": 4},
}
# iSpring's further spellings of one route, served by one handler.
ALIASES = ("/api/v2/enrollment", "/api/v3/enrollment", "/index.php/api/v2/enrollment")
# Open under a name that is closed elsewhere: the certificate's own date of issue, not when its row was made.
NAMED_ALIKE = {"kolleges": {"created_at": "2025-04-01"}}


class Walls:
    """A server, and what is another account's in it."""

    def __init__(self, trial, server):
        self.trial, self.server, self.wire = trial, server, Wire(server)
        other = server.demo["kolleges"]["other_achievement_id"]
        self.other = server.query(f"SELECT account_id AS id FROM achievement WHERE id = {other}")[0]["id"]
        # So that it has a message, too.
        self.issue()
        self.records = {}
        for row in server.query(f"SELECT DISTINCT kind, record_id FROM change WHERE account_id = {self.other}"):
            self.records.setdefault(row["kind"], []).append(row["record_id"])
        rows = server.query(f"SELECT id FROM change WHERE account_id = {self.other}")
        self.changes = [str(row["id"]) for row in rows]
        self.known = {row["record_id"] for row in server.query("SELECT DISTINCT record_id FROM change")}

    def issue(self):
        body = {"achievementFormId": 9000, "mode": "email", "users": [{"name": "이름", "email": "walls@example.com"}]}
        status, _, answer = self.send("kolleges", "POST", "/open-api/achievements/issue", JSON, json.dumps(body), "other")
        self.trial.expect(status == 201, f"the other club cannot issue: {status} {answer[:200]}")

    def absent(self, id):
        """An id of the same shape that nothing has."""
        while True:
            tail = re.search(r"\d+$|[0-9a-f]{4}$", id)[0][-6:]
            alphabet = "0123456789" if tail.isdigit() else "0123456789abcdef"
            new = id[:-len(tail)] + "".join(random.choice(alphabet) for _ in tail)
            if id.isdigit():
                new = str(random.randrange(10**6, 10**7))
            if new not in self.known and new not in self.changes:
                return new

    def pairs(self, path, parameters):
        """For each path parameter that holds an id: two paths, with another account's id and with an absent one."""
        if path == "/haksa/v1/records/{kind}/{id}/history":
            for kind, ids in self.records.items():
                for id in ids:
                    yield id, fill(path, kind=kind, id=id), fill(path, kind=kind, id=self.absent(id))
            return
        if path.startswith("/haksa/v1/images/"):
            return  # For whoever has the address.
        for parameter in parameters:
            if path.startswith("/haksa/v1/changes/{id}"):
                ids = self.changes
            else:
                kind = kind_of(path, parameter)
                self.trial.expect(kind, f"{path}: what {parameter} names is not known: add it to KINDS")
                ids = self.records.get(kind, [])
            self.trial.expect(ids, f"the other account has nothing that {parameter} in {path} could name")
            for id in ids:
                yield id, fill(path, **{parameter: id}), fill(path, **{parameter: self.absent(id)})

    def bytes(self, dialect, method, target, media_type, body, who=None):
        headers = {"Content-Type": media_type, **self.server.client().sign(dialect, method, target, who)}
        return request(method, target, headers, body)

    def send(self, dialect, method, target, media_type=JSON, body="", who=None):
        answer = self.wire.exchange(self.bytes(dialect, method, target, media_type, body, who))
        if answer[1].get("connection") == "close" or not answer[0]:
            self.wire = Wire(self.server)
        return answer

    def same(self, what, foreign, absent, ids=()):
        """Expects two answers to be the same."""
        def seen(answer):
            status, headers, body = answer
            for id in sorted(ids, key=len, reverse=True):
                body = body.replace(f"[{id}]".encode(), b"[ID]").replace(f' {id}"'.encode(), b' ID"')
            # An id that is told again is as long as it is.
            passing = (*PASSING, "content-length") if ids else PASSING
            return status, {name: value for name, value in headers.items() if name not in passing}, body

        is_same = seen(foreign) == seen(absent)
        self.trial.expect(is_same, f"{what}: {foreign[0]} {foreign[2][:150]} but absent {absent[0]} {absent[2][:150]}")
        self.trial.expect(400 <= foreign[0] < 500, f"{what}: {foreign[0]} {foreign[2][:150]}")


def compare_answers(trial, walls):
    """Every operation with every foreign id; gives how many pairs were compared, and one of each for timing."""
    compared, to_time = 0, []
    for dialect, method, path, parameters, _ in operations():
        good = good_body(dialect, method, path, 3)
        if parameters:
            trial.expect(good is not None, f"no body is known for {method} {path}: add it to good_body()")
        last, reached = None, []
        for id, foreign, absent in walls.pairs(path, parameters):
            media_type, body = good or (JSON, "")
            answers = [walls.send(dialect, method, target, media_type, body) for target in (foreign, absent)]
            told = [pair for pair in zip(foreign.split("/"), absent.split("/")) if pair[0] != pair[1]]
            walls.same(f"{method} {foreign}", *answers, ids=told[0])
            compared += 1
            last = (dialect, method, foreign, absent, media_type, body)
            if parameters[-1] in KINDS and method == "GET" and f"/{id}" == foreign[-len(id) - 1:]:
                reached.append(walls.send(dialect, method, own_view(foreign), who="other")[0])
        if last:
            to_time.append(last)
        # Not every one: iSpring's courses are none of partners.
        trial.expect(not reached or 200 in reached, f"{method} {path}: the ids' owner gets none of them: {reached}")
    return compared, to_time


def own_view(target):
    """The same record as its owner asks for it: partners have their own number in the path."""
    return target.replace("/partner/7/", "/partner/8/")


def compare_references(trial, walls):
    """Foreign ids in bodies, queries, cursors and key ids."""
    compared = 0
    for dialect, method, target, body, kind in REFERENCES:
        for id in walls.records.get(kind, []):
            absent = walls.absent(id)
            answers = [walls.send(dialect, method, target, JSON, body % number) for number in (id, absent)]
            walls.same(f"{method} {target} {body % id}", *answers, ids=(id, absent))
            compared += 1
    history = "/haksa/v1/records/achievement/1539/history?cursor="
    for id in walls.changes:
        walls.same(f"GET {history}{id}", walls.send("native", "GET", history + id),
                   walls.send("native", "GET", history + walls.absent(id)))
        compared += 1
    keys = walls.server.demo["ispring"]["api_keys"]
    form = "grant_type=client_credentials&client_secret=wrong&client_id="
    tokens = [walls.send("ispring", "POST", "/api/v3/token", "application/x-www-form-urlencoded", form + id)
              for id in (keys["OTHER"]["client_id"], walls.absent(keys["OTHER"]["client_id"]))]
    walls.same("POST /api/v3/token", *tokens)
    lists = {"kolleges": "/open-api/achievements?search=", "partner": "/partner/7/course?search="}
    found = {"kolleges": ("성춘향", "sung@example.com"), "partner": ("다른 과정", "other-2026")}
    for dialect, target in lists.items():
        nothing = walls.send(dialect, "GET", target + "nothing-of-this-name")
        for text in found[dialect]:
            answer = walls.send(dialect, "GET", target + urllib.parse.quote(text))
            is_empty = answer[2] == nothing[2]
            trial.expect(is_empty, f"{dialect}'s list finds {text} of another account: {answer[2][:200]}")
            compared += 1
    return compared + 1


def clock(walls, foreign, absent, count):
    """Times of the two in microseconds, taken in turns, at random which comes first: of each the faster half, since
    what is slower was held up by something else."""
    times = ([], [])
    wire = Wire(walls.server)
    for _ in range(count):
        for side in random.sample((0, 1), 2):
            # SOLAPI's signatures are good once, so every request is made anew, before its clock starts.
            sent = (foreign, absent)[side]()
            begun = time.perf_counter_ns()
            wire.socket.sendall(sent)
            wire.answer()
            times[side].append((time.perf_counter_ns() - begun) / 1000)
    wire.close()
    # The first of each may be the first of all.
    return [sorted(side[2:])[:count // 2] for side in times]


def t_of(one, other):
    """Welch's t."""
    spread = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return (statistics.fmean(one) - statistics.fmean(other)) / (spread ** 0.5 or 1)


def share_of(trial, path):
    """How far two times may be apart, as a share. SQLite's records are in memory, and what is known to be absent too.
    Whatever comes from the database takes longer to be read than to be missed; changes always do, and their ids are
    numbers in a row that anybody can count."""
    return 0.25 if trial.store == "postgres" or "/changes/" in path else 0.09


def compare_times(trial, walls, to_time, count):
    worst = (0, 0, "none")
    for dialect, method, foreign, absent, media_type, body in to_time:
        if foreign.startswith(ALIASES):
            continue

        def make(target):
            return lambda: walls.bytes(dialect, method, target, media_type, body)

        # A busy machine has bad moments, a leak is there every time.
        for _ in range(4):
            one, other = clock(walls, make(foreign), make(absent), count)
            gap = statistics.median(one) - statistics.median(other)
            share, t = abs(gap) / statistics.median(other), t_of(one, other)
            # Beyond noise, of some weight, and not of a few microseconds that nobody sees through a network.
            is_apart = abs(t) > 4.5 and share > share_of(trial, foreign) and abs(gap) > 10
            if not is_apart:
                break
        if abs(t) > 4.5:
            worst = max(worst, (share, gap, f"{method} {foreign}"))
        trial.expect(not is_apart, f"{method} {foreign}: {gap:+.0f} us against an absent id, {share:.0%}, t {t:.1f}")
    trial.figure("widest gap beyond noise", f"{worst[0]:.0%}, {worst[1]:+.0f} us, {worst[2]}")
    # For whom it may concern: an absent id that nobody asked for before is looked up once.
    def ask(id):
        return walls.bytes("kolleges", "GET", f"/open-api/achievements/{id}", JSON, "")

    foreign = walls.records["achievement"][0]
    one, other = clock(walls, lambda: ask(foreign), lambda: ask(walls.absent(foreign)), count)
    trial.figure("gap to an id never asked for", f"{statistics.median(one) - statistics.median(other):+.0f} us")


def row(server, kind, id):
    """A record's columns and the fields of its body, flat."""
    found = server.query(f"SELECT * FROM {kind} WHERE CAST(id AS TEXT) = '{id}'")[0]
    body = found.pop("body")
    return found | {f"body.{key}": value for key, value in json.loads(body).items()}


def with_more(media_type, body, name, value):
    """The body with one member more."""
    if media_type == JSON:
        return json.dumps(json.loads(body) | {name: value})
    text = value if isinstance(value, (int, str)) else "<id>4</id>"
    return body.replace("</request>", f"<{name}>{text}</{name}></request>")


def edit_closed_fields(trial, walls):
    """Every edit with every closed name in its body; gives how many were sent and how many taken."""
    server, sent, taken = walls.server, 0, 0
    for dialect, method, path, parameters, _ in operations():
        known = good_body(dialect, method, path, 1)
        if method not in ("PATCH", "PUT", "POST") or not parameters or not known or not known[1]:
            continue
        if path.startswith(ALIASES):
            continue
        target = fill(path)
        if path == "/partner/{partner_id}/classes":
            continue
        if parameters == ["partner_id"]:
            sent, taken = sent + 1, taken + create_with_closed_fields(trial, walls, dialect, method, path, target)
            continue
        kind, id = kind_of(path, parameters[-1]), own_id(path, parameters[-1])
        if method == "POST" and dialect == "partner":
            continue  # Makes something below it: create_with_closed_fields looks at the like.
        before = row(server, kind, id)
        # What the edit changes by itself, it may change.
        for n in (1, 2):
            status, _, answer = walls.send(dialect, method, target, *good_body(dialect, method, path, n))
            trial.expect(200 <= status < 300, f"a good {method} {target} was answered {status} {answer[:200]}")
        start = row(server, kind, id)
        may = {name for name in start if start[name] != before.get(name)} | {"version", "change_id", "updated_at"}
        for n, (name, value) in enumerate((CLOSED | NAMED_ALIKE.get(dialect, {})).items(), 3):
            media_type, body = good_body(dialect, method, path, n)
            body = with_more(media_type, body, name, value)
            status, _, answer = walls.send(dialect, method, target, media_type, body)
            trial.expect(200 <= status < 500, f"{method} {target} with {name}: {status} {answer[:200]}")
            sent, taken = sent + 1, taken + (status < 300)
        end = row(server, kind, id)
        if dialect == "kolleges":
            may |= {"issued_at", "body.created_at"}
        moved = {name for name in start.keys() | end.keys() if start.get(name) != end.get(name)} - may
        trial.expect(not moved, f"{method} {target} with closed fields in it changed {sorted(moved)}")
    return sent, taken


def create_with_closed_fields(trial, walls, dialect, method, path, target):
    media_type, body = good_body(dialect, method, path, 1)
    for name, value in CLOSED.items():
        body = with_more(media_type, body, name, value)
    status, _, answer = walls.send(dialect, method, target, media_type, body)
    made = walls.server.query("SELECT id, account_id, version, created_at, deleted_at, content_item_id FROM course "
                              "WHERE course_key = 'walls-1'")
    is_own = [(found["account_id"], found["version"], found["deleted_at"], found["content_item_id"])
              for found in made] == [(3, 1, None, None)]
    trial.expect(is_own and made[0]["id"] != 9001 and made[0]["created_at"] > 10**15,
                 f"{method} {target} with closed fields in it: {status} {answer[:200]} made {made}")
    return status < 300


def people(server):
    """Gives both accounts what the demonstration lacks: a student with a membership, and the other one a model."""
    for who, code in ((None, "ABC234"), ("other", "DEF567")):
        headers = server.client().sign("partner", "POST", "", who)
        made = told(server, "POST", "/user/class/invites/redeem", {"code": code}, headers)
        if who is None:
            OWN_IDS.update(student_id=str(made["student_id"]), membership=str(made["id"]), model="1", invite_code_id="21")
    done = subprocess.run([str(PROGRAM), "credential", "create", "--account", "4", "--dialect", "native", "--policy", "*",
                           "--database", server.database], capture_output=True, text=True, check=True)
    headers = {"Authorization": f"Bearer {done.stdout.split()[-1]}"}
    told(server, "POST", "/haksa/v1/models", {"provider": "other", "model_name": "m"}, headers)


def run(trial):
    server = trial.server().start()
    people(server)
    walls = Walls(trial, server)
    untouched = f"SELECT count(*) AS n, max(id) AS newest FROM change WHERE account_id = {walls.other}"
    before = server.query(untouched)
    compared, to_time = compare_answers(trial, walls)
    compared += compare_references(trial, walls)
    trial.figure("foreign records", sum(len(ids) for ids in walls.records.values()))
    trial.figure("pairs compared", compared)
    trial.expect(server.query(untouched) == before, "something of the other account changed")
    sent, taken = edit_closed_fields(trial, walls)
    trial.figure("closed fields sent", f"{sent}, ignored {taken}, refused {sent - taken}")
    trial.expect(server.query(untouched) == before, "something of the other account changed")
    compare_times(trial, walls, to_time, 60 if trial.is_quick else 120)
    trial.expect(not server.check(), "haksa check finds faults")


experiment(run)
