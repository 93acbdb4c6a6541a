//! `/haksa/v1/messages`, history and undo.

use haksa::domain::actor::{Actor, Dialect};
use haksa::domain::certificate::achievement::Achievement;
use haksa::domain::command::{Create, Delete, Expected};
use haksa::domain::delivery::message::{Channel, Message};
use haksa::domain::people::credential::Credential;
use haksa::domain::record::Key;
use haksa::pipeline::Envelope;
use serde_json::{Value, json};

use super::mail_server::MailServer;
use super::{ACCOUNT, ADMIN, a_while, announce, once_status, read, work};
use crate::support::{Reply, Server, on_both_stores};

on_both_stores!(
    lists_and_reads,
    what_is_wrong_with_a_question_is_said,
    nobody_elses_message_exists,
    retries,
    what_was_sent_cannot_be_undone,
    a_removed_certificate_is_not_announced,
    nobody_is_told_of_a_certificate_twice,
);

async fn get(server: &Server, target: &str, key: &str) -> Reply {
    server.request("GET", target).bearer(key).send().await
}

async fn page(server: &Server, query: &str) -> Value {
    let reply = get(server, &format!("/haksa/v1/messages?{query}"), ADMIN).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn ids(page: &Value) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

async fn lists_and_reads(server: Server) {
    let mut made = announce(&server, Channel::Email, &["a@example.com", "b@example.com"]).await;
    made.extend(announce(&server, Channel::Phone, &["01012345678"]).await);
    made.reverse();
    assert_eq!(ids(&page(&server, "").await), made, "newest first");
    let first = page(&server, "limit=2").await;
    assert_eq!(ids(&first), made[..2]);
    let next = page(&server, &format!("limit=2&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((ids(&next), &next["next"]), (made[2..].to_vec(), &Value::Null));
    assert_eq!(page(&server, "limit=3").await["next"], Value::Null);
    assert_eq!(ids(&page(&server, "channel=phone").await), made[..1]);
    assert_eq!(ids(&page(&server, "status=held&channel=email").await), made[1..]);
    assert_eq!(ids(&page(&server, "status=sent").await), [0_i64; 0]);
    let message = read(&server, made[0]).await;
    let certificate = &message["achievement_id"];
    let found = page(&server, &format!("achievement_id={certificate}")).await;
    assert_eq!(found["items"], json!([message]));
    let expected = json!({
        "id": made[0],
        "achievement_id": certificate,
        "channel": "phone",
        "status": "held",
        "due_at": "2026-04-23T09:15:30Z",
        "recipient_name": "홍길동",
        "recipient": "01012345678",
        "subject": null,
        "body": message["body"],
        "reference": message["reference"],
        "attempt_count": 0,
        "last_error": null,
        "sent_at": null,
        "provider_message_id": null,
        "version": 1,
        "created_at": "2026-04-23T09:15:30Z",
        "updated_at": "2026-04-23T09:15:30Z",
    });
    assert_eq!(message, expected);
    let reply = get(&server, &format!("/haksa/v1/messages/{}", made[0]), ADMIN).await;
    assert_eq!(reply.header("etag"), "\"1\"");
}

async fn what_is_wrong_with_a_question_is_said(server: Server) {
    let query = "status=gone&channel=fax&achievement_id=x";
    let reply = get(&server, &format!("/haksa/v1/messages?{query}"), ADMIN).await;
    assert_eq!(reply.status, 400);
    let body = reply.json();
    let fields: Vec<_> = body["errors"].as_array().unwrap().iter().map(|e| &e["field"]).collect();
    assert_eq!(fields, ["status", "channel", "achievement_id"]);
    for query in ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=0"] {
        let reply = get(&server, &format!("/haksa/v1/messages?{query}"), ADMIN).await;
        assert_eq!(reply.status, 400, "{query}");
    }
    for id in ["0", "x", "-1", "01", "999999", "99999999999999999999"] {
        let reply = get(&server, &format!("/haksa/v1/messages/{id}"), ADMIN).await;
        assert_eq!(reply.status, 404, "{id}");
    }
    assert_eq!(server.request("GET", "/haksa/v1/messages").send().await.status, 401);
}

async fn nobody_elses_message_exists(server: Server) {
    let id = announce(&server, Channel::Email, &["a@example.com"]).await[0];
    for (account, name, rights, list, one, retry) in [
        (4, "other", &["*"][..], 200, 404, 404),
        (ACCOUNT, "reader", &["read:message"], 200, 200, 403),
        (ACCOUNT, "stranger", &["read:achievement"], 403, 403, 403),
        (ACCOUNT, "editor", &["edit:message"], 403, 403, 409),
    ] {
        let key = format!("demo-{name}-key");
        give_key(&server, account, &key, rights).await;
        let reply = get(&server, "/haksa/v1/messages", &key).await;
        assert_eq!(reply.status, list, "{name}");
        if account != ACCOUNT {
            assert_eq!(reply.json(), json!({"items": [], "next": null}));
        }
        let target = format!("/haksa/v1/messages/{id}");
        assert_eq!(get(&server, &target, &key).await.status, one, "{name}");
        let reply = server.request("POST", &format!("{target}/retry")).bearer(&key).send().await;
        assert_eq!(reply.status, retry, "{name}: {}", reply.text());
        let missing = server.request("POST", "/haksa/v1/messages/999999/retry").bearer(&key);
        assert_eq!(missing.send().await.status, 404, "{name}");
    }
}

/// Gives the account a key of the native dialect.
async fn give_key(server: &Server, account: i64, key: &str, rights: &[&str]) {
    let credential = Credential {
        secret_hash: Some(hex::encode(haksa::vault::hash_token(key))),
        policies: rights.iter().map(ToString::to_string).collect(),
        ..Credential::new(Dialect::Native, key)
    };
    let envelope = Envelope::new(Actor::operator(account), "test");
    server.app.pipeline.run(Create::new(credential), envelope).await.unwrap();
}

async fn retries(server: Server) {
    let mails = MailServer::start().await;
    let id = announce(&server, Channel::Email, &["never@example.com"]).await[0];
    let target = format!("/haksa/v1/messages/{id}/retry");
    let retry = || server.request("POST", &target).bearer(ADMIN);
    let reply = retry().send().await;
    assert_eq!((reply.status, &reply.json()["conflicts"]), (409, &json!(["status"])), "it is held");
    let worker = work(&server, &mails.config());
    let failed = once_status(&server, id, "failed").await;
    worker.stop().await;
    let dry = retry().header("haksa-dry-run", "true").send().await;
    assert_eq!((dry.status, dry.header("haksa-changes")), (200, "1"));
    assert_eq!(read(&server, id).await, failed);
    // Who may only edit is told which one it was, and nothing of what it says.
    give_key(&server, ACCOUNT, "demo-editor-key", &["edit:message"]).await;
    let blind = server.request("POST", &target).bearer("demo-editor-key");
    let blind = blind.header("haksa-dry-run", "true").send().await;
    let after = failed["version"].as_i64().map(|version| version + 1);
    assert_eq!(blind.json(), json!({"id": id, "version": after}));
    assert_eq!(retry().header("if-match", "\"1\"").send().await.status, 412);
    let version = failed["version"].to_string();
    let reply = retry().header("if-match", format!("\"{version}\"")).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let message = reply.json();
    assert_eq!(message["status"], "waiting");
    assert_eq!(message["due_at"], "2026-04-23T09:15:30Z");
    assert_eq!(message["attempt_count"], 1);
}

/// The ids of a message's changes, newest first.
async fn changes(server: &Server, id: i64) -> Vec<i64> {
    let target = format!("/haksa/v1/records/message/{id}/history");
    let page = get(server, &target, ADMIN).await.json();
    page["items"].as_array().unwrap().iter().map(|i| i["change_id"].as_i64().unwrap()).collect()
}

async fn undo(server: &Server, change: i64) -> Reply {
    let target = format!("/haksa/v1/changes/{change}/undo");
    server.request("POST", &target).bearer(ADMIN).send().await
}

async fn what_was_sent_cannot_be_undone(server: Server) {
    let mut mails = MailServer::start().await;
    let made = announce(&server, Channel::Email, &["a@example.com", "b@example.com"]).await;
    // What was not sent yet can: then nobody is told.
    let [withdrawn, sent] = made[..] else { panic!("{made:?}") };
    let change = changes(&server, withdrawn).await[0];
    assert_eq!(undo(&server, change).await.status, 200);
    let worker = work(&server, &mails.config());
    once_status(&server, sent, "sent").await;
    a_while().await;
    worker.stop().await;
    let mails = mails.rest();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0]["to"], json!(["b@example.com"]));
    for change in changes(&server, sent).await {
        let reply = undo(&server, change).await;
        assert_eq!(reply.status, 409, "{}", reply.text());
    }
    assert_eq!(read(&server, sent).await["status"], "sent");
    server.assert_sound().await;
}

async fn a_removed_certificate_is_not_announced(server: Server) {
    let mut mails = MailServer::start().await;
    let made = announce(&server, Channel::Email, &["a@example.com", "b@example.com"]).await;
    let certificate = read(&server, made[0]).await["achievement_id"].as_i64().unwrap();
    let delete = Delete::<Achievement>::new(certificate, Expected::default());
    let envelope = Envelope::new(Actor::operator(ACCOUNT), "test");
    server.app.pipeline.run(delete, envelope).await.unwrap();
    let target = format!("/haksa/v1/messages/{}", made[0]);
    assert_eq!(get(&server, &target, ADMIN).await.status, 404);
    let worker = work(&server, &mails.config());
    once_status(&server, made[1], "sent").await;
    a_while().await;
    worker.stop().await;
    assert_eq!(mails.rest().len(), 1);
    server.assert_sound().await;
}

async fn nobody_is_told_of_a_certificate_twice(server: Server) {
    let id = announce(&server, Channel::Email, &["a@example.com"]).await[0];
    let again = {
        let message = server.app.store.read(|facts| facts.get::<Message>(ACCOUNT, Key::Int(id)));
        Message::clone(&message.await.unwrap().record)
    };
    let create = Create::new(again);
    let envelope = Envelope::new(Actor::operator(ACCOUNT), "test");
    let refused = server.app.pipeline.run(create, envelope).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(ids(&page(&server, "").await), [id]);
}
