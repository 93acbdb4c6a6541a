#!/usr/bin/env python3
"""What grows is bounded: burnt signatures that fall due go in small steps and stall nobody, at work and at rest; an account
that writes without end is slowed, and others are not; nothing is longer than it may be."""

import contextlib
import json
import sqlite3
import time

from haksa import experiment, parallel
from storm import Neighbour

# How long anybody may wait for an edit while others are swept.
WAIT_MAX_S = 0.5
# Edits of this many letters come to about four times as many bytes.
LETTERS = 19_000
WRITERS = 8


def burn(server, trial, count):
    """Puts signatures into the database that are long over."""
    seconds = int(time.time()) - 4 * 3600
    if server.url is None:
        with contextlib.closing(sqlite3.connect(server.folder / "haksa.db", timeout=30)) as database, database:
            rows = ((seconds * 1_000_000 + n, 1, f"{n:064x}") for n in range(count))
            database.executemany("INSERT INTO signature (expires_at, credential_id, digest) VALUES (?, ?, ?)", rows)
    else:
        trial.cluster.sql(f"INSERT INTO signature (expires_at, credential_id, digest) SELECT {seconds} * 1000000::bigint + n, "
                          f"1, lpad(to_hex(n), 64, '0') FROM generate_series(0, {count - 1}) n", server.url)


def left(server):
    limit = (int(time.time()) - 3 * 3600) * 1_000_000
    return server.query(f"SELECT count(*) AS n FROM signature WHERE expires_at < {limit}")[0]["n"]


def served(trial, neighbour, what):
    """Expects somebody else to have been served meanwhile, soon."""
    trial.figure(f"longest wait, {what}, ms", round(neighbour.took[-1] * 1000))
    trial.expect(not neighbour.refused, f"{what}: a neighbour was refused: {neighbour.refused[:2]}")
    trial.expect(neighbour.took[-1] < WAIT_MAX_S, f"{what}: a neighbour waited {neighbour.took[-1]:.2f} s")


def swept(trial, server, count):
    """Signatures fall due under load; then as many again while nobody asks for anything."""
    burn(server, trial, count)
    begun = time.monotonic()
    deadline = begun + 10 + count / 4_000
    with Neighbour(server) as neighbour:
        counts = [left(server)]
        while counts[-1] and time.monotonic() < deadline:
            time.sleep(0.25)
            counts.append(left(server))
        trial.figure("under load, s", round(time.monotonic() - begun, 1))
    served(trial, neighbour, "sweeping")
    trial.expect(counts[-1] == 0, f"{counts[-1]} of {count} were left under load")
    steps = [before - after for before, after in zip(counts, counts[1:])]
    trial.expect(max(steps, default=0) < count, f"{count} went in one step")
    few = count // 5
    burn(server, trial, few)
    begun = time.monotonic()
    while left(server) and time.monotonic() < begun + 10 + few / 4_000:
        time.sleep(0.25)
    trial.figure("at rest, s", round(time.monotonic() - begun, 1))
    trial.expect(left(server) == 0, "a server that has nothing to do does not sweep")


def metered(trial, server, seconds):
    """One account edits a long comment as fast as it can; what it adds to history is bounded."""
    before = written(server)
    begun, refused, retries = time.monotonic(), [], []
    headers = {"Content-Type": "application/json", **server.client().sign("kolleges", "PATCH", "")}

    def write(index):
        client, n = server.client(), 0
        while time.monotonic() < begun + seconds and len(refused) < 50:
            n += 1
            body = json.dumps({"admin_comment": f"{index} {n} " + "가" * LETTERS})
            status, answer, _ = client.send("PATCH", "/open-api/achievements/1539", headers, body)
            if status != 200:
                refused.append(status)
                retries.append(int(answer.get("Retry-After") or 0))
                time.sleep(0.05)

    with Neighbour(server) as neighbour:
        parallel([lambda index=index: write(index) for index in range(WRITERS)])
        took = time.monotonic() - begun
    served(trial, neighbour, "metering")
    bytes_written = written(server) - before
    trial.figure("one account wrote, MiB", bytes_written >> 20)
    # In a build that is slow it may not get that far.
    bound = (128 + 4 * took + 8) * (1 << 20)
    trial.expect(bytes_written < bound, f"one account wrote {bytes_written >> 20} MiB in {took:.0f} s")
    trial.expect(set(refused) <= {503} and all(retries), f"refused with {set(refused)}, Retry-After {set(retries)}")
    return bool(refused)


def written(server):
    """The bytes of the account's history."""
    sizes = "length(CAST(coalesce(before, '') AS {})) + length(CAST(coalesce(after, '') AS {}))"
    sizes = sizes.replace("{}", "BLOB") if server.url is None else sizes.replace("length(CAST(", "octet_length(").replace(
        " AS {})", "")
    return int(server.query(f"SELECT coalesce(sum({sizes}), 0) AS n FROM change WHERE account_id = 3")[0]["n"])


def bounded(trial, server):
    """A text of more than it may have, in an index and out of it, is the caller's fault."""
    client = server.client()
    for body in ({"club_domain": "".join(chr(0xAC00 + n * 7 % 11172) for n in range(6000))}, {"name": "가" * 256}):
        headers = {"Content-Type": "application/json", **client.sign("native", "", "")}
        status, _, answer = client.send("PATCH", "/haksa/v1/account", headers, json.dumps(body))
        trial.expect(status == 400, f"a text that is too long was answered {status} {answer[:100]!r}")
    headers = {"Content-Type": "application/json", **client.sign("kolleges", "", "")}
    body = json.dumps({"admin_comment": "가" * 300_000})
    status, _, answer = client.send("PATCH", "/open-api/achievements/1539", headers, body)
    trial.expect(status == 400, f"a comment of 900 KB was answered {status} {answer[:100]!r}")


def run(trial):
    server = trial.server()
    server.start()
    bounded(trial, server)
    swept(trial, server, 25_000 if trial.is_quick else 1_000_000)
    was_refused = metered(trial, server, 6 if trial.is_quick else 60)
    trial.expect(was_refused or trial.is_quick, "nobody was slowed in a minute")
    server.stop()
    fault = server.check()
    trial.expect(not fault, f"haksa check: {fault[:300]}")


experiment(run)
