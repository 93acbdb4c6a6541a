//! What the vendor's own backend answered of students, enrollments, courses, models and sign-in.

use serde_json::{Value, json};

use haksa::domain::people::person::Person;
use haksa::domain::teaching::class::Class;
use haksa::domain::teaching::invite_code::InviteCode;
use haksa::domain::teaching::partner::Partner;
use haksa::domain::teaching::student::Student;

use super::join::{get, post, redeem};
use super::{COURSES, OTHER_TOKEN, TOKEN, assert_detail, edit, read};
use crate::support::command::make;
use crate::support::{Reply, Server, on_both_stores};

const STUDENT: &str = "demo-student-token";
const USER: &str = "demo-user-token";

on_both_stores!(
    of_students,
    of_a_students_patch,
    of_lists_of_enrollments,
    of_new_enrollments,
    of_an_enrollments_patch,
    of_ones_own_classes,
    of_courses,
    of_who_is_asked,
);

/// A student in the class 11, and what the enrollment was answered as.
async fn joined(server: &Server) -> Value {
    let reply = redeem(server, STUDENT, "ABC234").send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    reply.json()
}

async fn patch(server: &Server, target: &str, body: &Value) -> Reply {
    server.request("PATCH", target).bearer(TOKEN).json(body).send().await
}

/// The faults of a 422: type, place and the value.
fn faults(reply: &Reply) -> Vec<(String, String, Value)> {
    assert_eq!(reply.status, 422, "{}", reply.text());
    let items = reply.json()["detail"].as_array().unwrap().clone();
    let words = |item: &Value| item["type"].as_str().unwrap().to_owned();
    let place = |item: &Value| {
        let parts = item["loc"].as_array().unwrap();
        parts.iter().map(|p| p.as_str().unwrap()).collect::<Vec<_>>().join(".")
    };
    items.iter().map(|item| (words(item), place(item), item["input"].clone())).collect()
}

fn fault(kind: &str, place: &str, input: Value) -> (String, String, Value) {
    (kind.to_owned(), place.to_owned(), input)
}

async fn of_students(server: Server) {
    let id = joined(&server).await["student_id"].clone();
    let students = "/partner/7/student";
    for missing in ["0", "-1", "99999999999999999999"] {
        let reply = get(&server, TOKEN, &format!("{students}/{missing}")).await;
        assert_detail(&reply, 404, "student not found");
    }
    let words = get(&server, TOKEN, &format!("{students}/abc")).await;
    assert_eq!(faults(&words), [fault("int_parsing", "path.student_id", json!("abc"))]);
    let words = get(&server, TOKEN, &format!("{students}/enrollments")).await;
    assert_eq!(faults(&words), [fault("int_parsing", "path.student_id", json!("enrollments"))]);
    let reply = get(&server, TOKEN, &format!("{students}/enrollments/41")).await;
    assert_detail(&reply, 405, "Method Not Allowed");
    assert!(reply.header("allow").contains("PATCH"));
    let reply = get(&server, TOKEN, students).await;
    assert_eq!(
        reply.text(),
        format!(
            r#"[{{"id":{id},"partner_id":7,"full_name":"최하준","email":"hajun@example.com","status":"active","joined_at":"2026-04-23T09:15:30Z","primary_contact":null,"notes":null,"user_id":91}}]"#
        )
    );
    let all = reply.json();
    assert_eq!(read(&server, &format!("{students}?status=")).await, all);
    for none in ["bogus", "Active"] {
        assert_eq!(read(&server, &format!("{students}?status={none}")).await, json!([]));
    }
    let many = get(&server, TOKEN, &format!("{students}?limit=501")).await;
    assert_eq!(many.json()["detail"][0]["ctx"], json!({"le": 500}));
    assert_eq!(faults(&many), [fault("less_than_equal", "query.limit", json!("501"))]);
    assert_detail(&post(&server, students, &json!({})).send().await, 405, "Method Not Allowed");
    let one = format!("{students}/{id}");
    let archive = server.request("POST", &format!("{one}/archive")).bearer(TOKEN).body("{bad");
    for _ in 0..2 {
        assert_eq!(archive.clone().send().await.json()["status"], "archived");
    }
    let off = server.request("POST", &format!("{one}/deactivate")).bearer(TOKEN).send().await;
    assert_eq!(off.json()["status"], "inactive", "from any status");
    // One who is archived is let in, and stays archived.
    assert_eq!(patch(&server, &one, &json!({"status": "archived"})).await.status, 200);
    let again = post(&server, "/partner/7/classes", &json!({"name": "b"})).send().await.json();
    let code = again["invite_codes"][0]["code"].as_str().unwrap();
    assert_eq!(redeem(&server, STUDENT, code).send().await.json()["student_id"], id);
    assert_eq!(read(&server, &one).await["status"], "archived");
    server.assert_sound().await;
}

async fn of_a_students_patch(server: Server) {
    let id = joined(&server).await["student_id"].clone();
    let one = format!("/partner/7/student/{id}");
    let reply = patch(&server, &one, &json!({"email": "bad"})).await;
    assert_eq!(
        reply.text(),
        r#"{"detail":[{"type":"value_error","loc":["body","email"],"msg":"value is not a valid email address: An email address must have an @-sign.","input":"bad","ctx":{"reason":"An email address must have an @-sign."}}]}"#
    );
    assert_eq!((reply.status, reply.body.len()), (422, 211));
    for (sent, kept) in [
        (json!("A@Example.COM"), json!("A@example.com")),
        (json!(" a@b.co "), json!("a@b.co")),
        (json!("Kim <a@b.co>"), json!("a@b.co")),
        (json!("😀@xn--bj0bj06e.xn--3e0b707e"), json!("😀@한글.한국")),
        (json!("a".repeat(240) + "@b.co"), json!("a".repeat(240) + "@b.co")),
        (Value::Null, Value::Null),
    ] {
        let reply = patch(&server, &one, &json!({"email": sent})).await;
        assert_eq!((reply.status, &reply.json()["email"]), (200, &kept), "{}", reply.text());
    }
    for bad in ["", "a@b", "a\u{0}@b.co", "a@x.local"] {
        let reply = patch(&server, &one, &json!({"email": bad})).await;
        assert_eq!(faults(&reply), [fault("value_error", "body.email", json!(bad))]);
    }
    let before = read(&server, &one).await;
    for body in [json!({}), json!({"zzz": 1})] {
        let reply = patch(&server, &one, &body).await;
        assert_eq!((reply.status, reply.json()), (200, before.clone()));
    }
    let body = json!({"status": "x", "email": "bad", "full_name": 1, "user_id": "x"});
    assert_eq!(
        faults(&patch(&server, &one, &body).await),
        [
            fault("string_type", "body.full_name", json!(1)),
            fault("value_error", "body.email", json!("bad")),
            fault("enum", "body.status", json!("x")),
            fault("int_parsing", "body.user_id", json!("x")),
        ]
    );
}

async fn of_lists_of_enrollments(server: Server) {
    let made = joined(&server).await;
    let target = format!("/partner/7/student/{}/enrollments", made["student_id"]);
    for query in ["", "?limit=500", "?status="] {
        assert_eq!(read(&server, &format!("{target}{query}")).await, json!([made]));
    }
    assert_eq!(read(&server, &format!("{target}?status=bogus")).await, json!([]));
    let many = get(&server, TOKEN, &format!("{target}?limit=501")).await;
    assert_eq!(many.json()["detail"][0]["ctx"], json!({"le": 500}));
    let members = "/partner/7/classes/11/enrollments";
    assert_eq!(read(&server, &format!("{members}?status=bogus")).await["total"], 0);
    assert_eq!(read(&server, &format!("{members}?status=active")).await["total"], 1);
    for (method, target) in [
        ("PATCH", "/partner/7/student/enrollments/0"),
        ("DELETE", "/partner/7/student/enrollments/0"),
        ("POST", "/partner/7/student/enrollments/0/complete"),
        ("POST", "/partner/7/student/enrollments/-1/drop"),
    ] {
        let reply = server.request(method, target).bearer(TOKEN).body("{}").send().await;
        assert_detail(&reply, 404, "enrollment not found");
    }
    let leave = server.request("DELETE", "/user/class/enrollments/-1").bearer(STUDENT);
    assert_detail(&leave.send().await, 404, "enrollment not found");
}

async fn of_new_enrollments(server: Server) {
    let made = joined(&server).await;
    let target = format!("/partner/7/student/{}/enrollments", made["student_id"]);
    let enroll = |body: Value| post(&server, &target, &body).send();
    let body = json!({"class_id": 11});
    let reply = enroll(body.clone()).await;
    assert_eq!(faults(&reply), [fault("missing", "body.student_id", body)]);
    let reply = enroll(json!({"class_id": null, "student_id": null})).await;
    assert_eq!(
        faults(&reply),
        [
            fault("int_type", "body.class_id", Value::Null),
            fault("int_type", "body.student_id", Value::Null),
        ]
    );
    let body = json!({"completed_at": [], "enrolled_at": "x", "class_id": 11, "student_id": 1});
    assert_eq!(
        faults(&enroll(body).await),
        [
            fault("datetime_from_date_parsing", "body.enrolled_at", json!("x")),
            fault("datetime_type", "body.completed_at", json!([])),
        ]
    );
    // What is there is answered, whatever else was sent.
    let body =
        json!({"class_id": 11, "student_id": 999, "invite_code_id": 22, "status": "dropped"});
    let reply = enroll(body).await;
    assert_eq!((reply.status, reply.json()), (201, made));
    let class = post(&server, "/partner/7/classes", &json!({"name": "b"})).send().await.json();
    let body = json!({
        "class_id": class["id"], "student_id": 0, "status": "completed",
        "enrolled_at": "2026-01-01", "completed_at": "2026-01-02",
    });
    let made = enroll(body).await.json();
    assert_eq!(made["enrolled_at"], "2026-04-23T09:15:30Z", "now");
    assert_eq!((&made["status"], &made["completed_at"]), (&json!("completed"), &Value::Null));
    server.assert_sound().await;
}

async fn of_an_enrollments_patch(server: Server) {
    let made = joined(&server).await;
    let one = format!("/partner/7/student/enrollments/{}", made["id"]);
    let complete = async || {
        let reply = server.request("POST", &format!("{one}/complete")).bearer(TOKEN).send().await;
        assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("completed")));
        reply.json()["completed_at"].clone()
    };
    let first = complete().await;
    server.clock.advance(jiff::SignedDuration::from_secs(1));
    assert_ne!(complete().await, first, "anew on every call");
    for body in [json!({"completed_at": null}), json!({"status": "completed"})] {
        let reply = patch(&server, &one, &body).await.json();
        assert_eq!((&reply["status"], &reply["completed_at"]), (&json!("completed"), &Value::Null));
    }
    let reply = patch(&server, &one, &json!({"invite_code_id": null})).await.json();
    assert_eq!(reply["invite_code_id"], Value::Null);
    let body = json!({"enrolled_at": "2026-01-01T09:00:00+09:00"});
    let reply = patch(&server, &one, &body).await.json();
    assert_eq!(reply["enrolled_at"], "2026-01-01T00:00:00Z");
    let body = json!({"completed_at": "x", "class_id": "x", "enrolled_at": "x"});
    assert_eq!(
        faults(&patch(&server, &one, &body).await),
        [
            fault("int_parsing", "body.class_id", json!("x")),
            fault("datetime_from_date_parsing", "body.enrolled_at", json!("x")),
            fault("datetime_from_date_parsing", "body.completed_at", json!("x")),
        ]
    );
    let early = patch(&server, &one, &json!({"completed_at": "2001-01-01"})).await;
    assert_detail(&early, 400, "completed_at_before_enrolled_at");
    let before = read(&server, "/partner/7/classes/11/enrollments").await;
    for body in [
        json!({"status": null}),
        json!({}),
        json!({"class_id": null, "student_id": null, "enrolled_at": null}),
    ] {
        assert_eq!(patch(&server, &one, &body).await.status, 200);
        assert_eq!(read(&server, "/partner/7/classes/11/enrollments").await, before, "{body}");
    }
    // To another class, another student, by another code: the partner's own.
    let class = post(&server, "/partner/7/classes", &json!({"name": "b", "capacity": 0}));
    let class = class.send().await.json();
    for (body, status, detail) in [
        (json!({"class_id": 12}), 404, "Class not found"),
        (json!({"class_id": 0}), 404, "Class not found"),
        (json!({"class_id": "99999999999999999999"}), 404, "Class not found"),
        (json!({"student_id": 999, "completed_at": "2001-01-01"}), 404, "student not found"),
        (json!({"class_id": 12, "student_id": 999}), 404, "Class not found"),
        (json!({"invite_code_id": 22}), 400, "invite_code_not_found"),
        (json!({"invite_code_id": 999}), 400, "invite_code_not_found"),
        (json!({"class_id": class["id"], "status": "active"}), 400, "class_full"),
    ] {
        assert_detail(&patch(&server, &one, &body).await, status, detail);
    }
    let [class_id, student_id, invite_code_id] = of_a_colleague(&server).await;
    for (body, status, detail) in [
        (json!({"class_id": class_id}), 404, "Class not found"),
        (json!({"student_id": student_id}), 404, "student not found"),
        (json!({"invite_code_id": invite_code_id}), 400, "invite_code_not_found"),
    ] {
        assert_detail(&patch(&server, &one, &body).await, status, detail);
    }
    let code = class["invite_codes"][0]["id"].clone();
    let body = json!({"class_id": class["id"], "invite_code_id": code});
    let moved = patch(&server, &one, &body).await;
    assert_eq!((moved.status, &moved.json()["class_id"]), (200, &class["id"]), "{}", moved.text());
    assert_eq!(moved.json()["status"], "completed", "who is not active takes no place");
    // Back in by the code, beside it: and then one of the two cannot be where the other is.
    let again = joined(&server).await;
    assert_ne!(again["id"], made["id"]);
    let reply = patch(&server, &one, &json!({"class_id": 11})).await;
    assert_detail(&reply, 409, "already enrolled");
    // A code that goes with its class leaves an enrollment of another class behind.
    let body = json!({"invite_code_id": code});
    let other = format!("/partner/7/student/enrollments/{}", again["id"]);
    assert_eq!(patch(&server, &other, &body).await.json()["invite_code_id"], code);
    let target = format!("/partner/7/classes/{}", class["id"]);
    let gone = server.request("DELETE", &target).bearer(TOKEN).send().await;
    assert_eq!(gone.status, 204);
    let left = read(&server, "/partner/7/classes/11/enrollments").await;
    assert_eq!((&left["total"], &left["items"][0]["invite_code_id"]), (&json!(1), &Value::Null));
    server.assert_sound().await;
}

/// Class, student and code of another partner of the same organisation.
async fn of_a_colleague(server: &Server) -> [i64; 3] {
    let person_id = make(server, Person { name: "동료".to_owned(), ..Person::default() }).await;
    let partner = Partner {
        person_id: person_id.as_int().unwrap(),
        full_name: "동료".to_owned(),
        role: "partner".to_owned(),
        is_active: true,
    };
    let partner_id = make(server, partner).await.as_int().unwrap();
    let (name, timezone) = ("c".to_owned(), "UTC".to_owned());
    let class = make(server, Class { partner_id, name, timezone, ..Class::default() }).await;
    let class_id = class.as_int().unwrap();
    let full_name = "s".to_owned();
    let student = make(server, Student { partner_id, full_name, ..Student::default() }).await;
    let code = make(server, InviteCode::new(partner_id, class_id, "XYZ789")).await;
    [class_id, student.as_int().unwrap(), code.as_int().unwrap()]
}

async fn of_ones_own_classes(server: Server) {
    joined(&server).await;
    let mine = get(&server, STUDENT, "/user/classes").await.json();
    let item = &mine["items"][0];
    assert_eq!((&item["course_title"], &item["org_name"]), (&Value::Null, &Value::Null));
    assert_eq!(item["teacher_name"], "이도윤");
    assert_eq!(edit(&server, &json!({"course_id": 5})).send().await.status, 200);
    let mine = get(&server, STUDENT, "/user/classes").await.json();
    let item = &mine["items"][0];
    assert_eq!(item["course_title"], "AI 입문");
    assert!(item["org_name"].is_string());
    for status in ["bogus", ""] {
        let reply = get(&server, STUDENT, &format!("/user/classes?status={status}")).await;
        assert_eq!(faults(&reply), [fault("enum", "query.status", json!(status))]);
        let four = "'active', 'inactive', 'completed' or 'dropped'";
        assert_eq!(reply.json()["detail"][0]["ctx"]["expected"], four);
    }
    let page = async |token: &str| {
        let page = get(&server, token, "/user/classes?limit=10&offset=30").await.json();
        (page["items"].clone(), page["total"].clone(), page["page"].clone(), page["size"].clone())
    };
    assert_eq!(page(USER).await, (json!([]), json!(0), json!(1), json!(10)), "nobody's student");
    assert_eq!(page(STUDENT).await, (json!([]), json!(1), json!(4), json!(10)));
}

async fn of_courses(server: Server) {
    let day = |start: Value, key: &str| {
        let body = json!({"title": "t", "course_key": key, "start_date": start});
        async { post(&server, COURSES, &{ body }).send().await }
    };
    let made = day(json!("2026-03-01T00:00:00+09:00"), "k").await;
    assert_eq!((made.status, &made.json()["start_date"]), (201, &json!("2026-03-01")));
    for (start, kind) in [
        (json!("20260301"), "date_from_datetime_inexact"),
        (json!("0000-01-01"), "date_parsing"),
        (json!(true), "date_type"),
        (json!("x"), "date_from_datetime_parsing"),
    ] {
        let reply = day(start.clone(), "l").await;
        assert_eq!(faults(&reply), [fault(kind, "body.start_date", start)]);
    }
    let reply = post(&server, COURSES, &json!({"title": null, "status": null})).send().await;
    assert_eq!(
        faults(&reply),
        [
            fault("string_type", "body.title", Value::Null),
            fault("missing", "body.course_key", json!({"title": null, "status": null})),
        ]
    );
}

async fn of_who_is_asked(server: Server) {
    let partner = |input: &str| fault("int_parsing", "path.partner_id", json!(input));
    let below = |name: &str| fault("greater_than_equal", &format!("path.{name}"), json!("0"));
    for (method, target, expected) in [
        ("GET", "/partner/abc/course", vec![partner("abc")]),
        ("GET", "/partner/abc/course/0", vec![partner("abc"), below("course_id")]),
        ("PATCH", "/partner/abc/course/0", vec![partner("abc"), below("course_id")]),
        ("DELETE", "/partner/1.5/course/5", vec![partner("1.5")]),
        ("GET", "/partner/abc/student", vec![partner("abc"); 2]),
        ("DELETE", "/partner/abc/student/0", vec![partner("abc"); 2]),
        ("POST", "/partner/abc/student/enrollments/0/drop", vec![partner("abc"); 2]),
        ("GET", "/partner/abc/catalog/models", vec![partner("abc"); 2]),
        ("GET", "/partner/abc/classes/0", vec![partner("abc"), partner("abc"), below("class_id")]),
    ] {
        for token in [TOKEN, OTHER_TOKEN, USER] {
            let reply = server.request(method, target).bearer(token).body("{}").send().await;
            assert_eq!(faults(&reply), expected, "{method} {target}");
        }
    }
    let login =
        |body: Value| async { server.request("POST", "/user/login").json(&{ body }).send().await };
    let reply = login(json!({"email": "bad", "password": 1})).await;
    assert_eq!(
        faults(&reply),
        [
            fault("value_error", "body.email", json!("bad")),
            fault("string_type", "body.password", json!(1)),
        ]
    );
    let reply = login(json!({})).await;
    assert_eq!(
        faults(&reply),
        [fault("missing", "body.email", json!({})), fault("missing", "body.password", json!({}))]
    );
    for email in [" doyun@example.com ", "DOYUN@EXAMPLE.COM", "이도윤 <doyun@example.com>"] {
        let right = json!({"email": email, "password": "demo-partner-password"});
        assert_eq!(login(right).await.status, 200, "{email}");
        for password in ["", "demo-guess\u{0}"] {
            let wrong = login(json!({"email": email, "password": password})).await;
            assert_detail(&wrong, 401, "invalid credentials");
        }
    }
}
