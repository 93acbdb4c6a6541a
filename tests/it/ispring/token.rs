//! Access tokens.

use haksa::domain::kind::Kind;
use jiff::SignedDuration;
use serde_json::json;

use super::{DOCUMENTED, E1, E3, assert_edited, assert_refused, assert_unauthorized, set};
use crate::support::{Request, Server, on_both_stores};

on_both_stores!(tokens, refused_tokens,);

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
    // Only who has the secret learns that the key is disabled.
    set(&server, Kind::Credential, 41, json!({"revoked_at": "2026-01-01T00:00:00Z"})).await;
    let reply = token_request(&server, &form).send().await;
    assert_eq!(reply.text(), unauthorized);
    let form = [("client_id", &*id), ("client_secret", &*secret), grant];
    let reply = token_request(&server, &form).send().await;
    assert_eq!(reply.text(), r#"{"code":403,"message":"Permission denied"}"#);
    assert_eq!(server.request("GET", "/api/v3/token").send().await.header("allow"), "POST");
}
