#!/usr/bin/env python3
"""kill -9 again and again under 16 writers of all five dialects, and in every part of large commands: nothing acknowledged
is lost, nothing half there."""

import itertools
import random
import statistics
import time

from haksa import KeyedLoad, experiment
from large import Large, after, staging, while_publishing

# The promise is 100 ms for a release build on an idle machine. A debug build, on one that is busy, may take longer.
READY_MEDIAN_S, READY_WORST_S = 0.5, 5.0


def run(trial):
    cycles = 4 if trial.is_quick else 100
    server = trial.server().seed().start()
    numbers, loads, ready, resent = itertools.count(1), [], [], 0
    chance = random.Random(1)
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
        for dialect, n, status, _ in load.refused:
            trial.expect(False, f"cycle {cycle}: {dialect} was answered {status}")
    client = server.client()
    acknowledged = lost = twice = 0
    for dialect in loads[0].dialects:
        kept = client.history(dialect)
        once = set(kept)
        wanted = {n for load in loads for n in load.acknowledged[dialect]}
        acknowledged += len(wanted)
        lost += len(wanted - once)
        twice += len(kept) - len(once)
    trial.figure("cycles", cycles)
    trial.figure("acknowledged", acknowledged)
    trial.figure("lost", lost)
    trial.figure("sent again with their keys", resent)
    trial.figure("done twice", twice)
    trial.figure("ready again, median ms", round(statistics.median(ready) * 1000))
    trial.figure("ready again, worst ms", round(max(ready) * 1000))
    trial.expect(acknowledged > cycles * 10, f"too little was written: {acknowledged}")
    trial.expect(lost == 0, f"{lost} acknowledged edits are lost")
    trial.expect(twice == 0, f"{twice} edits were done twice")
    trial.expect(statistics.median(ready) <= READY_MEDIAN_S, "it takes long to be ready again")
    trial.expect(max(ready) <= READY_WORST_S, f"once it took {max(ready):.1f} s to be ready again")
    trial.expect(not server.check(), "haksa check finds faults in the end")
    server.stop()

    large = Large(trial, trial.server("large").seed())
    large.round(())
    parts = 1 if trial.is_quick else 8
    moments = [staging((part + 0.5) / parts) for part in range(parts)] + [while_publishing] * (parts + 1)
    # One more than a multiple of four, so that each command comes to each of them.
    moments += [after(0.1)] * ((5 - len(moments)) % 4)
    for _ in range(1 if trial.is_quick else len(moments)):
        large.round(moments)
    large.figures()


experiment(run, stores=("sqlite",))
