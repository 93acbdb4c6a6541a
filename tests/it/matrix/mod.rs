//! One table over all dialects: field × absent, null, value, invalid × allowed, denied. Whatever the
//! wire language, an accepted edit is one new version with one change that names the dialect and the
//! field, and undo takes it back; anything else leaves no trace. And whatever the wire language, an edit
//! gains entity tags, dry runs and idempotency keys.

mod ispring;
mod kolleges;
mod ncloud;
mod partner;
mod solapi;
mod stale;

use serde_json::{Value, json};

use crate::support::{Request, Server};

/// What an edit does to the field.
#[derive(Clone, Debug)]
enum Outcome {
    /// It is accepted and changes nothing.
    Kept,
    /// It is accepted, and this is the field's new value as history has it.
    Becomes(Value),
    /// It is refused.
    Refused,
}
use Outcome::{Becomes, Kept, Refused};

/// A field of an edit.
struct Field {
    /// A JSON pointer to it in the body.
    wire: &'static str,
    /// The record's field.
    name: &'static str,
    absent: Outcome,
    null: Outcome,
    value: (Value, Outcome),
    invalid: Value,
    /// What the record and every body have besides.
    with: Value,
    /// What the value needs beside it, to be legal.
    beside: Value,
    /// Other fields of the record that may change along.
    along: &'static [&'static str],
}

impl Field {
    fn new(
        wire: &'static str,
        name: &'static str,
        absent: Outcome,
        null: Outcome,
        value: (Value, Outcome),
        invalid: Value,
    ) -> Self {
        Self {
            wire,
            name,
            absent,
            null,
            value,
            invalid,
            with: json!({}),
            beside: json!({}),
            along: &[],
        }
    }

    fn with(mut self, with: Value) -> Self {
        self.with = with;
        self
    }

    fn beside(mut self, beside: Value) -> Self {
        self.beside = beside;
        self
    }

    fn along(mut self, along: &'static [&'static str]) -> Self {
        self.along = along;
        self
    }
}

/// Makes a request with a body, as one caller.
type Sender = fn(&Server, &Value) -> Request;

/// A column of the table: one edit of one record.
struct Edit {
    dialect: &'static str,
    record: &'static str,
    /// A body that names every field, and changes nothing once it was sent.
    base: Value,
    allowed: Sender,
    /// Callers who may not, with what they get.
    denied: Vec<(&'static str, u16, Sender)>,
    fields: Vec<Field>,
}

async fn newest(server: &Server, record: &str) -> Value {
    server.history(record).await[0].clone()
}

fn merged(base: &Value, with: &Value) -> Value {
    let mut body = base.clone();
    for (name, value) in with.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn set(body: &Value, pointer: &str, value: Option<&Value>) -> Value {
    let mut body = body.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => drop(parent.insert(name.to_owned(), value.clone())),
        None => drop(parent.shift_remove(name)),
    }
    body
}

/// An edit of a version that is gone, a trial and a repetition.
async fn gains(server: &Server, edit: &Edit) {
    let is_telling = |field: &&Field| matches!(field.value.1, Becomes(_));
    let field = edit.fields.iter().find(is_telling).expect("a field that changes");
    let base = merged(&edit.base, &field.with);
    let body = merged(&set(&base, field.wire, Some(&field.value.0)), &field.beside);
    let about = edit.dialect;
    let send = async |body: &Value, name: &str, value: &str| {
        (edit.allowed)(server, body).header(name, value).send().await
    };
    assert_eq!((edit.allowed)(server, &base).send().await.status, 200, "{about}");
    let before = newest(server, edit.record).await;
    let version = before["version"].as_i64().unwrap();
    let (next, gone) = ((version + 1).to_string(), format!("\"{}\"", version + 1));
    assert_eq!(send(&body, "if-match", &gone).await.status, 412, "{about}");
    let dry = send(&body, "haksa-dry-run", "true").await;
    assert_eq!((dry.status, dry.header("haksa-changes")), (200, "1"), "{about}");
    assert_eq!(newest(server, edit.record).await, before, "{about}");
    let first = send(&body, "idempotency-key", "the same").await;
    assert_eq!(first.status, 200, "{about}: {}", first.text());
    assert_eq!(first.version(), next, "{about}");
    assert_eq!(dry.header("etag"), first.header("etag"), "{about}");
    let after = newest(server, edit.record).await;
    assert_eq!(after["version"], version + 1, "{about}");
    assert_eq!(send(&body, "if-match", first.header("etag")).await.status, 200, "{about}");
    assert_eq!(newest(server, edit.record).await, after, "{about}");
    assert_eq!(server.undo(&after).send().await.status, 200, "{about}");
    // The first answer again, whatever has become of the record since.
    let undone = newest(server, edit.record).await;
    let again = send(&body, "idempotency-key", "the same").await;
    assert_eq!((again.status, again.text()), (200, first.text()), "{about}");
    assert_eq!(again.header("etag"), first.header("etag"), "{about}");
    assert_eq!(send(&base, "idempotency-key", "the same").await.status, 422, "{about}");
    assert_eq!(newest(server, edit.record).await, undone, "{about}");
    let current = format!("\"{}\"", version + 2);
    assert_eq!(send(&base, "if-match", &current).await.status, 200, "{about}");
}

async fn run(server: &Server, edit: Edit) {
    gains(server, &edit).await;
    // The partner API says that what an enrollment names is not there, or that a column is not null.
    let refusals: &[u16] = match edit.record.split('/').next() {
        Some("membership") => &[400, 404, 409, 422],
        Some("student") => &[400, 409, 422],
        _ => &[400, 422],
    };
    for field in &edit.fields {
        let base = merged(&edit.base, &field.with);
        let reply = (edit.allowed)(server, &base).send().await;
        assert_eq!(reply.status, 200, "{}: {}", edit.dialect, reply.text());
        for (cell, value, outcome) in [
            ("absent", None, &field.absent),
            ("null", Some(&Value::Null), &field.null),
            ("value", Some(&field.value.0), &field.value.1),
            ("invalid", Some(&field.invalid), &Refused),
        ] {
            let about = format!("{} {} {cell}", edit.dialect, field.wire);
            let mut body = set(&base, field.wire, value);
            if cell == "value" {
                body = merged(&body, &field.beside);
            }
            let before = newest(server, edit.record).await;
            for (who, status, denied) in &edit.denied {
                let reply = denied(server, &body).send().await;
                // Some vendors look at the body before they look at who may.
                let is_judged_first =
                    matches!(outcome, Refused) && [400, 422].contains(&reply.status);
                assert!(
                    reply.status == *status || is_judged_first,
                    "{about}, {who}: {}",
                    reply.text()
                );
                assert_eq!(newest(server, edit.record).await, before, "{about}, {who}");
            }
            let reply = (edit.allowed)(server, &body).send().await;
            let after = newest(server, edit.record).await;
            match outcome {
                Refused => {
                    assert!(refusals.contains(&reply.status), "{about}: {}", reply.text());
                    assert_eq!(after, before, "{about}");
                }
                Kept => {
                    assert_eq!(reply.status, 200, "{about}: {}", reply.text());
                    assert_eq!(after, before, "{about}");
                }
                Becomes(expected) => {
                    assert_eq!(reply.status, 200, "{about}: {}", reply.text());
                    let version = before["version"].as_i64().unwrap();
                    assert_eq!(after["version"], version + 1, "{about}");
                    assert_eq!(
                        after["dialect"].as_str(),
                        edit.dialect.split(' ').next(),
                        "{about}"
                    );
                    assert_eq!(after["action"], "edit", "{about}");
                    assert_eq!(after["after"][field.name], *expected, "{about}: {after}");
                    let changed = after["after"].as_object().unwrap();
                    for name in changed.keys().filter(|name| *name != field.name) {
                        assert!(field.along.contains(&name.as_str()), "{about} touched {name}");
                    }
                    assert_eq!(server.undo(&after).send().await.status, 200, "{about}");
                    let undone = newest(server, edit.record).await;
                    assert_eq!(undone["version"], version + 2, "{about}");
                    assert_eq!(undone["after"], after["before"], "{about}");
                    assert_eq!(undone["before"], after["after"], "{about}");
                }
            }
        }
    }
    server.assert_sound().await;
}
