//! Classes, with null as the vendor means it and as a merge patch does.

use serde_json::{Value, json};

use super::Outcome::{Becomes, Kept, Refused};
use super::{Edit, Field, Outcome, Sender, run};
use crate::support::{Request, Server, on_both_stores};

on_both_stores!(classes, classes_by_merge_patch);

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
