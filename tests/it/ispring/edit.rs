//! Edits: the documented one, every form and rule of a schedule, what is read back.

use haksa::domain::actor::Actor;
use haksa::domain::command::Create;
use haksa::domain::error::Error;
use haksa::domain::kind::Kind;
use haksa::domain::learning::enrollment::Enrollment;
use haksa::pipeline::Envelope;
use serde_json::{Value, json};

use super::{DOCUMENTED, E1, E4, assert_edited, assert_wrong, due, get, post, read, set, token, x};
use crate::support::{Server, on_both_stores};

on_both_stores!(
    documented_edit,
    schedules,
    refused_schedules,
    json_bodies,
    what_is_nearly_right_is_refused_in_words,
    the_last_day_is_one_west_of_greenwich_too,
    course_defaults,
    time_zones,
    certificates,
    references,
);

async fn documented_edit(server: Server) {
    let before = read(&server, E1).await;
    assert_eq!(before["dueDate"], "2026-02-01");
    let english = x(&[
        ("accessDate", "2019-09-26 10:30:00"),
        ("dueDateType", "unlimited"),
        ("dueDate", "2019-09-26"),
        ("duePeriod", "0"),
        ("lockAfterDueDate", "true"),
    ]);
    for body in [DOCUMENTED, &english] {
        assert_edited(&post(&server, "OWN", E1, body).send().await);
        let reply = get(&server, "OWN", E1).send().await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), "application/xml; charset=utf-8");
        assert_eq!(
            reply.text(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><response><enrollment>\
             <enrollmentId>d48bd4fa-5b70-11e9-b12b-22e9fbac4a59</enrollmentId>\
             <courseId>5f0c2b9e-0000-4000-8000-0000000000c1</courseId>\
             <learnerId>5f0c2b9e-0000-4000-8000-0000000000a1</learnerId>\
             <accessDate>2019-09-26</accessDate>\
             <enrollmentTypeGroup>0</enrollmentTypeGroup>\
             <shouldLockAfterDueDate>0</shouldLockAfterDueDate>\
             </enrollment></response>"
        );
    }
    // The command that the demo prints does the same; the sample's host and token differ, no more.
    let command =
        haksa::demo::commands("http://h").into_iter().find(|(name, _)| name.starts_with("iSpring"));
    assert!(command.expect("a command").1.contains(DOCUMENTED));
}

/// Enrollment, fields; access date, effective due date, lock.
type Schedule =
    (&'static str, Vec<(&'static str, &'static str)>, &'static str, Option<&'static str>, bool);

fn accepted_schedules() -> Vec<Schedule> {
    let today = "2026-04-23";
    let day = ("accessDate", "2026-01-10");
    let midnight = ("accessDate", "2026-01-10 00:00:00");
    let date = ("dueDateType", "due_date");
    let period = ("dueDateType", "due_period");
    let default = ("dueDateType", "default");
    let unlimited = ("dueDateType", "unlimited");
    let lock = |is_locked| ("lockAfterDueDate", is_locked);
    vec![
        (
            E1,
            vec![day, date, ("dueDate", "2026-02-01 10:30:00"), lock("true")],
            "2026-01-10",
            Some("2026-02-01T10:30:00Z"),
            true,
        ),
        (
            E1,
            vec![day, date, ("dueDate", "2026-02-01 10:30:00"), lock("false")],
            "2026-01-10",
            Some("2026-02-01T10:30:00Z"),
            false,
        ),
        (
            E1,
            vec![midnight, period, ("duePeriod", "72"), lock("true")],
            "2026-01-10",
            Some("2026-01-13T00:00:00Z"),
            true,
        ),
        (E1, vec![midnight, default], "2026-01-10", Some("2026-01-12T00:00:00Z"), true),
        (E4, vec![day, default], "2026-01-10", None, false),
        (E1, vec![unlimited], today, None, false),
        (E1, vec![("accessDate", ""), unlimited], today, None, false),
        (E1, vec![("accessDate", " \n "), unlimited], today, None, false),
        (
            E1,
            vec![day, date, ("dueDate", "2026-01-10"), lock("1")],
            "2026-01-10",
            Some("2026-01-10T23:59:59Z"),
            true,
        ),
        (
            E1,
            vec![
                ("accessDate", " 2026-01-10T09:00:00.000Z "),
                ("dueDateType", " due_period\n"),
                ("duePeriod", " 24 "),
                lock(" 0 "),
            ],
            "2026-01-10",
            Some("2026-01-11T09:00:00Z"),
            false,
        ),
        // Fields that the type does not use are not looked at.
        (
            E1,
            vec![day, unlimited, ("dueDate", "garbage"), ("duePeriod", "-5"), lock("yes")],
            "2026-01-10",
            None,
            false,
        ),
        (
            E1,
            vec![midnight, default, ("dueDate", "<deep>1</deep>"), lock("0")],
            "2026-01-10",
            Some("2026-01-12T00:00:00Z"),
            true,
        ),
        (
            E1,
            vec![day, date, ("dueDate", "2026-02-01"), ("duePeriod", "x"), lock("0")],
            "2026-01-10",
            Some("2026-02-01T23:59:59Z"),
            false,
        ),
        // Access and due date at the same moment; both long past.
        (
            E1,
            vec![
                ("accessDate", "2001-01-01 08:00"),
                date,
                ("dueDate", "2001-01-01 08:00"),
                lock("1"),
            ],
            "2001-01-01",
            Some("2001-01-01T08:00:00Z"),
            true,
        ),
        (
            E1,
            vec![day, period, ("duePeriod", "876000"), lock("1")],
            "2026-01-10",
            Some("2125-12-17T00:00:00Z"),
            true,
        ),
        (E1, vec![("foo", "1"), day, ("foo", "2"), unlimited], "2026-01-10", None, false),
        (E1, vec![("accessDate", "<![CDATA[2026-01-10]]>"), unlimited], "2026-01-10", None, false),
    ]
}

async fn schedules(server: Server) {
    for (id, fields, access, expected, is_locked) in accepted_schedules() {
        let body = x(&fields);
        assert_edited(&post(&server, "OWN", id, &body).send().await);
        let enrollment = read(&server, id).await;
        assert_eq!(enrollment["accessDate"], access, "{body}");
        assert_eq!(due(&server, id).await.as_deref(), expected, "{body}");
        let day = expected.map_or(Value::Null, |at| at[..10].into());
        assert_eq!(enrollment["dueDate"], day, "{body}");
        let expiration = if is_locked { day } else { Value::Null };
        assert_eq!(enrollment["expirationDate"], expiration, "{body}");
        assert_eq!(enrollment["shouldLockAfterDueDate"], is_locked, "{body}");
    }
    for body in [
        "<ChangeEnrollment><dueDateType>unlimited</dueDateType></ChangeEnrollment>",
        "<n:request xmlns:n='u' n:k='v'><n:dueDateType>unlimited</n:dueDateType></n:request>",
        "\u{feff}<?xml version=\"1.0\"?><!-- c --><r><dueDateType><!-- c -->unlimited</dueDateType></r>",
    ] {
        assert_edited(&post(&server, "OWN", E1, body).send().await);
    }
}

async fn refused_schedules(server: Server) {
    let before = get(&server, "OWN", E1).send().await;
    let day = ("accessDate", "2026-01-10");
    let date = ("dueDateType", "due_date");
    let period = ("dueDateType", "due_period");
    let unlimited = ("dueDateType", "unlimited");
    let due = ("dueDate", "2026-02-01");
    let lock = ("lockAfterDueDate", "true");
    let mut cases = vec![
        vec![day, date, lock],
        vec![day, date, ("dueDate", ""), lock],
        vec![day, date, due],
        vec![day, date, due, ("lockAfterDueDate", "")],
        vec![day, period, lock],
        vec![day, period, ("duePeriod", ""), lock],
        vec![day, period, ("duePeriod", "72")],
        vec![],
        vec![day],
        vec![day, ("dueDateType", "")],
        vec![day, ("dueDateType", "weekly")],
        vec![day, ("dueDateType", "UNLIMITED")],
        vec![day, ("dueDateType", "unlimited due_date")],
        vec![("accessDate", "2026-02-01"), date, ("dueDate", "2026-01-31"), lock],
        vec![("accessDate", "2026-02-01 10:00:01"), date, ("dueDate", "2026-02-01 10:00"), lock],
        vec![("accessDate", "9999-12-01"), period, ("duePeriod", "876000"), lock],
        vec![day, unlimited, unlimited],
        vec![day, day, unlimited],
        vec![day, unlimited, ("duePeriod", "0"), ("duePeriod", "0")],
        vec![day, ("dueDateType", "<b>unlimited</b>")],
        vec![("accessDate", "2026-01-10<b/>"), unlimited],
    ];
    for access in [
        "26.09.2019",
        "2019-13-40",
        "2019-02-29",
        "2019-09-26 25:00:00",
        "1969-12-31",
        "10000-01-01",
        "0",
        "null",
        "now",
    ] {
        cases.push(vec![("accessDate", access), unlimited]);
        cases.push(vec![day, date, ("dueDate", access), lock]);
    }
    for hours in ["0", "-1", "1.5", "abc", "1e2", "+1", "876001", "99999999999999999999"] {
        cases.push(vec![day, period, ("duePeriod", hours), lock]);
    }
    for locked in ["yes", "T", "2", "on", "-0"] {
        cases.push(vec![day, date, due, ("lockAfterDueDate", locked)]);
    }
    for fields in cases {
        let body = x(&fields);
        let reply = post(&server, "OWN", E1, &body).send().await;
        assert_eq!(reply.status, 400, "{body}");
        assert_wrong(&reply);
    }
    let after = get(&server, "OWN", E1).send().await;
    assert_eq!(after.text(), before.text());
    assert_eq!(after.version(), "1");
}

/// As Python writes what is nearly right, which its author sees nothing wrong with.
async fn what_is_nearly_right_is_refused_in_words(server: Server) {
    let before = get(&server, "OWN", E1).send().await.text();
    let fields = |period: &str, lock: &str| {
        x(&[("dueDateType", "due_period"), ("duePeriod", period), ("lockAfterDueDate", lock)])
    };
    let lock = "lockAfterDueDate must be true, false, 1 or 0, in lower case";
    let period = "duePeriod must be a whole number, without a fraction";
    for (body, words) in [
        (fields("24", "True"), lock),
        (fields("24", "False"), lock),
        (fields("24", "TRUE"), lock),
        (fields("24.0", "true"), period),
        (fields("24.", "true"), period),
        (fields("24.00", "True"), period),
    ] {
        let reply = post(&server, "OWN", E1, &body).send().await;
        let details = format!("<details>{words}</details></response>");
        assert!(reply.text().ends_with(&details), "{body}: {}", reply.text());
        assert!(reply.text().contains("<code>400</code><message>Wrong parameters</message>"));
        let json = post(&server, "OWN", E1, &body).header("accept", "application/json");
        let expected = json!({"code": 400, "message": "Wrong parameters", "details": words});
        let reply = json.send().await;
        assert_eq!((reply.status, reply.json()), (400, expected), "{body}");
    }
    assert_eq!(get(&server, "OWN", E1).send().await.text(), before);
}

/// The last day that there is, where it ends after the calendar has ended in UTC.
async fn the_last_day_is_one_west_of_greenwich_too(server: Server) {
    let last = |day: &str| {
        let (day, lock) = (("dueDate", day), ("lockAfterDueDate", "true"));
        x(&[("accessDate", "9999-12-31"), ("dueDateType", "due_date"), day, lock])
    };
    for zone in ["America/New_York", "America/Sao_Paulo", "Asia/Seoul", "UTC"] {
        set(&server, Kind::Account, 3, json!({"time_zone": zone})).await;
        for day in ["9999-12-31", "9999-12-31 23:59", "9999-12-31T23:59:59"] {
            assert_edited(&post(&server, "OWN", E1, &last(day)).send().await);
            let enrollment = read(&server, E1).await;
            assert_eq!(enrollment["dueDate"], "9999-12-31", "{zone} {day}");
            assert_eq!(enrollment["accessDate"], "9999-12-31", "{zone} {day}");
        }
        // Who says where, says when.
        let reply = post(&server, "OWN", E1, &last("9999-12-31T23:59:59-05:00")).send().await;
        assert_wrong(&reply);
    }
}

async fn json_bodies(server: Server) {
    let send = |body: &str| {
        server
            .request("POST", &format!("/enrollment/{E1}"))
            .header("authorization", token("OWN"))
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(body.to_owned())
            .send()
    };
    for (body, expected) in [
        (
            r#"{"accessDate":"2026-01-10T09:00:00.000Z","dueDateType":"due_period","duePeriod":"24","lockAfterDueDate":1}"#,
            Some("2026-01-11T09:00:00Z"),
        ),
        (
            r#"{"accessDate":"2019-09-26 10:30:00","dueDateType":"due_period","duePeriod":72,"lockAfterDueDate":true}"#,
            Some("2019-09-29T10:30:00Z"),
        ),
        (
            r#"{"accessDate":"2026-01-10","dueDateType":"due_date","dueDate":"2026-02-01","lockAfterDueDate":"false","x":{"y":[null]}}"#,
            Some("2026-02-01T23:59:59Z"),
        ),
        (r#"{"accessDate":null,"dueDateType":"unlimited","duePeriod":1e30}"#, None),
        (r#"{"accessDate":"","dueDateType":"unlimited","dueDate":[]}"#, None),
        (r#"{"dueDateType":"unlimited"}"#, None),
    ] {
        assert_edited(&send(body).await);
        assert_eq!(due(&server, E1).await.as_deref(), expected, "{body}");
    }
    assert_eq!(read(&server, E1).await["accessDate"], "2026-04-23");
    let version = get(&server, "OWN", E1).send().await.header("etag").to_owned();
    let period = |hours: &str| {
        format!(r#"{{"dueDateType":"due_period","duePeriod":{hours},"lockAfterDueDate":true}}"#)
    };
    let locked = |lock: &str| {
        format!(r#"{{"dueDateType":"due_period","duePeriod":1,"lockAfterDueDate":{lock}}}"#)
    };
    let mut bodies = vec![
        "{}".to_owned(),
        r#"{"dueDateType":null}"#.to_owned(),
        r#"{"dueDateType":1}"#.to_owned(),
        r#"{"dueDateType":["unlimited"]}"#.to_owned(),
        r#"{"dueDateType":"unlimited","dueDateType":"unlimited"}"#.to_owned(),
        r#"{"dueDateType":"unlimited","duedate":1,"dueDateTyp\u0065":"unlimited"}"#.to_owned(),
        r#"{"dueDateType":"unlimited","accessDate":20260110}"#.to_owned(),
        r#"{"dueDateType":"unlimited","accessDate":true}"#.to_owned(),
        r#"{"dueDateType":"unlimited","accessDate":{}}"#.to_owned(),
        r#"{"dueDateType":"unlimited\u0000"}"#.to_owned(),
        r#"{"dueDateType":"unlimited","x":1e999}"#.to_owned(),
    ];
    bodies.extend(
        ["0", "-1", "1.5", "24.1", "1e-2", "true", "null", "[1]", "{}", "99999999999999999999"]
            .map(period),
    );
    bodies.extend(["null", "\"yes\"", "2", "1.5", "[]"].map(locked));
    for body in bodies {
        let reply = send(&body).await;
        assert_eq!(reply.status, 400, "{body}");
        assert_eq!(reply.text(), r#"{"code":400,"message":"Wrong parameters"}"#);
        assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    }
    assert_eq!(get(&server, "OWN", E1).send().await.header("etag"), version);
}

async fn course_defaults(server: Server) {
    let body = x(&[("accessDate", "2026-01-10 00:00:00"), ("dueDateType", "default")]);
    assert_edited(&post(&server, "OWN", E1, &body).send().await);
    let before = get(&server, "OWN", E1).send().await;
    for (course, expected, is_locked) in [
        (json!({}), Some("2026-01-12T00:00:00Z"), true),
        (json!({"default_due_period_h": 24}), Some("2026-01-11T00:00:00Z"), true),
        (json!({"default_lock_after_due": false}), Some("2026-01-11T00:00:00Z"), false),
        (
            json!({"default_due_type": "due_date", "default_due_date": "2026-03-01T00:00:00Z"}),
            Some("2026-03-01T00:00:00Z"),
            false,
        ),
        (json!({"default_due_type": "unlimited", "default_lock_after_due": true}), None, false),
        (json!({"default_due_type": null}), None, false),
    ] {
        set(&server, Kind::Course, 301, course.clone()).await;
        assert_eq!(due(&server, E1).await.as_deref(), expected, "{course}");
        let enrollment = read(&server, E1).await;
        let day = expected.map_or(Value::Null, |at| at[..10].into());
        assert_eq!(enrollment["dueDate"], day, "{course}");
        assert_eq!(enrollment["shouldLockAfterDueDate"], is_locked, "{course}");
    }
    // It is the same enrollment, and looks different.
    let after = get(&server, "OWN", E1).send().await;
    assert_eq!(after.version(), before.version());
    assert_ne!(after.header("etag"), before.header("etag"));
}

async fn time_zones(server: Server) {
    set(&server, Kind::Account, 3, json!({"time_zone": "Asia/Seoul"})).await;
    let body = x(&[
        ("accessDate", "2026-01-10"),
        ("dueDateType", "due_date"),
        ("dueDate", "2026-01-10"),
        ("lockAfterDueDate", "1"),
    ]);
    assert_edited(&post(&server, "OWN", E1, &body).send().await);
    let stored = server.app.store.read(|facts| facts.get::<Enrollment>(3, E1));
    let stored = stored.await.unwrap().record;
    assert_eq!(stored.access_date.to_string(), "2026-01-09T15:00:00Z");
    assert_eq!(stored.due_date.unwrap().to_string(), "2026-01-10T14:59:59Z");
    let enrollment = read(&server, E1).await;
    assert_eq!(enrollment["accessDate"], "2026-01-10");
    assert_eq!(enrollment["dueDate"], "2026-01-10");
    // An offset of its own wins over the zone; the answer is in the zone all the same.
    let body = x(&[("accessDate", "2026-01-10T20:00:00Z"), ("dueDateType", "unlimited")]);
    assert_edited(&post(&server, "OWN", E1, &body).send().await);
    assert_eq!(read(&server, E1).await["accessDate"], "2026-01-11");
}

async fn certificates(server: Server) {
    let certificate = json!({
        "id": "5f0c2b9e-0000-4000-8000-0000000000f1",
        "issued_at": "2022-07-15T07:19:00Z",
        "expires_at": null,
    });
    let fields = json!({"certificate": certificate, "is_from_catalog": true});
    set(&server, Kind::Enrollment, E1, fields).await;
    // An edit of the schedule leaves it alone.
    assert_edited(&post(&server, "OWN", E1, DOCUMENTED).send().await);
    let enrollment = read(&server, E1).await;
    assert_eq!(
        enrollment["certificate"],
        json!({
            "issuedCertificateId": "5f0c2b9e-0000-4000-8000-0000000000f1",
            "issueDate": "2022-07-15T07:19:00+00:00",
        })
    );
    assert_eq!(enrollment["enrollmentTypeGroup"], 1);
    let xml = get(&server, "OWN", E1).send().await.text();
    assert!(
        xml.contains("<issueDate>2022-07-15T07:19:00+00:00</issueDate></certificate>"),
        "{xml}"
    );
}

/// An enrollment names a course and a learner of its own account, whoever makes it.
async fn references(server: Server) {
    for (course_id, person_id, broken) in [
        (301, 302, &[][..]),
        (303, 302, &["course_id"]),
        (301, 304, &["person_id"]),
        (999, 999, &["course_id", "person_id"]),
    ] {
        let record = Enrollment { course_id, person_id, ..Enrollment::default() };
        let envelope = Envelope::new(Actor::operator(3), "test");
        let fields = match server.app.pipeline.run(Create::new(record), envelope).await {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(errors)) => errors.iter().map(|error| error.field).collect(),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(fields, broken, "{course_id} {person_id}");
    }
}
