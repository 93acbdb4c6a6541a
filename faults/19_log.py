#!/usr/bin/env python3
"""Nobody takes the log: its reader does not read, or has gone, its disk is full; and file descriptors run out. Edits and
reads go on, what is lost is counted, a stop stops."""

import json
import os
import socket
import time

from haksa import DIALECTS, experiment, parallel

# More lines than wait, many times over.
EDITS = 40
ANSWER_S = 5.0
READ = "/open-api/achievements/1539"
TALK = {"HAKSA_LOG": "trace"}
# A small file system of the log's own.
SMALL = ["unshare", "--map-root-user", "--mount", "sh", "-c",
         'mount -t tmpfs -o size=256k none "$0" && exec 2>"$0/log" && exec "$@"']


def goes_on(trial, server, what, count):
    """Edits of every dialect, and the operator's pages; gives the slowest answer in seconds."""
    def edits(dialect):
        client, worst = server.client(ANSWER_S), 0.0
        for n in range(1, count + 1):
            begun = time.monotonic()
            status = client.edit(dialect, n)[0]
            worst = max(worst, time.monotonic() - begun)
            trial.expect(status == 200, f"{what}: an edit of {dialect} was answered {status}")
            if status == 0:
                break
        client.close()
        return worst

    worst = max(parallel([lambda dialect=dialect: edits(dialect) for dialect in DIALECTS]))
    for page in ("/healthz", "/readyz"):
        status = server.client(ANSWER_S).send("GET", page)[0]
        trial.expect(status == 200, f"{what}: {page} answered {status}")
    return worst


def lost(server):
    """How many lines the server says were lost."""
    _, _, text = server.client(ANSWER_S).send("GET", "/metrics")
    found = [line.split()[1] for line in text.decode().splitlines() if line.startswith("haksa_log_lines_lost_total ")]
    return int(found[0]) if found else 0


def stops(trial, server, what):
    begun = time.monotonic()
    try:
        code = server.stop()
    except Exception:
        code = None
    trial.expect(code == 0, f"{what}: told to stop, its exit code is {code}")
    return time.monotonic() - begun


def without_room(trial, server, what):
    """The log takes nothing any more; gives the slowest answer."""
    rounds, worst = 0, 0.0
    while rounds < 10 and not lost(server) and not trial.broken:
        worst, rounds = max(worst, goes_on(trial, server, what, EDITS)), rounds + 1
    count = lost(server)
    trial.expect(count > 0, f"{what}: no line was lost, so nothing was tried")
    trial.figure(f"{what}: lines lost", count)
    return worst


def pipes(trial):
    worst = 0.0
    for what in ("a log that nobody reads", "a log whose reader has gone"):
        reader, writer = os.pipe()
        server = trial.server(what.replace(" ", "-"), env=TALK, stderr=writer).start()
        os.close(writer)
        if "gone" in what:
            os.close(reader)
        worst = max(worst, without_room(trial, server, what))
        trial.figure(f"{what}: stopped after, ms", round(1000 * stops(trial, server, what)))
        if trial.broken:
            return worst
    return worst


def full(trial):
    """The log's disk is full, and has room again."""
    what, folder = "a log on a full disk", trial.folder / "small"
    folder.mkdir()
    server = trial.server("full", env=TALK, wrap=[*SMALL, str(folder)]).start()
    held = os.open(f"/proc/{server.pid}/root{folder}", os.O_RDONLY)
    worst = without_room(trial, server, what)
    # What is written is at the end: the file stays as long as it is, and has no more pages.
    log = f"/proc/self/fd/{held}/log"
    os.truncate(log, 0)
    time.sleep(0.2)
    worst = max(worst, goes_on(trial, server, what, 2))
    time.sleep(0.2)
    lines = open(log, "rb").read().replace(b"\0", b"").splitlines()
    told = [json.loads(line) for line in lines if b"log lines could not be written" in line]
    trial.expect(told, f"{what}: with room again nothing says how many lines were lost")
    os.close(held)
    stops(trial, server, what)
    return worst


def descriptors(trial):
    """Connections take every file descriptor that the server may have."""
    what = "without file descriptors"
    server = trial.server("descriptors", wrap=["prlimit", "--nofile=300:300"]).start()
    client, idle = server.client(ANSWER_S), []
    trial.expect(client.edit("kolleges", 1)[0] == 200, f"{what}: the first edit")
    worst = 0.0
    for _ in range(400):
        idle.append(socket.create_connection((server.host, server.port), timeout=ANSWER_S))
    time.sleep(0.3)
    for n in range(2, 60):
        begun = time.monotonic()
        # One that has rested for longer than others may have had to go for them; another is served at once.
        status = client.edit("kolleges", n)[0] or client.edit("kolleges", n)[0]
        worst = max(worst, time.monotonic() - begun)
        trial.expect(status == 200, f"{what}: an edit was answered {status}")
        status = client.send("GET", READ, client.sign("kolleges", "GET", READ))[0]
        trial.expect(status == 200, f"{what}: a read was answered {status}")
        if status == 0:
            break
    for connection in idle:
        connection.close()
    begun = time.monotonic()
    while server.client(ANSWER_S).edit("kolleges", 60)[0] != 200 and time.monotonic() < begun + 5:
        time.sleep(0.05)
    trial.figure(f"{what}: served anew after, ms", round(1000 * (time.monotonic() - begun)))
    trial.expect(time.monotonic() - begun < 2, f"{what}: not served anew when there are some")
    trial.expect(server.client(ANSWER_S).send("GET", "/readyz")[0] == 200, f"{what}: not ready afterwards")
    stops(trial, server, what)
    return worst


def run(trial):
    worst = pipes(trial)
    if not trial.broken:
        worst = max(worst, full(trial), descriptors(trial))
    trial.figure("slowest answer, ms", round(worst * 1000))
    trial.expect(worst < ANSWER_S, f"somebody waited {worst:.1f} s for an answer")


experiment(run)
