"""Searches over many certificates, and bulk issues beside other edits: see bench/README.md."""

import http.client
import json
import statistics
import threading
import time
import urllib.parse

KEY = {"Authorization": "Bearer demo-kolleges-key", "Content-Type": "application/json"}
# What people look for. `no list` is the list without a search.
SEARCHES = {
    "whole name": ["김가가", "이강나", "박길도"],
    "given name, two syllables": ["가가", "강나", "길도"],
    "e-mail": ["learner4711@", "learner99999@mail49", "LEARNER31415@"],
    "part of an e-mail": ["r4711", "r31415", "er27182"],
    "nothing there": ["없는 사람", "nobody@", "김가가가"],
    "one common syllable": ["김"],
    "one rare syllable": ["탁"],
    "the form's name, of all": ["기초 과정"],
    "a part that all have": ["learner"],
    "no search": [""],
}
# The kinds of searches that few certificates match: what the budget is for.
SELECTIVE = list(SEARCHES)[:5]


def ask(connection, method, target, body=None):
    """One request; gives the milliseconds and the answer."""
    begun = time.perf_counter()
    connection.request(method, target, body, KEY)
    answer = connection.getresponse()
    text = answer.read()
    took = (time.perf_counter() - begun) * 1000
    assert answer.status in (200, 201), (answer.status, text[:300])
    return took, json.loads(text)


def searches(address, rounds=9):
    """Milliseconds of each kind of search, and of all that few match."""
    connection = http.client.HTTPConnection(address, timeout=120)
    times = {kind: [] for kind in SEARCHES}
    pages = {}
    for _ in range(rounds):
        for kind, texts in SEARCHES.items():
            for text in texts:
                query = urllib.parse.urlencode({"search": text} if text else {})
                took, answer = ask(connection, "GET", "/open-api/achievements?" + query)
                times[kind].append(took)
                pages[kind] = answer["totalPages"]
    selective = [took for kind in SELECTIVE for took in times[kind]]
    return {
        "selective_ms": statistics.median(selective),
        "kinds": {kind: {"median_ms": statistics.median(times[kind]), "pages": pages[kind]} for kind in SEARCHES},
    }


def bulk(address, recipients, rounds=3):
    """Certificates a second, and how long single edits waited meanwhile."""
    waits, stop = [], threading.Event()

    def edit():
        connection = http.client.HTTPConnection(address, timeout=120)
        number = 0
        while not stop.is_set():
            number += 1
            body = json.dumps({"level": number, "admin_comment": str(number)})
            begun = time.perf_counter()
            took, _ = ask(connection, "PATCH", "/open-api/achievements/1539", body)
            waits.append((begun, took))
            time.sleep(0.002)

    editor = threading.Thread(target=edit)
    editor.start()
    connection = http.client.HTTPConnection(address, timeout=120)
    rates, longest = [], []
    for number in range(rounds):
        stamp = f"{time.time_ns()}"
        body = json.dumps({"achievementFormId": 551, "mode": "email", "users": [
            {"name": f"김수강 {n}", "email": f"bulk{stamp}-{n}@example.com", "level": 5, "admin_comment": "축하합니다!"}
            for n in range(recipients)
        ]}).encode()
        time.sleep(1)
        begun = time.perf_counter()
        ask(connection, "POST", "/open-api/achievements/issue", body)
        ended = time.perf_counter()
        rates.append(recipients / (ended - begun))
        time.sleep(0.3)
        longest.append(max(took for at, took in waits if at < ended and at + took / 1000 > begun))
    stop.set()
    editor.join()
    return {"per_second": statistics.median(rates), "longest_wait_ms": statistics.median(longest)}
