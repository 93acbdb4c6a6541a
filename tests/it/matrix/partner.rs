//! Classes, with null as the vendor means it and as a merge patch does.

use serde_json::{Value, json};

use super::Outcome::{Becomes, Kept, Refused};
use super::{Edit, Field, Outcome, Sender, run};
use crate::support::{Request, Server, on_both_stores};

on_both_stores!(classes, classes_by_merge_patch, invite_codes, students, memberships);

fn class_base() -> Value {
    json!({
        "name": "처음", "status": "active", "description": "d", "start_at": "2026-03-02T00:00:00Z",
        "end_at": "2026-06-30T00:00:00Z", "capacity": 30, "timezone": "Asia/Seoul",
        "location": "l", "online_url": "https://example.com", "invite_only": true, "course_id": 5,
        "primary_model_id": 2, "allowed_model_ids": [2, 1],
    })
}

/// `cleared`: what null makes of a field that has a default or a rule of its own.
fn class_fields(null: impl Fn(Value) -> Outcome) -> Vec<Field> {
    let empty = || null(Value::Null);
    let instant = || (json!("2026-05-02T09:30:00+09:00"), Becomes(json!("2026-05-02T00:30:00Z")));
    vec![
        Field::new(
            "/name",
            "name",
            Kept,
            match null(Value::Null) {
                Kept => Kept,
                _ => Refused,
            },
            (json!("저녁반"), Becomes(json!("저녁반"))),
            json!(7),
        ),
        Field::new(
            "/status",
            "status",
            Kept,
            null(json!("planned")),
            (json!("ended"), Becomes(json!("ended"))),
            json!("over"),
        ),
        Field::new(
            "/description",
            "description",
            Kept,
            empty(),
            (json!("설명"), Becomes(json!("설명"))),
            json!({}),
        ),
        Field::new("/start_at", "start_at", Kept, empty(), instant(), json!("soon")),
        Field::new("/end_at", "end_at", Kept, empty(), instant(), json!([])),
        Field::new(
            "/capacity",
            "capacity",
            Kept,
            empty(),
            (json!(5), Becomes(json!(5))),
            json!(1.5),
        ),
        Field::new(
            "/timezone",
            "timezone",
            Kept,
            null(json!("UTC")),
            (json!("Asia/Tokyo"), Becomes(json!("Asia/Tokyo"))),
            json!(9),
        ),
        Field::new(
            "/location",
            "location",
            Kept,
            empty(),
            (json!("3층"), Becomes(json!("3층"))),
            json!(true),
        ),
        Field::new(
            "/online_url",
            "online_url",
            Kept,
            empty(),
            (json!("https://b.example"), Becomes(json!("https://b.example"))),
            json!("javascript:alert(1)"),
        ),
        Field::new(
            "/invite_only",
            "invite_only",
            Kept,
            null(json!(false)),
            (json!(false), Becomes(json!(false))),
            json!("maybe"),
        ),
        Field::new(
            "/course_id",
            "course_id",
            Kept,
            empty(),
            // Course 6 is another account's; there is but one of one's own.
            (json!(5), Kept),
            json!(6),
        ),
        Field::new(
            "/primary_model_id",
            "primary_model_id",
            Kept,
            // Without one, the first of the list is it, which it was.
            Kept,
            (json!(1), Becomes(json!(1))),
            json!("x"),
        ),
        Field::new(
            "/allowed_model_ids",
            "allowed_model_ids",
            Kept,
            null(json!([2])),
            (json!([1, 2, 3]), Becomes(json!([1, 2, 3]))),
            json!([99]),
        ),
    ]
}

fn class_edit(dialect: &'static str, allowed: Sender, fields: Vec<Field>) -> Edit {
    fn by(server: &Server, token: &str, body: &Value) -> Request {
        server.request("PATCH", "/partner/7/classes/11").bearer(token).json(body)
    }
    Edit {
        dialect,
        record: "class/11",
        base: class_base(),
        allowed,
        denied: vec![
            ("another partner", 403, |server, body| by(server, "demo-partner-other-token", body)),
            ("a student", 403, |server, body| by(server, "demo-student-token", body)),
            ("nobody", 401, |server, body| by(server, "demo-nobodys-token", body)),
            ("a club", 401, |server, body| by(server, "demo-kolleges-key", body)),
        ],
        fields,
    }
}

async fn classes(server: Server) {
    let allowed = |server: &Server, body: &Value| {
        server.request("PATCH", "/partner/7/classes/11").bearer("demo-partner-token").json(body)
    };
    run(&server, class_edit("partner", allowed, class_fields(|_| Kept))).await;
}

async fn classes_by_merge_patch(server: Server) {
    let allowed = |server: &Server, body: &Value| {
        let request = server.request("PATCH", "/partner/7/classes/11").bearer("demo-partner-token");
        request.header("content-type", "application/merge-patch+json").body(body.to_string())
    };
    let edit = class_edit("partner (merge patch)", allowed, class_fields(Becomes));
    run(&server, edit).await;
}

fn code_by(server: &Server, token: &str, body: &Value) -> Request {
    let target = "/partner/7/classes/11/invite-codes/21";
    server.request("PATCH", target).bearer(token).json(body)
}

async fn invite_codes(server: Server) {
    let instant = Becomes(json!("2026-12-30T15:00:00Z"));
    let edit = Edit {
        dialect: "partner",
        record: "invite_code/21",
        base: json!({"expires_at": "2026-12-31T00:00:00Z", "max_uses": 5, "status": "disabled"}),
        allowed: |server, body| code_by(server, "demo-partner-token", body),
        denied: vec![
            ("another partner", 403, |server, body| {
                code_by(server, "demo-partner-other-token", body)
            }),
            ("a student", 403, |server, body| code_by(server, "demo-student-token", body)),
            ("nobody", 401, |server, body| code_by(server, "demo-nobodys-token", body)),
        ],
        fields: vec![
            Field::new(
                "/expires_at",
                "expires_at",
                Kept,
                Kept,
                (json!("2026-12-31T00:00:00+09:00"), instant),
                json!("soon"),
            ),
            Field::new(
                "/max_uses",
                "max_uses",
                Kept,
                Kept,
                (json!(7), Becomes(json!(7))),
                json!(0),
            ),
            Field::new(
                "/status",
                "status",
                Kept,
                Kept,
                (json!("active"), Becomes(json!("active"))),
                json!("off"),
            ),
        ],
    };
    run(&server, edit).await;
}

fn student_by(server: &Server, token: &str, body: &Value) -> Request {
    server.request("PATCH", "/partner/7/student/1").bearer(token).json(body)
}

async fn students(server: Server) {
    let redeem = server.request("POST", "/user/class/invites/redeem").bearer("demo-student-token");
    let reply = redeem.json(&json!({"code": "ABC234"})).send().await;
    assert_eq!(reply.json()["student_id"], 1, "{}", reply.text());
    let text = |wire, name, value: &str| {
        let becomes = Becomes(json!(value));
        Field::new(wire, name, Kept, Becomes(Value::Null), (json!(value), becomes), json!(7))
    };
    let edit = Edit {
        dialect: "partner",
        record: "student/1",
        base: json!({
            "full_name": "김학생", "email": "kim@example.com", "status": "inactive",
            "primary_contact": "010-0000-0000", "notes": "창가", "user_id": 91,
        }),
        allowed: |server, body| student_by(server, "demo-partner-token", body),
        denied: vec![
            ("another partner", 403, |server, body| {
                student_by(server, "demo-partner-other-token", body)
            }),
            ("the student", 403, |server, body| student_by(server, "demo-student-token", body)),
            ("nobody", 401, |server, body| student_by(server, "demo-nobodys-token", body)),
        ],
        fields: vec![
            Field::new(
                "/full_name",
                "full_name",
                Kept,
                Refused,
                (json!("이학생"), Becomes(json!("이학생"))),
                json!(" "),
            )
            .along(&["search_key"]),
            text("/email", "email", "lee@example.com").along(&["email_key", "search_key"]),
            Field::new(
                "/status",
                "status",
                Kept,
                Refused,
                (json!("archived"), Becomes(json!("archived"))),
                json!("gone"),
            ),
            text("/primary_contact", "primary_contact", "창구").along(&["search_key"]),
            text("/notes", "notes", "복도"),
            Field::new(
                "/user_id",
                "person_id",
                Kept,
                Becomes(Value::Null),
                (json!(90), Becomes(json!(90))),
                json!(102),
            ),
        ],
    };
    run(&server, edit).await;
}

fn membership_by(server: &Server, token: &str, body: &Value) -> Request {
    server.request("PATCH", "/partner/7/student/enrollments/1").bearer(token).json(body)
}

async fn memberships(server: Server) {
    let redeem = server.request("POST", "/user/class/invites/redeem").bearer("demo-student-token");
    assert_eq!(redeem.json(&json!({"code": "ABC234"})).send().await.json()["id"], 1);
    // Another class and another student of the partner's.
    let class = server.request("POST", "/partner/7/classes").bearer("demo-partner-token");
    let class = class.json(&json!({"name": "b"})).send().await.json();
    let code = class["invite_codes"][0]["code"].clone();
    let redeem = server.request("POST", "/user/class/invites/redeem").bearer("demo-partner-token");
    let other = redeem.json(&json!({"code": code})).send().await.json();
    let target = format!("/partner/7/student/enrollments/{}", other["id"]);
    let gone = server.request("DELETE", &target).bearer("demo-partner-token").send().await;
    assert_eq!(gone.status, 204);
    let field = |name: &'static str, null, value: Value, invalid| {
        Field::new(
            match name {
                "class_id" => "/class_id",
                "student_id" => "/student_id",
                "invite_code_id" => "/invite_code_id",
                "status" => "/status",
                "enrolled_at" => "/enrolled_at",
                _ => "/completed_at",
            },
            name,
            Kept,
            null,
            (value.clone(), Becomes(value)),
            invalid,
        )
    };
    let edit = Edit {
        dialect: "partner",
        record: "membership/1",
        base: json!({
            "class_id": 11, "student_id": 1, "invite_code_id": 21, "status": "inactive",
            "enrolled_at": "2026-01-01T00:00:00Z", "completed_at": "2026-02-01T00:00:00Z",
        }),
        allowed: |server, body| membership_by(server, "demo-partner-token", body),
        denied: vec![
            ("another partner", 403, |server, body| {
                membership_by(server, "demo-partner-other-token", body)
            }),
            ("the student", 403, |server, body| membership_by(server, "demo-student-token", body)),
            ("nobody", 401, |server, body| membership_by(server, "demo-nobodys-token", body)),
        ],
        fields: vec![
            field("class_id", Kept, class["id"].clone(), json!(12)),
            field("student_id", Kept, other["student_id"].clone(), json!(999)),
            field(
                "invite_code_id",
                Becomes(Value::Null),
                class["invite_codes"][0]["id"].clone(),
                json!(22),
            ),
            field("status", Kept, json!("dropped"), json!("gone")),
            field("enrolled_at", Kept, json!("2026-01-02T00:00:00Z"), json!("2026-02-02")),
            field(
                "completed_at",
                Becomes(Value::Null),
                json!("2026-01-01T00:00:00Z"),
                json!("2025-12-31"),
            ),
        ],
    };
    run(&server, edit).await;
}
