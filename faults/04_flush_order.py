#!/usr/bin/env python3
"""Every 200 leaves after a flush of the log that began when its commit was written; 64 writers share flushes, 8 or more each."""

import re
import selectors
import socket
import time

import power
from haksa import DIALECTS, edit_of, experiment

EDITS = 200
# A flush lasts as long as on a disk that is shared. On one that is faster a commit has less to wait for, and takes fewer.
FLUSH_US = 4000
NAME = re.compile(rb"(?:one|many)-\d{6}")
LOG_HEADER, FRAME_HEADER = 32, 24


def request(client, dialect, n, name):
    """The bytes of an edit."""
    method, target, media_type, body = edit_of(dialect, n)
    headers = client.sign(dialect, method, target)
    headers |= {"Host": "haksa", "Content-Type": media_type, "Content-Length": len(body.encode()), "X-Request-Id": name}
    head = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n{body}".encode()


def whole(answer):
    """Whether an answer is all there."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= (int(length.group(1)) if length else 0)


def send_all(server, phase, concurrency, first):
    """Sends the edits over `concurrency` connections, each the next as soon as it has its answer; gives the statuses."""
    client = server.client()
    waiting = [request(client, DIALECTS[n % len(DIALECTS)], first + n, f"{phase}-{n:06}") for n in range(EDITS)][::-1]
    selector, statuses, answers = selectors.DefaultSelector(), [], {}
    for _ in range(concurrency):
        connection = socket.create_connection((server.host, server.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
        answers[connection] = b""
    for connection in answers:
        connection.sendall(waiting.pop())
    until = time.monotonic() + 60
    while len(statuses) < EDITS and time.monotonic() < until:
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


def order(notes, log):
    """By request id: where in the record its commit was written whole, and where its 200 was sent; and the flushes of the
    log as pairs of beginning and end."""
    commits, sent, flushes, open_flushes, uncommitted, commit_ends = {}, {}, [], {}, set(), None
    for index, (kind, file, offset, data) in enumerate(notes):
        if kind == "W" and file == log:
            for name in NAME.findall(data):
                if name not in commits:
                    uncommitted.add(name)
            if len(data) == FRAME_HEADER and offset >= LOG_HEADER:
                # The last frame of a commit says how many pages the database has; the others say none.
                commit_ends = offset + FRAME_HEADER if int.from_bytes(data[4:8]) else None
            elif offset == commit_ends:
                commits |= {name: index for name in uncommitted}
                uncommitted, commit_ends = set(), None
        elif kind == "B" and file == log:
            open_flushes[offset] = index
        elif kind == "E" and file == log:
            flushes.append((open_flushes.pop(offset), index))
        elif name := power.answered(notes[index]):
            sent.setdefault(name.encode(), index)
    return commits, sent, flushes


def run(trial):
    folder = trial.folder / "server"
    server = trial.server()
    server.env |= power.environment(trial.folder / "shim", folder, FLUSH_US)
    server.seed().start()
    for phase, concurrency, first in (("one", 1, 1), ("many", 64, 1001)):
        statuses = send_all(server, phase, concurrency, first)
        trial.expect(statuses == [200] * EDITS, f"{concurrency} at once: answers were {sorted(set(statuses))}, {len(statuses)}")
    server.stop()

    notes = power.read(trial.folder / "shim/record")
    path = str(folder / "haksa.db-wal").encode()
    # The last file of that name: the one that the second start made.
    log = [number for kind, number, _, data in notes if kind == "O" and data == path][-1]
    commits, sent, flushes = order(notes, log)
    for phase, concurrency in (("one", 1), ("many", 64)):
        names = [name for name in sent if name.startswith(phase.encode())]
        trial.expect(len(names) == EDITS, f"{concurrency} at once: the record has {len(names)} answers of {EDITS}")
        early = [name for name in names
                 if not any(commits.get(name, len(notes)) < begun and ended < sent[name] for begun, ended in flushes)]
        places = [place for name in names for place in (sent[name], commits.get(name, sent[name]))]
        inside = [ended for begun, ended in flushes if min(places, default=0) < ended < max(places, default=0)]
        trial.figure(f"edits at {concurrency}", len(names))
        trial.figure(f"flushes at {concurrency}", len(inside))
        trial.figure(f"answered too early at {concurrency}", len(early))
        trial.expect(not early, f"{concurrency} at once: {len(early)} answers left before a flush of their commit")
        if concurrency > 1:
            trial.expect(len(inside) <= EDITS / 8, f"{len(inside)} flushes for {EDITS} edits of {concurrency} writers")
    trial.expect(not server.check(), "haksa check finds faults")


experiment(run, stores=("sqlite",))
