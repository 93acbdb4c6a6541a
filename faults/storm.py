"""Clients that ask for all they can get, and one beside them who asks for little and measures how long it takes."""

import collections
import itertools
import json
import multiprocessing
import os
import selectors
import socket
import time

from haksa import request
from routes import JSON

FORK = multiprocessing.get_context("fork")
# Between two requests of the one who measures.
THINK_S = 0.02
# After a refused or broken connection.
PAUSE_S = 0.02


class Connection:
    """One that sends the next request as soon as it has the whole answer to the last."""

    def __init__(self, address, name, make, source):
        self.address, self.name, self.make, self.source = address, name, make, source
        self.socket, self.due = None, 0.0

    def open(self):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.source:
            self.socket.bind((self.source, 0))
        self.socket.setblocking(False)
        self.socket.connect_ex(self.address)
        self.next()

    def next(self):
        self.left = memoryview(self.make())
        self.head, self.missing = b"", None
        self.begun = time.monotonic()

    def write(self):
        while self.left:
            self.left = self.left[self.socket.send(self.left[:65536]):]

    def read(self):
        """The status of an answer that is whole now; 0 when the connection is over."""
        part = self.socket.recv(262144)
        if not part:
            return 0
        if self.missing is None:
            self.head += part
            head, found, body = self.head.partition(b"\r\n\r\n")
            if not found:
                return None
            self.status = int(head[9:12])
            lower = head.lower()
            self.is_last = b"connection: close" in lower
            length = lower.partition(b"content-length:")[2].split(b"\r\n")[0]
            self.is_chunked = b"transfer-encoding: chunked" in lower
            self.missing = int(length or 0) - len(body)
            part = body
        else:
            self.missing -= len(part)
        if self.is_chunked:
            return self.status if part.endswith(b"0\r\n\r\n") else None
        return self.status if self.missing <= 0 else None


class Apart:
    """Works in a process of its own from the beginning of a `with` to its end, and then tells what came of it."""

    def __init__(self):
        self.pipe, far = FORK.Pipe()
        self.process = FORK.Process(target=self._work, args=(far,), daemon=True)

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.pipe.send("stop")
        self._told(*self.pipe.recv())
        self.process.join(timeout=10)


class Storm(Apart):
    """`plan`: name, number of connections, what makes the bytes of a request, and the address that they come from, if it
    matters. Of low priority: on a small machine it would otherwise measure itself."""

    def __init__(self, server, plan):
        self.address, self.plan = (server.host, server.port), plan
        super().__init__()

    def _told(self, answers, took):
        """`answers`: how often each request was answered how, 0 standing for no whole answer. `took`: how many seconds
        each waited on average."""
        self.answers, self.took = answers, took

    def _work(self, pipe):
        os.nice(10)
        selector = selectors.EpollSelector()
        counts, took = collections.defaultdict(collections.Counter), collections.Counter()
        waiting = [Connection(self.address, name, make, source and source[0])
                   for name, count, make, *source in self.plan for _ in range(count)]

        def close(connection):
            selector.unregister(connection.socket)
            connection.socket.close()
            connection.due = time.monotonic() + PAUSE_S
            waiting.append(connection)

        while not pipe.poll():
            now, later = time.monotonic(), []
            for connection in waiting:
                if connection.due > now:
                    later.append(connection)
                    continue
                connection.open()
                selector.register(connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)
            waiting[:] = later
            for key, events in selector.select(PAUSE_S):
                connection = key.data
                try:
                    if events & selectors.EVENT_WRITE:
                        connection.write()
                        selector.modify(connection.socket, selectors.EVENT_READ, connection)
                    if not events & selectors.EVENT_READ:
                        continue
                    status = connection.read()
                    if status is None:
                        continue
                    counts[connection.name][status] += 1
                    took[connection.name] += time.monotonic() - connection.begun
                    if not status or connection.is_last:
                        close(connection)
                        continue
                    connection.next()
                    selector.modify(connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)
                except BlockingIOError:
                    pass
                except OSError:
                    counts[connection.name][0] += 1
                    close(connection)
        pipe.send(({name: dict(found) for name, found in counts.items()},
                   {name: seconds / sum(counts[name].values()) for name, seconds in took.items()}))


class Neighbour(Apart):
    """Another tenant, who edits a certificate of its own now and then, and knows how long each edit took."""

    def __init__(self, server):
        self.address, self.numbers = (server.host, server.port), itertools.count(1)
        self.target = f"/open-api/achievements/{server.demo['kolleges']['other_achievement_id']}"
        self.headers = {"Content-Type": JSON, "Authorization": f"Bearer {server.demo['kolleges']['other_api_key']}"}
        super().__init__()

    def make(self):
        return request("PATCH", self.target, self.headers, json.dumps({"level": next(self.numbers)}))

    def _told(self, took, refused):
        """`took`: seconds, in order of size. `refused`: the answers that were no success."""
        self.took, self.refused = took, refused

    def quantile(self, part):
        return self.took[min(len(self.took) - 1, int(len(self.took) * part))]

    def _work(self, pipe):
        took, refused = [], []
        connection = Connection(self.address, "", self.make, None)
        connection.open()
        connection.socket.settimeout(30)
        while True:
            begun = time.monotonic()
            try:
                connection.write()
                while (status := connection.read()) is None:
                    pass
            except OSError as error:
                status = str(error)
            took.append(time.monotonic() - begun)
            if status != 200:
                refused.append(f"{status} after {took[-1]:.1f} s: {connection.head[-200:]!r}")
            if not isinstance(status, int) or not status or connection.is_last:
                connection.socket.close()
                connection.open()
                connection.socket.settimeout(30)
            else:
                connection.next()
            if pipe.poll(max(0.0, THINK_S - took[-1])):
                pipe.send((sorted(took), refused))
                return
