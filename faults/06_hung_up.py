#!/usr/bin/env python3
"""Clients that hang up in the head, the body or the answer: no transaction stays open, nothing grows, all goes on."""

import random
import subprocess
import threading
import time

from haksa import DIALECTS, Wire, edit_of, experiment, parallel, request

# Turned off by the experiment itself: what it leaves open has to be noticed as if the server had.
LEFT_OPEN = "LeftOpen"


def hang_up(server, client, n):
    """One edit or read, cut off somewhere."""
    dialect = DIALECTS[n % len(DIALECTS)]
    method, target, media_type, body = edit_of(dialect, n + 1)
    if n % 4 == 3:
        method, body = "GET", ""
    headers = {"Content-Type": media_type, **client.sign(dialect, method, target)}
    whole = request(method, target, headers, body)
    head = whole.index(b"\r\n\r\n") + 4
    wire = Wire(server)
    try:
        place = random.choice(("head", "body", "sent", "answer"))
        if place == "head":
            wire.socket.sendall(whole[:random.randrange(head)])
        elif place == "body":
            wire.socket.sendall(whole[:random.randrange(head, len(whole) + 1)])
        else:
            wire.socket.sendall(whole)
            time.sleep(random.choice((0, 0, 0.001, 0.005)))
            if place == "answer":
                wire.socket.recv(random.randrange(1, 40))
    except OSError:
        pass  # It was the server that hung up.
    finally:
        wire.close(hard=random.random() < 0.5)


def hang_up_all(server, count, threads=8):
    def work(first):
        client = server.client()
        for n in range(first, count, threads):
            hang_up(server, client, n)

    workers = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def go_on(trial, server, count):
    """So many whole requests; gives how many were answered 2xx."""
    client, good = server.client(), 0
    for n in range(count):
        dialect = DIALECTS[n % len(DIALECTS)]
        status, _, body = client.edit(dialect, n + 1)
        good += 200 <= status < 300
        trial.expect(200 <= status < 300, f"an edit of {dialect} afterwards was answered {status} {body[:200]}")
    client.close()
    return good


def sessions(trial, server):
    """The server's database sessions, and those with an open transaction that does nothing."""
    if trial.cluster is None:
        return 0, 0
    database = server.url.rsplit("/", 1)[1]
    rows = trial.cluster.sql(f"SELECT state FROM pg_stat_activity WHERE datname = '{database}'").splitlines()
    return len(rows), sum(state.startswith("idle in transaction") for state in rows)


def settled(value, wanted, within=5):
    """Waits until the value is at most what is wanted, or time is up; gives the last."""
    deadline = time.monotonic() + within
    while (found := value()) > wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def run(trial):
    count, after = (300, 100) if trial.is_quick else (2000, 1000)
    server = trial.server().start()
    # Caches, pools and the allocator reach their size.
    hang_up_all(server, count // 3)
    go_on(trial, server, after)
    # So does the store's pool, which holds as many reading connections as there were long reads at once.
    for _ in range(10):
        parallel([lambda: server.client().history("kolleges")] * 64)
    time.sleep(1)
    descriptors, memory = server.descriptors(), server.memory_mib()
    open_before, _ = sessions(trial, server)

    hang_up_all(server, count)
    left = []
    if trial.sabotage == LEFT_OPEN and trial.cluster:
        left.append(subprocess.Popen(["psql", "-qX", "-d", server.url], stdin=subprocess.PIPE, text=True))
        left[0].stdin.write("BEGIN; SELECT 1;\n")
        left[0].stdin.flush()
        time.sleep(1)
    elif trial.sabotage == LEFT_OPEN:
        left += [Wire(server) for _ in range(50)]

    idle = settled(lambda: sessions(trial, server)[1], 0)
    good = go_on(trial, server, after)
    grown = settled(server.descriptors, descriptors * 1.1)
    open_after = settled(lambda: sessions(trial, server)[0], open_before)
    still_idle = settled(lambda: sessions(trial, server)[1], 0)
    trial.figure("cut off", count)
    trial.figure("2xx afterwards", f"{good} of {after}")
    trial.figure("descriptors", f"{descriptors} to {grown}")
    trial.figure("MiB", f"{memory:.1f} to {server.memory_mib():.1f}")
    trial.expect(grown <= descriptors * 1.1, f"descriptors grew from {descriptors} to {grown}")
    trial.expect(server.memory_mib() <= memory * 1.1, f"memory grew from {memory:.1f} to {server.memory_mib():.1f} MiB")
    if trial.cluster:
        idle = max(idle, still_idle)
        trial.figure("idle in transaction", idle)
        trial.figure("database sessions", f"{open_before} to {open_after}")
        trial.expect(idle == 0, f"{idle} sessions stay idle in transaction")
        trial.expect(open_after <= open_before, f"database sessions grew from {open_before} to {open_after}")
    for process in left:
        process.kill() if isinstance(process, subprocess.Popen) else process.close()
    trial.expect(not server.check(), "haksa check finds faults")


experiment(run)
