//! Certificates.

use serde_json::{Value, json};

use super::Outcome::{Becomes, Kept, Refused};
use super::{Edit, Field, run};
use crate::support::{Request, Server, on_both_stores};

on_both_stores!(certificates);

async fn certificates(server: Server) {
    fn by(server: &Server, key: &str, body: &Value) -> Request {
        server.request("PATCH", "/open-api/achievements/1539").bearer(key).json(body)
    }
    let instant = || (json!("2025-05-02T09:30:00+09:00"), Becomes(json!("2025-05-02T00:30:00Z")));
    let fields = vec![
        Field::new(
            "/course_begin_at",
            "course_begin_at",
            Kept,
            Becomes(Value::Null),
            instant(),
            json!("2025-02-30"),
        ),
        Field::new(
            "/course_end_at",
            "course_end_at",
            Kept,
            Becomes(Value::Null),
            instant(),
            json!(1_746_000_000),
        ),
        Field::new(
            "/expiration_date",
            "expiration_date",
            Kept,
            Becomes(Value::Null),
            instant(),
            json!("tomorrow"),
        ),
        Field::new("/created_at", "issued_at", Kept, Refused, instant(), json!("")),
        Field::new(
            "/admin_comment",
            "admin_comment",
            Kept,
            Becomes(Value::Null),
            (json!("재발급"), Becomes(json!("재발급"))),
            json!(7),
        ),
        Field::new("/level", "level", Kept, Refused, (json!(5), Becomes(json!(5))), json!("5")),
    ];
    let edit = Edit {
        dialect: "kolleges",
        record: "achievement/1539",
        base: json!({
            "course_begin_at": "2025-04-01", "course_end_at": "2025-07-01",
            "expiration_date": "2026-04-01", "created_at": "2025-04-06T21:40:39Z",
            "admin_comment": "처음", "level": 1,
        }),
        allowed: |server, body| by(server, "demo-kolleges-key", body),
        denied: vec![
            ("another club", 404, |server, body| by(server, "demo-kolleges-other-key", body)),
            ("nobody", 401, |server, body| by(server, "demo-nobodys-key", body)),
            ("a partner", 401, |server, body| by(server, "demo-partner-token", body)),
        ],
        fields,
    };
    run(&server, edit).await;
}
