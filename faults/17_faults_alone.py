#!/usr/bin/env python3
"""A row that cannot be read, a value that is refused, locks of an outsider: who needs them is told, and nobody else waits."""

import contextlib
import itertools
import json
import sqlite3
import subprocess
import time

from haksa import edit_of, experiment, told
from routes import JSON
from storm import Neighbour, Storm

# For looking who holds what, once, in a program that was not optimised.
HELD_UP_S = 1.0
CODES = 620
MERGE_PATCH = "application/merge-patch+json"
# A new account that is not committed, whose domain nobody else may have.
ENTRY = """INSERT INTO account SELECT (jsonb_populate_record(account, '{"id": 99, "account_id": 99, "club_domain_key": "held",
           "ncloud_account_no": null, "solapi_account_id": null, "portal_url": null}')).* FROM account WHERE id = 4"""





@contextlib.contextmanager
def outsider(server, sql):
    """Somebody who holds what this locks, meanwhile."""
    shell = subprocess.Popen(["psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-d", server.url], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    shell.stdin.write(f"BEGIN; {sql}; SELECT 'locked';\n")
    shell.stdin.flush()
    while shell.stdout.readline().strip() != "locked":
        if shell.poll() is not None:
            raise RuntimeError(f"the lock was not had: {sql}")
    yield
    shell.stdin.close()
    shell.wait()


def spoil(server, sql):
    if server.url is None:
        with contextlib.closing(sqlite3.connect(server.folder / "haksa.db")) as database:
            database.execute(sql)
            database.commit()
    else:
        subprocess.run(["psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-d", server.url, "-c", sql], check=True)


def beside(trial, server, name, plan, seconds, allowed, held=contextlib.nullcontext()):
    """Expects the neighbour to be served, and the others to be told nothing but what is `allowed`."""
    with Neighbour(server) as other:
        time.sleep(0.1)
        with held, Storm(server, plan) as storm:
            time.sleep(seconds)
    trial.figure(f"{name}, ms", f"{other.quantile(0.5) * 1000:.0f} {other.took[-1] * 1000:.0f}")
    trial.expect(not other.refused, f"{name}: the neighbour was told {other.refused[:3]}")
    trial.expect(other.took[-1] < HELD_UP_S, f"{name}: the neighbour was held up for {other.took[-1]:.1f} s")
    told_all = set(itertools.chain(*storm.answers.values()))
    trial.expect(told_all <= allowed, f"{name}: others were told {storm.answers}")


def run(trial):
    server = trial.server().start()
    client, seconds = server.client(), 1.3 if trial.is_quick else 6
    numbers = itertools.count(1)
    send = client.signed

    def edit(**more):
        method, target, media_type, body = edit_of("kolleges", next(numbers))
        return send("kolleges", method, target, body, media_type, more.get("headers"))

    def taken():
        return send("native", "PATCH", "/haksa/v1/account", '{"club_domain":"another"}', MERGE_PATCH)

    beside(trial, server, "a refused value", [("refused", 4, taken)], seconds, {400, 503})
    if trial.store == "postgres":
        row = "SELECT FROM achievement WHERE id = 1539 FOR UPDATE"
        beside(trial, server, "a locked row", [("edits", 8, edit)], seconds, {503}, outsider(server, row))
        account = "SELECT FROM account WHERE id = 3 FOR UPDATE"
        beside(trial, server, "a locked account", [("edits", 8, edit)], seconds, {200, 503}, outsider(server, account))
        table = "LOCK TABLE class"
        classes = lambda: send("partner", *edit_of("partner", next(numbers))[:2], json.dumps({"capacity": next(numbers)}))
        beside(trial, server, "a locked table", [("classes", 8, classes)], seconds, {503}, outsider(server, table))
        # Another's new row that is not committed, with a value of which there can be one.
        wanted = lambda: send("native", "PATCH", "/haksa/v1/account", '{"club_domain":"held"}', MERGE_PATCH)
        beside(trial, server, "an entry of an index", [("wanted", 4, wanted)], seconds, {503}, outsider(server, ENTRY))
        key = {"Idempotency-Key": "faults-alone"}
        users = [{"name": "이름", "email": f"{n}@example.com"} for n in range(200 if trial.is_quick else 5000)]
        issue = send("kolleges", "POST", "/open-api/achievements/issue", json.dumps(
            {"achievementFormId": 551, "mode": "email", "users": users}), headers=key)
        plan = [("issue", 1, lambda: issue), ("edits", 4, lambda: edit(headers=key))]
        beside(trial, server, "one key for two requests", plan, seconds, {200, 201, 422, 503})
    codes = [("codes", 8, lambda: send("partner", "POST", "/partner/7/classes/11/invite-codes", '{"target_role":"student"}'))]
    deadline = time.monotonic() + 60
    count = "SELECT count(*) AS n FROM invite_code WHERE class_id = 11"
    while server.query(count)[0]["n"] < CODES and time.monotonic() < deadline:
        with Storm(server, codes):
            time.sleep(0.5)
    ends = [("deletions", 2, lambda: send("partner", "DELETE", "/partner/7/classes/11", headers={"Haksa-Dry-Run": "true"}))]
    beside(trial, server, "the end of hundreds", ends, seconds, {204, 503})
    told(server, "DELETE", "/partner/7/classes/11")
    issue = {"achievementFormId": 551, "mode": "email", "users": [{"name": "이름", "email": "spoiled@example.com"}]}
    told(server, "POST", "/open-api/achievements/issue", issue,
         {**client.sign("kolleges", "POST", "/open-api/achievements/issue"), "Content-Type": JSON})
    # While it is stopped: what is in memory would not be noticed.
    trial.expect(server.stop() == 0, "it did not stop well")
    trial.expect(not server.check(), "haksa check finds faults")
    spoiled = server.query("SELECT max(id) AS id FROM achievement WHERE account_id = 3")[0]["id"]
    spoil(server, f"UPDATE achievement SET body = '{{' WHERE id = {spoiled}")
    server.start()
    target = f"/open-api/achievements/{spoiled}"
    read = [("edits", 4, lambda: send("kolleges", "PATCH", target, '{"level":1}')),
            ("reads", 4, lambda: send("kolleges", "GET", target))]
    beside(trial, server, "an unreadable row", read, seconds, {500})


experiment(run)
