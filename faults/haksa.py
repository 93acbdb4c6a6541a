"""What the experiments share: a server that can be hurt, clients of all five APIs, a PostgreSQL cluster, and the frame in
which each experiment prints its figures and ends with held or not. Python's standard library only."""

import argparse
import base64
import contextlib
import hashlib
import hmac
import http.client
import itertools
import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import zlib
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The program under test has the switch that turns protections off; see src/sabotage.rs.
PROGRAM = Path(os.environ.get("HAKSA_FAULTS_BIN", ROOT / "target/faults/haksa"))


class Cluster:
    """A throw-away PostgreSQL cluster with full durability: one that `faults/run` lends to all, or its own."""

    script = ROOT / "tests/support/postgres"

    def __init__(self):
        self.lent = os.environ.get("HAKSA_FAULTS_CLUSTER")
        self.folder = Path(self.lent or tempfile.mkdtemp(prefix="haksa-faults-postgres-"))
        self.url = os.environ["HAKSA_FAULTS_CLUSTER_URL"] if self.lent else self._run("start").strip()

    def lend(self):
        """The environment in which an experiment takes this one."""
        return {"HAKSA_FAULTS_CLUSTER": str(self.folder), "HAKSA_FAULTS_CLUSTER_URL": self.url}

    def _run(self, verb):
        done = subprocess.run([self.script, verb, self.folder], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"postgres {verb}: {done.stderr}")
        return done.stdout

    def database(self, name=None):
        """Makes an empty database; gives its URL."""
        name = name or f"faults_{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url.rsplit("/", 1)[0] + "/" + name

    def sql(self, text, url=None):
        done = subprocess.run(["psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-d", url or self.url], input=text,
                              capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def pid(self):
        """The process id of the server that owns the others."""
        return int((self.folder / "data/postmaster.pid").read_text().splitlines()[0])

    def kill(self):
        """kill -9 of the server; its children end by themselves."""
        os.kill(self.pid(), signal.SIGKILL)

    def resume(self):
        self._run("resume")

    def stop(self):
        if not self.lent:
            self._run("stop")


class Server:
    """`haksa demo` on a database of its own. `options` are further arguments; `wrap` comes before the program."""

    def __init__(self, store, folder, url=None, sabotage=None, options=(), wrap=(), env=None, address="127.0.0.1:0",
                 stderr=None):
        self.store, self.folder, self.url = store, Path(folder), url
        self.folder.mkdir(parents=True, exist_ok=True)
        self.database = url or f"sqlite:{self.folder / 'haksa.db'}"
        self.options, self.wrap, self.address = list(options), list(wrap), address
        self.env = {**os.environ, **(env or {})}
        self.env.pop("HAKSA_SABOTAGE", None)
        if sabotage:
            self.env["HAKSA_SABOTAGE"] = sabotage
        self.log = self.folder / "server.log"
        # Where its log lines go, when not there.
        self.stderr = stderr
        self.process = None
        self.ready_s = None
        self.demo = None
        # How far its clock is ahead of ours; what is signed for a time is signed for its.
        self.ahead_s = 0

    def start(self):
        """Starts it and waits until it serves; `ready_s` is how long that took, `demo` its line of JSON."""
        command = [*self.wrap, str(PROGRAM), "demo", "--json", "--listen", self.address, "--data", str(self.folder)]
        if self.url:
            command += ["--database", self.url]
        begun = time.perf_counter()
        self.process = subprocess.Popen(command + self.options, stdout=subprocess.PIPE, env=self.env,
                                        stderr=self.stderr or open(self.log, "ab"))
        line = self.process.stdout.readline()
        self.ready_s = time.perf_counter() - begun
        if not line:
            raise RuntimeError(f"the server did not start: {self.log.read_text(errors='replace')[-2000:]}")
        self.demo = json.loads(line)
        parts = urllib.parse.urlsplit(self.demo["base_url"])
        self.host, self.port = parts.hostname, parts.port
        return self

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM; gives the exit code."""
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def memory_mib(self):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def client(self, timeout=30):
        return Client(self, timeout)

    def check(self):
        """What `haksa check` finds wrong; empty when all is well."""
        done = subprocess.run([str(PROGRAM), "check", "--database", self.database], capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def seed(self):
        """Makes the demo account with every protection on, and stops: a sabotaged server might not get that far."""
        sabotage = self.env.pop("HAKSA_SABOTAGE", None)
        self.start().stop()
        if sabotage:
            self.env["HAKSA_SABOTAGE"] = sabotage
        return self

    def query(self, sql):
        """Asks the database itself, past the server; gives rows as dictionaries."""
        if self.url is None:
            with contextlib.closing(sqlite3.connect(f"file:{self.folder / 'haksa.db'}?mode=ro", uri=True)) as database:
                database.row_factory = sqlite3.Row
                return [dict(row) for row in database.execute(sql)]
        done = subprocess.run(["psql", "-qtAX", "-d", self.url], capture_output=True, text=True,
                              input=f"SELECT coalesce(json_agg(found), '[]') FROM ({sql}) found")
        if done.returncode:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout)

    def last_change(self):
        """The number of the newest change: the same as before when nothing was written."""
        return self.query("SELECT coalesce(max(id), 0) AS id FROM change")[0]["id"]


DIALECTS = ("kolleges", "partner", "ncloud", "solapi", "ispring")
# The record that each dialect's edit changes in the demo account, and the field by which an edit is known.
RECORDS = {
    "kolleges": ("achievement/1539", lambda after: after.get("level")),
    "partner": ("class/11", lambda after: after.get("capacity")),
    "ncloud": ("application/88d2009c-0000-4000-8000-59bf9afd5695", lambda after: int(after.get("description") or 0)),
    "solapi": ("relationship/CRMRL1260423091530123REL11122233", lambda after: (after.get("metadata") or {}).get("n")),
    "ispring": ("enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59", lambda after: after.get("due_period_h")),
}


class Client:
    """One connection that stays open, and the documented edits. `status` 0 means that no whole answer came."""

    def __init__(self, server, timeout=30):
        self.server, self.timeout = server, timeout
        self.connection = None

    def send(self, method, target, headers=None, body=None):
        """Sends one request; gives (status, headers, body as bytes)."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=self.timeout)
            if isinstance(body, str):
                body = body.encode()
            self.connection.request(method, target, body=body, headers=headers or {})
            answer = self.connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, {}, b""

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def sign(self, dialect, method, target, who=None):
        """The headers by which the dialect knows its caller; `who` is `other` or `viewer` where there is one."""
        keys = self.server.demo[dialect]
        prefix = f"{who}_" if who else ""
        if dialect == "kolleges":
            return {"Authorization": "Bearer " + keys[prefix + "api_key"]}
        if dialect == "partner":
            return {"Authorization": "Bearer " + keys[prefix + "token"]}
        if dialect == "ncloud":
            at = str(int((time.time() + self.server.ahead_s) * 1000))
            key, secret = keys[prefix + "access_key"], keys[prefix + "secret_key"]
            digest = hmac.digest(secret.encode(), f"{method} {target}\n{at}\n{key}".encode(), "sha256")
            return {"x-ncp-apigw-timestamp": at, "x-ncp-iam-access-key": key,
                    "x-ncp-apigw-signature-v2": base64.b64encode(digest).decode()}
        if dialect == "solapi":
            at = datetime.fromtimestamp(time.time() + self.server.ahead_s, timezone.utc)
            at = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            return {"Authorization": solapi(keys[prefix + "api_key"], keys[prefix + "api_secret"], at)}
        if dialect == "ispring":
            return {"Authorization": keys["tokens"]["OTHER" if who == "other" else "OWN"]}
        return {"Authorization": "Bearer " + keys["api_key"]}

    def signed(self, dialect, method, target, body="", media_type="application/json", headers=None):
        """The bytes of one request, signed, for who sends them otherwise."""
        signed = self.sign(dialect, method, target)
        return request(method, target, {"Content-Type": media_type, **signed, **(headers or {})}, body)

    def edit(self, dialect, n, headers=None):
        """Edits the demo's record so that history shows `n` (1 to 800,000); gives what `send` gives."""
        method, target, media_type, body = edit_of(dialect, n)
        signed = self.sign(dialect, method, target)
        return self.send(method, target, {"Content-Type": media_type, **signed, **(headers or {})}, body)

    def history(self, dialect):
        """Every `n` that history says was set, newest first."""
        record, value = RECORDS[dialect]
        found, query = [], "limit=100"
        while True:
            status, _, body = self.send("GET", f"/haksa/v1/records/{record}/history?{query}", self.sign("native", "", ""))
            if status != 200:
                raise RuntimeError(f"history of {record}: {status} {body[:300]}")
            page = json.loads(body)
            for item in page["items"]:
                if item["action"] == "edit" and (n := value(item["after"])) is not None:
                    found.append(n)
            if page["next"] is None:
                return found
            query = f"limit=100&cursor={page['next']}"


def edit_of(dialect, n):
    """Method, target, media type and body of the dialect's edit that sets `n`."""
    if dialect == "kolleges":
        return "PATCH", "/open-api/achievements/1539", "application/json", json.dumps({"level": n})
    if dialect == "partner":
        return "PATCH", "/partner/7/classes/11", "application/json", json.dumps({"capacity": n})
    if dialect == "ncloud":
        target = "/applications/88d2009c-0000-4000-8000-59bf9afd5695"
        return "PUT", target, "application/json", json.dumps({"name": "portal", "description": str(n)})
    if dialect == "solapi":
        target = "/crm-core/v1/relationships/CRMRL1260423091530123REL11122233"
        return "PATCH", target, "application/json", json.dumps({"metadata": {"n": n}})
    body = (f"<request><accessDate>2026-01-10</accessDate><dueDateType>due_period</dueDateType>"
            f"<duePeriod>{n}</duePeriod><lockAfterDueDate>true</lockAfterDueDate></request>")
    return "POST", "/enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59", "application/xml", body


def solapi(key, secret, at=None, salt=None):
    """SOLAPI's `Authorization`, with a salt of its own unless one is given."""
    at = at or datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    salt = salt or secrets.token_hex(16)
    signature = hmac.new(secret.encode(), (at + salt).encode(), hashlib.sha256).hexdigest()
    return f"HMAC-SHA256 apiKey={key}, date={at}, salt={salt}, signature={signature}"


def request(method, target, headers=None, body=b"", host="haksa"):
    """The bytes of one request."""
    body = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method not in ("GET", "HEAD"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Wire:
    """A bare connection, for what a client library would not send, or not at once on 64 connections."""

    def __init__(self, server, timeout=30):
        self.socket = socket.create_connection((server.host, server.port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.kept = b""

    def answer(self):
        """Reads one whole answer; gives (status, headers with names in lower case, body). Status 0 when none came."""
        try:
            while b"\r\n\r\n" not in self.kept:
                self._more()
            head, _, self.kept = self.kept.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", 0))
            while len(self.kept) < length:
                self._more()
            body, self.kept = self.kept[:length], self.kept[length:]
            return int(first.split()[1]), headers, body
        except OSError:
            return 0, {}, b""

    def _more(self):
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("closed")
        self.kept += part

    def exchange(self, sent):
        """Sends and reads the answer. One that comes before all was sent, as to too long a body, is not missed."""
        view = memoryview(sent)
        deadline = time.monotonic() + self.timeout
        try:
            self.socket.setblocking(False)
            while view and time.monotonic() < deadline:
                readable, writable, _ = select.select([self.socket], [self.socket], [], 1)
                if readable:
                    break
                if writable:
                    view = view[self.socket.send(view[:262144]):]
        except OSError:
            pass  # What was answered before it closed can still be read.
        self.socket.settimeout(self.timeout)
        return self.answer()

    def close(self, hard=False):
        """Closes it; `hard` with a reset."""
        if hard:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def operations():
    """Every operation of every OpenAPI document, which tests hold to be every route: (dialect, method, path, names of
    its path parameters, media types of its body)."""
    found = []
    for dialect in (*DIALECTS, "native"):
        done = subprocess.run([str(PROGRAM), "openapi", dialect], capture_output=True, check=True)
        document = json.loads(done.stdout)
        for path, item in document["paths"].items():
            for method in ("get", "post", "put", "patch", "delete"):
                if method in item:
                    body = item[method].get("requestBody", {})
                    if "$ref" in body:
                        body = document["components"]["requestBodies"][body["$ref"].rsplit("/", 1)[1]]
                    parameters = re.findall(r"\{(\w+)\}", path)
                    found.append((dialect, method.upper(), path, parameters, list(body.get("content", {}))))
    return found


def told(server, method, target, body=None, headers=None):
    """Sends JSON as the partner does, or with other headers; gives the answer's JSON. Anything but success is an error."""
    client = server.client()
    headers = {"Content-Type": "application/json", **(headers or client.sign("partner", method, target))}
    status, _, answer = client.send(method, target, headers, "" if body is None else json.dumps(body))
    if not 200 <= status < 300:
        raise RuntimeError(f"{method} {target}: {status} {answer[:300]}")
    return json.loads(answer) if answer else None


def joined(server, name):
    """A class of its own, which the partner, who is a person too, has joined; gives it and the membership."""
    made = told(server, "POST", "/partner/7/classes", {"name": name})
    code = {"code": made["invite_codes"][0]["code"]}
    return made, told(server, "POST", "/user/class/invites/redeem", code)


def newcomer_token(server, name):
    """The token of a person of its own."""
    def haksa(*words):
        done = subprocess.run([str(PROGRAM), *words, "--account", "3", "--database", server.database], capture_output=True,
                              text=True, check=True)
        return done.stdout.split()

    person = haksa("person", "create", name, "--email", f"{name}@example.com")[1]
    return haksa("credential", "create", "--dialect", "partner", "--person", person)[-1]


def newcomer(server, name):
    """A person of its own who has joined a class; gives the membership."""
    token = newcomer_token(server, name)
    made = told(server, "POST", "/partner/7/classes", {"name": name})
    return told(server, "POST", "/user/class/invites/redeem", {"code": made["invite_codes"][0]["code"]},
                {"Authorization": f"Bearer {token}"})


def picture():
    """A picture of one point, of another colour each time."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    point = b"\0" + secrets.token_bytes(3)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(point)) + chunk(b"IEND", b""))


def upload(server, data, name="picture"):
    """Makes a badge design of a picture; gives its answer."""
    body = (f'--x\r\nContent-Disposition: form-data; name="badge_image"; filename="{name}.png"\r\n'
            "Content-Type: image/png\r\n\r\n").encode() + data + b"\r\n--x--\r\n"
    headers = {"Authorization": "Bearer " + server.demo["kolleges"]["api_key"], "Content-Type": "multipart/form-data; boundary=x"}
    return server.client().send("POST", "/open-api/badge-designs", headers, body)


def parallel(jobs):
    """Runs functions at the same time; gives their results in order."""
    results = [None] * len(jobs)

    def work(index, job):
        results[index] = job()

    threads = [threading.Thread(target=work, args=item) for item in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Load:
    """Writers that edit over every dialect until told to stop, and what was acknowledged to them."""

    def __init__(self, server, writers, numbers=None, dialects=DIALECTS):
        self.server, self.dialects = server, dialects
        self.numbers = numbers or itertools.count(1)
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.acknowledged = {dialect: [] for dialect in dialects}
        self.statuses = {}
        self.threads = [threading.Thread(target=self._write, args=(index,), daemon=True) for index in range(writers)]

    def _write(self, index):
        client = self.server.client(timeout=15)
        for turn in itertools.count(index):
            if self.stopping.is_set():
                return
            dialect = self.dialects[turn % len(self.dialects)]
            with self.lock:
                n = next(self.numbers)
            status, _, _ = client.edit(dialect, n)
            with self.lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
                if status == 200:
                    self.acknowledged[dialect].append(n)
            if status == 0:
                time.sleep(0.01)

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=30)
        return self

    def lost(self, client):
        """Acknowledged edits that history does not have."""
        missing = {}
        for dialect in self.dialects:
            kept = set(client.history(dialect))
            gone = [n for n in self.acknowledged[dialect] if n not in kept]
            if gone:
                missing[dialect] = gone
        return missing

    def count(self):
        return sum(len(numbers) for numbers in self.acknowledged.values())


class KeyedLoad(Load):
    """Writers whose edits carry an idempotency key and a request id, so that each can be sent once more."""

    def __init__(self, server, writers, numbers=None, dialects=DIALECTS, prefix="fault"):
        self.prefix, self.unanswered, self.refused, self.pause = prefix, [], [], 0
        super().__init__(server, writers, numbers, dialects)

    def name(self, n):
        return f"{self.prefix}-{n:06}"

    def send(self, client, dialect, n):
        return client.edit(dialect, n, {"Idempotency-Key": self.name(n), "X-Request-Id": self.name(n)})

    def repeat(self, trial, client, what):
        """Whoever was left without an answer asks again with the same key; so do some who were refused or had an
        answer. Gives how many did."""
        again = self.unanswered + [(dialect, n) for dialect, n, _, _ in self.refused[:25] + self.refused[25:][-25:]]
        again += [(dialect, numbers[-1]) for dialect, numbers in self.acknowledged.items() if numbers]
        for dialect, n in again:
            status, _, body = self.send(client, dialect, n)
            trial.expect(status == 200, f"{what}: a repeated edit of {dialect} was answered {status} {body[:100]}")
            if status == 200:
                self.acknowledged[dialect].append(n)
        return len(again)

    def _write(self, index):
        client = self.server.client(timeout=15)
        for turn in itertools.count(index):
            if self.stopping.is_set():
                return
            dialect = self.dialects[turn % len(self.dialects)]
            with self.lock:
                n = next(self.numbers)
            status, headers, body = self.send(client, dialect, n)
            with self.lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
                if status == 200:
                    self.acknowledged[dialect].append(n)
                elif status == 0:
                    self.unanswered.append((dialect, n))
                else:
                    self.refused.append((dialect, n, status, refusal_fault(dialect, status, headers, body)))
            if status != 200:
                # A server that is gone is not asked in a tight loop.
                self.stopping.wait(0.01 if status == 0 else 0.05)


# Member, its value in a refusal of 503, of each dialect's error body.
UNAVAILABLE = {
    "kolleges": lambda body: json.loads(body).items() >= {"statusCode": 503, "error": "ServiceUnavailable"}.items(),
    "partner": lambda body: json.loads(body) == {"detail": "service_unavailable"},
    "ncloud": lambda body: json.loads(body)["error"]["errorCode"] == "500",
    "solapi": lambda body: json.loads(body)["errorCode"] == "ServiceUnavailable" and json.loads(body)["errorMessage"],
    "ispring": lambda body: b"<response><code>503</code><message>" in body,
}


def refusal_fault(dialect, status, headers, body):
    """What is wrong with an answer that should be the dialect's 503; empty when nothing is."""
    try:
        if status == 503 and UNAVAILABLE[dialect](body) and int(headers["Retry-After"]) > 0:
            return ""
    except (ValueError, KeyError, TypeError):
        pass
    return f"{dialect} answered {status}, Retry-After {headers.get('Retry-After')}: {body[:200]!r}"


class Trial:
    """One run of an experiment: its options, its figures, and what did not hold."""

    def __init__(self, options):
        self.store, self.is_quick, self.sabotage = options.store, options.quick, options.sabotage
        self.folder = Path(tempfile.mkdtemp(prefix="haksa-faults-"))
        self.cluster = Cluster() if self.store == "postgres" else None
        self.figures, self.broken, self.servers = {}, [], []

    def server(self, name="server", **options):
        """A server of the store under trial, with the protection off that the self-test turns off."""
        url = options.pop("url", None)
        if self.store == "postgres" and url is None:
            url = self.cluster.database()
        server = Server(self.store, self.folder / name, url=url, sabotage=self.sabotage, **options)
        self.servers.append(server)
        return server

    def expect(self, holds, claim):
        """Notes a claim that does not hold."""
        if not holds:
            self.broken.append(claim)

    def figure(self, name, value):
        self.figures[name] = value

    def close(self):
        for server in self.servers:
            if server.process is not None and server.is_running():
                server.kill()
        if self.cluster:
            self.cluster.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def experiment(run, stores=("sqlite", "postgres")):
    """The frame of an experiment's program: `run(trial)` does it, its module's text says what it is."""
    description = sys.modules["__main__"].__doc__
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--store", choices=stores, default=stores[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for a first look")
    parser.add_argument("--sabotage", metavar="PROTECTION",
                        help="turn a protection of src/sabotage.rs off; then it must not hold")
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead")
    options = parser.parse_args()
    begun = time.monotonic()
    trial = Trial(options)
    try:
        run(trial)
    except Exception as error:  # An experiment that cannot be run has not held.
        trial.broken.append(f"it could not be run: {type(error).__name__}: {error}")
    finally:
        trial.close()
    seconds = round(time.monotonic() - begun, 1)
    if options.json:
        print(json.dumps({"held": not trial.broken, "seconds": seconds, "figures": trial.figures, "broken": trial.broken}))
    else:
        print(f"{description.strip()}\n")
        for name, value in trial.figures.items():
            print(f"  {name}: {value}")
        for claim in trial.broken:
            print(f"  NOT SO: {claim}")
        print(f"{'held' if not trial.broken else 'NOT HELD'} on {options.store} in {seconds} s")
    sys.exit(1 if trial.broken else 0)
