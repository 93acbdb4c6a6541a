"""What the experiments share: a server that can be hurt, clients of all five APIs, a PostgreSQL cluster, and the frame in
which each experiment prints its figures and ends with held or not. Python's standard library only."""

import argparse
import base64
import hashlib
import hmac
import http.client
import itertools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The program under test has the switch that turns protections off; see src/sabotage.rs.
PROGRAM = Path(os.environ.get("HAKSA_FAULTS_BIN", ROOT / "target/faults/debug/haksa"))


class Cluster:
    """A throw-away PostgreSQL cluster with full durability."""

    script = ROOT / "tests/support/postgres"

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="haksa-faults-postgres-"))
        self.url = self._run("start").strip()

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
        self._run("stop")


class Server:
    """`haksa demo` on a database of its own. `options` are further arguments; `wrap` comes before the program."""

    def __init__(self, store, folder, url=None, sabotage=None, options=(), wrap=(), env=None, address="127.0.0.1:0"):
        self.store, self.folder, self.url = store, Path(folder), url
        self.folder.mkdir(parents=True, exist_ok=True)
        self.database = url or f"sqlite:{self.folder / 'haksa.db'}"
        self.options, self.wrap, self.address = list(options), list(wrap), address
        self.env = {**os.environ, **(env or {})}
        self.env.pop("HAKSA_SABOTAGE", None)
        if sabotage:
            self.env["HAKSA_SABOTAGE"] = sabotage
        self.log = self.folder / "server.log"
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
        self.process = subprocess.Popen(command + self.options, stdout=subprocess.PIPE, stderr=open(self.log, "ab"),
                                        env=self.env)
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
