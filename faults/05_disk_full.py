#!/usr/bin/env python3
"""A disk that is full refuses writes and takes them again when it has space; one that cannot flush ends the server."""

import itertools
import os
import subprocess
import threading
import time
from pathlib import Path

from haksa import DIALECTS, PROGRAM, KeyedLoad, experiment, refusal_fault

RESUME_S = 2.0
READ = "/open-api/achievements/1539"
# A small file system of the server's own.
CRAMPED = ["unshare", "--map-root-user", "--mount", "sh", "-c",
           'mount -t tmpfs -o size=8m none "$0" && exec "$@"']


def fill(path):
    """Takes all the space that is left."""
    with open(path, "ab", buffering=0) as file:
        for size in (65536, 4096, 512):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                pass


def within(server, *command):
    """Runs a command that sees the server's small disk."""
    command = ["nsenter", "-t", str(server.pid), "-U", "-m", "--preserve-credentials", *map(str, command)]
    return subprocess.run(command, capture_output=True, text=True)


def full(trial):
    """Full three times under load of all dialects, the first time mostly of the server's own log; then space again."""
    folder = trial.folder / "cramped"
    server = trial.server("cramped", wrap=[*CRAMPED, str(folder)])
    server.start()
    # The server's view of its folder; held open, it stays when the server goes.
    held = os.open(f"/proc/{server.pid}/root{folder}", os.O_RDONLY)
    inside = Path(f"/proc/self/fd/{held}")
    trial.expect(os.statvfs(inside).f_blocks * 4096 == 8 << 20, "the server is not on a small disk")
    client, numbers = server.client(), itertools.count(1)
    acknowledged, refused, resumed, unread, reads = {dialect: [] for dialect in DIALECTS}, 0, [], 0, 0
    for turn in range(1 if trial.is_quick else 3):
        if turn:
            # A second, in which the log is copied into the file and can begin anew.
            time.sleep(1.3)
        load = KeyedLoad(server, 8, numbers).start()
        time.sleep(0.3)
        fill(inside / "filler")
        # What the log has room for already still succeeds; then nothing does.
        until = time.monotonic() + 20
        while len(load.refused) < 40 and server.is_running() and time.monotonic() < until:
            time.sleep(0.05)
            fill(inside / "filler")
        for dialect in DIALECTS:
            # A log that begins anew after a refusal has room for another commit or two.
            for _ in range(20):
                fill(inside / "filler")
                n = next(numbers)
                answer = client.edit(dialect, n)
                if answer[0] != 200:
                    break
                acknowledged[dialect].append(n)
            trial.expect(not (fault := refusal_fault(dialect, *answer)), f"on a full disk an edit of {fault}")
        for _ in range(100):
            status, _, _ = client.send("GET", READ, client.sign("kolleges", "GET", READ))
            reads += 1
            unread += status != 200
        os.remove(inside / "filler")
        done = within(server, "mount", "-o", "remount,size=32m", folder)
        trial.expect(done.returncode == 0, f"mount: {done.stderr}")
        space, back = time.monotonic(), {}
        while len(back) < len(DIALECTS) and server.is_running() and time.monotonic() < space + 15:
            for dialect in DIALECTS:
                n = next(numbers)
                if dialect not in back and client.edit(dialect, n)[0] == 200:
                    back[dialect] = time.monotonic() - space
                    acknowledged[dialect].append(n)
        time.sleep(0.2)
        load.stop()
        if not server.is_running():
            trial.expect(False, f"the server ended on a full disk with {server.process.wait()}")
            os.close(held)
            return
        trial.expect(len(back) == len(DIALECTS), f"with space again only {sorted(back)} are written")
        resumed.append(max(back.values(), default=15))
        trial.expect(not load.unanswered, f"{len(load.unanswered)} edits had no answer at all")
        for fault in sorted({fault for *_, fault in load.refused if fault}):
            trial.expect(False, f"on a full disk {fault}")
        refused += len(load.refused)
        for dialect, done in load.acknowledged.items():
            acknowledged[dialect] += done
        trial.expect(len(load.refused) >= 40, f"the disk was hardly ever full: {len(load.refused)} refusals")
    lost = {dialect: len(set(done) - set(client.history(dialect))) for dialect, done in acknowledged.items()}
    trial.figure("acknowledged", sum(map(len, acknowledged.values())))
    trial.figure("lost", sum(lost.values()))
    trial.figure("refused on a full disk", refused)
    trial.figure("reads refused meanwhile", f"{unread} of {reads}")
    trial.figure("writes again, worst ms", round(max(resumed) * 1000))
    trial.expect(not any(lost.values()), f"acknowledged edits are lost: {lost}")
    trial.expect(unread == 0, f"{unread} reads failed on a full disk")
    trial.expect(max(resumed) <= RESUME_S, f"it took {max(resumed):.1f} s to write again")
    check = within(server, PROGRAM, "check", "--database", server.database)
    trial.expect(check.returncode == 0, f"haksa check: {check.stdout[:300]}{check.stderr[:300]}")
    server.stop()
    os.close(held)


def failing(trial):
    """Every flush fails from some moment on: no 200 any more, and the server ends, saying so."""
    server = trial.server("failing").seed().start()
    client = server.client()
    load = KeyedLoad(server, 8, prefix="before").start()
    time.sleep(0.3)
    # With nobody waiting, so that no answer can be of a commit before.
    load.stop()
    strace = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
                               "-e", "inject=fsync,fdatasync:error=EIO", "-p", str(server.pid)],
                              stderr=subprocess.PIPE, text=True)
    attached = strace.stderr.readline()
    trial.expect("attached" in attached, f"strace: {attached}")
    threading.Thread(target=strace.stderr.read, daemon=True).start()
    # Its threads are attached one by one.
    time.sleep(0.3)
    late = KeyedLoad(server, 8, itertools.count(1001), prefix="late").start()
    try:
        code = server.process.wait(timeout=5 if trial.sabotage else 15)
    except subprocess.TimeoutExpired:
        code = None
    late.stop()
    strace.terminate()
    strace.wait()
    trial.figure("exit code when flushes fail", code)
    trial.figure("200 without a flush", late.count())
    trial.expect(code not in (None, 0), f"flushes failed, and the server's exit code is {code}")
    trial.expect(late.count() == 0, f"{late.count()} edits were acknowledged without a flush")
    if code is None:
        server.kill()
    for fault in sorted({fault for *_, fault in late.refused if fault}):
        trial.expect(False, f"when flushes fail {fault}")
    client.close()
    trial.expect(not server.check(), "haksa check finds faults after failed flushes")
    server.start()
    lost = load.lost(server.client())
    trial.expect(not lost, f"acknowledged edits are lost: {lost}")
    server.stop()


def run(trial):
    full(trial)
    failing(trial)


experiment(run, stores=("sqlite",))
