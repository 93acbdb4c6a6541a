#!/usr/bin/env python3
"""Each write five times with one key, two at once, one after a kill -9: done once, told alike; another body is 422."""

import json
import random
import secrets
import time

from haksa import Wire, edit_of, experiment, joined, newcomer, operations, parallel, request, told

OWN = "date", "x-request-id"
# iSpring's further spellings of one route.
PREFIXES = ("", "/api/v2", "/api/v3", "/index.php/api/v2")
# A write that is not sent, and why.
KEYLESS = {**dict.fromkeys([("POST", "/api/v3/token"), ("POST", "/user/login"), ("POST", "/user/refresh")],
                           "a token's text is kept nowhere, so it cannot be told again"),
           ("POST", "/haksa/v1/messages/{id}/retry"): "no message of a demonstration has a way to go"}
# A picture of one pixel.
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000a49444154789c6300010000050001"
                    "0d0a2db40000000049454e44ae426082")


class Write:
    """A write and another that differs in its body. `route` is its line in the OpenAPI document."""

    def __init__(self, dialect, route, make, count):
        # `make(server, n)` gives method, target, media type, body and another body; `count(server, n)` how often it
        # was done.
        self.dialect, self.route, self.make, self.count = dialect, route, make, count


def edits(dialect, spell=lambda target: target):
    def make(server, n):
        method, target, media_type, body = edit_of(dialect, n)
        return method, spell(target), media_type, body, edit_of(dialect, n + 400_000)[3]

    return make


def done(dialect):
    """How often history has the edit."""
    return lambda server, n: server.client().history(dialect).count(n)


def course(server, n):
    body = {"title": f"course {n}", "course_key": f"key-{n}"}
    return "POST", "/partner/7/course", "application/json", json.dumps(body), json.dumps({**body, "title": "other"})


def courses(server, n):
    return server.query(f"SELECT count(*) AS n FROM course WHERE course_key = 'key-{n}'")[0]["n"]


def rename(server, n):
    return "PATCH", "/partner/7/course/5", "application/json", json.dumps({"title": f"t{n}"}), '{"title":"other"}'


def renames(server, n):
    return server.query(f"SELECT count(*) AS n FROM change WHERE kind = 'course' AND record_id = '5' AND "
                        f"action = 'edit' AND after LIKE '%\"t{n}\"%'")[0]["n"]


def made(server, n, name):
    """A course of its own; gives its address."""
    client, target = server.client(), "/partner/7/course"
    headers = {"Content-Type": "application/json", **client.sign("partner", "POST", target)}
    _, _, body = client.send("POST", target, headers, json.dumps({"title": name, "course_key": f"{name}-{n}"}))
    return f"{target}/{json.loads(body)['id']}"


def delete(server, n):
    return "DELETE", made(server, n, "doomed"), "application/json", "", "{}"


def deletions(server, n):
    return server.query(f"SELECT count(*) AS n FROM change WHERE kind = 'course' AND action = 'delete' AND record_id = "
                        f"(SELECT CAST(id AS TEXT) FROM course WHERE course_key = 'doomed-{n}')")[0]["n"]


def application(server, n):
    body = json.loads(edit_of("ncloud", n)[3]) | {
        "applicationType": "web", "mbrLoginAllow": "ALLOW", "protocol": "OAUTH2",
        "redirectUris": ["http://127.0.0.1:9999/callback"], "clientAuthMethod": "client_secret_basic",
        "accessType": "confidential", "grantTypes": ["authorization_code"], "scopes": ["openid"],
        "consentPage": {"applicationName": {"ko": "포털", "en": "Portal", "ja": "ポータル"}, "useLanguages": ["ko"],
                        "defaultLanguage": "ko", "usePurposeDesc": {"ko": "로그인"}, "usePeriodDesc": {"ko": "탈퇴 시까지"},
                        "dataTransferAbroad": False}}
    target = "/api/v1" + edit_of("ncloud", n)[1]
    return "PUT", target, "application/json", json.dumps(body), json.dumps({**body, "description": "other"})


def undo(server, n):
    client, target = server.client(), made(server, n, "undone")
    headers = {"Content-Type": "application/json", **client.sign("partner", "PATCH", target)}
    client.send("PATCH", target, headers, '{"title":"edited"}')
    return "POST", f"/haksa/v1/changes/{edit_to_undo(server, n)}/undo", "application/json", "", "{}"


def edit_to_undo(server, n):
    # The first one: what undoes it is an edit too.
    return server.query(f"SELECT min(id) AS id FROM change WHERE kind = 'course' AND action = 'edit' AND record_id = "
                        f"(SELECT CAST(id AS TEXT) FROM course WHERE course_key = 'undone-{n}')")[0]["id"]


def undone(server, n):
    edit = edit_to_undo(server, n)
    return server.query(f"SELECT count(*) AS n FROM change WHERE kind = 'course' AND previous_id = {edit}")[0]["n"]


def mark(n):
    """A word by which a write is found in history."""
    return f"mark{n}x"


def body_of(method, target, body):
    """A write whose body says the mark wherever `body` says MARK."""
    def make(server, n):
        text = json.dumps(body)
        return method, target, "application/json", text.replace("MARK", mark(n)), text.replace("MARK", "other")

    return make


def marked(kind, action):
    """How often history has the mark in such a change."""
    return lambda server, n: server.query(f"SELECT count(*) AS n FROM change WHERE kind = '{kind}' AND action = "
                                          f"'{action}' AND after LIKE '%{mark(n)}%'")[0]["n"]


def upload(target):
    def make(server, n):
        def body(name):
            head = f'--cut\r\nContent-Disposition: form-data; name="badge_image"; filename="{name}.png"\r\n\r\n'
            return head.encode() + PNG + b"\r\n--cut--\r\n"
        return "POST", target, "multipart/form-data; boundary=cut", body(mark(n)), body("other")

    return make


ISSUE = {"achievementFormId": 551, "mode": "email", "users": [
    {"name": "이름", "email": "MARK@example.com", "custom_attributes": [{"attribute_tag": "a", "attribute_value": "MARK"}]}]}
DESIGN = {"design_type": "certificate", "name": "MARK", "template_type": "t"}


def id_of(server, kind, n):
    return server.query(f"SELECT record_id AS id FROM change WHERE kind = '{kind}' AND action = 'create' "
                        f"AND after LIKE '%{mark(n)}%'")[0]["id"]


def doomed(dialect, kind, make, target):
    """The deletion of a record of its own, made first."""
    def prepare(server, n):
        client = server.client()
        method, at, media_type, body, _ = make(server, n)
        client.send(method, at, {"Content-Type": media_type, **client.sign(dialect, method, at)}, body)
        return "DELETE", target + id_of(server, kind, n), "application/json", "", "{}"

    def count(server, n):
        return server.query(f"SELECT count(*) AS n FROM change WHERE kind = '{kind}' AND action = 'delete' "
                            f"AND record_id = '{id_of(server, kind, n)}'")[0]["n"]

    return prepare, count


FORMS, BADGES, NATIVE = "/open-api/achievements/forms", "/open-api/badge-designs", "/haksa/v1"
CERTIFICATES = [
    Write("kolleges", ("POST", "/open-api/achievements/issue"),
          body_of("POST", "/open-api/achievements/issue", ISSUE), marked("achievement", "create")),
    Write("kolleges", ("DELETE", "/open-api/achievements/{achievementId}"),
          *doomed("kolleges", "achievement", body_of("POST", "/open-api/achievements/issue", ISSUE),
                  "/open-api/achievements/")),
    Write("kolleges", ("POST", FORMS), body_of("POST", FORMS, {
        "name": "MARK", "type": "award", "achievementBadgeDesignId": 83}), marked("form", "create")),
    Write("kolleges", ("PATCH", FORMS + "/{achievementFormId}"), body_of("PATCH", FORMS + "/551", {
        "name": "MARK", "achievementBadgeDesignId": 83}), marked("form", "edit")),
    *[Write("kolleges", ("POST", target), upload(target), marked("design", "create"))
      for target in (BADGES, "/open-api/achievements/badge-designs")],
    Write("native", ("PATCH", NATIVE + "/achievements/{id}"),
          body_of("PATCH", NATIVE + "/achievements/1539", {"nft_token": "MARK"}), marked("achievement", "edit")),
    Write("native", ("PATCH", NATIVE + "/forms/{id}"), body_of("PATCH", NATIVE + "/forms/551", {
        "requirements": [{"description": "MARK"}]}), marked("form", "edit")),
    Write("native", ("POST", NATIVE + "/designs"), body_of("POST", NATIVE + "/designs", DESIGN),
          marked("design", "create")),
    Write("native", ("PATCH", NATIVE + "/designs/{id}"),
          body_of("PATCH", NATIVE + "/designs/165", {"main_color": "MARK"}), marked("design", "edit")),
    Write("native", ("DELETE", NATIVE + "/designs/{id}"),
          *doomed("native", "design", body_of("POST", NATIVE + "/designs", DESIGN), NATIVE + "/designs/")),
    Write("native", ("PATCH", NATIVE + "/account"), body_of("PATCH", NATIVE + "/account", {"club_type": "MARK"}),
          marked("account", "edit")),
]

# What a write is about, by its number: the id of the record.
ABOUT = {}


def about(kind, action):
    """How often history has the act on what the write is about."""
    return lambda server, n: server.query(f"SELECT count(*) AS n FROM change WHERE kind = '{kind}' AND action = '{action}' "
                                          f"AND record_id = '{ABOUT[n]}'")[0]["n"]


def with_text(kind, action, text):
    """How often history has the act with that text in it."""
    return lambda server, n: server.query(f"SELECT count(*) AS n FROM change WHERE kind = '{kind}' AND action = '{action}' "
                                          f"AND after LIKE '%{text.format(n=n)}%'")[0]["n"]


def act(method, target, body, other, make):
    """A write on something of its own: `make` makes it and gives its id, and further places in the address."""
    def write(server, n):
        ABOUT[n], *places = make(server, n)
        where = target.format(*places, id=ABOUT[n])
        return method, where, "application/json", body.replace("<n>", str(n)), other.replace("<n>", str(n))

    return write


def klass(server, n):
    return [told(server, "POST", "/partner/7/classes", {"name": f"own {n}"})["id"]]


def code(server, n):
    made = told(server, "POST", "/partner/7/classes", {"name": f"own {n}"})
    return [made["invite_codes"][0]["id"], made["id"]]


def member(server, n):
    return [joined(server, f"own {n}")[1]["id"]]


def student(server, n):
    return [newcomer(server, f"own{n}")["student_id"]]


def model(server, n):
    headers = server.client().sign("native", "POST", "")
    return [told(server, "POST", "/haksa/v1/models", {"provider": "own", "model_name": f"m{n}"}, headers)["id"]]


def redeemed(server, n):
    made = told(server, "POST", "/partner/7/classes", {"name": f"own {n}"})
    ABOUT[n] = made["id"]
    body = json.dumps({"code": made["invite_codes"][0]["code"]})
    return "POST", "/user/class/invites/redeem", "application/json", body, '{"code":"ZZZZZZ"}'


def enrolled(server, n):
    student_id = joined(server, f"first {n}")[1]["student_id"]
    ABOUT[n] = klass(server, n)[0]
    body = {"class_id": ABOUT[n], "student_id": student_id}
    target = f"/partner/7/student/{student_id}/enrollments"
    return "POST", target, "application/json", json.dumps(body), json.dumps({**body, "status": "inactive"})


def members(server, n):
    return server.query(f"SELECT count(*) AS n FROM membership WHERE class_id = {ABOUT[n]}")[0]["n"]


CLASSES, STUDENT = "/partner/{partner_id}/classes", "/partner/{partner_id}/student"
CODES, MEMBER = CLASSES + "/{class_id}/invite-codes", STUDENT + "/enrollments/{enrollment_id}"


def own(path):
    """An address as `act` fills it in."""
    for name in ("class_id", "invite_code_id", "student_id", "enrollment_id"):
        path = path.replace("{" + name + "}", "{0}" if name == "class_id" and "invite" in path else "{id}")
    return path.replace("{partner_id}", "7")


def write_of(method, path, kind, action, make, body="", other="{}", dialect="partner"):
    return Write(dialect, (method, path), act(method, own(path), body, other, make), about(kind, action))


TEACHING = [
    Write("partner", ("POST", CLASSES), lambda server, n: ("POST", "/partner/7/classes", "application/json",
          json.dumps({"name": f"made {n}."}), json.dumps({"name": "other"})), with_text("class", "create", '"made {n}.')),
    write_of("DELETE", CLASSES + "/{class_id}", "class", "delete", klass),
    Write("partner", ("POST", CODES), lambda server, n: ("POST", "/partner/7/classes/11/invite-codes", "application/json",
          json.dumps({"max_uses": 1_000_000 + n}), '{"max_uses":1}'), lambda server, n: with_text("invite_code", "create", '"max_uses":{n},')(server, 1_000_000 + n)),
    write_of("PATCH", CODES + "/{invite_code_id}", "invite_code", "edit", code, '{"max_uses":5}'),
    write_of("DELETE", CODES + "/{invite_code_id}", "invite_code", "delete", code),
    write_of("PATCH", STUDENT + "/{student_id}", "student", "edit", student, '{"notes":"<n>"}'),
    write_of("DELETE", STUDENT + "/{student_id}", "student", "delete", student),
    write_of("POST", STUDENT + "/{student_id}/deactivate", "student", "edit", student),
    write_of("POST", STUDENT + "/{student_id}/archive", "student", "edit", student),
    Write("partner", ("POST", STUDENT + "/{student_id}/enrollments"), enrolled, members),
    write_of("PATCH", MEMBER, "membership", "edit", member, '{"status":"inactive"}'),
    write_of("DELETE", MEMBER, "membership", "delete", member),
    write_of("POST", MEMBER + "/complete", "membership", "edit", member),
    write_of("POST", MEMBER + "/drop", "membership", "edit", member),
    Write("partner", ("POST", "/user/class/invites/redeem"), redeemed, members),
    write_of("DELETE", "/user/class/enrollments/{enrollment_id}", "membership", "delete", member),
    Write("native", ("POST", "/haksa/v1/models"), lambda server, n: ("POST", "/haksa/v1/models", "application/json",
          json.dumps({"provider": "made", "model_name": f"m{n}"}), json.dumps({"provider": "made", "model_name": "other"})),
          with_text("model", "create", '"model_name":"m{n}"')),
    write_of("PATCH", "/haksa/v1/models/{id}", "model", "edit", model, '{"supports_parallel":true}', dialect="native"),
    write_of("DELETE", "/haksa/v1/models/{id}", "model", "delete", model, dialect="native"),
]

WRITES = [
    *CERTIFICATES,
    *TEACHING,
    Write("partner", ("POST", "/partner/{partner_id}/course"), course, courses),
    Write("partner", ("PATCH", "/partner/{partner_id}/course/{course_id}"), rename, renames),
    Write("partner", ("DELETE", "/partner/{partner_id}/course/{course_id}"), delete, deletions),
    Write("kolleges", ("PATCH", "/open-api/achievements/{achievementId}"), edits("kolleges"), done("kolleges")),
    Write("partner", ("PATCH", "/partner/{partner_id}/classes/{class_id}"), edits("partner"), done("partner")),
    Write("ncloud", ("PUT", "/applications/{applicationId}"), edits("ncloud"), done("ncloud")),
    Write("ncloud", ("PUT", "/api/v1/applications/{applicationId}"), application, done("ncloud")),
    Write("solapi", ("PATCH", "/crm-core/v1/relationships/{relationshipId}"), edits("solapi"), done("solapi")),
    *[Write("ispring", ("POST", prefix + "/enrollment/{enrollment_id}"),
            edits("ispring", lambda target, prefix=prefix: prefix + target), done("ispring")) for prefix in PREFIXES],
    Write("native", ("POST", "/haksa/v1/changes/{id}/undo"), undo, undone),
]


class Attempts:
    """One write under one key, and every answer to it."""

    def __init__(self, write, server, n):
        self.write, self.n = write, n
        self.key = secrets.token_hex(12)
        self.method, self.target, self.media_type, self.body, self.other = write.make(server, n)
        self.answers = []

    def bytes(self, server, body=None):
        # Signed anew each time: it is the key that makes it the same request.
        headers = {"Content-Type": self.media_type, "Idempotency-Key": self.key,
                   **server.client().sign(self.write.dialect, self.method, self.target)}
        return request(self.method, self.target, headers, self.body if body is None else body)

    def send(self, server, body=None):
        wire = Wire(server)
        answer = wire.exchange(self.bytes(server, body))
        wire.close()
        if body is None:
            self.answers.append(answer)
        return answer

    def judge(self, trial, server):
        name = " ".join(self.write.route)
        told = {(status, str({key: value for key, value in headers.items() if key not in OWN}), body)
                for status, headers, body in self.answers}
        trial.expect(len(told) == 1, f"{name}: one key was answered in {len(told)} ways: {sorted(told)[:2]}")
        trial.expect(all(200 <= status < 300 for status, _, _ in told), f"{name}: {sorted(told)[:2]}")
        status, _, body = self.send(server, self.other)
        trial.expect(status == 422, f"{name}: another body under the key was answered {status} {body[:200]}")
        count = self.write.count(server, self.n)
        trial.expect(count == 1, f"{name}: done {count} times")


def run(trial):
    rounds = 1 if trial.is_quick else 5
    covered = {write.route for write in WRITES} | set(KEYLESS)
    for _, method, path, _, _ in operations():
        if method != "GET":
            trial.expect((method, path) in covered, f"no write is known for {method} {path}: add it to WRITES")
    server = trial.server().start()
    sent = 0
    for turn in range(rounds):
        writes = [Attempts(write, server, 1000 * (turn + 1) + index) for index, write in enumerate(WRITES)]
        for attempts in writes:
            parallel([lambda: attempts.send(server)] * 2)
            attempts.send(server)
        server.kill()
        server.start()
        for attempts in writes:
            attempts.send(server)
            attempts.judge(trial, server)
            sent += 5
        # A kill while it is on its way: whether it came through shows only by sending it again.
        writes = [Attempts(write, server, 1000 * (turn + 1) + 500 + index) for index, write in enumerate(WRITES)]
        wires = [(Wire(server), attempts.bytes(server)) for attempts in writes for _ in range(2)]
        for wire, whole in wires:
            wire.socket.sendall(whole)
        time.sleep(random.uniform(0, 0.02))
        server.kill()
        for attempts, (wire, _) in zip([attempts for attempts in writes for _ in range(2)], wires):
            answer = wire.answer()
            if answer[0]:
                attempts.answers.append(answer)
            wire.close()
        server.start()
        for attempts in writes:
            for _ in range(2):
                attempts.send(server)
            attempts.judge(trial, server)
            sent += 5
    trial.figure("writes", len(WRITES))
    trial.figure("keys", 2 * rounds * len(WRITES))
    trial.figure("sent", sent)
    trial.figure("kills", 2 * rounds)
    trial.expect(not server.check(), "haksa check finds faults")


experiment(run)
