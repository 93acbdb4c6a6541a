#!/usr/bin/env python3
"""kill -9 of Haksa, and of PostgreSQL under it, also in large commands: nothing acknowledged is lost, nothing half there,
503 meanwhile, back by itself in 2 s."""

import itertools
import random
import statistics
import time

from haksa import DIALECTS, KeyedLoad, experiment, refusal_fault
from large import Large, after, while_committing, with_postgres_after

BACK_S = 2.0
# How long PostgreSQL stays away, and how long the load runs before that.
AWAY_S, BEFORE_S = 1.0, 0.7


def bring_back(cluster):
    """Starts PostgreSQL again; right after kill -9 what its children held may still be held."""
    for attempt in itertools.count():
        try:
            return cluster.resume()
        except RuntimeError:
            if attempt == 20:
                raise
            time.sleep(0.2)


def outage(trial, server, numbers, turn):
    """PostgreSQL is killed under load; gives the load and how long after its return each dialect was served again."""
    load = KeyedLoad(server, 16, numbers).start()
    time.sleep(BEFORE_S)
    trial.cluster.kill()
    killed, asked = time.monotonic(), 0
    # Everything acknowledged from here on would have been written to nowhere.
    time.sleep(0.1)
    client = server.client()
    while time.monotonic() < killed + AWAY_S or asked < len(DIALECTS):
        dialect = DIALECTS[asked % len(DIALECTS)]
        answer = client.edit(dialect, 790_000 + asked)
        trial.expect(not (fault := refusal_fault(dialect, *answer)), f"outage {turn}: an edit of {fault}")
        asked += 1
    bring_back(trial.cluster)
    returned, back = time.monotonic(), {}
    while len(back) < len(DIALECTS) and time.monotonic() < returned + 15:
        for dialect in DIALECTS:
            if dialect not in back and client.edit(dialect, next(numbers))[0] == 200:
                back[dialect] = time.monotonic() - returned
        time.sleep(0.02)
    time.sleep(0.3)
    load.stop()
    trial.expect(server.is_running(), f"outage {turn}: Haksa ended")
    trial.expect(len(back) == len(DIALECTS), f"outage {turn}: only {sorted(back)} were served again")
    trial.expect(not load.unanswered, f"outage {turn}: {len(load.unanswered)} edits had no answer at all")
    for fault in sorted({fault.split(":")[0] for _, _, _, fault in load.refused if fault}):
        trial.expect(False, f"outage {turn}: {fault}")
    load.repeat(trial, client, f"outage {turn}")
    client.close()
    return load, max(back.values(), default=15), asked


def run(trial):
    cycles, outages = (2, 1) if trial.is_quick else (20, 3)
    server = trial.server().seed().start()
    numbers, loads, ready, resent = itertools.count(1), [], [], 0
    chance = random.Random(2)
    for cycle in range(cycles):
        load = KeyedLoad(server, 16, numbers).start()
        time.sleep(chance.uniform(0.05, 0.3))
        server.kill()
        load.stop()
        loads.append(load)
        if fault := server.check():
            trial.expect(False, f"cycle {cycle}: haksa check: {fault[:300]}")
        server.start()
        ready.append(server.ready_s)
        client = server.client()
        resent += load.repeat(trial, client, f"cycle {cycle}")
        client.close()
        trial.expect(not load.refused, f"cycle {cycle}: refused {load.refused[:3]}")
    back = []
    refused = asked = 0
    for turn in range(outages):
        load, seconds, count = outage(trial, server, numbers, turn)
        loads.append(load)
        back.append(seconds)
        refused += len(load.refused)
        asked += count

    client = server.client()
    acknowledged = lost = twice = 0
    for dialect in DIALECTS:
        kept = client.history(dialect)
        once = set(kept)
        wanted = {n for load in loads for n in load.acknowledged[dialect]}
        acknowledged += len(wanted)
        lost += len(wanted - once)
        twice += len(kept) - len(once)
    trial.figure("kills of Haksa", cycles)
    trial.figure("kills of PostgreSQL", outages)
    trial.figure("acknowledged", acknowledged)
    trial.figure("lost", lost)
    trial.figure("sent again with their keys", resent)
    trial.figure("done twice", twice)
    trial.figure("ready again, median ms", round(statistics.median(ready) * 1000))
    trial.figure("ready again, worst ms", round(max(ready) * 1000))
    trial.figure("503 without PostgreSQL", refused + asked)
    trial.figure("works after its return, worst ms", round(max(back) * 1000))
    trial.expect(acknowledged > cycles * 10, f"too little was written: {acknowledged}")
    trial.expect(lost == 0, f"{lost} acknowledged edits are lost")
    trial.expect(twice == 0, f"{twice} edits were done twice")
    trial.expect(max(back) <= BACK_S, f"it took {max(back):.1f} s to work again")
    trial.expect(not server.check(), "haksa check finds faults in the end")
    server.stop()

    large = Large(trial, trial.server("large").seed())
    large.round(())
    parts = 1 if trial.is_quick else 6
    shares = [(part + 0.5) / parts for part in range(parts)]
    moments = [while_committing, *map(after, shares)]
    moments += [with_postgres_after(share, bring_back) for share in shares]
    moments += [after(0.9)] * ((5 - len(moments)) % 4)
    for _ in range(1 if trial.is_quick else len(moments)):
        large.round(moments)
    large.figures()


experiment(run, stores=("postgres",))
