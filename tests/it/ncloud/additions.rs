//! Bodies of every kind, and what every edit gains.

use super::*;

on_both_stores!(bodies, entity_tags, idempotency_keys, dry_runs, history,);

async fn bodies(server: Server) {
    let send = |content_type: &'static str, body: Vec<u8>| {
        let request = signed(&server, "PUT", ONE).body(body);
        let request = if content_type.is_empty() {
            request
        } else {
            request.header("content-type", content_type)
        };
        request.send()
    };
    let json = "application/json";
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        "",
        "{",
        "{}",
        "[]",
        "1",
        "\"portal\"",
        "null",
        "[{\"name\":\"portal\"}]",
        "{\"name\":\"portal\"}{}",
        "{\"name\":\"\\ud800\"}",
        "{\"name\":\"portal\",\"accessTokenValidity\":1e999}",
        "{\"name\":\"portal\",\"accessTokenValidity\":123456789012345678901234567890}",
        "{\"name\":\"portal\",\"accessTokenValidity\":NaN}",
        "{\"name\":\"portal\",\"accessTokenValidity\":3600.1}",
        "{\"name\":\"portal\",\"accessTokenValidity\":1e-3}",
        "{\"name\":\"portal\",\"more\":{\"a\":1e999}}",
        "\u{feff}\u{feff}{\"name\":\"portal\"}",
        &deep,
        &format!("{{\"name\":\"portal\",\"more\":{deep}}}"),
    ] {
        let about: String = body.chars().take(60).collect();
        assert_reply(&send(json, body.as_bytes().to_vec()).await, 400, BAD, &about);
    }
    let reply = send(json, b"{\"name\":\"\xff\"}".to_vec()).await;
    assert_reply(&reply, 400, BAD, "not UTF-8");
    for content_type in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
        let reply = send(content_type, b"{\"name\":\"portal\"}".to_vec()).await;
        assert_reply(&reply, 400, BAD, content_type);
    }
    let reply = send(json, vec![b' '; 1024 * 1024 + 1]).await;
    let too_large = r#"{"error":{"errorCode":"430","message":"Request Entity Too Large"}}"#;
    assert_reply(&reply, 413, too_large, "too large");
    assert_eq!(read(&server, ONE).await["updatedAt"], "2026-04-23T09:15:30Z");
    for (content_type, body) in [
        ("", "{\"name\":\"portal\"}"),
        ("application/json; charset=utf-8", "{\"name\":\"portal\"}"),
        ("APPLICATION/JSON", "{\"name\":\"first\",\"name\":\"last\"}"),
    ] {
        assert_ok(&send(content_type, body.as_bytes().to_vec()).await, content_type);
    }
    assert_eq!(read(&server, ONE).await["name"], "last");
}

async fn entity_tags(server: Server) {
    assert_eq!(signed(&server, "GET", ONE).send().await.header("etag"), "\"1\"");
    let with = |target: &str, tag: &str, text: &str| {
        let body = json!({"name": "portal", "description": text});
        let body = if target == ONE { body } else { full() };
        put(&server, target, &body).header("if-match", tag)
    };
    let reply = with(ONE, "\"1\"", "a").send().await;
    assert_ok(&reply, "the version that is");
    assert_eq!(reply.header("etag"), "\"2\"");
    let stale = r#"{"errorCode":412,"message":"Precondition failed"}"#;
    for tag in ["\"1\"", "\"7\"", "W/\"1\"", "nonsense", "2"] {
        for target in [ONE, V1] {
            assert_reply(&with(target, tag, "b").send().await, 412, stale, tag);
        }
    }
    assert_ok(&with(ONE, "*", "b").send().await, "any");
    assert_ok(&with(ONE, "\"9\", \"3\"", "c").send().await, "one of several");
    // What changes nothing writes nothing.
    let before = read(&server, ONE).await;
    server.clock.advance(SignedDuration::from_secs(9));
    let reply = put(&server, ONE, &json!({"name": "portal", "description": "c"})).send().await;
    assert_ok(&reply, "the same again");
    assert_eq!(reply.header("etag"), "\"4\"");
    assert_eq!(read(&server, ONE).await, before);
}

async fn idempotency_keys(server: Server) {
    let with = |key: &str, text: &str| {
        put(&server, ONE, &json!({"name": "portal", "description": text}))
            .header("idempotency-key", key)
    };
    let first = with("k1", "a").send().await;
    assert_ok(&first, "first");
    let body = json!({"name": "portal", "description": "b"});
    assert_ok(&put(&server, ONE, &body).send().await, "between");
    // A repetition is signed anew.
    server.clock.advance(SignedDuration::from_secs(1));
    let again = with("k1", "a").send().await;
    assert_ok(&again, "again");
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(read(&server, ONE).await["description"], "b", "done twice");
    let reused = r#"{"errorCode":422,"message":"Idempotency-Key was used with another request"}"#;
    assert_reply(&with("k1", "c").send().await, 422, reused, "another request");
    let unreadable = signed(&server, "PUT", ONE).body("{").header("idempotency-key", "k1");
    assert_reply(&unreadable.send().await, 400, BAD, "a body that is no request");
    assert_reply(&with("", "c").send().await, 400, BAD, "an empty key");
    assert_reply(&with(&"k".repeat(256), "c").send().await, 400, BAD, "a long key");
    // A refused request does not use its key up.
    let wrong = put(&server, ONE, &json!({})).header("idempotency-key", "k2");
    assert_reply(&wrong.send().await, 400, BAD, "refused");
    assert_ok(&with("k2", "d").send().await, "the key of a refused request");
    server.clock.advance(SignedDuration::from_hours(25));
    assert_ok(&with("k1", "e").send().await, "a day later");
    assert_eq!(read(&server, ONE).await["description"], "e");
}

async fn dry_runs(server: Server) {
    let dry = |body: Value| put(&server, ONE, &body).header("haksa-dry-run", "true");
    let before = read(&server, ONE).await;
    let reply = dry(json!({"name": "portal2"})).send().await;
    assert_ok(&reply, "dry");
    assert_eq!(reply.header("haksa-changes"), "1");
    assert_eq!(read(&server, ONE).await, before);
    assert_eq!(dry(json!({"name": "portal"})).send().await.header("haksa-changes"), "0");
    assert_reply(&dry(json!({"name": ""})).send().await, 400, BAD, "dry and wrong");
    let reply = dry(json!({"name": "mobile"})).send().await;
    assert_eq!(reply.status, 400, "a taken name is seen without writing");
}

/// History shows each consent field on its own, and never a secret; an edit can be taken back.
async fn history(server: Server) {
    let body = json!({"name": "portal", "consentPage": {"defaultLanguage": "en"}});
    assert_ok(&put(&server, ONE, &body).header("x-request-id", "r-1").send().await, "consent");
    let public = json!({"name": "portal", "accessType": "public", "clientAuthMethod": "none"});
    assert_ok(&put(&server, ONE, &public).send().await, "public");
    let history = server
        .request("GET", &format!("/haksa/v1/records/application/{}/history", &ONE[14..]))
        .bearer("demo-admin-key")
        .send()
        .await;
    assert!(!history.text().contains(&hex::encode(haksa::vault::hash_token("demo-client-secret"))));
    let items = history.json()["items"].clone();
    assert_eq!(items[0]["before"]["client_secret_hash"], "•••");
    assert_eq!(items[0]["after"]["client_secret_hash"], Value::Null);
    assert_eq!(items[1]["before"], json!({"consent_default_language": "ko"}));
    assert_eq!(items[1]["after"], json!({"consent_default_language": "en"}));
    assert_eq!(items[1]["actor"], "credential:21");
    assert_eq!(items[1]["dialect"], "ncloud");
    assert_eq!(items[1]["request_id"], "r-1");
    let reply = server.undo(&items[1]).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(read(&server, ONE).await["consentPage"]["defaultLanguage"], "ko");
}
