//! Enrollments, in both formats.

use serde_json::{Value, json};

use super::Outcome::{Becomes, Refused};
use super::{Edit, Field, Sender, run};
use crate::support::{NOW, Request, Server, on_both_stores};

on_both_stores!(enrollments_in_xml, enrollments_in_json);

const ENROLLMENT: &str = "/enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59";

fn enrollment_edit(allowed: Sender, denied: Vec<(&'static str, u16, Sender)>) -> Edit {
    let period = json!({"dueDateType": "due_period", "duePeriod": 24});
    let fields = vec![
        Field::new(
            "/accessDate",
            "access_date",
            Becomes(json!(NOW)),
            Becomes(json!(NOW)),
            (json!("2026-02-03 04:05:06"), Becomes(json!("2026-02-03T04:05:06Z"))),
            json!("2026-02-30"),
        ),
        Field::new(
            "/dueDateType",
            "due_date_type",
            Refused,
            Refused,
            (json!("unlimited"), Becomes(json!("unlimited"))),
            json!("never"),
        )
        .along(&["due_date", "lock_after_due_date"]),
        Field::new(
            "/dueDate",
            "due_date",
            Refused,
            Refused,
            (json!("2026-11-30"), Becomes(json!("2026-11-30T23:59:59Z"))),
            json!("2025-12-31"),
        ),
        Field::new(
            "/duePeriod",
            "due_period_h",
            Refused,
            Refused,
            (json!(72), Becomes(json!(72))),
            json!(0),
        )
        .with(period),
        Field::new(
            "/lockAfterDueDate",
            "lock_after_due_date",
            Refused,
            Refused,
            (json!(false), Becomes(json!(false))),
            json!("perhaps"),
        ),
    ];
    Edit {
        dialect: "ispring",
        record: "enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59",
        base: json!({
            "accessDate": "2026-01-10", "dueDateType": "due_date",
            "dueDate": "2026-12-01 10:30:00", "lockAfterDueDate": true,
        }),
        allowed,
        denied,
        fields,
    }
}

fn as_json(server: &Server, token: &str, body: &Value) -> Request {
    server.request("POST", ENROLLMENT).header("authorization", token).json(body)
}

fn as_xml(server: &Server, token: &str, body: &Value) -> Request {
    let element = |(name, value): (&String, &Value)| match value {
        Value::Null => format!("<{name}/>"),
        Value::String(text) => format!("<{name}>{text}</{name}>"),
        other => format!("<{name}>{other}</{name}>"),
    };
    let inner: String = body.as_object().unwrap().iter().map(element).collect();
    server
        .request("POST", ENROLLMENT)
        .header("authorization", token)
        .header("content-type", "application/xml")
        .body(format!("<request>{inner}</request>"))
}

async fn enrollments_in_xml(server: Server) {
    let denied: Vec<(_, _, Sender)> = vec![
        ("a learner", 403, |server, body| as_xml(server, "demo-ispring-LRN-token", body)),
        ("another account", 400, |server, body| as_xml(server, "demo-ispring-OTHER-token", body)),
        ("nobody", 401, |server, body| as_xml(server, "demo-nobodys-token", body)),
    ];
    let allowed = |server: &Server, body: &Value| as_xml(server, "demo-ispring-OWN-token", body);
    run(&server, enrollment_edit(allowed, denied)).await;
}

async fn enrollments_in_json(server: Server) {
    let denied: Vec<(_, _, Sender)> = vec![
        ("a learner", 403, |server, body| as_json(server, "demo-ispring-LRN-token", body)),
        ("another account", 400, |server, body| as_json(server, "demo-ispring-OTHER-token", body)),
        ("nobody", 401, |server, body| as_json(server, "demo-nobodys-token", body)),
    ];
    let allowed = |server: &Server, body: &Value| as_json(server, "demo-ispring-OWN-token", body);
    run(&server, enrollment_edit(allowed, denied)).await;
}
