"""Large commands that are killed in every part: a class with hundreds of codes and students goes and comes back, an issue
to hundreds is made and taken back. Each is there whole, in rows and in history, or nothing of it is."""

import contextlib
import json
import random
import sqlite3
import threading
import time

from haksa import told

# So many codes and so many students has the class, and so many people get a certificate.
SIZE = 600
# How often a moment is looked for, and how long one is waited for.
LOOK_S, WAIT_S = 0.001, 20.0
ADMIN = "demo-admin-key"
ISSUER = "demo-kolleges-key"
TEACHER = "demo-partner-token"


def fill(trial, server, class_id):
    """Writes codes, students and memberships of a class, with their changes, past the server, which is stopped."""
    def text(words):
        """As SQL: `#` is the number of a row."""
        return "'" + words.replace("#", "' || CAST(n AS TEXT) || '") + "'"

    # Columns, their values, the body, and what of the fields is not in it, as history has them.
    rows = {
        "invite_code": ("partner_id, class_id, code, status, body",
                        f"7, {class_id}, {text('CODE#')}, 'active'", '"target_role":"student"',
                        f'"partner_id":7,"class_id":{class_id},"code":"CODE#","status":"active"'),
        "student": ("partner_id, email_key, search_key, status, body",
                    f"7, {text('#@large.example.com')}, {text(chr(31).join(('#', '#@large.example.com', '')))}, 'active'",
                    '"full_name":"#","email":"#@large.example.com"',
                    '"partner_id":7,"email_key":"#@large.example.com","status":"active",'
                    r'"search_key":"#\u001f#@large.example.com\u001f"'),
        "membership": ("partner_id, class_id, student_id, invite_code_id, status, enrolled_at, body",
                       f"7, {class_id}, 100000 + n, 100000 + n, 'active', 1760000000000000", "",
                       f'"partner_id":7,"class_id":{class_id},"student_id":%,"invite_code_id":%,"status":"active",'
                       '"enrolled_at":"2025-10-09T08:53:20Z"'),
    }
    last, numbers = server.last_change(), f"WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {SIZE}) "
    texts = []
    for place, (kind, (columns, values, body, others)) in enumerate(rows.items()):
        first = last + place * SIZE
        after = text("{" + ",".join(part for part in (body, others) if part) + "}")
        after = after.replace("%", "' || CAST(100000 + n AS TEXT) || '")
        texts.append(f"{numbers} INSERT INTO change (id, account_id, kind, record_id, version, at, actor, dialect, "
                     f"request_id, action, before, after) SELECT {first} + n, 3, '{kind}', CAST(100000 + n AS TEXT), 1, "
                     f"1760000000000000, 'operator', 'native', 'fill', 'create', 'null', {after} FROM s")
        texts.append(f"{numbers} INSERT INTO {kind} (id, account_id, version, change_id, created_at, updated_at, {columns}) "
                     f"SELECT 100000 + n, 3, 1, {first} + n, 1760000000000000, 1760000000000000, {values}, {text('{' + body + '}')} FROM s")
    if server.url is None:
        with contextlib.closing(sqlite3.connect(server.folder / "haksa.db")) as database, database:
            for text in texts:
                database.execute(text)
        return
    for name in ("change", *rows):
        texts.append(f"SELECT setval('{name}_id_seq', (SELECT max(id) FROM {name}))")
    trial.cluster.sql(";\n".join(texts), server.url)


class Act:
    """A large command: how it is asked for, and what there is of it before and after; then how many changes it makes, how
    long that takes, and how much of it until all is staged."""

    def __init__(self, name, request, live, before, after):
        self.name, self.request, self.live, self.before, self.after = name, request, live, before, after
        self.changes, self.seconds, self.staged_s = 0, 0.0, 0.0


class Asking:
    """A command on its way."""

    def __init__(self, server, act, key):
        self.key, self.answer, self.begun, self.seconds = key, None, time.monotonic(), None
        method, target, token, body = act.request
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": key,
                   "X-Request-Id": key}
        self.request = method, target, headers, "" if body is None else json.dumps(body)
        self.thread = threading.Thread(target=self._run, args=(server.client(timeout=60),), daemon=True)
        self.thread.start()

    def _run(self, client):
        answer = client.send(*self.request)
        self.seconds = time.monotonic() - self.begun
        self.answer = answer
        client.close()

    def is_under_way(self):
        return self.answer is None

    def wait(self):
        self.thread.join(timeout=90)
        return self.answer or (0, {}, b"")


class Large:
    """The four commands on a server, one after the other, each killed at a moment of its own."""

    def __init__(self, trial, server):
        self.trial, self.server, self.turn, self.acts = trial, server, 0, {}
        self.chance, self.eye = random.Random(3), None
        self.kills = self.whole = self.nothing = self.staged = self.told = 0
        server.start()
        self.class_id = told(server, "POST", "/partner/7/classes", {"name": "large"})["id"]
        server.stop()
        fill(trial, server, self.class_id)
        server.start()

    def class_parts(self):
        """How many of the class, its codes and its students are there."""
        client = self.server.client()
        base, found = f"/partner/7/classes/{self.class_id}", []
        status = client.send("GET", base, client.sign("partner", "", ""))[0]
        for part in ("invite-codes", "enrollments"):
            _, _, body = client.send("GET", f"{base}/{part}?limit=1", client.sign("partner", "", ""))
            found.append(json.loads(body)["total"] if status == 200 else 0)
        client.close()
        # What is left of a class that is gone has no list.
        left = self.server.query(
            f"SELECT (SELECT count(*) FROM invite_code WHERE class_id = {self.class_id} AND deleted_at IS NULL) AS codes, "
            f"(SELECT count(*) FROM membership WHERE class_id = {self.class_id} AND deleted_at IS NULL) AS members")[0]
        return [int(status == 200), *found, left["codes"], left["members"]]

    def holders(self, name):
        """How many certificates there are whose holder is called so."""
        def find():
            page = told(self.server, "GET", f"/open-api/achievements?pageSize=1&search={name}",
                        headers={"Authorization": f"Bearer {ISSUER}"})
            return page["totalPages"]

        return find

    def round(self, moments):
        """All four, each at the next of the moments; without moments they are only measured."""
        whole, none = [1, SIZE + 1, SIZE, SIZE + 1, SIZE], [0] * 5
        delete = "DELETE", f"/partner/7/classes/{self.class_id}", TEACHER, None
        name = f"large{self.turn}"
        users = [{"name": name, "email": f"{n}@{name}.example.com"} for n in range(SIZE)]
        body = {"achievementFormId": 551, "mode": "email", "users": users}
        issue = "POST", "/open-api/achievements/issue", ISSUER, body
        for act, undo in [(Act("deletion", delete, self.class_parts, whole, none), "undo of the deletion"),
                          (Act("issue", issue, self.holders(name), 0, SIZE), "undo of the issue")]:
            # On what is broken nothing can be built.
            if not self.trial.broken:
                done = self.run(act, moments)
            if not self.trial.broken:
                self.run(Act(undo, self.undo_of(done), act.live, act.after, act.before), moments)

    def undo_of(self, key):
        found = told(self.server, "GET", f"/haksa/v1/changes?limit=1&request_id={key}",
                     headers={"Authorization": f"Bearer {ADMIN}"})
        return "POST", f"/haksa/v1/changes/{found['items'][0]['act_id']}/undo", ADMIN, None

    def changes(self, key):
        """How many changes history tells of that a request has made."""
        return self.server.query(f"SELECT count(*) AS n FROM change WHERE request_id = '{key}'")[0]["n"]

    def run(self, act, moments):
        """One command; gives the key under which it was done."""
        self.turn += 1
        key = f"large-{self.turn:04}"
        known = self.acts.setdefault(act.name, act)
        act.changes, act.seconds, act.staged_s = known.changes, known.seconds, known.staged_s
        if moments:
            self.kill_in(act, key, moments[self.kills % len(moments)])
        else:
            self.measure(act, key)
        return key

    def measure(self, act, key):
        asking = Asking(self.server, act, key)
        staged, staged_at = 0, asking.begun
        while self.server.url is None and asking.is_under_way():
            if (now := self.staged_now()) > staged:
                staged, staged_at = now, time.monotonic()
            time.sleep(LOOK_S)
        self.look_away()
        status, _, body = asking.wait()
        self.trial.expect(200 <= status < 300, f"{act.name}: answered {status} {body[:200]}")
        act.changes, act.seconds = self.changes(key), asking.seconds
        act.staged_s = staged_at - asking.begun
        self.trial.expect(act.live() == act.after, f"{act.name}: {act.live()} is there instead of {act.after}")

    def staged_now(self):
        """How many changes are staged. It is asked so often that each command's time has one connection for it."""
        try:
            if self.eye is None:
                file = f"file:{self.server.folder / 'haksa.db'}?mode=ro"
                self.eye = sqlite3.connect(file, uri=True, isolation_level=None)
            return self.eye.execute("SELECT count(*) FROM change_staged").fetchone()[0]
        except sqlite3.Error:
            return 0

    def look_away(self):
        if self.eye is not None:
            self.eye.close()
            self.eye = None

    def kill_in(self, act, key, moment):
        what = f"{act.name} {key}, killed {moment.__name__}"
        asking = Asking(self.server, act, key)
        moment(self, act, asking)
        self.kills += 1
        status, _, _ = asking.wait()
        if self.server.url is None:
            self.staged += self.staged_now() > 0
            self.look_away()
        if fault := self.server.check():
            self.trial.expect(False, f"{what}: haksa check: {fault[:300]}")
        if not self.server.is_running():
            self.server.start()
        found, changes = act.live(), self.changes(key)
        is_whole = (found, changes) == (act.after, act.changes)
        is_nothing = (found, changes) == (act.before, 0)
        self.whole += is_whole
        self.nothing += is_nothing
        there = f"{found} of {act.after} and {changes} of {act.changes} changes are there"
        self.trial.expect(is_whole or is_nothing, f"{what}: {there}")
        if 200 <= status < 300:
            self.told += 1
            self.trial.expect(is_whole, f"{what}: acknowledged, and {there}")
        # Whoever asks again with the key has it done, once, and nothing that was left behind is in the way.
        status, _, body = Asking(self.server, act, key).wait()
        self.trial.expect(200 <= status < 300, f"{what}: asked again: {status} {body[:200]}")
        found, changes = act.live(), self.changes(key)
        there = f"{found} of {act.after} and {changes} of {act.changes} changes are there"
        self.trial.expect((found, changes) == (act.after, act.changes), f"{what}: asked again: {there}")
        if self.server.url is None:
            left = self.server.query("SELECT (SELECT count(*) FROM staging) + (SELECT count(*) FROM change_staged) "
                                     "+ (SELECT count(*) FROM link_staged) AS n")[0]["n"]
            self.trial.expect(left == 0, f"{what}: {left} staged rows are left behind")

    def figures(self):
        figure = self.trial.figure
        figure("large commands killed", self.kills)
        figure("of which were whole", self.whole)
        figure("of which told", self.told)
        figure("of which left nothing", self.nothing)
        if self.server.url is None:
            figure("of which while staging", self.staged)
        for act in self.acts.values():
            figure(f"{act.name}: changes", act.changes)


def after(share):
    """A moment when so much of its usual time is over."""
    def after_a_time(large, act, asking):
        time.sleep(act.seconds * share)
        large.server.kill()

    return after_a_time


def staging(share):
    """A moment (SQLite) when so many of its changes are staged."""
    def while_staging(large, act, asking):
        limit = time.monotonic() + WAIT_S
        while asking.is_under_way() and time.monotonic() < limit and large.staged_now() < act.changes * share:
            time.sleep(LOOK_S)
        large.server.kill()

    return while_staging


def while_publishing(large, act, asking):
    """A moment (SQLite) between the last part that is staged and the answer."""
    limit = time.monotonic() + WAIT_S
    while asking.is_under_way() and time.monotonic() < limit and large.staged_now() < act.changes:
        time.sleep(LOOK_S)
    time.sleep(large.chance.uniform(0, max(act.seconds - act.staged_s, 0.01)))
    large.server.kill()


def while_committing(large, act, asking):
    """A moment (PostgreSQL) when the commit is on the disk and nobody has been told."""
    cluster = large.trial.cluster
    limit = time.monotonic() + WAIT_S
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    # Nobody by that name ever confirms.
    cluster.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    cluster.sql("SELECT pg_reload_conf()")
    while asking.is_under_way() and time.monotonic() < limit and cluster.sql(waiting) == "0":
        time.sleep(LOOK_S)
    large.server.kill()
    cluster.sql("ALTER SYSTEM RESET synchronous_standby_names")
    cluster.sql("SELECT pg_reload_conf()")
    while time.monotonic() < limit and cluster.sql(waiting) != "0":
        time.sleep(LOOK_S)
    large.trial.expect(asking.is_under_way() or asking.answer[0] == 0, f"{act.name}: the commit was not waited for")


def with_postgres_after(share, bring_back):
    """A moment when so much of its usual time is over, and PostgreSQL is killed instead of Haksa."""
    def with_postgres(large, act, asking):
        time.sleep(act.seconds * share)
        large.trial.cluster.kill()
        asking.wait()
        bring_back(large.trial.cluster)
        limit, client = time.monotonic() + WAIT_S, large.server.client()
        signed = client.sign("native", "", "")
        while time.monotonic() < limit and client.send("GET", "/haksa/v1/changes?limit=1", signed)[0] != 200:
            time.sleep(0.05)
        client.close()

    return with_postgres
