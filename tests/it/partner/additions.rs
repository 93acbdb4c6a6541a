//! What every edit gains: entity tags, idempotency keys, dry runs, history.

use serde_json::{Value, json};

use super::{CLASS, OTHER_TOKEN, assert_detail, edit, read};
use crate::support::{Server, on_both_stores};

on_both_stores!(entity_tags, idempotency_keys, dry_runs, history);

async fn entity_tags(server: Server) {
    let first = server.request("GET", CLASS).bearer(super::TOKEN).send().await;
    assert_eq!(first.version(), "1");
    let with = |tag: &str, capacity: i64| {
        edit(&server, &json!({"capacity": capacity})).header("if-match", tag)
    };
    let reply = with("\"1\"", 7).send().await;
    assert_eq!((reply.status, reply.version()), (200, "2"));
    for tag in ["\"1\"", "\"7\"", "W/\"1\"", "nonsense", "2"] {
        // A stale edit is told so before its rules are looked at.
        assert_detail(&with(tag, -1).send().await, 412, "precondition_failed");
    }
    for (tag, capacity) in [("*", 8), ("\"9\", \"3\"", 9)] {
        assert_eq!(with(tag, capacity).send().await.status, 200);
    }
    let reply = edit(&server, &json!({"capacity": 9})).send().await;
    assert_eq!(reply.version(), "4", "what changes nothing writes nothing");
    let reply = server.request("DELETE", super::COURSE).bearer(super::TOKEN);
    let reply = reply.header("if-match", "\"9\"").send().await;
    assert_detail(&reply, 412, "precondition_failed");
}

async fn idempotency_keys(server: Server) {
    let with = |key: &str, body: Value| edit(&server, &body).header("idempotency-key", key);
    let first = with("k1", json!({"capacity": 1})).send().await;
    assert_eq!(first.json()["capacity"], 1);
    let reply = with("k1", json!({"capacity": 3})).send().await;
    assert_detail(&reply, 422, "idempotency_key_reused");
    let reply = with(&"k".repeat(256), json!({})).send().await;
    assert_detail(&reply, 400, "invalid_idempotency_key");
    // The same bytes as a merge patch are another request.
    let merge = server
        .request("PATCH", CLASS)
        .bearer(super::TOKEN)
        .header("content-type", "application/merge-patch+json")
        .header("idempotency-key", "k1")
        .body(json!({"capacity": 1}).to_string());
    assert_detail(&merge.send().await, 422, "idempotency_key_reused");
    // A refused request does not use its key up.
    assert_eq!(with("k2", json!({"capacity": "x"})).send().await.status, 422);
    assert_eq!(with("k2", json!({"capacity": -1})).send().await.status, 400);
    assert_eq!(with("k2", json!({"capacity": 4})).send().await.json()["capacity"], 4);
    let other = server.request("PATCH", "/partner/8/classes/12").bearer(OTHER_TOKEN);
    let other = other.header("idempotency-key", "k1").json(&json!({"capacity": 77}));
    assert_eq!(other.send().await.json()["capacity"], 77);

    let create = || {
        let request = server.request("POST", super::COURSES).bearer(super::TOKEN);
        request
            .header("idempotency-key", "k3")
            .json(&json!({"title": "once", "course_key": "once"}))
            .send()
    };
    let (first, again) = (create().await, create().await);
    assert_eq!(first.status, 201);
    assert_eq!((again.status, again.text()), (201, first.text()));
}

async fn dry_runs(server: Server) {
    let dry = |body: Value| edit(&server, &body).header("haksa-dry-run", "true").send();
    let before = read(&server, CLASS).await;
    let reply = dry(json!({"capacity": 4})).await;
    assert_eq!(reply.json()["capacity"], 4);
    assert_eq!(reply.header("haksa-changes"), "1");
    assert_eq!(dry(json!({})).await.header("haksa-changes"), "0");
    assert_detail(&dry(json!({"capacity": -1})).await, 400, "capacity_out_of_range");
    assert_eq!(read(&server, CLASS).await, before);
    assert_eq!(edit(&server, &json!({"course_id": 5})).send().await.status, 200);
    let reply = server.request("DELETE", super::COURSE).bearer(super::TOKEN);
    let reply = reply.header("haksa-dry-run", "true").send().await;
    assert_eq!((reply.status, reply.header("haksa-changes")), (204, "2"));
    assert_eq!(read(&server, CLASS).await["course_id"], 5);
}

async fn history(server: Server) {
    let reply = edit(&server, &json!({"name": "다음", "allowed_model_ids": [2]}));
    reply.header("x-request-id", "r-1").send().await;
    let newest = &server.history("class/11").await[0];
    assert_eq!(newest["dialect"], "partner");
    assert_eq!(newest["actor"], "person:101");
    assert_eq!(newest["request_id"], "r-1");
    assert_eq!(
        newest["after"],
        json!({"name": "다음", "primary_model_id": 2, "allowed_model_ids": [2]})
    );
    let undo = server.undo(newest).send().await;
    assert_eq!(undo.status, 200, "{}", undo.text());
    let class = read(&server, CLASS).await;
    assert_eq!((&class["name"], &class["allowed_model_ids"]), (&json!("AI 101"), &json!([])));
}
