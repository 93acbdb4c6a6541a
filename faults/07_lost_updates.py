#!/usr/bin/env python3
"""Read-modify-write by many clients: with If-Match no update is lost, without it none of another field."""

import json
import threading

from haksa import experiment

TARGET = "/open-api/achievements/1539"


def count_up(trial, client, rounds):
    """Adds one to the level, `rounds` times, each time from what it just read; gives how often that was accepted."""
    accepted = 0
    for _ in range(rounds):
        headers = client.sign("kolleges", "GET", TARGET)
        status, answer, body = client.send("GET", TARGET, headers)
        if status != 200:
            trial.expect(False, f"a read was answered {status}")
            return accepted
        level = json.loads(body)["achievement"]["level"]
        headers |= {"Content-Type": "application/json", "If-Match": answer["ETag"]}
        status, _, _ = client.send("PATCH", TARGET, headers, json.dumps({"level": level + 1}))
        trial.expect(status in (200, 412), f"a conditional edit was answered {status}")
        accepted += status == 200
    return accepted


def disjoint(trial, client, field, rounds):
    """Sets one field again and again; what it set last has to be there in the end."""
    headers = client.sign("kolleges", "PATCH", TARGET) | {"Content-Type": "application/json"}
    for n in range(rounds):
        value = f"2025-0{n % 9 + 1}-01" if field != "admin_comment" else f"comment {n}"
        status, _, _ = client.send("PATCH", TARGET, headers, json.dumps({field: value}))
        trial.expect(status == 200, f"an edit of {field} was answered {status}")


def run(trial):
    clients, rounds = (16, 20) if trial.is_quick else (64, 78)
    server = trial.server().start()
    client = server.client()
    headers = client.sign("kolleges", "PATCH", TARGET) | {"Content-Type": "application/json"}
    client.send("PATCH", TARGET, headers, json.dumps({"level": 0}))

    accepted = []
    threads = [threading.Thread(target=lambda: accepted.append(count_up(trial, server.client(), rounds)))
               for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _, _, body = client.send("GET", TARGET, headers)
    counter = json.loads(body)["achievement"]["level"]
    trial.figure("attempts", clients * rounds)
    trial.figure("accepted", sum(accepted))
    trial.figure("counter", counter)
    trial.expect(counter == sum(accepted), f"{sum(accepted)} updates were accepted, {counter} are there")

    fields = ("course_begin_at", "expiration_date", "admin_comment")
    threads = [threading.Thread(target=disjoint, args=(trial, server.client(), field, rounds)) for field in fields]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _, _, body = client.send("GET", TARGET, headers)
    shown = json.loads(body)["achievement"]
    last = f"2025-0{(rounds - 1) % 9 + 1}-01T00:00:00.000Z"
    expected = {"course_begin_at": last, "expiration_date": last, "admin_comment": f"comment {rounds - 1}"}
    kept = {field: shown[field] for field in fields}
    trial.expect(kept == expected, f"plain edits of three fields left {kept}")
    trial.expect(shown["level"] == counter, "plain edits of other fields changed the counter")
    trial.expect(not server.check(), "haksa check finds faults")


experiment(run)
