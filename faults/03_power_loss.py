#!/usr/bin/env python3
"""The power fails at any point, and what was not flushed is gone, all or in part: every answered edit is there."""

import contextlib
import os
import random
import shutil
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import power
from haksa import KeyedLoad, Server, experiment

# Loads with rests between them: in a rest the log is copied into the file, and the next load begins it anew.
LOADS, LOAD_S, REST_S = 3, 1.0, 1.3


def record(trial):
    """Runs a server under load from its first start to its orderly end; gives all that it wrote and answered."""
    folder = trial.folder / "server"
    server = trial.server()
    server.env |= power.environment(trial.folder / "shim", folder)
    server.seed().start()
    loads = 2 if trial.is_quick else LOADS
    for part in range(loads):
        load = KeyedLoad(server, 8, prefix=f"power-{part}").start()
        time.sleep(LOAD_S)
        load.stop()
        trial.expect(set(load.statuses) == {200}, f"edits were answered {load.statuses}")
        if part < loads - 1:
            time.sleep(REST_S)
    server.stop()
    return server, power.read(trial.folder / "shim/record")


def restore(files, folder, original):
    """Lays the files of a crash point out for a new start."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, content in files.items():
        (folder / os.path.basename(path)).write_bytes(content)
    # The key is made once and flushed, before anything else; it is not what is tried here.
    shutil.copy(original / "master.key", folder)


def look(trial, point, files, wanted, is_restart):
    """What is wrong at one crash point."""
    folder = trial.folder / f"point-{point}"
    restore(files, folder, trial.folder / "server")
    # Without a sabotage: what is tried is the files.
    server = Server("sqlite", folder)
    faults = []
    try:
        if not (folder / "haksa.db").exists():
            return [f"point {point}: there is no database"], len(wanted)
        if is_restart:
            server.start()
            client = server.client()
            status, _, _ = client.edit("kolleges", 799_999)
            if status != 200:
                faults.append(f"point {point}: after the restart an edit is answered {status}")
            client.close()
            server.stop()
        if fault := server.check():
            faults.append(f"point {point}: haksa check: {fault[:300]}")
        with contextlib.closing(sqlite3.connect(folder / "haksa.db")) as database:
            kept = {name for name, in database.execute("SELECT request_id FROM change")}
        lost = len(wanted - kept)
        if lost:
            faults.append(f"point {point}: {lost} of {len(wanted)} answered edits are lost")
        return faults, lost
    except (OSError, RuntimeError, sqlite3.Error) as error:
        return [*faults, f"point {point}: {type(error).__name__}: {error}"], len(wanted)
    finally:
        if server.process and server.is_running():
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def run(trial):
    wanted_points = 20 if trial.is_quick else 200
    server, notes = record(trial)
    chance = random.Random(3)
    answers = [index for index, note in enumerate(notes) if power.answered(note)]
    path = str(trial.folder / "server/haksa.db").encode()
    file = next(number for kind, number, _, data in notes if kind == "O" and data == path)
    copying = [index for index, note in enumerate(notes) if note[1] == file and index > answers[0]]
    # Half of the points right behind an answer, where most is at stake; some while the log is copied into the file; the
    # others anywhere after the first answer.
    points = set(chance.sample(answers, wanted_points // 2))
    points |= set(chance.sample(copying, min(len(copying), wanted_points // 4)))
    rest = sorted(set(range(answers[0], len(notes))) - points)
    points |= set(chance.sample(rest, wanted_points - len(points)))
    disk, answered, lost, faults = power.Disk(trial.folder / "server/haksa.db"), set(), 0, []
    waiting = threading.Semaphore(4)

    def examine(*arguments):
        try:
            return look(trial, *arguments)
        finally:
            waiting.release()

    with ThreadPoolExecutor(2) as pool:
        results = []
        for index, note in enumerate(notes):
            disk.feed(note)
            if name := power.answered(note):
                answered.add(name)
            if index in points:
                waiting.acquire()
                # In every second point, part of what was not flushed is there after all.
                files = disk.after_power_loss(chance if len(results) % 2 else None)
                results.append(pool.submit(examine, len(results), files, set(answered), len(results) % 10 == 0))
        for result in results:
            found, gone = result.result()
            faults += found
            lost = max(lost, gone)
    for path, content in disk.now().items():
        with open(path, "rb") as file:
            trial.expect(file.read() == content, f"the record of {os.path.basename(path)} is not what was written")
    kinds = [note[0] for note in notes]
    trial.figure("crash points", len(points))
    trial.figure("of them in a checkpoint", len(points & set(copying)))
    trial.figure("answered edits", len(answered))
    trial.figure("writes", kinds.count("W"))
    trial.figure("flushes", kinds.count("E"))
    trial.figure("lost at the worst point", lost)
    trial.figure("points at fault", len({fault.split(":")[0] for fault in faults}))
    trial.expect(len(answered) > 100, f"too little was written: {len(answered)}")
    for fault in faults[:10]:
        trial.expect(False, fault)
    trial.expect(len(faults) <= 10, f"and {len(faults) - 10} more")


experiment(run, stores=("sqlite",))
