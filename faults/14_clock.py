#!/usr/bin/env python3
"""A clock that jumps, or starts in 2038, 9999 or before 1970: all are served, tokens live, history keeps its order."""

import glob
import json
import threading
import time
from datetime import datetime, timezone

from haksa import DIALECTS, RECORDS, experiment

HOUR_S = 3600
# How long an iSpring token lives, as documented, and the leeway within which clocks may differ.
TOKEN_S, LEEWAY_S = 1800, 60


class Clock:
    """The server's clock, which libfaketime takes from a file. Only what tells the date is moved, as when an
    administrator sets it: a machine's monotonic clock never jumps."""

    def __init__(self, folder):
        found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") + glob.glob("/usr/lib*/faketime/libfaketimeMT.so.1")
        if not found:
            raise RuntimeError("libfaketime is missing; on Debian: apt-get install faketime (scripts/install faults)")
        self.file = folder / "clock"
        # Odd while the clock is being moved, so that a request can tell whether it was under way then.
        self.moves = 0
        self.env = {"LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
        folder.mkdir(parents=True, exist_ok=True)

    def set(self, server, ahead_s):
        """Moves the clock to `ahead_s` after ours, in one step."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+d}\n")
        self.moves += 1
        fresh.rename(self.file)
        server.ahead_s = ahead_s
        self.moves += 1

    def set_to(self, server, at):
        """Moves it to an instant."""
        self.set(server, round((datetime.fromisoformat(at) - datetime.now(timezone.utc)).total_seconds()))


class Scribes:
    """One client for each dialect, who writes one number after another, so that the order is known."""

    def __init__(self, server, clock, pause_s):
        self.server, self.clock, self.stopping, self.pause_s = server, clock, threading.Event(), pause_s
        self.written, self.others = {dialect: [] for dialect in DIALECTS}, {}
        self.threads = [threading.Thread(target=self._write, args=(dialect,), daemon=True) for dialect in DIALECTS]
        for thread in self.threads:
            thread.start()

    def _write(self, dialect):
        client, n = self.server.client(timeout=15), 0
        while not self.stopping.wait(self.pause_s):
            n += 1
            moves = self.clock.moves
            status, _, body = client.edit(dialect, n)
            if status == 200:
                self.written[dialect].append(n)
            elif moves % 2 == 0 and self.clock.moves == moves:
                # A signature on its way while the clock jumps is rightly out of date.
                self.others[f"{dialect} {status} {body[:80]!r}"] = n

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=20)
        return self


def token(client):
    """A new access token of iSpring's."""
    keys = client.server.demo["ispring"]["api_keys"]["OWN"]
    body = f"grant_type=client_credentials&client_id={keys['client_id']}&client_secret={keys['client_secret']}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, answer = client.send("POST", "/api/v3/token", headers, body)
    if status != 200:
        raise RuntimeError(f"no token: {status} {answer[:200]}")
    return json.loads(answer)["access_token"]


def is_good(client, word):
    target = client.server.demo["ispring"]["ids"]["E1"]
    return client.send("GET", f"/enrollment/{target}", {"Authorization": word})[0] == 200


def replay(client, signed):
    """The status of a SOLAPI request whose signature has been used."""
    relationship = client.server.demo["solapi"]["relationship_id"]
    return client.send("GET", f"/crm-core/v1/relationships/{relationship}", signed)[0]


def items(client, dialect):
    """A record's history, newest first."""
    found, query = [], "limit=100"
    while query:
        _, _, body = client.send("GET", f"/haksa/v1/records/{RECORDS[dialect][0]}/history?{query}",
                                 client.sign("native", "", ""))
        page = json.loads(body)
        found += page["items"]
        query = f"limit=100&cursor={page['next']}" if page["next"] else None
    return found


def ordered(trial, client, written):
    """History in the order of writing, whatever the clock said; and that the clock did go back."""
    backwards = 0
    for dialect in DIALECTS:
        history = items(client, dialect)
        value, wanted = RECORDS[dialect][1], set(written[dialect])
        numbers = [value(item["after"]) for item in reversed(history) if item["action"] == "edit"]
        numbers = [n for n in numbers if n in wanted]
        trial.expect(numbers == written[dialect], f"{dialect}: history is not in the order of writing")
        versions = [item["version"] for item in history]
        trial.expect(versions == list(range(len(versions), 0, -1)), f"{dialect}: versions are not in sequence")
        changes = [int(item["change_id"]) for item in history]
        trial.expect(changes == sorted(set(changes), reverse=True), f"{dialect}: changes are not in sequence")
        times = [datetime.fromisoformat(item["at"].replace("Z", "+00:00")[:19]) for item in history]
        backwards += sum(newer < older for newer, older in zip(times, times[1:]))
    return backwards


def jumps(trial, server, clock, written):
    """The clock jumps while everybody writes."""
    step_s, pause_s = (0.3, 0.05) if trial.is_quick else (1.5, 0.02)
    client = server.client()
    word, signed = token(client), client.sign("solapi", "GET", "")
    trial.expect(replay(client, signed) == 200, "a first use of a signature was refused")
    scribes = Scribes(server, clock, pause_s)
    time.sleep(step_s)
    for name, ahead_s, lives in [
        ("-1 h", -HOUR_S, True),
        ("-2 s", -2, True),
        ("a minute before a token's end", TOKEN_S - LEEWAY_S, True),
        ("a minute after it", TOKEN_S + LEEWAY_S + 2, False),
        ("+1 h", HOUR_S, False),
        ("back", 0, True),
        ("-2 s again", -2, True),
    ]:
        clock.set(server, ahead_s)
        time.sleep(step_s)
        trial.expect(is_good(client, word) == lives, f"{name}: a token of now is {'refused' if lives else 'taken'}")
        trial.expect(is_good(client, token(client)), f"{name}: a new token is refused")
        trial.expect(replay(client, signed) != 200, f"{name}: a signature was good twice")
        trial.expect(client.send("GET", "/readyz")[0] == 200, f"{name}: the server is not ready")
    # Whether own tokens outlive their documented end by some leeway is told, not judged.
    clock.set(server, TOKEN_S + 30)
    trial.figure("token taken 30 s after its end", "yes" if is_good(client, word) else "no")
    clock.set(server, 0)
    scribes.stop()
    trial.expect(not scribes.others, f"edits were answered {list(scribes.others)[:5]}")
    for dialect in DIALECTS:
        written[dialect] += scribes.written[dialect]


def starts(trial, server, clock, written, at, seconds):
    """A start at an instant, on the database that all the others have used."""
    clock.set_to(server, at)
    year = at[:4]
    try:
        server.start()
    except RuntimeError as error:
        # To refuse a date that no clock can have is sound, when it is said and not a crash.
        trial.figure(f"in {year}", "refused to start")
        trial.expect("panicked" not in str(error), f"{at}: {error}")
        return
    client = server.client()
    is_before = year < "1970"
    try:
        # The demo's own tokens have an end, which is long past in 9999.
        server.demo["ispring"]["tokens"]["OWN"] = token(client)
    except RuntimeError as error:
        trial.expect(False, f"{year}: {error}")
    first = max(max(numbers) for numbers in written.values()) + 1000
    n, ended, served = first, time.monotonic() + seconds, 0
    while time.monotonic() < ended:
        n += 1
        for dialect in DIALECTS:
            if is_before and dialect == "ncloud":
                continue  # Its timestamps have no sign.
            status, _, body = client.edit(dialect, n)
            if status == 200:
                written[dialect].append(n)
                served += 1
            else:
                trial.expect(False, f"{year}: an edit of {dialect} was answered {status} {body[:80]!r}")
                ended = 0
        time.sleep(0.02)
    if served:
        trial.expect(items(client, "kolleges")[0]["at"][:4] == year, f"{year}: history tells another year")
    trial.figure(f"edits in {year}", served)
    trial.expect(server.stop() == 0, f"{year}: it did not stop well")


def run(trial):
    clock = Clock(trial.folder / "clocks")
    server = trial.server(env=clock.env)
    clock.set(server, 0)
    server.start()
    written = {dialect: [] for dialect in DIALECTS}
    jumps(trial, server, clock, written)
    trial.figure("edits while it jumped", sum(len(numbers) for numbers in written.values()))
    trial.expect(server.stop() == 0, "it did not stop well")

    # Over the end of 32 bits; in the last year; in the last hour before there was a time; and home again.
    crossing_s = 3 if trial.is_quick else 6
    for at, seconds in [("2038-01-19T03:14:06+00:00", crossing_s), ("9999-12-30T12:00:00+00:00", 0.5),
                        ("1969-12-31T23:00:00+00:00", 0.5)]:
        starts(trial, server, clock, written, at, seconds)
    clock.set(server, 0)
    server.start()
    backwards = ordered(trial, server.client(), written)
    trial.figure("steps back that history tells of", backwards)
    trial.expect(backwards > 0, "the clock never went back: the trial proves nothing")
    trial.expect(server.stop() == 0, "it did not stop well")
    log = server.log.read_text(errors="replace")
    trial.figure("panics", log.count("panicked"))
    trial.expect("panicked" not in log, f"the server panicked: {log[log.find('panicked'):][:300]}")
    trial.expect(not server.check(), "haksa check finds faults")


experiment(run)
