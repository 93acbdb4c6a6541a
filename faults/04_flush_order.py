#!/usr/bin/env python3
"""Every 200 leaves after a flush that began when its edit was in the log; 64 writers share a flush by 8 or more."""

import re
import selectors
import socket
import subprocess
import threading
import time
from pathlib import Path

import power
from haksa import DIALECTS, edit_of, experiment

EDITS, EDITS_ALONE_QUICK = 200, 60
# A flush lasts as long as on a disk that is shared: on a faster one fewer edits gather meanwhile. The longer time is
# for servers under strace, which makes all else slower.
FLUSH_US, FLUSH_TRACED_US = 4000, 15_000
NAME = re.compile(rb"(?:one|many)-\d{6}")
ANSWER = re.compile(rb'"HTTP/1\.1 200 .*?\\r\\nx-request-id: ([^\\]+)\\r\\n')
LOG_HEADER, FRAME_HEADER = 32, 24


def request(client, dialect, n, name):
    """The bytes of an edit."""
    method, target, media_type, body = edit_of(dialect, n)
    headers = client.sign(dialect, method, target)
    headers |= {"Host": "haksa", "Content-Type": media_type, "Content-Length": len(body.encode())}
    headers |= {"X-Request-Id": name, "Idempotency-Key": name}
    head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n{body}".encode()


def whole(answer):
    """Whether an answer is all there."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= (int(length.group(1)) if length else 0)


def send_all(server, phase, concurrency, first, count):
    """Sends edits over `concurrency` connections, each its next once it has its answer; gives the statuses."""
    client = server.client()
    waiting = [request(client, DIALECTS[n % len(DIALECTS)], first + n, f"{phase}-{n:06}") for n in range(count)]
    selector, statuses, answers = selectors.DefaultSelector(), [], {}
    for _ in range(concurrency):
        connection = socket.create_connection((server.host, server.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
        answers[connection] = b""
    for connection in answers:
        connection.sendall(waiting.pop())
    until = time.monotonic() + 60
    while len(statuses) < count and time.monotonic() < until:
        for key, _ in selector.select(timeout=1):
            connection = key.fileobj
            more = connection.recv(65536)
            answers[connection] += more
            if more and not whole(answers[connection]):
                continue
            statuses.append(int(answers[connection].split(b" ", 2)[1]) if answers[connection] else 0)
            answers[connection] = b""
            if not more:
                selector.unregister(connection)
            elif waiting:
                connection.sendall(waiting.pop())
    for connection in answers:
        connection.close()
    return statuses


def of_sqlite(trial, server, edits):
    """By request id: where in the record its commit was written whole, and where its 200 was sent; and the flushes of
    the log as pairs of beginning and end. The record is the shim's."""
    server.env |= power.environment(trial.folder / "shim", server.folder, FLUSH_US)
    server.seed().start()
    edits()
    server.stop()
    notes = power.read(trial.folder / "shim/record")
    path = str(server.folder / "haksa.db-wal").encode()
    # The last file of that name: the one that the second start made.
    log = [number for kind, number, _, data in notes if kind == "O" and data == path][-1]
    commits, sent, flushes, begun, waiting, commit_ends = {}, {}, [], {}, set(), None
    for index, (kind, file, offset, data) in enumerate(notes):
        if kind == "W" and file == log:
            waiting |= {name for name in NAME.findall(data) if name not in commits}
            if len(data) == FRAME_HEADER and offset >= LOG_HEADER:
                # The last frame of a commit says how many pages the database has; the others say none.
                commit_ends = offset + FRAME_HEADER if int.from_bytes(data[4:8]) else None
            elif offset == commit_ends:
                commits |= {name: index for name in waiting}
                waiting, commit_ends = set(), None
        elif kind == "B" and file == log:
            begun[offset] = index
        elif kind == "E" and file == log and offset in begun:
            flushes.append((begun.pop(offset), index))
        elif name := power.answered(notes[index]):
            sent.setdefault(name.encode(), index)
    return commits, sent, flushes


def of_postgres(trial, server, edits):
    """The same from one record of the system calls of Haksa and of all of PostgreSQL's processes. A commit is taken to
    be written where its change is: the end of the transaction comes in the same write or the next."""
    server.seed().start()
    # One edit, for the connections to be there.
    server.client().edit("kolleges", 1)
    owner, record = trial.cluster.pid(), trial.folder / "record"
    children = Path(f"/proc/{owner}/task/{owner}/children").read_text().split()
    command = ["strace", "-f", "-y", "-s", "1000000", "-o", record,
               "-e", "trace=pwrite64,pwritev,fdatasync,writev,sendto",
               "-e", f"inject=fdatasync:delay_enter={FLUSH_TRACED_US}"]
    for pid in (server.pid, owner, *children):
        command += ["-p", str(pid)]
    strace = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True)
    for _ in range(2 + len(children)):
        line = strace.stderr.readline()
        trial.expect("attached" in line, f"strace: {line}")
    threading.Thread(target=strace.stderr.read, daemon=True).start()
    time.sleep(0.5)
    edits()
    strace.terminate()
    strace.wait()
    commits, sent, flushes, entered = {}, {}, [], {}
    for index, line in enumerate(record.read_bytes().splitlines()):
        pid, _, call = line.partition(b" ")
        call = call.lstrip()
        start = index
        if call.endswith(b"<unfinished ...>"):
            entered[pid] = index, call
        elif call.startswith(b"<... "):
            start, call = entered.pop(pid, (index, b""))
        if found := ANSWER.search(call):
            sent.setdefault(found.group(1), start)
        if index == start and pid in entered or b"/pg_wal/" not in call:
            continue
        if call.startswith(b"pwrite"):
            for name in NAME.findall(call):
                commits.setdefault(name, index)
        elif call.startswith(b"fdatasync"):
            flushes.append((start, index))
    return commits, sent, flushes


def run(trial):
    server = trial.server()
    phases = ("one", 1, EDITS_ALONE_QUICK if trial.is_quick else EDITS), ("many", 64, EDITS)

    def edits():
        for phase, concurrency, count in phases:
            statuses = send_all(server, phase, concurrency, concurrency * 1000, count)
            trial.expect(statuses == [200] * count,
                         f"{concurrency} at once: {len(statuses)} answers, of {sorted(set(statuses))}")

    record = of_sqlite if trial.store == "sqlite" else of_postgres
    commits, sent, flushes = record(trial, server, edits)
    for phase, concurrency, count in phases:
        names = [name for name in sent if name.startswith(phase.encode())]
        trial.expect(len(names) == count, f"{concurrency} at once: the record has {len(names)} answers of {count}")
        # What was not written at all was written after everything.
        early = [name for name in names if not any(commits.get(name, 1 << 60) < begun and ended < sent[name]
                                                   for begun, ended in flushes)]
        places = [place for name in names for place in (sent[name], commits.get(name, sent[name]))]
        inside = [ended for begun, ended in flushes if min(places, default=0) < ended < max(places, default=0)]
        trial.figure(f"edits at {concurrency}", len(names))
        trial.figure(f"flushes at {concurrency}", len(inside))
        trial.figure(f"answered too early at {concurrency}", len(early))
        trial.expect(not early, f"{concurrency} at once: {len(early)} answers left before a flush of their commit")
        if concurrency > 1:
            trial.expect(len(inside) <= count / 8, f"{len(inside)} flushes for {count} edits of {concurrency} writers")
    trial.expect(not server.check(), "haksa check finds faults")


experiment(run)
