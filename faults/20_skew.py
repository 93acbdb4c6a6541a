#!/usr/bin/env python3
"""What two would have alone is asked for at the same moment, on two nodes, or by a large and a small command of one: one
person is made for an address, one picture for its bytes, one course for its key; the last place is given once; and nothing
names what the other has just deleted."""

import json
import threading

from haksa import experiment, newcomer_token, parallel, picture, told, upload

ISSUER = {"Authorization": "Bearer demo-kolleges-key", "Content-Type": "application/json"}
ADMIN = {"Authorization": "Bearer demo-admin-key", "Content-Type": "application/json"}
# Recipients of a large command.
MANY = 60


class Race:
    """What several ask for at once: `jobs` of a round, and what is wrong with what came of it."""

    def __init__(self, servers):
        self.servers = servers
        self.one, self.other = servers[0], servers[-1]

    def send(self, server, method, target, body, headers=ISSUER):
        return lambda: server.client().send(method, target, headers, "" if body is None else json.dumps(body))

    def partner(self, server, method, target, body):
        headers = {"Content-Type": "application/json", **server.client().sign("partner", method, target)}
        return self.send(server, method, target, body, headers)

    def issue(self, server, email, count):
        users = [{"name": "성춘향", "email": f"{n}.{email}"} for n in range(count - 1)] + [{"name": "성춘향", "email": email}]
        body = {"achievementFormId": 551 if count == 1 else 482, "mode": "email", "users": users}
        return self.send(server, "POST", "/open-api/achievements/issue", body)

    def count(self, sql):
        return self.one.query(f"SELECT count(*) AS n FROM {sql}")[0]["n"]


class Person(Race):
    """Two issues to one new address; one of them large where there is one node."""

    def jobs(self, n):
        self.email = f"skew{n}@example.com"
        return [self.issue(self.one, self.email, 1 if len(self.servers) > 1 else MANY),
                self.issue(self.other, self.email, 1)]

    def fault(self, answers):
        people = self.count(f"person WHERE email_key = '{self.email}' AND deleted_at IS NULL")
        if any(status != 201 for status, _, _ in answers) or people != 1:
            return f"{people} people have one new address, after {[status for status, _, _ in answers]}"


class Design(Race):
    """A form gets a badge design while that is deleted."""

    def jobs(self, n):
        status, _, body = upload(self.one, picture(), f"design {n}")
        assert status == 201, body
        made = self.one.query("SELECT max(id) AS id FROM design")[0]["id"]
        edit = self.send(self.one, "PATCH", "/haksa/v1/forms/551", {"badge_design_id": made}, ADMIN)
        return [edit, self.send(self.other, "DELETE", f"/haksa/v1/designs/{made}", None, ADMIN)]

    def fault(self, answers):
        dangling = self.count("form f JOIN design d ON d.id = f.badge_design_id WHERE f.deleted_at IS NULL "
                              "AND d.deleted_at IS NOT NULL")
        if dangling or any(status >= 500 for status, _, _ in answers):
            return f"{dangling} forms name a deleted design, after {[status for status, _, _ in answers]}"


class Picture(Race):
    """One picture, uploaded twice."""

    def jobs(self, n):
        self.data, self.before = picture(), self.count("image")
        return [lambda: upload(self.one, self.data), lambda: upload(self.other, self.data)]

    def fault(self, answers):
        made = self.count("image") - self.before
        if made != 1 or any(status != 201 for status, _, _ in answers):
            return f"one picture was recorded {made} times, after {[status for status, _, _ in answers]}"


class Seat(Race):
    """The last place of a class, for which two people redeem a code."""

    def __init__(self, servers):
        super().__init__(servers)
        self.tokens = []

    def jobs(self, n):
        made = told(self.one, "POST", "/partner/7/classes", {"name": f"skew {n}", "capacity": 1})
        self.class_id, code = made["id"], {"code": made["invite_codes"][0]["code"]}
        if not self.tokens:
            self.tokens = [newcomer_token(self.one, f"seat{n}") for n in range(2)]
        jobs = zip((self.one, self.other), self.tokens)
        return [self.send(server, "POST", "/user/class/invites/redeem", code,
                          {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}) for server, token in jobs]

    def fault(self, answers):
        seated = self.count(f"membership WHERE class_id = {self.class_id} AND status = 'active' AND deleted_at IS NULL")
        if seated != 1 or sorted(status for status, _, _ in answers) != [201, 400]:
            return f"one place was given {seated} times, after {[status for status, _, _ in answers]}"


class Name(Race):
    """One key for two courses."""

    def jobs(self, n):
        self.key = f"skew {n}"
        body = {"title": self.key, "course_key": self.key}
        return [self.partner(server, "POST", "/partner/7/course", body) for server in (self.one, self.other)]

    def fault(self, answers):
        made = self.count(f"course WHERE course_key = '{self.key}' AND deleted_at IS NULL")
        if made != 1 or sum(status == 201 for status, _, _ in answers) != 1:
            return f"one key was given to {made} courses, after {[status for status, _, _ in answers]}"


def at_once(jobs):
    """Runs jobs that begin at one moment."""
    barrier = threading.Barrier(len(jobs))

    def job(work):
        def wait():
            barrier.wait()
            return work()
        return wait

    return parallel([job(work) for work in jobs])


def run(trial):
    rounds = 5 if trial.is_quick else 40
    servers = [trial.server().start()]
    if trial.store == "postgres":
        servers.append(trial.server(url=servers[0].url).start())
    races = [kind(servers) for kind in (Person, Design, Picture, Seat, Name)]
    wrong = 0
    for n in range(rounds):
        for race in races:
            fault = race.fault(at_once(race.jobs(n)))
            wrong += fault is not None
            trial.expect(fault is None, f"round {n}: {type(race).__name__}: {fault}")
        if fault := servers[0].check():
            trial.expect(False, f"round {n}: haksa check: {fault[:400]}")
            break
    trial.figure("nodes", len(servers))
    trial.figure("rounds", rounds * len(races))
    trial.figure("wrong", wrong)


experiment(run)
