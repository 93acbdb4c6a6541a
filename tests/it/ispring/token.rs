//! Access tokens.

use haksa::domain::kind::Kind;
use jiff::SignedDuration;
use serde_json::json;

use super::{DOCUMENTED, E1, E3, assert_edited, assert_refused, assert_unauthorized, set};
use crate::support::{Request, Server, on_both_stores};

on_both_stores!(tokens, refused_tokens, disabled_keys, token_transport, token_additions,);

fn token_request(server: &Server, form: &[(&str, &str)]) -> Request {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    server
        .request("POST", "/api/v3/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
}

fn key(server: &Server, caller: &str) -> (String, String) {
    let key = server.demo()["ispring"]["api_keys"][caller].clone();
    let part = |name: &str| key[name].as_str().expect("a part").to_owned();
    (part("client_id"), part("client_secret"))
}

async fn tokens(server: Server) {
    let (id, secret) = key(&server, "DA1");
    let form =
        [("client_id", &*id), ("client_secret", &*secret), ("grant_type", "client_credentials")];
    let mut issued = Vec::new();
    for _ in 0..2 {
        let reply = token_request(&server, &form).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
        assert_eq!(reply.header("cache-control"), "no-store");
        let body = reply.json();
        assert_eq!(body["expires_in"], 1800);
        assert_eq!(body["token_type"], "bearer");
        let token = body["access_token"].as_str().expect("a token").to_owned();
        assert_eq!(token.len(), 43);
        issued.push(token);
    }
    assert_ne!(issued[0], issued[1]);
    let using = async |token: &str, id: &str| {
        let request = server.request("POST", &format!("/enrollment/{id}"));
        request.header("authorization", token).body(DOCUMENTED).send().await
    };
    server.clock.advance(SignedDuration::from_secs(1799));
    for token in &issued {
        assert_edited(&using(token, E1).await);
        assert_refused(&using(token, E3).await, 403, "Permission denied");
    }
    server.clock.advance(SignedDuration::from_secs(1));
    for token in &issued {
        assert_unauthorized(&using(token, E1).await);
    }
    let xml = token_request(&server, &form).header("accept", "application/xml").send().await;
    assert_eq!(xml.header("content-type"), "application/xml; charset=utf-8");
    let text = xml.text();
    assert!(
        text.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?><response><access_token>")
            && text.ends_with(
                "</access_token><expires_in>1800</expires_in><token_type>bearer</token_type></response>"
            ),
        "{text}"
    );
    // The id in any case, the type with a parameter.
    let upper = id.to_uppercase();
    let form =
        [("client_id", &*upper), ("client_secret", &*secret), ("grant_type", "client_credentials")];
    assert_eq!(token_request(&server, &form).send().await.status, 200);
}

async fn refused_tokens(server: Server) {
    let (id, secret) = key(&server, "OWN");
    let (_, another) = key(&server, "ADM");
    let grant = ("grant_type", "client_credentials");
    let bad = r#"{"code":400,"message":"Wrong parameters"}"#;
    for form in [
        vec![],
        vec![("client_secret", &*secret), grant],
        vec![("client_id", &*id), grant],
        vec![("client_id", &*id), ("client_secret", ""), grant],
        vec![("client_id", &*id), ("client_secret", &*secret)],
        vec![("client_id", &*id), ("client_secret", &*secret), ("grant_type", "password")],
        vec![("client_id", &*id), ("client_id", &*id), ("client_secret", &*secret), grant],
    ] {
        let reply = token_request(&server, &form).send().await;
        assert_eq!(reply.text(), bad, "{form:?}");
        assert_eq!(reply.status, 400);
    }
    for content_type in ["application/json", "multipart/form-data; boundary=x", "text/plain"] {
        let body = json!({"client_id": id, "client_secret": secret, "grant_type": grant.1});
        let request = server.request("POST", "/api/v3/token").header("content-type", content_type);
        assert_eq!(request.body(body.to_string()).send().await.text(), bad);
    }
    let unauthorized = r#"{"code":401,"message":"Authorization failed"}"#;
    for (id, secret) in [
        (&*id, "wrong"),
        (&*id, &*another),
        ("0f0c2b9e-0000-4000-8000-0000000000ee", &*secret),
        ("not-a-uuid", &*secret),
        ("\0", &*secret),
        (&*id, "\0"),
        // Another system's key.
        ("EXAMPLEACCESSKEY0001", "exampleSecretKeyDoNotUse0123456789abcd"),
    ] {
        let form = [("client_id", id), ("client_secret", secret), grant];
        let reply = token_request(&server, &form).send().await;
        assert_eq!(reply.text(), unauthorized, "{form:?}");
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let form = [("client_id", &*id), ("client_secret", "wrong"), grant];
    let xml = token_request(&server, &form).header("accept", "text/xml").send().await;
    assert_unauthorized(&xml);
}

/// Only who has the secret learns that the key is disabled.
async fn disabled_keys(server: Server) {
    let (id, secret) = key(&server, "OWN");
    let grant = ("grant_type", "client_credentials");
    let ask = async |secret: &str| {
        let form = [("client_id", &*id), ("client_secret", secret), grant];
        token_request(&server, &form).send().await
    };
    for (disabled, enabled) in [
        (json!({"revoked_at": "2026-01-01T00:00:00Z"}), json!({"revoked_at": null})),
        (json!({"expires_at": "2026-01-01T00:00:00Z"}), json!({"expires_at": null})),
        (json!({"allowed_ips": ["192.0.2.1"]}), json!({"allowed_ips": ["127.0.0.1"]})),
        (json!({"person_id": null}), json!({"person_id": 311})),
    ] {
        set(&server, Kind::Credential, 41, disabled.clone()).await;
        let reply = ask("wrong").await;
        assert_eq!(reply.text(), r#"{"code":401,"message":"Authorization failed"}"#);
        let reply = ask(&secret).await;
        assert_eq!(reply.text(), r#"{"code":403,"message":"Permission denied"}"#, "{disabled}");
        assert_eq!(reply.status, 403);
        set(&server, Kind::Credential, 41, enabled).await;
        assert_eq!(ask(&secret).await.status, 200, "{disabled}");
    }
}

async fn token_transport(server: Server) {
    let (id, secret) = key(&server, "OWN");
    let form =
        [("client_id", &*id), ("client_secret", &*secret), ("grant_type", "client_credentials")];
    let request = || token_request(&server, &form);
    assert_eq!(request().header("content-encoding", "identity").send().await.status, 200);
    let reply = request().header("content-encoding", "gzip").send().await;
    assert_eq!(reply.status, 415);
    assert_eq!(reply.text(), r#"{"code":415,"message":"Unsupported media type"}"#);
    let reply = request().header("content-type", "application/json").send().await;
    assert_eq!(reply.status, 400);
    // What no handler sees is JSON too, unless XML is asked for.
    let wrong_verb = || server.request("GET", "/api/v3/token");
    let large = || server.request("POST", "/api/v3/token").body(" ".repeat(1024 * 1024 + 1));
    for (reply, status, message) in [
        (wrong_verb().send().await, 405, "Method Not Allowed"),
        (large().send().await, 413, "Payload too large"),
    ] {
        assert_eq!(reply.status, status);
        assert_eq!(reply.text(), format!(r#"{{"code":{status},"message":"{message}"}}"#));
        assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    }
    assert_eq!(wrong_verb().send().await.header("allow"), "POST");
    let reply = wrong_verb().header("accept", "application/xml").send().await;
    assert_refused(&reply, 405, "Method Not Allowed");
    let reply = large().header("accept", "text/xml").send().await;
    assert_refused(&reply, 413, "Payload too large");
}

/// A token is no record: there is nothing to try out and no answer to keep.
async fn token_additions(server: Server) {
    let (id, secret) = key(&server, "OWN");
    let form =
        [("client_id", &*id), ("client_secret", &*secret), ("grant_type", "client_credentials")];
    let request = || token_request(&server, &form);
    for value in ["true", "TRUE", "yes", ""] {
        let reply = request().header("haksa-dry-run", value).send().await;
        assert_eq!(reply.status, 400, "{value}");
        assert_eq!(reply.text(), r#"{"code":400,"message":"Wrong parameters"}"#);
    }
    assert_eq!(request().header("haksa-dry-run", "false").send().await.status, 200);
    let keyed = async |key: &str| {
        let reply = request().header("idempotency-key", key).send().await;
        reply.json()["access_token"].as_str().expect("a token").to_owned()
    };
    assert_ne!(keyed("k").await, keyed("k").await);
    assert_eq!(keyed("").await.len(), 43);
}
