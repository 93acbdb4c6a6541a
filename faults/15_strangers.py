#!/usr/bin/env python3
"""Generated requests on every document, fuzzing, a storm of wrong passwords, how long wrong keys take."""

import base64
import hmac
import json
import math
import os
import random
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from haksa import ROOT, experiment, solapi

VERSION = "4.32.5"
DOCUMENTS = ("partner", "ispring", "kolleges", "ncloud", "solapi", "native")
# What cannot hold: a schema says nothing of what a rule asks for (an entity tag, an idempotency key used before, a date
# as text), and what is documented to be passed over is no fault (unknown fields are dropped, a malformed request id is
# replaced). Kolleges answers a method that it does not know as a path that it does not know.
EXCLUDED = {"": "positive_data_acceptance,negative_data_rejection", "kolleges": ",unsupported_method"}
TARGETS = ("authorization", "dates", "json_body", "signed_query", "xml_body")
FUZZ_S = 20
# Beyond it, the two kinds differ; see "Dude, is my code constant time?" (Reparaz, Balasch, Verbauwhede, 2017).
T_MAX = 4.5
# Of memory for one password (argon2id), and how many are checked at once.
HASH_MIB, HASHES = 19, 2
ENROLLMENT = "/enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59"


def schemathesis():
    """Its program, put once where scripts/check keeps its tools as well."""
    shared = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("HAKSA_TEST_CACHE") or Path(shared) / "haksa") / f"schemathesis-{VERSION}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check",
                        f"schemathesis=={VERSION}"], check=True)
        (folder / "complete").touch()
    return folder / "bin/st"


def generated(trial, server):
    """Every document against the server: what is answered has to be what is documented."""
    program, cases = schemathesis(), {}

    def one(name):
        env = os.environ | {"HAKSA_DEMO": json.dumps(server.demo), "HAKSA_DIALECT": name,
                            "PYTHONPATH": str(Path(__file__).parent), "SCHEMATHESIS_HOOKS": "schemathesis_signing"}
        is_whole = trial.store == "sqlite" and not trial.is_quick
        command = [program, "run", f"{server.demo['base_url']}/openapi/{name}.json", "--checks", "all",
                   "--exclude-checks", EXCLUDED[""] + EXCLUDED.get(name, ""),
                   "--phases", "examples,coverage,fuzzing,stateful" if is_whole else "examples,fuzzing",
                   "--max-examples", "2" if trial.is_quick else "10", "--generation-deterministic",
                   "--continue-on-failure", "--no-color", "--warnings", "off"]
        done = subprocess.run(command, env=env, cwd=trial.folder, capture_output=True, text=True, timeout=300)
        text = done.stdout + done.stderr
        cases[name] = next((int(line.split()[0]) for line in text.splitlines() if " generated, " in line), 0)
        said = text[text.find("= FAILURES ="):] if "= FAILURES =" in text else text[-1500:]
        trial.expect(done.returncode == 0 and cases[name], f"{name}: {said[:1500]}")

    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        list(pool.map(one, DOCUMENTS))
    trial.figure("generated requests", sum(cases.values()))


def fuzzed(trial):
    """The fuzz targets, where cargo-fuzz is installed."""
    if not shutil.which("cargo-fuzz"):
        trial.figure("fuzzing", "skipped, no cargo-fuzz")
        return

    def one(target):
        done = subprocess.run([ROOT / "fuzz/run", str(FUZZ_S), target], capture_output=True, text=True)
        trial.expect(done.returncode == 0, f"fuzzing {target}: {(done.stdout + done.stderr)[-800:]}")
        return sum(int(line.split()[-1]) for line in done.stdout.splitlines() if "number_of_executed_units" in line)

    with ThreadPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
        runs = list(pool.map(one, TARGETS))
    trial.figure("fuzzed inputs", sum(runs))
    trial.expect(all(runs), f"inputs of {dict(zip(TARGETS, runs))}")


def password_headers(server, login, password):
    return {"X-Auth-Account-Url": "https://demo.ispringlearn.com", "X-Auth-Email": login, "X-Auth-Password": password}


def storm(trial, server):
    """Many wrong passwords at once: few are checked at a time, and whoever needs none is served."""
    seconds, strangers, guests = (2, 16, 4) if trial.is_quick else (6, 64, 16)
    stopping, lock = threading.Event(), threading.Lock()
    refused, served, others, slowest = {}, [], {}, [0]

    def stranger(index):
        client = server.client(timeout=30)
        while not stopping.is_set():
            login = "own" if index % 2 else f"nobody-{index}"
            status, headers, _ = client.send("GET", ENROLLMENT, password_headers(server, login, secrets.token_hex(8)))
            with lock:
                refused[status] = refused.get(status, 0) + 1
            if status == 503:
                trial.expect("Retry-After" in headers, "a turned away login is not told when to come again")
                time.sleep(0.05)

    def guest(index):
        client, n = server.client(timeout=30), 0
        while not stopping.wait(0.05):
            n += 1
            begun = time.monotonic()
            if n % 4:
                status = client.send("GET", ENROLLMENT, client.sign("ispring", "GET", ENROLLMENT))[0]
            else:
                status = client.edit("kolleges", index * 1000 + n)[0]
            with lock:
                slowest[0] = max(slowest[0], time.monotonic() - begun)
                if status == 200:
                    served.append(time.monotonic())
                else:
                    others[status] = others.get(status, 0) + 1

    guests = [threading.Thread(target=guest, args=(index,), daemon=True) for index in range(guests)]
    for thread in guests:
        thread.start()
    time.sleep(seconds / 2)
    begun, memory = time.monotonic(), server.memory_mib()
    most = memory
    strangers = [threading.Thread(target=stranger, args=(index,), daemon=True) for index in range(strangers)]
    for thread in strangers:
        thread.start()
    while time.monotonic() < begun + seconds:
        most = max(most, server.memory_mib())
        time.sleep(0.02)
    ended = time.monotonic()
    stopping.set()
    for thread in strangers + guests:
        thread.join(timeout=60)
    usual = sum(at < begun for at in served) / (seconds / 2)
    meanwhile = sum(begun <= at < ended for at in served) / (ended - begun)
    trial.figure("wrong passwords a second", round(refused.get(401, 0) / (ended - begun)))
    trial.figure("turned away", refused.get(503, 0))
    trial.figure("others' answers a second before and in the storm", f"{usual:.0f} and {meanwhile:.0f}")
    trial.figure("slowest of them, ms", round(slowest[0] * 1000))
    trial.figure("memory for passwords, MiB", round(most - memory))
    trial.expect(set(refused) <= {401, 503} and refused.get(401), f"wrong passwords were answered {refused}")
    trial.expect(not others, f"others were answered {others} in the storm")
    # Two checks at once take two cores, and a small machine has no more.
    trial.expect(slowest[0] < 5, f"somebody waited for {slowest[0]:.1f} s in the storm")
    trial.expect(meanwhile >= usual / 5, f"others got {meanwhile:.0f} answers a second instead of {usual:.0f}")
    # As much again for what 64 connections take.
    trial.expect(most - memory <= 2 * HASHES * HASH_MIB, f"passwords took {most - memory:.0f} MiB")
    # Who was guessed at is kept out for a while, by the right password too; nobody else is.
    for login, expected in (("own", 401), ("adm", 200)):
        right = password_headers(server, login, server.demo["ispring"]["password"])
        status = server.client().send("GET", ENROLLMENT, right)[0]
        trial.expect(status == expected, f"the right password of {login} was answered {status} after the storm")


class Line:
    """A connection that measures: as little as possible happens between sending and having the answer's beginning."""

    def __init__(self, server):
        self.server = server
        self.stream = None

    def ask(self, data):
        """Nanoseconds, status and body."""
        if self.stream is None:
            self.stream = socket.create_connection((self.server.host, self.server.port), timeout=30)
            self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = time.perf_counter_ns()
        self.stream.sendall(data)
        answer = self.stream.recv(65536)
        took = time.perf_counter_ns() - begun
        head, found, body = answer.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) if found else None
        if length is None or len(body) < length or b"connection: close" in head.lower():
            self.stream.close()
            self.stream = None
        return took, int(answer[9:12] or 0), body


def request(method, target, headers, body=""):
    lines = [f"{method} {target} HTTP/1.1", "Host: h", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def wrong_keys(server):
    """Makers of the two kinds of wrong credentials: of somebody unknown, and of somebody known with a wrong secret. A
    bearer's key is its own secret: the second kind begins as a good one does. No two are the same, because what was
    asked for a moment ago is found sooner, whatever it is."""
    demo = server.demo

    def bearer(target, key, scheme="Bearer "):
        def unknown():
            return request("GET", target, {"Authorization": scheme + secrets.token_hex(len(key))[:len(key)]})

        def known():
            return request("GET", target, {"Authorization": scheme + key[:-6] + secrets.token_hex(3)})
        return unknown, known

    def ncloud(name, secret):
        def make():
            key = name()
            target, at = f"/applications/{demo['ncloud']['application_id']}", str(int(time.time() * 1000))
            digest = hmac.digest(secret.encode(), f"GET {target}\n{at}\n{key}".encode(), "sha256")
            return request("GET", target, {"x-ncp-apigw-timestamp": at, "x-ncp-iam-access-key": key,
                                           "x-ncp-apigw-signature-v2": base64.b64encode(digest).decode()})
        return make

    def relationship(name):
        target = f"/crm-core/v1/relationships/{demo['solapi']['relationship_id']}"
        return lambda: request("GET", target, {"Authorization": solapi(name(), secrets.token_hex(16).upper())})

    def token(name):
        def make():
            body = f"grant_type=client_credentials&client_id={name()}&client_secret={secrets.token_hex(12)}"
            return request("POST", "/api/v3/token", {"Content-Type": "application/x-www-form-urlencoded"}, body)
        return make

    def password(name):
        return lambda: request("GET", ENROLLMENT, password_headers(server, name(), secrets.token_hex(8)))

    def both(make, known, *more):
        """With another name of that length each time, and with the known one."""
        return (make(lambda: known[:-6] + secrets.token_hex(3).upper(), *more), make(lambda: known, *more))

    return {
        "kolleges": bearer("/open-api/achievements/1539", demo["kolleges"]["api_key"]),
        "partner": bearer("/partner/7/classes/11", demo["partner"]["token"]),
        "native": bearer("/haksa/v1/changes/1", demo["native"]["api_key"]),
        "ispring": bearer(ENROLLMENT, demo["ispring"]["tokens"]["OWN"], ""),
        "ispring password": both(password, "own"),
        "ispring client": both(token, demo["ispring"]["api_keys"]["OWN"]["client_id"]),
        "ncloud": both(ncloud, demo["ncloud"]["access_key"], "x" * len(demo["ncloud"]["secret_key"])),
        "solapi": both(relationship, demo["solapi"]["api_key"]),
    }


# Where the name of a key may be found out: it is no secret (every request names it in the clear, nobody can guess one),
# and SOLAPI's answer tells it anyway. The difference is reported.
NAMES = {"ispring client", "ncloud", "solapi"}


def welch(first, second):
    """Welch's t of two samples, without the slowest tenth of both together: those tell of the machine."""
    limit = sorted(first + second)[len(first + second) * 9 // 10]
    first, second = [x for x in first if x <= limit], [x for x in second if x <= limit]
    if min(len(first), len(second)) < 2:
        return math.inf, 0.0
    difference = statistics.fmean(first) - statistics.fmean(second)
    error = math.sqrt(statistics.variance(first) / len(first) + statistics.variance(second) / len(second))
    return difference / error if error else 0.0, difference / 1000


def sample(trial, server, name, makers, count):
    """Interleaved at random, so that whatever the machine does happens to both."""
    line, took, seen = Line(server), ([], []), (set(), set())
    order = [index % 2 for index in range(2 * count)]
    random.shuffle(order)
    for kind in (0, 1) * 5:
        line.ask(makers[kind]())
    for kind in order:
        nanoseconds, status, body = line.ask(makers[kind]())
        took[kind].append(nanoseconds)
        seen[kind].add((status, body))
        trial.expect(400 <= status < 500, f"{name}: wrong credentials were answered {status}")
    if name not in NAMES:
        trial.expect(seen[0] == seen[1], f"{name}: the answers differ: {list(seen[0])[:2]} {list(seen[1])[:2]}")
    return welch(*took)


def timed(trial, server):
    for name, makers in wrong_keys(server).items():
        count = 500 if trial.is_quick else 10_000 if trial.store == "sqlite" else 2_000
        if name == "ispring password":
            # Each takes tens of milliseconds of a core, on purpose; a difference would be as large.
            count = 15 if trial.is_quick else 100
        t, difference = sample(trial, server, name, makers, count)
        if name not in NAMES and abs(t) >= T_MAX:
            # Once in a while a machine that others use favours one kind; it will not do so again.
            t, difference = sample(trial, server, name, makers, count)
            trial.expect(abs(t) < T_MAX, f"{name}: unknown and known take unlike times: t {t:.1f}, {difference:.1f} µs")
        trial.figure(f"t of {name}", f"{t:.1f} ({difference:+.1f} µs)")


def run(trial):
    server = trial.server().start()
    timed(trial, server)
    # For a first look, one store is enough for what depends on none.
    is_first_look = trial.is_quick and trial.store == "postgres"
    if not is_first_look:
        storm(trial, server)
    # What these show does not depend on a protection.
    if not trial.sabotage and not is_first_look:
        generated(trial, server)
        if not trial.is_quick and trial.store == "sqlite":
            fuzzed(trial)
    trial.expect("panicked" not in server.log.read_text(errors="replace"), "the server panicked")
    trial.expect(server.stop() == 0, "it did not stop well")
    trial.expect(not server.check(), "haksa check finds faults")


experiment(run)
