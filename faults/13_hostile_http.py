#!/usr/bin/env python3
"""Half-open heads, bodies byte by byte, clients that never read, smuggled requests: all are closed, others served."""

import json
import multiprocessing
import os
import resource
import socket
import statistics
import threading
import time
from pathlib import Path

from haksa import DIALECTS, experiment

CLOSED_WITHIN_S = 35
KEPT_RATE = 0.8
# Between two requests of a good client: its rate is then the server's patience, not the measuring program's speed.
THINK_S = 0.1
# An answer of 50 kB, asked for so often that no socket's buffers hold them all.
LARGE = b"GET /openapi/partner.json HTTP/1.1\r\nHost: h\r\n\r\n"
LARGE_TIMES = 400
EDIT = (b"PATCH /open-api/achievements/1539 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n"
        b"Content-Type: application/json\r\n")


class Hostile:
    """Connections that do their worst, in a process of their own so that they slow no good client of ours down."""

    def __init__(self, server, plan):
        self.server, self.plan = server, plan
        self.pipe, far = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=self._work, args=(far,), daemon=True)

    def start(self):
        """Opens them all; gives the kind and the time of opening of each, by its port."""
        self.process.start()
        return self.pipe.recv()

    def stop(self):
        self.pipe.send("stop")
        self.process.join(timeout=10)

    def _work(self, pipe):
        opened, dripping, reading = {}, [], []
        for kind, count, first, drip, reads in self.plan:
            for _ in range(count):
                each = socket.socket()
                if LARGE in first:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                each.connect((self.server.host, self.server.port))
                each.setblocking(False)
                opened[each.getsockname()[1]] = (kind, time.monotonic())
                try:
                    each.send(first)
                except OSError:
                    pass
                dripping.append((each, drip))
                if reads:
                    reading.append(each)
        pipe.send(opened)
        while not pipe.poll(1):
            for index, (each, drip) in enumerate(dripping):
                try:
                    if drip:
                        each.send(drip)
                except BlockingIOError:
                    pass
                except OSError:
                    dripping[index] = (each, b"")
            for each in reading:
                try:
                    each.recv(64)
                except OSError:
                    pass


class Good:
    """Clients who read and edit, and how many answers they got in each second."""

    def __init__(self, server, count):
        self.server, self.stopping, self.lock = server, threading.Event(), threading.Lock()
        self.answers, self.others = [], {}
        self.threads = [threading.Thread(target=self._work, args=(index,), daemon=True) for index in range(count)]
        for thread in self.threads:
            thread.start()

    def _work(self, index):
        client, turn = self.server.client(timeout=15), 0
        target = "/open-api/achievements/1539"
        while not self.stopping.wait(THINK_S):
            turn += 1
            begun = time.monotonic()
            if turn % 8:
                status, _, _ = client.send("GET", target, client.sign("kolleges", "GET", target))
            else:
                dialect = DIALECTS[(index + turn // 8) % len(DIALECTS)]
                status, _, _ = client.edit(dialect, index * 1000 + turn % 1000 + 1)
            ended = time.monotonic()
            with self.lock:
                if status == 200:
                    self.answers.append((ended, ended - begun))
                else:
                    self.others[status] = self.others.get(status, 0) + 1
        client.close()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=20)

    def rate(self, since, until):
        """Answers in the median second: on a machine that others use, single seconds say little."""
        seconds = [0] * max(1, int(until - since))
        with self.lock:
            for at, _ in self.answers:
                if 0 <= (second := int(at - since)) < len(seconds):
                    seconds[second] += 1
        return statistics.median(seconds)

    def latency_ms(self, since, until):
        """The latency that one in a hundred exceeds."""
        with self.lock:
            found = sorted(took for at, took in self.answers if since <= at < until)
        return round(found[len(found) * 99 // 100] * 1000, 1) if found else 0


def held(server):
    """The clients' ports whose connections the server still holds. A client that does not read cannot tell."""
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].split(":")[1], 16) == server.port and words[9] != "0":
            ports.add(int(words[2].split(":")[1], 16))
    return ports


def sockets(server):
    """How many it has. What else it opens are files of its database, a bounded number of connections."""
    count = 0
    for link in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            count += os.readlink(link).startswith("socket:")
        except OSError:
            pass  # Closed meanwhile.
    return count


def wait_for(is_so, within_s):
    """Whether it comes true in time."""
    ended = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > ended:
            return False
        time.sleep(0.2)
    return True


def exchange(server, data, silence_s=1.5):
    """Sends bytes as they are; gives the statuses of the answers and whether the server closed. An answer may take its
    time; after one, silence means that there is no other."""
    answer, is_closed = b"", False
    with socket.create_connection((server.host, server.port), timeout=10) as stream:
        try:
            stream.sendall(data)
            while part := stream.recv(65536):
                answer += part
                stream.settimeout(silence_s)
            is_closed = True
        except TimeoutError:
            pass
        except OSError:
            is_closed = True
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()], is_closed


def pairs(edit):
    """Bytes in which one reader sees a second request and another does not, by what makes the difference. `edit(n)` is
    the request that must not be seen."""
    head = edit(None)
    get = b"GET /healthz HTTP/1.1\r\nHost: h\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n"
    length = b"Content-Length: %d\r\n"

    def behind_end(headers):
        """The end of a chunked body, then the edit; who goes by the length takes both for a body."""
        def make(n):
            body = b"0\r\n\r\n" + edit(n)
            return head + headers.replace(b"LENGTH", str(len(body)).encode()) + b"\r\n" + body
        return make

    def as_body(headers, start=get):
        """The edit as a body; who does not see its length takes it for a request."""
        return lambda n: start + headers.replace(b"LENGTH", str(len(edit(n))).encode()) + b"\r\n" + edit(n)

    def behind_chunk(chunk):
        """A chunked body that is none, then the edit."""
        return lambda n: head + chunked + b"\r\n" + chunk + edit(n)

    cl, both = b"Content-Length: LENGTH\r\n", b"Content-Length: LENGTH\r\nTransfer-Encoding: chunked\r\n"
    return {
        "length and chunked": behind_end(both),
        "chunked and length": behind_end(chunked + cl),
        "chunked, length too short": lambda n: (head + chunked + length % 4 + b"\r\n%x\r\n" % len(edit(n)) + edit(n)
                                                + b"\r\n0\r\n\r\n"),
        "chunked and identity": behind_end(cl + chunked + b"Transfer-Encoding: identity\r\n"),
        "chunked, identity": behind_end(cl + b"Transfer-Encoding: chunked, identity\r\n"),
        "xchunked": behind_end(cl + b"Transfer-Encoding: xchunked\r\n"),
        "quoted chunked": behind_end(cl + b'Transfer-Encoding: "chunked"\r\n'),
        "chunked behind a vertical tab": behind_end(cl + b"Transfer-Encoding: \x0bchunked\r\n"),
        "chunked behind a blank before the colon": behind_end(cl + b"Transfer-Encoding : chunked\r\n"),
        "chunked behind a tab before the colon": behind_end(cl + b"Transfer-Encoding\t: chunked\r\n"),
        "chunked behind a fold": behind_end(cl + b"Transfer-Encoding:\r\n chunked\r\n"),
        "chunked in a fold": behind_end(cl + b"X: a\r\n Transfer-Encoding: chunked\r\n"),
        "chunked behind a bare CR": behind_end(cl + b"X: a\rTransfer-Encoding: chunked\r\n"),
        "chunked under a name with NUL": behind_end(cl + b"Transfer-Encoding\0: chunked\r\n"),
        "chunked in HTTP/1.0": lambda n: behind_end(both)(n).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        "lengths 0 and all": as_body(length % 0 + cl),
        "lengths all and 0": as_body(cl + length % 0),
        "a list of lengths": as_body(b"Content-Length: 0, LENGTH\r\n"),
        "a length with a sign": as_body(b"Content-Length: +LENGTH\r\n"),
        "a length below zero": as_body(b"Content-Length: -LENGTH\r\n"),
        "a length beyond 64 bits": as_body(b"Content-Length: 18446744073709551616\r\n"),
        "a hexadecimal length": as_body(b"Content-Length: 0xLENGTH\r\n"),
        "a length behind a blank before the colon": as_body(b"Content-Length : LENGTH\r\n"),
        "a length behind a fold": as_body(b"Content-Length:\r\n LENGTH\r\n"),
        "a length behind a bare LF": as_body(b"X: a\nContent-Length: LENGTH\r\n"),
        "a length behind a bare CR": as_body(b"X: a\rContent-Length: LENGTH\r\n"),
        "a head that ends with two LF": lambda n: get + b"X: a\n\n" + edit(n),
        "a head that ends with two CR": lambda n: get + b"X: a\r\r" + edit(n),
        "a body behind GET": as_body(cl),
        "a body behind HEAD": as_body(cl, get.replace(b"GET", b"HEAD")),
        "a body that is asked for first": as_body(cl + b"Expect: 100-continue\r\n", head),
        "a length as the 101st header": as_body(b"X: a\r\n" * 99 + cl),
        "LF behind a chunk's size": behind_chunk(b"2\n{}\r\n0\r\n\r\n"),
        "LF behind a chunk": behind_chunk(b"2\r\n{}\n0\r\n\r\n"),
        "nothing behind a chunk": behind_chunk(b"2\r\n{}0\r\n\r\n"),
        "LF in a chunk's extension": behind_chunk(b"2;a\n\r\n{}\r\n0\r\n\r\n"),
        "a chunk's size with a sign": behind_chunk(b"+2\r\n{}\r\n0\r\n\r\n"),
        "a chunk's size with 0x": behind_chunk(b"0x2\r\n{}\r\n0\r\n\r\n"),
        "a chunk's size beyond 64 bits": behind_chunk(b"10000000000000002\r\n{}\r\n0\r\n\r\n"),
    }


# RFC 9112 (section 2.2) lets a reader take a bare LF for a line's end, and RFC 9110 (section 5.5) has all refuse or
# replace one within a field: programs that keep to both cannot disagree about these bytes. Served or not, it is told.
LAWFUL = "a head that ends with two LF"


def smuggle(trial, server):
    """Tries each pair; what was smuggled is an edit, so history knows of it."""
    key = server.demo["kolleges"]["api_key"].encode()

    def edit(n):
        if n is None:
            return EDIT % key
        body = json.dumps({"level": n}).encode()
        return EDIT % key + b"Content-Length: %d\r\n\r\n" % len(body) + body

    tried, outcomes = pairs(edit), {}
    numbers = {name: 700_001 + index for index, name in enumerate(tried)}

    def attempt(name):
        outcomes[name] = exchange(server, tried[name](numbers[name]))

    threads = [threading.Thread(target=attempt, args=(name,)) for name in tried]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # That a second request is noticed at all.
    exchange(server, b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n" + edit(700_000), 1)
    kept = set(server.client().history("kolleges"))
    trial.expect(700_000 in kept, "a plain second request was not noticed: the trial proves nothing")
    served = [name for name, n in numbers.items() if n in kept and name != LAWFUL]
    trial.figure("smuggling pairs", len(tried))
    trial.figure("served", len(served))
    trial.expect(not served, f"a smuggled request was served: {', '.join(served)}")
    trial.figure("a bare LF ends a line", "yes" if numbers[LAWFUL] in kept else "no")
    for name, (statuses, is_closed) in outcomes.items():
        if name == LAWFUL:
            continue
        final = [status for status in statuses if status != 100]
        trial.expect(all(status < 500 for status in final), f"{name}: answered {statuses}")
        trial.expect(len(final) <= 1, f"{name}: answered {len(final)} times")
        trial.expect(is_closed or final == [200] or "a body" in name, f"{name}: {statuses} and still open")


def large_heads(trial, server):
    """Heads that are large, many or both: answered, in no case with a fault of ours."""
    get = b"GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n"
    for name, head, allowed in [
        ("a header of 64 KiB", get % (b"/healthz", b"X: " + b"a" * 65536 + b"\r\n"), (400, 431)),
        ("101 headers", get % (b"/healthz", b"X: a\r\n" * 100), (400, 431)),
        ("1,000 headers", get % (b"/healthz", b"X: a\r\n" * 1000), (400, 431)),
        ("a head of 1 MiB", get % (b"/healthz", b"X: " + b"a" * 2**20 + b"\r\n"), (400, 431)),
        ("a target of 64 KiB", get % (b"/" + b"a" * 65536, b""), (400, 431)),
    ]:
        statuses, _ = exchange(server, head, 1)
        # With much of it unread, the server's answer may be lost with the connection.
        allowed_none = name == "a head of 1 MiB" and not statuses
        trial.expect(allowed_none or (len(statuses) == 1 and statuses[0] in allowed), f"{name}: answered {statuses}")


def run(trial):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    heads, readers, clients, first_s = (200, 10, 8, 3) if trial.is_quick else (2000, 50, 64, 6)
    server = trial.server().start()
    warm = server.client()
    for n, dialect in enumerate(DIALECTS):
        trial.expect(warm.edit(dialect, n + 1)[0] == 200, f"no edit of {dialect} to begin with")
    warm.close()
    time.sleep(0.5)
    before = sockets(server)

    edit = EDIT % server.demo["kolleges"]["api_key"].encode()
    start = b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: "
    hostile = Hostile(server, [
        ("silent", heads // 4, b"", b"", False),
        ("half a head", heads // 4, start, b"", False),
        ("a head byte by byte", heads - heads // 4 * 2, start, b"a", False),
        ("a body byte by byte", readers, edit + b"Content-Length: 100000\r\n\r\n", b"{", False),
        ("a chunked body byte by byte", readers, edit + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n", False),
        ("never reads", readers, LARGE * LARGE_TIMES, b"", False),
        ("reads byte by byte", readers, LARGE * LARGE_TIMES, b"", True),
    ])
    good = Good(server, clients)
    time.sleep(1)
    begun = time.monotonic()
    time.sleep(first_s)
    attacked = time.monotonic()
    opened = hostile.start()
    memory = server.memory_mib()
    trial.figure("hostile connections", len(opened))
    trial.expect(wait_for(lambda: held(server) >= set(opened), 8),
                 "not every hostile connection was held to begin with: the trial proves nothing")
    smuggle(trial, server)
    large_heads(trial, server)

    longest, still = {}, set(opened)
    while still and time.monotonic() - attacked < CLOSED_WITHIN_S + 2:
        time.sleep(0.5)
        now, kept = time.monotonic(), held(server)
        for port in still - kept:
            kind, at = opened[port]
            longest[kind] = max(longest.get(kind, 0), now - at)
        still &= kept
        memory = max(memory, server.memory_mib())
    ended = time.monotonic()
    for kind in dict.fromkeys(kind for kind, _ in opened.values()):
        left = sum(opened[port][0] == kind for port in still)
        trial.figure(f"{kind}, closed after s", round(longest.get(kind, 0), 1) if not left else f"never ({left})")
        trial.expect(not left and longest.get(kind, 0) <= CLOSED_WITHIN_S,
                     f"{kind}: {left} connections were still open after {CLOSED_WITHIN_S} s")
    hostile.stop()
    good.stop()

    usual, during = good.rate(begun, attacked), good.rate(attacked, ended)
    trial.figure("good answers a second before", usual)
    trial.figure("and meanwhile", during)
    trial.figure("99th percentile before, ms", good.latency_ms(begun, attacked))
    trial.figure("and meanwhile, ms", good.latency_ms(attacked, ended))
    trial.expect(during >= KEPT_RATE * usual, f"good clients got {during} answers a second instead of {usual}")
    trial.expect(not good.others, f"good clients were answered {good.others}")
    is_clean = wait_for(lambda: sockets(server) <= before, 5)
    trial.figure("sockets before and after", f"{before} and {sockets(server)}")
    trial.figure("most memory, MiB", round(memory))
    trial.expect(is_clean, "sockets are left")
    trial.expect("panicked" not in server.log.read_text(errors="replace"), "the server panicked")
    trial.expect(server.is_running(), "the server ended")


# No store can tell the difference.
experiment(run, stores=("sqlite",))
