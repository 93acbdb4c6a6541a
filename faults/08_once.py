#!/usr/bin/env python3
"""What is good once, used by 64 at once, across a kill -9 and on two servers over one database: one of them gets it."""

import json
import secrets

from haksa import Wire, experiment, request

RELATIONSHIP = "/crm-core/v1/relationships/CRMRL1260423091530123REL11122233"


class Signature:
    """A signed header of SOLAPI: its first use is answered 200, any other 403 `DuplicatedSignature`."""

    name = "signature"
    # Whether who missed the first answer gets it when asking again.
    is_told_again = False

    def __init__(self, client, n):
        headers = {"Content-Type": "application/json", **client.sign("solapi", "PATCH", RELATIONSHIP)}
        self.sent = request("PATCH", RELATIONSHIP, headers, json.dumps({"metadata": {"once": n}}))

    def is_use(self, status, body):
        return status == 200

    def is_refusal(self, status, body):
        return status == 403 and json.loads(body)["errorCode"] == "DuplicatedSignature"

    def uses(self, server):
        """How often it counted, as the database has it; none where that cannot be told."""
        return None


class IdempotencyKey:
    """A key of a creation: whoever comes later gets the first one's answer, so nothing is a refusal."""

    name = "idempotency key"
    is_told_again = True

    def __init__(self, client, n):
        target = "/partner/7/course"
        self.title = f"once {n} {secrets.token_hex(4)}"
        headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(8),
                   **client.sign("partner", "POST", target)}
        self.sent = request("POST", target, headers, json.dumps({"title": self.title, "course_key": self.title}))
        self.first = None

    def is_use(self, status, body):
        if status != 201 or self.first not in (None, body):
            return False
        is_first, self.first = self.first is None, body
        return is_first

    def is_refusal(self, status, body):
        return status == 201 and body == self.first

    def uses(self, server):
        rows = server.query(f"SELECT count(*) AS n FROM course WHERE course_key = '{self.title}'")
        return rows[0]["n"]


# Whatever else is good once belongs here: a class that makes one and tells a use from a refusal.
ONCE = [Signature, IdempotencyKey]


def use(trial, thing, wires, when):
    """Sends it over all connections, all of it before any answer is read; gives how often it was accepted."""
    for wire in wires:
        wire.socket.sendall(thing.sent)
    accepted = 0
    for wire in wires:
        status, _, body = wire.answer()
        if thing.is_use(status, body):
            accepted += 1
        else:
            trial.expect(thing.is_refusal(status, body), f"{thing.name} {when}: {status} {body[:200]}")
    return accepted


def race(trial, servers, kind, rounds, parallel):
    """Rounds of it against all servers alike."""
    client = servers[0].client()
    wires = [Wire(servers[n % len(servers)]) for n in range(parallel)]
    when = f"on {len(servers)} server{'s'[:len(servers) - 1]}"
    for n in range(rounds):
        thing = kind(client, n)
        accepted = use(trial, thing, wires, when)
        trial.expect(accepted == 1, f"{kind.name} {when}: accepted {accepted} times of {parallel}")
        counted = thing.uses(servers[0]) if n % 10 == 0 else None
        trial.expect(counted in (None, 1), f"{kind.name} {when}: counted {counted} times")
    for wire in wires:
        wire.close()


def across_a_kill(trial, server, kind, parallel):
    """One used before the kill, one whose uses the kill cuts off; both once more after the restart."""
    client = server.client()
    used, cut_off = kind(client, "used"), kind(client, "cut off")
    wires = [Wire(server) for _ in range(parallel)]
    before = use(trial, used, wires[:1], "before a kill")
    for wire in wires:
        wire.socket.sendall(cut_off.sent)
    # Some are served and some are not when it dies: it is killed when the first answer is there.
    wires[0].socket.recv(1)
    server.kill()
    for wire in wires:
        wire.close()
    server.start()
    wires = [Wire(server) for _ in range(parallel)]
    after = use(trial, used, wires, "after a restart")
    trial.expect((before, after) == (1, 0), f"{kind.name}: accepted {before} times before a kill -9, {after} after it")
    # An answer was on its way, so this one is used up too.
    late = use(trial, cut_off, wires, "cut off by a kill")
    expected = 1 if kind.is_told_again else 0
    trial.expect(late == expected, f"{kind.name}: accepted {late} times after it was cut off, not {expected}")
    for thing in (used, cut_off):
        trial.expect(thing.uses(server) in (None, 1), f"{kind.name}: counted {thing.uses(server)} times after a kill")
    for wire in wires:
        wire.close()


def run(trial):
    parallel, rounds, kills = (16, 15, 1) if trial.is_quick else (64, 80 if trial.store == "postgres" else 200, 4)
    server = trial.server().start()
    for kind in ONCE:
        race(trial, [server], kind, rounds, parallel)
        for _ in range(kills):
            across_a_kill(trial, server, kind, parallel)
    trial.figure("parallel", parallel)
    trial.figure("rounds", rounds * len(ONCE))
    trial.figure("kills", kills * len(ONCE))
    if trial.store == "postgres":
        second = trial.server(url=server.url).start()
        for kind in ONCE:
            race(trial, [server, second], kind, rounds, parallel)
        trial.figure("rounds on two servers", rounds * len(ONCE))
    trial.expect(not server.check(), "haksa check finds faults")


experiment(run)
