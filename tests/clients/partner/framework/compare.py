"""Sends generated requests to Haksa and to the documented routes on the vendor's framework, and compares
status and body. Prints the seed; any difference that docs/compatibility/partner.md does not name fails.

    compare.py HAKSA_BIN [COUNT [SEED]]
"""

import http.client
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urljoin

HERE = Path(__file__).resolve().parent
DOCUMENT = (HERE.parents[3] / "docs/compatibility/partner.md").read_text()
COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 4000
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 20260423
PARTNER, OTHER, STUDENT = "demo-partner-token", "demo-partner-other-token", "demo-student-token"


class Deviation:
    """A difference that the document names, by a phrase of it."""

    def __init__(self, phrase, fits):
        assert re.search(re.escape(phrase).replace(r"\ ", r"\s+"), DOCUMENT), f"the document does not say: {phrase}"
        self.phrase, self.fits, self.seen = phrase, fits, 0


def has_number(body, pattern):
    return body is not None and re.search(pattern, body)


def without_quotes(answer):
    """An answer without what a reason quotes from another library."""
    return re.sub(rb"is (invalid|not valid IDNA) \(.*?\)\.", rb"is \1", answer[1])


DEVIATIONS = [
    Deviation("`NaN`, `Infinity`, `1e400` where a whole number belongs",
              lambda r, ours, theirs: has_number(r.body, rb"NaN|Infinity|1e400") and theirs[0] == 500),
    Deviation("Half a surrogate pair anywhere in a body",
              lambda r, ours, theirs: has_number(r.body, rb"\\ud[89a-f]") and ours[0] == 422),
    Deviation("A body of another type that is no UTF-8",
              lambda r, ours, theirs: has_number(r.body, rb"\xff") and (ours[0], theirs[0]) == (400, 500)),
    Deviation("`HEAD` is answered like `GET`",
              lambda r, ours, theirs: r.method == "HEAD" and theirs[0] == 405),
    Deviation("With a trailing slash too many, a verb that the path does not take is 405",
              lambda r, ours, theirs: r.path.split("?")[0].endswith("/") and (ours[0], theirs[0]) in ((405, 307), (404, 307))),
    Deviation("Instants that are, in UTC, after 9999 or before year 1",
              lambda r, ours, theirs: has_number(r.body, rb"9999-12-31T23:59:59-01:00") and b"dates after 9999" in ours[1]),
    Deviation("In a reason why something is no e-mail address",
              lambda r, ours, theirs: without_quotes(ours) == without_quotes(theirs)),
    Deviation("Unix times that the vendor's framework misreads mean what they say",
              lambda r, ours, theirs: has_number(r.body, rb"-\d+\.\d|20000000000\.\d|\d{14,}\.\d")),
]


class Request:
    def __init__(self, method, path, token, content_type, body):
        self.method, self.path, self.token, self.content_type, self.body = method, path, token, content_type, body

    def __str__(self):
        return f"{self.method} {self.path} token={self.token} type={self.content_type} body={self.body!r}"


# --- generating ---

INTEGERS = [
    "0", "1", "2", "3", "12", "-1", "1.0", "1e1", "1.5", "1e20", "true", "false", "null", '"12"', '" 12 "', '"+5"',
    '"-0"', '"007"', '"1.0"', '"1.000"', '"1_0"', '""', '"1."', '".0"', '"1e3"', '"1,000"', '"_1"', '"1__0"', '"１２"',
    "[]", "{}", '"abc"', "2147483647", "2147483648", "9223372036854775808", '"99999999999999999999"', "NaN", "1e400", "-0.0",
]
TEXTS = ['"a"', '""', '"  "', '"한글"', '"\\u0041"', '"a\\u0000"', "1", "true", "[]", "{}", "null", '"a\\nb"', '"\\ud800"', '"😀"']
BOOLEANS = ["true", "false", "0", "1", "1.0", "0.0", "2", "0.5", '"YES"', '"no"', '"On"', '"f"', '"maybe"', '""', '" true"', "[]", "null"]
INSTANTS = [
    '"2026-03-02T00:00:00Z"', '"2026-03-02T09:00:00+09:00"', '"2026-03-02T09:00:00+0900"', '"2026-03-02"', '"2026-03-02 00:00"',
    '"2026-03-02T00:00"', '"2026-03-02T00:00:00.1Z"', '"2026-03-02T00:00:00.1234567Z"', '"2026-03-02T00:00:00,5Z"', "1772409600",
    '"1772409600"', "1772409600.5", "1772409600123", "20000000000", "-1", "0", '"2023"', '"20231107"', '"abc"', '""',
    '"2023-13-07T00:00:00Z"', '"2023-02-30"', '"2023/11/07"', '"2023-11-07T24:00:00Z"', '"0000-01-01T00:00:00Z"', "1e30",
    "true", "[]", "null", '"2026-03-02T00:00:60Z"', '"2026-03-02T00:00:00 +09:00"', '" 2026-03-02"', '"2026-3-2"',
    '"2026-03-02T00:00:00+09"', '"2026-03-02t00:00:00z"', '"2026-03-02T00:00:00[Asia/Seoul]"', '"2026-07-01T00:00:00Z"', "1.5e9",
    '"9999-12-31T23:59:59-01:00"', '"2026-03-02T00:00:00−09:00"', '"1e9"', '"20231107T053156Z"',
]
FIELDS = {
    "name": TEXTS,
    "status": ['"planned"', '"active"', '"ended"', '"Active"', '""', '"bogus"', "1", "[]", "null", '" active"'],
    "description": TEXTS,
    "start_at": INSTANTS,
    "end_at": INSTANTS,
    "capacity": INTEGERS,
    "timezone": ['"UTC"', '"Asia/Seoul"', '"Asia/Calcutta"', '"GB-Eire"', '"Mars/X"', '"asia/seoul"', '""', "9", "null"],
    "location": TEXTS,
    "online_url": ['""', '"https://meet.example.com/a?b=1"', '"HTTP://EXAMPLE.COM"', '"javascript:alert(1)"', '"not a url"',
                   '"//example.com"', '"ftp://example.com"', '"https://"', "5", "null", '"https://example.com/a b"'],
    "invite_only": BOOLEANS,
    "course_id": ["5", "6", '"5"', "999", "5.0", "null", '"x"', "0", "true", "[]"],
    "primary_model_id": ["1", "2", "3", '"3"', "99", "null", '"x"', "1.0", "true", "{}"],
    "allowed_model_ids": ["[]", "[1]", "[2,3]", '[2,2,"3",1.0]', "[99,1,98]", '["a","b"]', "[1,null]", "5", '"1,2"', "{}", "null",
                          "[[1]]", "[true]", "[9223372036854775808]"],
    "zzz": ["1", '"x"', "{}"],
    "id": ["5"],
}
CODE_FIELDS = {
    "code": ['"HHHHHH"', '" jkl234 "', '"ABC234"', '"ABC"', '""', '"ABCI34"', '"АВС234"', "123456", "null", '"DEF567"', '"xyz999"'],
    "expires_at": INSTANTS,
    "max_uses": INTEGERS,
    "target_role": ['"student"', '"teacher"', "null", "1", '""'],
    "status": ['"active"', '"expired"', '"disabled"', '"off"', "null", "1"],
}
EMAILS = [json.dumps(text) for text, _, _ in json.loads((HERE.parents[2] / "fixtures/partner/emails.json").read_text())]
EMAILS += ["1", "null", "[]", '"doyun@example.com"', '"HAJUN@example.com"', '"Kim <hajun@example.com>"']
STUDENT_FIELDS = {
    "full_name": TEXTS,
    "email": EMAILS,
    "status": ['"active"', '"inactive"', '"archived"', '"Active"', '""', "1", "null"],
    "primary_contact": TEXTS,
    "notes": TEXTS,
    "user_id": ["91", "101", "90", "102", "999999", '"91"', "null", '"x"', "1.5", "[]", "99999999999999999999"],
    "zzz": ["1"],
}
MEMBER_FIELDS = {
    "class_id": ["11", "12", '"11"', "0", "999", "null", '"x"', "[]"],
    "student_id": ["1", "2", "0", "999", "null", '"x"', "1.5"],
    "invite_code_id": ["21", "22", "999", "null", '"x"', "true"],
    "status": ['"active"', '"inactive"', '"completed"', '"dropped"', '"Active"', '""', "1", "null"],
    "enrolled_at": INSTANTS,
    "completed_at": INSTANTS,
    "zzz": ["1"],
}
DATES = [
    '"2026-03-01"', '"2026-06-30"', '"2026-03-01T00:00:00+09:00"', '"2026-03-01T00:00:01"', '"20260301"', '"0000-01-01"', "true", '"x"',
    "1772323200", '"1772323200"', "1772323200000", "1.5", '"2023"', "[]", "null", '"2026-03-01 00:00"', '"2026-02-30"', '"2026/03/01"',
    '"2026-03-01T24:00"', '"2026-03-01x00:00"', '"2026-03-01T00:00:00+25:00"', "0", "-86400", '" 2026-03-01"', '""', "1e30", "9e99",
]
COURSE_FIELDS = {
    "title": TEXTS,
    "course_key": ['"k1"', '"k2"', '"k3"', '"K1"', '"ai-2026"', '""', '"a\\u0000"', "1", "null", '"한글"'],
    "status": ['"draft"', '"active"', '"archived"', '"planned"', '""', "1", "null"],
    "start_date": DATES,
    "end_date": DATES,
    "description": TEXTS,
    "id": ["5"],
}
FILTERS = ["active", "inactive", "bogus", "Active", "", "a%00", "dropped", "completed", "draft"]
BROKEN = [
    b"", b"null", b"[]", b'"x"', b"5", b"true", b"{", b'{"name":}', b'{"name":"a",}', b'{"a":1} x', b'{"name":"a"', b'{"name" "a"}',
    '{"한":}'.encode(), b'{"name":"\xff"}', b'{"name":"a\tb"}', b'{"name":"\\x"}', b'{"name":"\\u12"}', b'{"name":"a', b"{'name':1}",
    b'{"name":"a","name":"b"}', b'\xef\xbb\xbf{"name":"bom"}', b"[" * 30 + b"]" * 30, b'{"name":01}', b'{"name":"a"}}', b" {} ",
    b'{"capacity":-}', b'{"capacity":1.}', b"nul", b'{"a":falsey}', b'{"a":"\\ud83d\\ude00"}',
]
TYPES = ["application/json"] * 12 + [None, "application/json; charset=utf-8", "application/vnd.a+json", "text/plain",
                                     "application/x-www-form-urlencoded", "APPLICATION/JSON", "application/xml"]
ODD_IDS = ["0", "-1", "abc", "1.5", "1e3", "0x1", "true", "999", "99999999999999999999", "%20", "1_1", "011", "11.0", "%2011", "+11"]


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.classes = [11]
        self.codes = {11: [21]}
        self.students, self.members, self.courses, self.refreshes = [], [], [5], []
        self.wrong, self.refreshes_seen = {}, []

    def pick(self, values):
        return self.random.choice(values)

    def chance(self, share):
        return self.random.random() < share

    def fields(self, pool, most):
        names = self.random.sample(list(pool), self.random.randint(0, min(most, len(pool))))
        return "{" + ",".join(f'"{name}":{self.pick(pool[name])}' for name in names) + "}"

    def body(self, pool, most=4):
        if self.chance(0.12):
            return self.pick(BROKEN)
        return self.fields(pool, most).encode()

    def good_class(self):
        """Values that are mostly fine, so that the state moves on."""
        good = {
            "name": f'"class {self.random.randint(1, 99)}"', "status": self.pick(['"planned"', '"active"', '"active"', '"ended"']),
            "capacity": self.pick(["0", "1", "2", "30"]), "timezone": '"Asia/Seoul"', "course_id": "5",
            "allowed_model_ids": self.pick(["[1]", "[2,3]", "[3,1,2]"]), "start_at": '"2026-03-02"', "end_at": '"2026-06-30T18:00:00+09:00"',
        }
        names = ["name"] + self.random.sample(sorted(set(good) - {"name"}), self.random.randint(0, 4))
        return ("{" + ",".join(f'"{name}":{good[name]}' for name in names) + "}").encode()

    def token(self):
        return PARTNER if self.chance(0.94) else self.pick([OTHER, STUDENT, "demo-user-token", "nope", None, "", " " + PARTNER])

    def partner(self):
        return "7" if self.chance(0.95) else self.pick(["8", "0", "-1", "abc", "07", "7.0", "99999999999999999999", "%207"])

    def class_id(self):
        return str(self.pick(self.classes)) if self.classes and self.chance(0.85) else self.pick(ODD_IDS + ["12"])

    def query(self, values):
        parts = []
        for name, pool in values.items():
            if self.chance(0.35):
                parts.append(f"{name}={self.pick(pool)}")
        if parts and self.chance(0.1):
            parts.append(self.pick(parts))
        return "?" + "&".join(parts) if parts else ""

    def paging(self):
        return {"limit": ["1", "2", "50", "100", "0", "101", "abc", "", "5.0", "+7", "1_0"], "offset": ["0", "1", "3", "-1", "x", "99"]}

    def known(self, ids):
        return str(self.pick(ids)) if ids and self.chance(0.85) else self.pick(ODD_IDS)

    def request(self):
        return self.of_people() if self.chance(0.55) else self.of_classes()

    def of_people(self):
        """Students, enrollments, courses, models and sign-in."""
        partner = f"/partner/{self.partner()}"
        student, member, course = self.known(self.students), self.known(self.members), self.known(self.courses)
        long = {"limit": ["1", "500", "501", "0", "x", ""], "offset": ["0", "1", "-1", "99"]}
        token, content_type, method, body = self.token(), self.pick(TYPES), "GET", None
        kind = self.random.random()
        if kind < 0.06:
            path = f"{partner}/student" + self.query({"status": FILTERS, "q": ["a", "%EC%B5%9C", "HAJUN", "%25", "_", "", "%20", "a%00"], **long})
        elif kind < 0.09:
            path = f"{partner}/student/{student}"
        elif kind < 0.22:
            method, path, body = "PATCH", f"{partner}/student/{student}", self.body(STUDENT_FIELDS, 3)
        elif kind < 0.23:
            method, path = "DELETE", f"{partner}/student/{student}"
        elif kind < 0.26:
            method, path = "POST", f"{partner}/student/{student}/" + self.pick(["archive", "deactivate"])
            body = self.pick([None, b"{bad", b"{}"])
        elif kind < 0.31:
            path = f"{partner}/student/{student}/enrollments" + self.query({"status": FILTERS, **long})
        elif kind < 0.40:
            method, path = "POST", f"{partner}/student/{student}/enrollments"
            of = self.class_id().replace("%20", " ").replace("+", "")
            good = f'{{"class_id":"{of}","student_id":1' + self.pick(['', ',"status":"completed"', ',"invite_code_id":21']) + "}"
            body = good.encode() if self.chance(0.6) else self.body(MEMBER_FIELDS)
        elif kind < 0.52:
            method, path, body = "PATCH", f"{partner}/student/enrollments/{member}", self.body(MEMBER_FIELDS, 3)
        elif kind < 0.58:
            method, path = "POST", f"{partner}/student/enrollments/{member}/" + self.pick(["complete", "drop"])
            body = self.pick([None, b"{bad"])
        elif kind < 0.60:
            method, path = "DELETE", f"{partner}/student/enrollments/{member}"
        elif kind < 0.66:
            path = "/user/classes" + self.query({"status": FILTERS, **self.paging()})
            token = self.pick([STUDENT, STUDENT, PARTNER, "demo-user-token", None])
        elif kind < 0.67:
            method, path, token = "DELETE", f"/user/class/enrollments/{member}", self.pick([STUDENT, PARTNER, None])
        elif kind < 0.72:
            path = self.pick([f"{partner}/course", "/course"]) + self.query({"status": FILTERS, "search": ["AI", "k", "%EC%9E%85", "%25", "", "%00"], **self.paging()})
        elif kind < 0.79:
            method, path = "POST", f"{partner}/course"
            key = self.random.randint(1, 6)
            good = f'{{"title":"과정 {key}","course_key":"k{key}","start_date":{self.pick(DATES[:3])}}}'
            body = good.encode() if self.chance(0.4) else self.body(COURSE_FIELDS)
        elif kind < 0.81:
            path = f"{partner}/course/{course}"
        elif kind < 0.87:
            method, path, body = "PATCH", f"{partner}/course/{course}", self.body(COURSE_FIELDS, 3)
        elif kind < 0.88:
            method, path = "DELETE", f"{partner}/course/{course}"
        elif kind < 0.93:
            pages = {
                "page": ["1", "2", "0", "x", "9" * 18], "size": ["1", "2", "200", "201", "0", ""], "provider": ["demo", "Demo", "", "%00"],
                "modality": ["chat", "stt", "bogus", "", "Chat"], "q": ["demo", "LARGE", "", "-", "%25"],
            }
            flag = ["true", "false", "0", "maybe", ""]
            path = self.pick([
                f"{partner}/catalog/models" + self.query({**pages, "only_available": flag, "only_active": ["false"]}),
                "/models" + self.query({**pages, "only_active": flag}),
            ])
        elif kind < 0.97:
            method, path, token, body = "POST", "/user/login", None, self.login()
        elif kind < 0.98:
            method, path, token = "POST", "/user/refresh", None
            # Each once: one that comes again is ours to say.
            body = f'{{"refresh_token":"@r{self.refreshes.pop()}@"}}'.encode() if self.refreshes else b'{"refresh_token":1}'
        else:
            method = self.pick(["PUT", "POST", "GET", "DELETE", "PATCH", "OPTIONS"])
            path = self.pick([
                f"{partner}/student/enrollments", f"{partner}/student/", f"{partner}/catalog/models", f"{partner}/catalog/models/1",
                f"{partner}/student/enrollments/1/nothing", "/user/login", "/user/refresh", "/user/classes", "/models",
                f"{partner}/course/", "/user/classes/",
            ])
            if method == "POST" and path.endswith(("login", "refresh")):
                method = "PUT"
        return Request(method, path, token, content_type if body is not None else None, body)

    def login(self):
        if self.chance(0.2):
            return self.pick([b"{}", b'{"email":"bad","password":1}', b'{"email":null}', b"", b"[]", b'{"password":""}'])
        email = self.pick(EMAILS) if self.chance(0.6) else self.pick(EMAILS[-3:])
        password = self.pick(["demo-partner-password", "demo-student-password", "", "x", "a\\u0000"])
        who = next((who for who in ("doyun", "hajun") if who in email.lower()), None)
        right = {"doyun": "demo-partner-password", "hajun": "demo-student-password"}.get(who)
        if who and password != right:
            # Ten wrong ones of a person within a minute, and the right one is wrong, too.
            self.wrong[who] = self.wrong.get(who, 0) + 1
            if self.wrong[who] > 8:
                password = right
        return f'{{"email":{email},"password":"{password}"}}'.encode()

    def of_classes(self):
        base = f"/partner/{self.partner()}/classes"
        token, content_type, method, body = self.token(), self.pick(TYPES), "GET", None
        kind = self.random.random()
        if kind < 0.30:
            method, path = "PATCH", f"{base}/{self.class_id()}"
            body = self.good_class() if self.chance(0.25) else self.body(FIELDS)
        elif kind < 0.44:
            method, path = "POST", base + self.query({"course_id": ["5", "6", "x", ""]})
            body = self.good_class() if self.chance(0.5) else self.body(FIELDS)
        elif kind < 0.54:
            path = base + self.query({"course_id": ["5", "6", "x", ""], "status": ["active", "ended", "bogus", ""], **self.paging()})
        elif kind < 0.60:
            path = f"{base}/{self.class_id()}"
        elif kind < 0.64:
            method, path = "DELETE", f"{base}/{self.class_id()}"
        elif kind < 0.72:
            flag = ["true", "TRUE", "1", "off", "maybe", "", "2", "%20true"]
            path = f"{base}/{self.class_id()}/invite-codes" + self.query({"active_only": flag, **self.paging()})
        elif kind < 0.80:
            method, path = "POST", f"{base}/{self.class_id()}/invite-codes"
            body = b"{}" if self.chance(0.4) else self.body({name: CODE_FIELDS[name] for name in list(CODE_FIELDS)[:4]})
        elif kind < 0.86:
            of = self.pick(self.classes) if self.classes else 11
            known = self.codes.get(of) or [21]
            code = str(self.pick(known)) if self.chance(0.85) else self.pick(ODD_IDS)
            path = f"{base}/{of}/invite-codes/{code}"
            method = "DELETE" if self.chance(0.25) else "PATCH"
            if method == "PATCH":
                body = self.body({name: CODE_FIELDS[name] for name in ("expires_at", "max_uses", "status")}, 2)
        elif kind < 0.91:
            status = ["active", "dropped", "bogus", ""]
            path = f"{base}/{self.class_id()}/enrollments" + self.query({"status": status, **self.paging()})
        elif kind < 0.96:
            method, path, token = "POST", "/user/class/invites/redeem", self.pick([STUDENT, PARTNER, "demo-user-token", None])
            known = [code for of in self.classes for code in self.codes.get(of, [])]
            # Never a code that nobody has: guesses are limited.
            bad = ['{}', '{"code":null}', '{"code":1}', '{"code":"ABC"}', '{"code":""}', '{"code":"abc\\u000034"}']
            body = (self.pick(bad) if not known or self.chance(0.2) else f'{{"code":" @{self.pick(known)}@ "}}').encode()
        else:
            method = self.pick(["PUT", "HEAD", "OPTIONS", "GET", "POST", "DELETE"])
            path = self.pick([f"{base}/11", base, f"{base}/11/invite-codes", f"{base}/11/nothing", f"{base}/11/", base + "/", "/partner/7/nothing",
                              f"{base}/11/invite-codes/?limit=1"])
            if method == "DELETE" and path == f"{base}/11":
                method = "PUT"
        return Request(method, path, token, content_type if body is not None else None, body)

    def learn(self, request, status, body):
        """Keeps up with what there is, so that most requests are about something."""
        if status == 201 and request.path.split("?")[0].endswith("/classes"):
            made = json.loads(body)
            self.classes.append(made["id"])
            self.codes[made["id"]] = [code["id"] for code in made["invite_codes"]]
        elif status == 201 and request.path.endswith("/invite-codes"):
            made = json.loads(body)
            self.codes.setdefault(made["class_id"], []).append(made["id"])
        elif status == 204 and "/invite-codes/" in request.path:
            self.codes = {of: [code for code in known if str(code) != request.path.rsplit("/", 1)[1]] for of, known in self.codes.items()}
        elif status == 201 and request.path.endswith(("/redeem", "/enrollments")):
            made = json.loads(body)
            self.students = sorted({*self.students, made["student_id"]})
            self.members = sorted({*self.members, made["id"]})
        elif status == 201 and request.path.endswith("/course"):
            self.courses.append(json.loads(body)["id"])
        elif status == 200 and request.path.startswith("/user/") and b"refresh_token" in body:
            self.refreshes.append(len(self.refreshes_seen))
            self.refreshes_seen.append(True)
        elif status == 204 and request.method == "DELETE":
            gone = int(float(request.path.rsplit("/", 1)[1].replace("%20", "").replace("_", "")))
            kind = next(kind for kind in ("enrollments", "student", "course", "classes") if f"/{kind}/" in request.path)
            known = getattr(self, "members" if kind == "enrollments" else "students" if kind == "student" else "courses" if kind == "course" else "classes")
            known[:] = [of for of in known if of != gone]


# --- sending and comparing ---


class Side:
    def __init__(self, port):
        self.port, self.refreshes, self.codes = port, [], {21: "ABC234", 22: "DEF567"}

    def send(self, request):
        body = request.body
        named = re.search(rb"@(\d+)@", body or b"")
        if named:
            code = self.codes.get(int(named[1]), "??????").encode()
            body = body.replace(named[0], code)
        refresh = re.search(rb"@r(\d+)@", body or b"")
        if refresh:
            token = self.refreshes[int(refresh[1])].encode()
            body = body.replace(refresh[0], token)
        headers = {"Connection": "close"}
        if request.token is not None:
            headers["Authorization"] = f"Bearer {request.token}"
        if request.content_type is not None:
            headers["Content-Type"] = request.content_type
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(request.method, request.path, body=body, headers=headers)
        answer = connection.getresponse()
        data, location = answer.read(), answer.getheader("location") or ""
        connection.close()
        if named and answer.status == 422:
            data = data.replace(code, named[0])
        if refresh and answer.status == 422:
            data = data.replace(token, refresh[0])
        # Codes are drawn at random; each side's own is remembered by its id.
        if answer.status in (200, 201) and data[:1] == b"{":
            self.remember(json.loads(data))
        # Where a client is sent to, whichever way that is said.
        location = location and urljoin(f"http://h{request.path}", location)
        return answer.status, data, re.sub(r"^http://[^/]*", "", location)

    def remember(self, value):
        if isinstance(value, dict):
            if "code" in value and "used_count" in value:
                self.codes[value["id"]] = value["code"]
            if "refresh_token" in value:
                self.refreshes.append(value["refresh_token"])
            for inner in value.values():
                self.remember(inner)
        elif isinstance(value, list):
            for inner in value:
                self.remember(inner)


BEGIN = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S").encode()
NOW = rb'"(created_at|updated_at|joined_at)":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z"'
# Requests set these, too: what lies before the comparison began, or long after it, is as it was sent.
PERHAPS = rb'"(enrolled_at|completed_at)":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z)"'


def normal(answer):
    """What may differ taken out: the time of the request, and codes that were drawn."""
    status, body, location = answer
    moved = re.search(rb'"created_at":"([^"]*)","updated_at":"([^"]*)"', body)
    body = re.sub(NOW, rb'"\1":"NOW"', body)
    body = re.sub(PERHAPS, lambda found: b'"%s":"NOW"' % found[1] if BEGIN <= found[2] < b"9" else found[0], body)
    body = re.sub(rb'"((?:access|refresh)_token)":"[^"]*"', rb'"\1":"TOKEN"', body)
    body = re.sub(rb'"code":"(?:[A-Z2-9]{6}|#\d+)"', lambda found: found[0] if found[0][8:-1] in KEPT else b'"code":"DRAWN"', body)
    return status, body + (b" moved" if moved and moved[1] != moved[2] else b""), location


# Codes that the requests name themselves are compared as they are.
KEPT = {b"HHHHHH", b"JKL234", b"ABC234", b"XYZ999", b"DEF567"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port):
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("a server did not start")


def main():
    print(f"seed {SEED}, {COUNT} requests", flush=True)
    with tempfile.TemporaryDirectory() as data:
        port = free_port()
        framework = subprocess.Popen([
            sys.executable, "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", str(port), "--log-level", "critical",
        ], cwd=HERE, stderr=subprocess.DEVNULL)
        haksa = subprocess.Popen([sys.argv[1], "demo", "--json", "--listen", "127.0.0.1:0", "--data", data],
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            ready = json.loads(haksa.stdout.readline())
            wait_for(port)
            return compare(Side(int(ready["base_url"].rsplit(":", 1)[1])), Side(port))
        finally:
            for process in (framework, haksa):
                process.terminate()
                process.wait()


def compare(ours, theirs):
    generator, failures, statuses = Generator(SEED), [], {}
    for index in range(COUNT):
        request = generator.request()
        try:
            answers = ours.send(request), theirs.send(request)
        except OSError as error:
            raise SystemExit(f"{index}: {request}\n  {error}") from error
        generator.learn(request, answers[1][0], answers[1][1])
        statuses[answers[1][0]] = statuses.get(answers[1][0], 0) + 1
        mine, other = map(normal, answers)
        if request.method == "HEAD":
            mine, other = (mine[0], b"", ""), (other[0], b"", "")
        if mine == other:
            continue
        named = next((deviation for deviation in DEVIATIONS if deviation.fits(request, mine, other)), None)
        if named:
            named.seen += 1
            continue
        failures.append(f"{index}: {request}\n  haksa     {mine}\n  framework {other}")
    print("the framework's answers: " + ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())))
    for deviation in DEVIATIONS:
        print(f"named deviation, {deviation.seen} times: {deviation.phrase}")
    for failure in failures[:20]:
        print(failure)
    print(f"{len(failures)} differences that the document does not name")
    return 1 if failures else 0


sys.exit(main())
