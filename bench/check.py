#!/usr/bin/env python3
"""How long `haksa check` takes, and how much memory: certificates with a history of five changes each, of which all but the
first are edits. Prints a line of JSON. For PostgreSQL, give the URL of an empty database."""

import argparse
import contextlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIRST = 1_000_000
EDITS = 4


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="a release build")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--database", help="postgres://…; a new file, if absent")
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def level(step):
    """What the edit `step` leaves; 0 is what the demo's certificate has from its making."""
    return {"level": step or None, "admin_comment": f"메모 {step}" if step else None}


def written(fields):
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def rows(template, made, first_change, records):
    """Changes and certificates, as the demo's is, each with a number of its own."""
    fields, body = json.loads(made["after"]), json.loads(template["body"])
    for n in range(records):
        id, number = FIRST + n, f"CHECK-{n}"
        changes = []
        for step in range(EDITS + 1):
            change, at = first_change + step * records + n, made["at"] + step
            before = written(level(step - 1)) if step else "null"
            after = written(level(step) if step else {**fields, **level(0), "certificate_number": number})
            changes.append((change, 3, "achievement", str(id), step + 1, change - records if step else None, at, "operator", "native",
                            "bench", "edit" if step else "create", before, after))
        yield changes, (id, 3, EDITS + 1, change, made["at"], at, None, template["form_id"], template["person_id"], number,
                        template["issued_at"], written({**body, **level(EDITS)}))


CHANGE = "id, account_id, kind, record_id, version, previous_id, at, actor, dialect, request_id, action, before, after"
ROW = ("id, account_id, version, change_id, created_at, updated_at, deleted_at, form_id, person_id, certificate_number, issued_at, "
       "body")


def fill_file(path, records):
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.row_factory = sqlite3.Row
        template = dict(database.execute("SELECT * FROM achievement WHERE id = 1539").fetchone())
        made = dict(database.execute("SELECT * FROM change WHERE id = ?", [template["change_id"]]).fetchone())
        last = database.execute("SELECT max(id) FROM change").fetchone()[0]
        puts = [f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * (columns.count(',') + 1))})"
                for table, columns in (("change", CHANGE), ("achievement", ROW))]
        for changes, row in rows(template, made, last + 1, records):
            database.executemany(puts[0], changes)
            database.execute(puts[1], row)


def fill_server(url, records):
    def ask(text):
        done = subprocess.run(["psql", "-qtAX", "-d", url, "-c", text], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def line(values):
        return "\t".join("\\N" if value is None else str(value).replace("\\", "\\\\") for value in values) + "\n"

    template = ask("SELECT to_json(a) FROM achievement a WHERE id = 1539")
    made = ask(f"SELECT to_json(c) FROM change c WHERE id = {template['change_id']}")
    last = ask("SELECT max(id) FROM change")
    for table, columns in (("change", CHANGE), ("achievement", ROW)):
        copy = subprocess.Popen(["psql", "-qX", "-d", url, "-c", f"COPY {table} ({columns}) FROM STDIN"], stdin=subprocess.PIPE,
                                text=True)
        for changes, row in rows(template, made, last + 1, records):
            copy.stdin.writelines(map(line, changes if table == "change" else [row]))
        copy.stdin.close()
        if copy.wait():
            raise RuntimeError(f"COPY {table} failed")
        subprocess.run(["psql", "-qtX", "-d", url, "-c", f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table})); ANALYZE {table}"],
                       check=True, stdout=subprocess.DEVNULL)


def main():
    chosen = options()
    with tempfile.TemporaryDirectory() as folder:
        database = chosen.database or f"sqlite:{folder}/haksa.db"
        place = ["--database", database] if chosen.database else []
        server = subprocess.Popen([chosen.program, "demo", "--json", "--listen", "127.0.0.1:0", "--data", folder, *place],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        server.stdout.readline()
        server.terminate()
        server.wait()
        fill_server(database, chosen.records) if chosen.database else fill_file(Path(folder) / "haksa.db", chosen.records)
        begun = time.monotonic()
        done = subprocess.run([chosen.program, "check", "--database", database, *["--quick"] * chosen.quick],
                              env={**os.environ, "HAKSA_MASTER_KEY_FILE": f"{folder}/master.key"}, capture_output=True, text=True)
        seconds = time.monotonic() - begun
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(json.dumps({"records": chosen.records, "changes": chosen.records * (EDITS + 1), "seconds": round(seconds, 1),
                          "us_per_change": round(1e6 * seconds / chosen.records / (EDITS + 1), 1), "peak_mib": round(peak),
                          "said": done.stdout.splitlines()[-1:]}))
        sys.exit(done.returncode)


main()
