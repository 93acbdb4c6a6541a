//! A tag stands for all that an answer shows: where another record that was shown has changed, an edit
//! by the old tag is refused, and one by the new tag is done.

use haksa::domain::actor::Actor;
use haksa::domain::command::{Command, Delete, Edit, Expected};
use haksa::domain::learning::enrollment::Enrollment;
use haksa::domain::patch::Patch;
use haksa::domain::people::person::{Person, PersonEdit};
use haksa::domain::record::Key;
use haksa::domain::teaching::invite_code::InviteCode;
use haksa::pipeline::Envelope;
use serde_json::{Value, json};

use crate::support::{Reply, Request, Server, on_both_stores};

const ADMIN: &str = "demo-admin-key";
const CLUB: &str = "demo-kolleges-key";
const TEACHER: &str = "demo-partner-token";
const CERTIFICATE: &str = "/open-api/achievements/1539";
const FORM: &str = "/open-api/achievements/forms/551";
const CLASS: &str = "/partner/7/classes/11";

on_both_stores!(
    a_certificate_is_seen_with_holder_form_designs_and_club,
    a_form_is_seen_with_designs_and_club,
    a_design_is_seen_with_its_club,
    a_class_is_seen_with_its_codes,
    an_enrollment_is_seen_with_course_and_learner,
    what_is_made_has_the_tag_of_its_first_read,
    nothing_is_deleted_by_an_old_tag,
    a_bare_version_speaks_of_the_record_alone,
    what_is_shown_alone_has_its_version_as_its_tag,
    one_of_many_edits_by_one_tag_wins,
);

/// A record that a dialect shows with others.
struct Seen<'a> {
    server: &'a Server,
    /// As history names it.
    record: &'a str,
    read: &'a dyn Fn() -> Request,
    /// Changes the record by a number.
    edit: &'a dyn Fn(i64) -> Request,
    refusal: &'a str,
}

/// A tag of several: a version and a hash.
#[track_caller]
fn assert_of_several(tag: &str) {
    let (version, hash) = tag.trim_matches('"').split_once('-').expect("a tag of several");
    assert!(version.parse::<i64>().is_ok() && hash.len() == 16, "{tag}");
    assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{tag}");
}

impl Seen<'_> {
    async fn tag(&self) -> String {
        let reply = (self.read)().send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_of_several(reply.header("etag"));
        reply.header("etag").to_owned()
    }

    /// Reads, lets `change` change something else, edits by the old tag and then by the new one.
    async fn notices<T>(&self, n: i64, about: &str, change: impl Future<Output = T>) {
        let by = |tag: &str| (self.edit)(n).header("if-match", tag);
        let old = self.tag().await;
        assert_eq!(self.tag().await, old, "{about}: reading changes nothing");
        let before = self.server.history(self.record).await;
        change.await;
        let refused = by(&old).send().await;
        assert_eq!(refused.status, 412, "{about}: {}", refused.text());
        assert!(refused.text().contains(self.refusal), "{about}: {}", refused.text());
        assert_eq!(refused.header("etag"), "", "{about}");
        assert_eq!(self.server.history(self.record).await, before, "{about}: nothing is written");
        let new = self.tag().await;
        assert_ne!(new, old, "{about}");
        let dry = by(&new).header("haksa-dry-run", "true").send().await;
        assert_eq!(dry.status, 200, "{about}: {}", dry.text());
        let key = format!("{about} {n}");
        let done = by(&new).header("idempotency-key", &key).send().await;
        assert_eq!(done.status, 200, "{about}: {}", done.text());
        assert_eq!(done.header("etag"), self.tag().await, "{about}: as it is read");
        assert_eq!(dry.header("etag"), done.header("etag"), "{about}: a trial has the same");
        let again = by(&new).header("idempotency-key", &key).send().await;
        assert_eq!((again.status, again.header("etag")), (200, done.header("etag")), "{about}");
        assert_eq!(self.server.history(self.record).await.len(), before.len() + 1, "{about}");
    }
}

async fn done(request: Request) -> Reply {
    let reply = request.send().await;
    assert!(reply.status < 300, "{}", reply.text());
    reply
}

fn native(server: &Server, target: &str, body: &Value) -> Request {
    server.request("PATCH", &format!("/haksa/v1/{target}")).bearer(ADMIN).json(body)
}

async fn run(server: &Server, command: impl Command) {
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(command, envelope).await.expect("accepted");
}

async fn rename(server: &Server, person_id: i64, name: &str) {
    let edit = PersonEdit { name: Patch::Value(name.to_owned()), ..PersonEdit::default() };
    run(server, Edit::<Person> { key: Key::Int(person_id), edit, expected: Expected::Any }).await;
}

/// Changes of what Kolleges shows beside a form, through the native dialect.
fn beside_a_form(server: &Server) -> [(&'static str, Request); 3] {
    [
        ("certificate design", "designs/165", json!({"main_color": "#000000"})),
        ("badge design", "designs/83", json!({"sub_color": null})),
        ("club", "account", json!({"club_custom_data": []})),
    ]
    .map(|(about, target, body)| (about, native(server, target, &body)))
}

async fn a_certificate_is_seen_with_holder_form_designs_and_club(server: Server) {
    let seen = Seen {
        server: &server,
        record: "achievement/1539",
        read: &|| server.request("GET", CERTIFICATE).bearer(CLUB),
        edit: &|n| server.request("PATCH", CERTIFICATE).bearer(CLUB).json(&json!({"level": n})),
        refusal: "\"error\":\"PreconditionFailed\"",
    };
    seen.notices(1, "holder", rename(&server, 501, "홍길순")).await;
    let institution = json!({"name": "협회", "type": "association"});
    let form = native(&server, "forms/551", &json!({"institutions": [institution]}));
    seen.notices(2, "form", done(form)).await;
    for (n, (about, change)) in (3..).zip(beside_a_form(&server)) {
        seen.notices(n, about, done(change)).await;
    }
    // What is not shown does not count.
    let tag = seen.tag().await;
    done(native(&server, "forms/482", &json!({"institutions": [institution]}))).await;
    done(native(&server, "designs/123", &json!({"main_color": "#000000"}))).await;
    assert_eq!(seen.tag().await, tag);
    server.assert_sound().await;
}

async fn a_form_is_seen_with_designs_and_club(server: Server) {
    let body = |n: i64| json!({"achievementBadgeDesignId": 83, "description": n.to_string()});
    let seen = Seen {
        server: &server,
        record: "form/551",
        read: &|| server.request("GET", FORM).bearer(CLUB),
        edit: &|n| server.request("PATCH", FORM).bearer(CLUB).json(&body(n)),
        refusal: "\"error\":\"PreconditionFailed\"",
    };
    for (n, (about, change)) in (1..).zip(beside_a_form(&server)) {
        seen.notices(n, about, done(change)).await;
    }
    server.assert_sound().await;
}

async fn a_design_is_seen_with_its_club(server: Server) {
    for target in ["certificate-designs/165", "badge-designs/83"] {
        let tag = async || {
            let read = server.request("GET", &format!("/open-api/{target}")).bearer(CLUB);
            done(read).await.header("etag").to_owned()
        };
        let old = tag().await;
        assert_of_several(&old);
        done(native(&server, "account", &json!({"club_type": target}))).await;
        assert_ne!(tag().await, old, "{target}");
    }
}

async fn a_class_is_seen_with_its_codes(server: Server) {
    let by = |method: &str, target: &str| server.request(method, target).bearer(TEACHER);
    let seen = Seen {
        server: &server,
        record: "class/11",
        read: &|| by("GET", CLASS),
        edit: &|n| by("PATCH", CLASS).json(&json!({"capacity": n})),
        refusal: "precondition_failed",
    };
    let code = |id: i64| format!("{CLASS}/invite-codes/{id}");
    let redeem = server.request("POST", "/user/class/invites/redeem").bearer("demo-student-token");
    seen.notices(11, "redeemed", done(redeem.json(&json!({"code": "ABC234"})))).await;
    let edit = by("PATCH", &code(21)).json(&json!({"max_uses": 9}));
    seen.notices(12, "edited", done(edit)).await;
    run(&server, Delete::<InviteCode>::new(21, Expected::Any)).await;
    // A class that has no codes now may have some later.
    let make = by("POST", &format!("{CLASS}/invite-codes")).json(&json!({}));
    seen.notices(13, "made", done(make)).await;
    let codes = done(seen_codes(&server)).await.json();
    let last = codes["items"][0]["id"].as_i64().expect("a code");
    seen.notices(14, "revoked", done(by("DELETE", &code(last)))).await;
    server.assert_sound().await;
}

fn seen_codes(server: &Server) -> Request {
    server.request("GET", &format!("{CLASS}/invite-codes")).bearer(TEACHER)
}

async fn an_enrollment_is_seen_with_course_and_learner(server: Server) {
    let by = |method: &str, target: &str| server.request(method, target).bearer(TEACHER);
    // Who redeems a code owes the course of the class, to iSpring.
    done(by("PATCH", CLASS).json(&json!({"course_id": 5}))).await;
    let redeem = server.request("POST", "/user/class/invites/redeem").bearer("demo-student-token");
    done(redeem.json(&json!({"code": "ABC234"}))).await;
    let owed = server.app.store.read(|facts| facts.select::<Enrollment>(3, "person_id", 91));
    let key = owed.await.unwrap()[0].meta.key.to_string();
    let target = format!("/enrollment/{key}");
    let owner = |method: &str| server.request(method, &target).bearer("demo-ispring-OWN-token");
    let seen = Seen {
        server: &server,
        record: &format!("enrollment/{key}"),
        read: &|| owner("GET"),
        edit: &|n| {
            let body = json!({"accessDate": format!("2026-01-{n:02}"), "dueDateType": "unlimited"});
            owner("POST").json(&body)
        },
        refusal: "<code>412</code><message>Precondition failed</message>",
    };
    let course = by("PATCH", "/partner/7/course/5").json(&json!({"title": "AI 심화"}));
    seen.notices(1, "course", done(course)).await;
    seen.notices(2, "learner", rename(&server, 91, "최하윤")).await;
    server.assert_sound().await;
}

async fn what_is_made_has_the_tag_of_its_first_read(server: Server) {
    let name = json!({"name": "AI 201"});
    let made = done(server.request("POST", "/partner/7/classes").bearer(TEACHER).json(&name)).await;
    let target = format!("/partner/7/classes/{}", made.json()["id"]);
    let read = done(server.request("GET", &target).bearer(TEACHER)).await;
    assert_of_several(read.header("etag"));
    assert_eq!(made.header("etag"), read.header("etag"));
    let form = json!({"name": "수료증", "type": "completion", "achievementBadgeDesignId": 83});
    let forms = "/open-api/achievements/forms";
    let made = done(server.request("POST", forms).bearer(CLUB).json(&form)).await;
    let target = format!("{forms}/{}", made.json()["achievementFormId"]);
    let read = done(server.request("GET", &target).bearer(CLUB)).await;
    assert_of_several(read.header("etag"));
    assert_eq!(made.header("etag"), read.header("etag"));
}

async fn nothing_is_deleted_by_an_old_tag(server: Server) {
    let redeem = server.request("POST", "/user/class/invites/redeem").bearer("demo-student-token");
    let redeem = redeem.json(&json!({"code": "ABC234"}));
    let form = native(&server, "forms/551", &json!({"institutions": []}));
    let design = native(&server, "designs/83", &json!({"main_color": null}));
    for (target, key, changes, status) in
        [(CERTIFICATE, CLUB, vec![form, design], 200), (CLASS, TEACHER, vec![redeem], 204)]
    {
        let by = |method: &str| server.request(method, target).bearer(key);
        let old = done(by("GET")).await.header("etag").to_owned();
        for change in changes {
            done(change).await;
        }
        let refused = by("DELETE").header("if-match", &old).send().await;
        assert_eq!(refused.status, 412, "{target}: {}", refused.text());
        let new = done(by("GET")).await.header("etag").to_owned();
        let deleted = by("DELETE").header("if-match", &new).send().await;
        assert_eq!(deleted.status, status, "{target}: {}", deleted.text());
        assert_eq!(by("GET").send().await.status, 404, "{target}");
    }
    server.assert_sound().await;
}

async fn a_bare_version_speaks_of_the_record_alone(server: Server) {
    let edit = |n: i64, tag: &str| {
        let edit = server.request("PATCH", CERTIFICATE).bearer(CLUB).header("if-match", tag);
        edit.json(&json!({"level": n}))
    };
    // As history and the native dialect tell it; they show nothing else.
    let alone = || server.request("GET", "/haksa/v1/achievements/1539").bearer(ADMIN);
    assert_eq!(done(alone()).await.header("etag"), "\"1\"");
    let seen = done(server.request("GET", CERTIFICATE).bearer(CLUB)).await;
    rename(&server, 501, "홍길순").await;
    assert_eq!(done(alone()).await.header("etag"), "\"1\"");
    for tag in [seen.header("etag"), "\"1-0000000000000000\"", "\"1-\"", "\"11\"", "W/\"1-\""] {
        assert_eq!(edit(1, tag).send().await.status, 412, "{tag}");
    }
    // An answer that shows no more than that all is well tells as much of the record as was asked.
    assert_eq!(done(edit(1, "\"1\"")).await.header("etag"), "\"2\"");
    assert_eq!(edit(2, "\"1\"").send().await.status, 412);
    assert_eq!(done(edit(1, "*")).await.header("etag"), "\"2\"");
    assert_eq!(done(edit(1, "*").without("if-match")).await.header("etag"), "\"2\"");
    // Of what is shown alone, a tag of several says nothing, though its version be right.
    let seen = done(server.request("GET", CERTIFICATE).bearer(CLUB)).await;
    let newest = &server.history("achievement/1539").await[0];
    let undo = |tag: &str| server.undo(newest).header("if-match", tag);
    assert_eq!(undo(seen.header("etag")).send().await.status, 412);
    assert_eq!(done(undo("\"2\"")).await.header("etag"), "\"3\"");
    server.assert_sound().await;
}

async fn what_is_shown_alone_has_its_version_as_its_tag(server: Server) {
    for (target, key) in [
        ("/partner/7/course/5", TEACHER),
        ("/haksa/v1/achievements/1539", ADMIN),
        ("/haksa/v1/forms/551", ADMIN),
        ("/haksa/v1/designs/83", ADMIN),
        ("/haksa/v1/models/1", ADMIN),
    ] {
        let reply = done(server.request("GET", target).bearer(key)).await;
        assert_eq!(reply.header("etag"), "\"1\"", "{target}");
    }
    // A code is shown without its class, whatever the class shows.
    let code = format!("{CLASS}/invite-codes/21");
    let edit = server.request("PATCH", &code).bearer(TEACHER).json(&json!({"max_uses": 3}));
    assert_eq!(done(edit).await.header("etag"), "\"2\"");
}

async fn one_of_many_edits_by_one_tag_wins(server: Server) {
    for round in 1..=5_i64 {
        let seen = done(server.request("GET", CLASS).bearer(TEACHER)).await;
        let edits = (0..8).map(|n| {
            let edit = server.request("PATCH", CLASS).bearer(TEACHER);
            let edit = edit.header("if-match", seen.header("etag"));
            edit.json(&json!({"capacity": round * 100 + n})).send()
        });
        let mut statuses: Vec<_> =
            futures_util::future::join_all(edits).await.iter().map(|reply| reply.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    }
}
