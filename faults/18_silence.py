#!/usr/bin/env python3
"""A database that gives no answer, in all the ways there are, and parts of Haksa that end: everybody is told within
seconds, what can go on goes on, and all is well five seconds after the return."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

from haksa import DIALECTS, experiment, parallel, refusal_fault
from network import Network

# What anybody may wait for an answer: a commit's three seconds and the look for its fate, or a held row's five; and
# how soon after its return the database serves again.
ANSWER_S, BACK_S = 10.0, 5.0
READ, LIST = "/open-api/achievements/1539", "/open-api/achievements?pageSize=5"


class Clock:
    """The slowest answer so far."""

    worst = 0.0

    def time(self, ask):
        begun = time.monotonic()
        answer = ask()
        self.worst = max(self.worst, time.monotonic() - begun)
        return answer


def ask(server, clock, what, n=0):
    """One question on a connection of its own: a dialect's edit, `read`, `list` or a page."""
    client = server.client(ANSWER_S)
    try:
        if what in DIALECTS:
            return clock.time(lambda: client.edit(what, n))
        target = {"read": READ, "list": LIST}.get(what, what)
        return clock.time(lambda: client.send("GET", target, client.sign("kolleges", "GET", target)))
    finally:
        client.close()


def fault(what, answer):
    """What is wrong with an answer while the database is silent."""
    if what == "/readyz":
        return "" if answer[0] == 503 else f"/readyz answered {answer[0]}"
    return refusal_fault(what if what in DIALECTS else "kolleges", *answer)


def comes_back(trial, server, clock, what):
    """Everything works again in time; gives how long that took."""
    since = time.monotonic()
    for way in (*DIALECTS, "read", "list", "/readyz"):
        n = 700_000
        while ask(server, clock, way, n := n + 1)[0] != 200:
            if time.monotonic() - since > BACK_S:
                trial.expect(False, f"{what}: {way} does not work {BACK_S:.0f} s after the return")
                break
            time.sleep(0.05)
    return time.monotonic() - since


def silent(trial, server, network, clock):
    """The network swallows everything."""
    network.is_silent = True
    until, numbers = time.monotonic() + (3 if trial.is_quick else 30), iter(range(1, 10_000))
    while True:
        ways = (*DIALECTS, "read", "list")
        jobs = [lambda way=way, n=next(numbers): (way, ask(server, clock, way, n)) for way in ways]
        for way, answer in parallel(jobs):
            trial.expect(not (why := fault(way, answer)), f"silent network: {why}")
        if time.monotonic() > until:
            break
    begun = time.monotonic()
    trial.expect(ask(server, clock, "/readyz")[0] == 503, "silent network: /readyz does not say so")
    trial.expect(time.monotonic() - begun < 1, "silent network: /readyz is waited for")
    trial.expect(ask(server, clock, "/healthz")[0] == 200, "silent network: /healthz says no")
    network.is_silent = False
    return comes_back(trial, server, clock, "silent network")


def stopped(trial, server, clock):
    """Every process that serves Haksa stands still; new ones would not."""
    database = server.url.rsplit("/", 1)[1]
    found = trial.cluster.sql(f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}'")
    pids = [int(pid) for pid in found.split()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for way, (status, *_) in parallel([lambda way=way: (way, ask(server, clock, way, 1)) for way in (*DIALECTS, "read")]):
            trial.expect(status in (200, 503), f"stopped backends: {way} answered {status}")
        back = comes_back(trial, server, clock, "stopped backends")
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    comes_back(trial, server, clock, "backends that go on")
    return back


@contextlib.contextmanager
def held(server, text):
    """A session that holds what `text` takes."""
    session = subprocess.Popen(["psql", "-qtAX", "-d", server.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    session.stdin.write(f"BEGIN; {text}; SELECT 'held';\n")
    session.stdin.flush()
    while session.stdout.readline().strip() != "held":
        pass
    try:
        yield
    finally:
        session.stdin.close()
        session.wait()


def locked(trial, server, clock):
    """An operator's shell holds a table, and a row."""
    with held(server, "LOCK TABLE relationship; SELECT 1 FROM class WHERE id = 11 FOR UPDATE"):
        until, others = time.monotonic() + 2, 0
        needy = [lambda way=way: (way, ask(server, clock, way, 1)) for way in ("partner", "solapi")]

        def beside():
            worst, count = 0.0, 0
            while time.monotonic() < until:
                for way in ("kolleges", "ispring", "ncloud", "read"):
                    begun = time.monotonic()
                    status = ask(server, Clock(), way, 1 + count)[0]
                    worst, count = max(worst, time.monotonic() - begun), count + 1
                    trial.expect(status == 200, f"beside a lock: {way} answered {status}")
            return worst, count

        *refused, (worst, others) = parallel([*needy, beside])
    for way, (status, *_) in refused:
        trial.expect(status == 503, f"locked: {way} answered {status}")
    trial.expect(worst < 2, f"beside a lock somebody waited {worst:.1f} s")
    trial.expect(others > 8, f"beside a lock only {others} were served")
    return comes_back(trial, server, clock, "locks")


def doubtful(trial, server, network, clock):
    """Commits that nobody confirms."""
    def is_done(n):
        return server.client().history("kolleges").count(n)

    ways = ["confirmed to nobody, and cut", "lost, and cut"]
    for n, how in enumerate(ways if trial.is_quick else [*ways, "confirmed to nobody", "lost"], 601):
        network.at_commit = how
        status, _, body = ask(server, clock, "kolleges", n)
        trial.expect(network.at_commit is None, f"no commit was {how}")
        trial.expect(status == 200 and is_done(n) == 1, f"a commit that was {how}: {status} {body[:80]}, done {is_done(n)}")
    network.at_commit = "frozen"
    status, headers, _ = ask(server, clock, "kolleges", 613)
    trial.expect(status == 500 and headers.get("Retry-After") is None,
                 f"a commit whose fate nobody knows: {status}, Retry-After {headers.get('Retry-After')}")
    if not trial.is_quick:
        client = server.client(ANSWER_S)
        network.at_commit = "frozen"
        answer = client.edit("partner", 604, {"Idempotency-Key": "doubt"})
        trial.expect(not (why := refusal_fault("partner", *answer)), f"in doubt under a key: {why}")
        network.thaw()
        comes_back(trial, server, clock, "a frozen commit")
        status = client.edit("partner", 604, {"Idempotency-Key": "doubt"})[0]
        done = client.history("partner").count(604)
        trial.expect((status, done) == (200, 1), f"sent again under its key: {status}, done {done}")
    network.thaw()
    back = comes_back(trial, server, clock, "commits in doubt")
    trial.expect(not server.check(), "haksa check finds faults")
    return back


def deaths(trial, server, clock):
    """Parts of Haksa end in a panic: some are started again, without others it stops for its supervisor."""
    file = Path(server.env["HAKSA_STUMBLE"])
    # More often than there are readers: those that come after them read on.
    readers = ["reader"] * 3 if trial.store == "postgres" else []
    file.write_text("\n".join(["meters", "health", *readers]))
    until = time.monotonic() + 5
    while file.read_text() and time.monotonic() < until:
        ask(server, clock, "read")
        time.sleep(0.1)
    trial.expect(not file.read_text(), f"did not stumble: {file.read_text()}")
    time.sleep(1.2)
    for way in ("kolleges", "read", "list", "/readyz", "/healthz"):
        trial.expect(ask(server, clock, way, 1)[0] == 200, f"after what was started again: {way}")
    last = ["haksa-checkpoint", "haksa-writer"] if trial.store == "sqlite" else ["haksa-writer"]
    for name in last[:1] if trial.is_quick else last:
        if not server.is_running():
            server.start()
        file.write_text(name)
        ask(server, clock, "kolleges", 2)
        try:
            code = server.process.wait(timeout=6)
        except subprocess.TimeoutExpired:
            code = None
        trial.expect(code == 2, f"without {name} the server's exit code is {code}")


def run(trial):
    clock, back, env = Clock(), 0.0, {"HAKSA_STUMBLE": str(trial.folder / "stumble")}
    if trial.store == "sqlite":
        server = trial.server(env=env).seed().start()
        comes_back(trial, server, clock, "the beginning")
        shell = sqlite3.connect(server.folder / "haksa.db", isolation_level=None)
        shell.execute("BEGIN IMMEDIATE")
        answers = parallel([lambda way=way: (way, ask(server, clock, way, 1)) for way in DIALECTS])
        for way, answer in answers:
            trial.expect(not (why := refusal_fault(way, *answer)), f"BEGIN IMMEDIATE: {why}")
        until = time.monotonic() + 3
        while (ready := ask(server, clock, "/readyz")[0]) != 503 and time.monotonic() < until:
            time.sleep(0.05)
        trial.expect(ready == 503, "BEGIN IMMEDIATE: /readyz does not say so")
        trial.expect(ask(server, clock, "read")[0] == 200, "BEGIN IMMEDIATE: a read is refused")
        shell.execute("ROLLBACK")
        back = comes_back(trial, server, clock, "BEGIN IMMEDIATE")
        trial.expect(not server.check(), "haksa check finds faults")
        deaths(trial, server, clock)
    else:
        url = trial.cluster.database()
        network = Network(trial.cluster, url)
        try:
            server = trial.server(url=network.url, env=env).seed().start()
            comes_back(trial, server, clock, "the beginning")
            for part in (lambda: silent(trial, server, network, clock), lambda: stopped(trial, server, clock),
                         lambda: locked(trial, server, clock), lambda: doubtful(trial, server, network, clock)):
                # After what did not hold, the rest says nothing.
                back = back if trial.broken else max(back, part())
            if not trial.broken:
                deaths(trial, server, clock)
        finally:
            network.close()
    trial.figure("slowest answer, ms", round(clock.worst * 1000))
    trial.figure("back after, ms", round(back * 1000))
    trial.expect(clock.worst < ANSWER_S, f"somebody waited {clock.worst:.1f} s for an answer")


experiment(run)
