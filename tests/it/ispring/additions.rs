//! What every edit gains: entity tags, idempotency keys, dry runs, history.

use jiff::SignedDuration;
use serde_json::json;

use super::{DOCUMENTED, E1, E2, assert_edited, assert_refused, assert_wrong, get, post, read, x};
use crate::support::{Server, on_both_stores};

on_both_stores!(entity_tags, idempotency_keys, dry_runs, history,);

async fn entity_tags(server: Server) {
    let unlimited = |access: &str| x(&[("accessDate", access), ("dueDateType", "unlimited")]);
    let with = |tag: &str, access: &str| {
        post(&server, "OWN", E1, &unlimited(access)).header("if-match", tag)
    };
    assert_eq!(get(&server, "OWN", E1).send().await.version(), "1");
    let reply = with("\"1\"", "2026-01-01").send().await;
    assert_edited(&reply);
    assert_eq!(reply.header("etag"), "\"2\"");
    for tag in ["\"1\"", "W/\"1\"", "nonsense"] {
        assert_refused(&with(tag, "2026-01-02").send().await, 412, "Precondition failed");
    }
    let reply = with("\"1\"", "2026-01-02").header("accept", "application/json").send().await;
    assert_eq!(reply.text(), r#"{"code":412,"message":"Precondition failed"}"#);
    assert_edited(&with("*", "2026-01-02").send().await);
    // What changes nothing writes nothing.
    let reply = with("\"3\"", "2026-01-02").send().await;
    assert_edited(&reply);
    assert_eq!(reply.header("etag"), "\"3\"");
}

async fn idempotency_keys(server: Server) {
    let with = |caller: &str, id: &str, key: &str, access: &str| {
        let body = x(&[("accessDate", access), ("dueDateType", "unlimited")]);
        post(&server, caller, id, &body).header("idempotency-key", key).send()
    };
    let first = with("OWN", E1, "k", "2026-01-01").await;
    assert_edited(&first);
    assert_edited(&post(&server, "OWN", E1, DOCUMENTED).send().await);
    let again = with("OWN", E1, "k", "2026-01-01").await;
    assert_edited(&again);
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(read(&server, E1).await["accessDate"], "2019-09-26", "done twice");
    let message = "Idempotency-Key was used with another request";
    assert_refused(&with("OWN", E1, "k", "2026-01-02").await, 422, message);
    assert_refused(&with("OWN", E2, "k", "2026-01-01").await, 422, message);
    assert_wrong(&with("OWN", E1, "", "2026-01-02").await);
    // Another caller's key of the same name is another key.
    assert_edited(&with("ADM", E1, "k", "2026-01-03").await);
    // A refused request does not use its key up.
    assert_wrong(&with("OWN", E1, "k2", "never").await);
    assert_edited(&with("OWN", E1, "k2", "2026-01-04").await);
    // Under one key, the time that an absent access date stands for is the first request's.
    let now = || {
        let request = post(&server, "OWN", E1, &x(&[("dueDateType", "unlimited")]));
        request.header("idempotency-key", "k3").send()
    };
    let first = now().await;
    server.clock.advance(SignedDuration::from_hours(1));
    assert_eq!(now().await.header("etag"), first.header("etag"));
    assert_eq!(get(&server, "OWN", E1).send().await.version(), first.version());
}

async fn dry_runs(server: Server) {
    let dry = |caller: &str, body: &str| {
        post(&server, caller, E1, body).header("haksa-dry-run", "true").send()
    };
    let before = get(&server, "OWN", E1).send().await;
    let reply = dry("OWN", DOCUMENTED).await;
    assert_edited(&reply);
    assert_eq!(reply.header("haksa-changes"), "1");
    assert_wrong(&dry("OWN", "<bad").await);
    assert_refused(&dry("DA2", DOCUMENTED).await, 403, "Permission denied");
    let after = get(&server, "OWN", E1).send().await;
    assert_eq!(after.text(), before.text());
    assert_eq!(after.header("etag"), before.header("etag"));
    assert_edited(&post(&server, "OWN", E1, DOCUMENTED).send().await);
    assert_eq!(dry("OWN", DOCUMENTED).await.header("haksa-changes"), "0");
}

async fn history(server: Server) {
    let request = post(&server, "DA1", E1, DOCUMENTED).header("x-request-id", "r-1");
    assert_edited(&request.send().await);
    let newest = &server.history(&format!("enrollment/{E1}")).await[0];
    assert_eq!(newest["dialect"], "ispring");
    assert_eq!(newest["actor"], "person:313");
    assert_eq!(newest["request_id"], "r-1");
    assert_eq!(
        newest["after"],
        json!({
            "access_date": "2019-09-26T00:00:00Z",
            "due_date_type": "unlimited",
            "due_date": null,
            "lock_after_due_date": false,
        })
    );
    let reply = server.undo(newest).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(read(&server, E1).await["dueDate"], "2026-02-01");
}
