#!/usr/bin/env python3
"""Bodies that are not what they should be, to every operation with one: 4xx in its form, nothing written or kept."""

import functools
import gzip
import json
import secrets

from haksa import Wire, edit_of, experiment, joined, operations, parallel, request

JSON, FORM, XML = "application/json", "application/x-www-form-urlencoded", "application/xml"
MERGE_PATCH = "application/merge-patch+json"
GROWTH_MIB = 32
LONG = 20_000_000
DEEP = 100_000


class Body:
    """A good body with one number and one text that can be replaced by anything. `{n}` and `{t}` are their places."""

    def __init__(self, media_type, pattern, number, text, repeat):
        self.media_type, self.pattern, self.number, self.text = media_type, pattern, number, text
        # What comes once more, to be there twice.
        self.repeat = repeat

    def with_(self, number=None, text=None, pattern=None):
        def raw(value, default):
            value = default() if value is None else value
            return value.encode() if isinstance(value, str) else value

        whole = (pattern or self.pattern).encode()
        return whole.replace(b"{n}", raw(number, self.number)).replace(b"{t}", raw(text, self.text))

    def twice(self):
        return self.with_(pattern=self.repeat)


def word():
    return f'"w{secrets.token_hex(4)}"'


APPLICATION = (
    '"applicationType":"web","mbrLoginAllow":"ALLOW","protocol":"OAUTH2","redirectUris":["http://127.0.0.1:9/c"],'
    '"clientAuthMethod":"client_secret_basic","accessType":"confidential","grantTypes":["authorization_code"],'
    '"scopes":["openid"],"consentPage":{"applicationName":{"ko":"가","en":"A","ja":"ア"},"useLanguages":["ko"],'
    '"defaultLanguage":"ko","usePurposeDesc":{"ko":"가"},"usePeriodDesc":{"ko":"가"},"dataTransferAbroad":false}')


def json_body(pattern, number, text=word):
    """A JSON object whose first member is there twice in `repeat`."""
    return Body(JSON, "{" + pattern + "}", number, text, "{" + pattern + "," + pattern + "}")


def bodies(method, path, media_types):
    """The bodies of an operation, one for each media type that it documents; none when it is not known here."""
    if path == "/open-api/achievements/{achievementId}":
        return [json_body('"level":{n},"admin_comment":{t}', lambda: "2")]
    if path == "/open-api/achievements/forms":
        return [json_body('"name":{t},"type":"award","achievementBadgeDesignId":{n}', lambda: "83")]
    if path == "/open-api/achievements/forms/{achievementFormId}":
        return [json_body('"name":{t},"achievementBadgeDesignId":{n}', lambda: "83")]
    if path == "/open-api/achievements/issue":
        users = '"users":[{"name":{t},"email":"bodies@example.com"}]'
        return [json_body('"achievementFormId":{n},"mode":"email",' + users, lambda: "551")]
    if path == "/haksa/v1/achievements/{id}":
        return [json_body('"evidences":[{"id":{n},"title":{t}}]', lambda: "1")]
    if path == "/haksa/v1/forms/{id}":
        return [json_body('"requirements":[{"order":{n}}],"institutions":[{"name":{t},"type":"a"}]', lambda: "1")]
    if path == "/haksa/v1/designs":
        return [json_body('"design_type":"badge","template_type":"t","name":{t},"main_color":{n}', word)]
    if path == "/haksa/v1/designs/{id}":
        return [json_body('"name":{t},"main_color":{n}', word)]
    if path == "/haksa/v1/account":
        return [json_body('"name":{t},"club_type":{n}', word)]
    if path == "/partner/{partner_id}/classes/{class_id}":
        plain = json_body('"capacity":{n},"name":{t}', lambda: "20")
        return [plain, Body(MERGE_PATCH, plain.pattern, plain.number, plain.text, plain.repeat)]
    if path == "/partner/{partner_id}/classes":
        return [json_body('"name":{t},"capacity":{n}', lambda: "20")]
    if "/invite-codes" in path:
        plain = json_body('"max_uses":{n},"expires_at":{t}', lambda: "20", lambda: '"2127-01-01T00:00:00Z"')
        if method == "POST":
            return [plain]
        return [plain, Body(MERGE_PATCH, plain.pattern, plain.number, plain.text, plain.repeat)]
    if path == "/partner/{partner_id}/student/{student_id}":
        return [json_body('"notes":{n},"full_name":{t}', word)]
    if path == "/partner/{partner_id}/student/{student_id}/enrollments":
        return [json_body('"class_id":{n},"student_id":{t}', lambda: "11", lambda: '"1"')]
    if path == "/partner/{partner_id}/student/enrollments/{enrollment_id}":
        return [json_body('"completed_at":{n},"status":{t}', lambda: '"2127-01-01"', lambda: '"completed"')]
    if path == "/haksa/v1/models":
        return [json_body('"provider":{t},"model_name":{t},"default_pricing":{n}', lambda: "{}")]
    if path == "/haksa/v1/models/{id}":
        return [json_body('"provider":{t},"default_pricing":{n}', lambda: "{}")]
    if path == "/partner/{partner_id}/course" and method == "POST":
        return [json_body('"title":{t},"course_key":{t},"description":{n}', word)]
    if path == "/partner/{partner_id}/course/{course_id}":
        plain = json_body('"title":{t},"description":{n}', word)
        return [plain, Body(MERGE_PATCH, plain.pattern, plain.number, plain.text, plain.repeat)]
    if path == "/applications/{applicationId}":
        return [json_body('"name":"portal","accessTokenValidity":{n},"description":{t}', lambda: "3600")]
    if path == "/api/v1/applications/{applicationId}":
        pattern = '"name":"portal","accessTokenValidity":{n},"description":{t},' + APPLICATION
        return [json_body(pattern, lambda: "3600")]
    if path == "/crm-core/v1/relationships/{relationshipId}":
        return [json_body('"metadata":{"n":{n},"t":{t}}', lambda: "1")]
    if path.endswith("/enrollment/{enrollment_id}"):
        pattern = '"accessDate":"2026-01-10","dueDateType":{t},"duePeriod":{n},"lockAfterDueDate":true'
        xml = ("<request><dueDateType>{t}</dueDateType><duePeriod>{n}</duePeriod><lockAfterDueDate>1</lockAfterDueDate>"
               "</request>")
        twice = xml.replace("</request>", "<duePeriod>2</duePeriod></request>")
        return [json_body(pattern, lambda: "24", lambda: '"due_period"'),
                Body(XML, xml, lambda: "24", lambda: "due_period", twice)]
    if path == "/api/v3/token":
        pattern = "grant_type=client_credentials&client_id={t}&client_secret={n}"
        return [Body(FORM, pattern, lambda: "demo-ispring-OWN-secret", lambda: "5f0c2b9e-0000-4000-8000-000000000141",
                     pattern + "&client_id=1")]
    return None


# Operations that change something and read no body, and uploads, whose bodies are pictures.
ACTS = ("/deactivate", "/archive", "/complete", "/drop", "/undo", "/retry", "/badge-designs")
# What is wrong is counted against whoever guesses, and what is right is good once: a refused body leaves its trace.
GUESSED = ("/user/login", "/user/refresh", "/user/class/invites/redeem")


def is_bodyless(method, path):
    return method == "DELETE" or path.endswith(ACTS)


def reserved(inner, depth=0):
    """JSON in strings under a key that the JSON library keeps for itself, in eight levels: it would read what is in the
    innermost, and at each level begin to count depth anew."""
    for _ in range(8):
        inner = json.dumps({"$serde_json::private::RawValue": "[" * depth + inner + "]" * depth})
    return inner


@functools.cache
def bomb(pattern):
    """20 MB that are 20 KB on the wire."""
    return gzip.compress(pattern.replace("{n}", "1").replace("{t}", '"' + "x" * LONG + '"').encode(), 1)


def cases(body, is_short):
    """What is wrong, the bytes, and further headers."""
    good = body.with_()
    charset = f"{body.media_type}; charset="
    found = {
        "NaN": body.with_("NaN"),
        "-Infinity": body.with_("-Infinity"),
        "1e999": body.with_("1e999"),
        "null": body.with_("null"),
        "null as text": body.with_(text="null"),
        "NUL byte": body.with_(text=b'"a\0b"'),
        "NUL escaped": body.with_(text='"a\\u0000b"'),
        "NUL after the end": good + b"\0",
        "half a surrogate pair": body.with_(text='"\\ud800"'),
        "half a surrogate pair in bytes": body.with_(text=b'"\xed\xa0\x80"'),
        "key twice": body.twice(),
        "array for a number": body.with_("[1]"),
        "object for a number": body.with_('{"a":1}'),
        "text for a number": body.with_('"abc"'),
        "truth for a number": body.with_("true"),
        "array for a text": body.with_(text='["a"]'),
        "object for a text": body.with_(text="{}"),
        "number for a text": body.with_(text="1"),
        "nested 100k in a field": body.with_("[" * DEEP + "]" * DEEP),
        "nested 100k": "[" * DEEP + "]" * DEEP,
        "objects nested 100k": '{"a":' * DEEP + "1" + "}" * DEEP,
        "nested 100k, never closed": "[" * DEEP,
        "20 MB in a field": lambda: body.with_(text='"' + "x" * LONG + '"'),
        "UTF-16": (good.decode().encode("utf-16"), charset + "utf-16"),
        "UTF-16 without a mark": (good.decode().encode("utf-16-le"), charset + "utf-16"),
        "UTF-32": (good.decode().encode("utf-32"), charset + "utf-32"),
        "Latin-1": (body.with_(text=b'"\xe9"'), charset + "iso-8859-1"),
        "gzip bomb": (bomb(body.pattern), body.media_type, "gzip"),
        "reserved keys around a number": body.with_(reserved(body.number())),
        "reserved keys around a text": body.with_(text=reserved(body.text())),
        "reserved keys around all": reserved(good.decode()),
        "reserved keys around depth": body.with_(reserved("1", 100)),
        "reserved keys around depth, as text": body.with_(text=reserved("1", 100)),
        "cut short": good[:-1],
        "two values": good + good,
        "array": "[]",
        "text": '"x"',
        "number": "1",
        "no JSON at all": b"\x00\xff\xfe\x80",
    }
    if not is_short:
        found["20 MB of blanks"] = lambda: b" " * LONG + good
    for name, case in found.items():
        case = case() if callable(case) else case
        case = case if isinstance(case, tuple) else (case, body.media_type)
        content, media_type, *encoding = case
        headers = {"Content-Type": media_type} | ({"Content-Encoding": encoding[0]} if encoding else {})
        yield name, content.encode() if isinstance(content, str) else content, headers


# What is taken although it is in the list, and why: (dialect, media type, beginning of the case's name).
TAKEN = [
    ("kolleges", JSON, "null as text", "null takes a comment away"),
    ("kolleges", JSON, "NUL escaped", "a comment is any text"),
    ("kolleges", JSON, "key twice", "the last wins"),
    ("partner", None, "key twice", "the last wins, as in the vendor's framework"),
    ("partner", JSON, "null", "means unchanged, and in a creation absent, as at the vendor"),
    ("partner", MERGE_PATCH, "null", "takes a value away (RFC 7396)"),
    ("partner", None, "truth for a number", "whole numbers are read leniently, as in the vendor's framework"),
    ("partner", None, "text for a number", "a course has no number; a description stands in its place"),
    # Python's JSON has no such keys, so these are read by a reader of their own, which takes a text for a text.
    ("partner", None, "reserved keys around all", "unknown keys are ignored"),
    ("native", None, "key twice", "the last wins"),
    ("native", None, "null", "takes a value away (RFC 7396)"),
    ("native", None, "NUL escaped", "is kept"),
    ("native", None, "text for a number", "a design and an account have no number; a text stands in its place"),
    ("partner", None, "number for a text", "an instant may be a Unix time, and a number a text, as in the vendor's framework"),
    ("native", JSON, "key twice", "the last counts"),
    ("native", JSON, "null", "takes a value away (RFC 7396)"),
    ("native", JSON, "object for a number", "prices are any object"),
    ("ncloud", JSON, "key twice", "the last counts"),
    ("ncloud", JSON, "NUL escaped", "a description is any text"),
    ("solapi", JSON, "key twice", "the last wins"),
    ("solapi", JSON, "null", "metadata is any JSON object, null included"),
    ("solapi", JSON, "NUL escaped", "is kept"),
    *[("solapi", JSON, f"{what} for a ", "metadata is any JSON object")
      for what in ("array", "object", "text", "truth", "number")],
]


def is_in_form(dialect, status, headers, body):
    """Whether a refusal is worded as the dialect words one."""
    try:
        media_type = headers.get("content-type", "")
        if dialect == "ispring" and media_type.startswith("application/xml"):
            return f"<code>{status}</code>".encode() in body
        found = json.loads(body)
        if dialect == "kolleges":
            return found["statusCode"] == status and bool(found["error"]) and bool(found["message"])
        if dialect == "partner":
            return bool(found["detail"]) and media_type == JSON
        if dialect == "ncloud":
            found = found.get("error", found)
            return bool(found["errorCode"]) and bool(found["message"])
        if dialect == "solapi":
            return bool(found["errorCode"]) and bool(found["errorMessage"])
        if dialect == "ispring":
            return found["code"] == status and bool(found["message"])
        return found["status"] == status and media_type == "application/problem+json"
    except (ValueError, KeyError, TypeError):
        return False


def target_of(dialect, method, path):
    """The path with the demo's own ids."""
    own = {"partner_id": "7", "class_id": "11", "course_id": "5", "enrollment_id": edit_of("ispring", 1)[1][12:],
           "achievementId": "1539", "achievementFormId": "551", "applicationId": edit_of("ncloud", 1)[1][14:],
           "relationshipId": edit_of("solapi", 1)[1].rsplit("/", 1)[1], "invite_code_id": "21", "student_id": "1"}
    if dialect == "native":
        own["id"] = {"achievements": "1539", "forms": "551", "designs": "165"}.get(path.split("/")[3], "1")
    if dialect == "partner":
        own["enrollment_id"] = "1"
    for name, value in own.items():
        path = path.replace("{" + name + "}", value)
    return path


def long_but_good(body):
    """A good body of almost 1 MiB."""
    blanks = b" " * 1_000_000
    return body.with_() + b"&more=" + blanks.replace(b" ", b"+") if body.media_type == FORM else blanks + body.with_()


def send(server, dialect, method, target, content, headers):
    headers = headers | ({} if target == "/api/v3/token" else server.client().sign(dialect, method, target))
    wire = Wire(server)
    answer = wire.exchange(request(method, target, headers, content))
    wire.close()
    return answer


def peak_mib(server):
    with open(f"/proc/{server.pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


def reason_of(dialect, media_type, name):
    return next((reason for where, which, begins, reason in TAKEN
                 if where == dialect and which in (None, media_type) and name.startswith(begins)), None)


def run(trial):
    # What reads bodies knows nothing of the store, so on the second one the spellings of one route are not repeated.
    is_short = trial.is_quick or trial.store == "postgres"
    server = trial.server().start()
    joined(server, "somebody")
    found = []
    for dialect, method, path, _, media_types in operations():
        if method == "GET" or is_bodyless(method, path) or path in GUESSED:
            continue
        known = bodies(method, path, media_types)
        trial.expect(known is not None, f"no body is known for {method} {path}: add it to bodies()")
        if is_short and path.startswith(("/api/v2/enr", "/api/v3/enr", "/index.php")):
            continue  # The same handler as the one at the root.
        for body in known or ():
            trial.expect(not media_types or body.media_type in media_types, f"{method} {path}: {media_types}")
            found.append((dialect, method, target_of(dialect, method, path), body))
    for dialect, method, target, body in found:
        status, _, answer = send(server, dialect, method, target, body.with_(), {"Content-Type": body.media_type})
        trial.expect(200 <= status < 300, f"a good body for {method} {target} was answered {status} {answer[:300]}")
    # Buffers and the allocator's pools reach the size that honest bodies give them.
    for dialect, method, target, body in found:
        content, headers = long_but_good(body), {"Content-Type": body.media_type}
        jobs = [lambda: send(server, dialect, method, target, content, headers)] * 8
        trial.expect(all(status < 500 for status, _, _ in parallel(jobs)), f"a long body for {method} {target}")

    with open(f"/proc/{server.pid}/clear_refs", "w") as refs:
        refs.write("5")  # Begin to look for the peak anew.
    before = server.memory_mib()
    refused, taken = 0, set()
    for dialect, method, target, body in found:
        change = server.last_change()
        for name, content, headers in cases(body, is_short):
            status, answer_headers, answer = send(server, dialect, method, target, content, headers)
            what = f"{name} ({body.media_type}) to {method} {target}: {status} {answer[:200]}"
            if 200 <= status < 300:
                is_documented = reason_of(dialect, body.media_type, name) is not None
                trial.expect(is_documented, f"taken: {what}")
                taken |= {(dialect, name)} if is_documented else set()
                change = server.last_change()
                continue
            trial.expect(400 <= status < 500, what)
            trial.expect(is_in_form(dialect, status, answer_headers, answer), f"form of {what}")
            refused += 1
            if trial.store == "sqlite":
                trial.expect(server.last_change() == change, f"written: {what}")
        trial.expect(server.last_change() == change, f"a refused body changed something: {method} {target}")
    dialect, method, target, body = found[0]
    name, content, headers = next(case for case in cases(body, is_short) if case[0] == "20 MB in a field")
    for status, _, answer in parallel([lambda: send(server, dialect, method, target, content, headers)] * 8):
        trial.expect(400 <= status < 500, f"{name}, eight at once: {status} {answer[:200]}")
    grown = peak_mib(server) - before
    trial.figure("operations", len(found))
    trial.figure("refused", refused)
    trial.figure("taken as documented", len(taken))
    trial.figure("MiB at the peak", f"+{grown:.1f}")
    trial.expect(grown <= GROWTH_MIB, f"memory grew by {grown:.1f} MiB")
    trial.expect(not server.check(), "haksa check finds faults")


experiment(run)
