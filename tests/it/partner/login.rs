//! Signing in with e-mail and password.

use serde_json::{Value, json};

use super::join::get;
use super::{CLASS, assert_detail, set};
use crate::support::{Reply, Server, on_both_stores};
use haksa::domain::patch::Patch;
use haksa::domain::people::credential::{Credential, CredentialEdit};
use haksa::domain::people::person::{Person, PersonEdit, PersonStatus};

const EMAIL: &str = "doyun@example.com";
const PASSWORD: &str = "demo-partner-password";

on_both_stores!(tokens_open_what_the_person_may, wrong_passwords, tokens_end);

async fn login(server: &Server, email: &str, password: &str) -> Reply {
    let body = json!({"email": email, "password": password});
    server.request("POST", "/user/login").json(&body).send().await
}

async fn refresh(server: &Server, token: &Value) -> Reply {
    server.request("POST", "/user/refresh").json(&json!({"refresh_token": token})).send().await
}

fn access(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["access_token"].as_str().unwrap().to_owned()
}

async fn tokens_open_what_the_person_may(server: Server) {
    let reply = login(&server, " Doyun@Example.COM ", PASSWORD).await;
    let token = access(&reply);
    let body = reply.json();
    let keys: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["access_token", "refresh_token", "token_type"]);
    assert_eq!(body["token_type"], "bearer");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(get(&server, &token, CLASS).await.status, 200);
    assert_detail(&get(&server, &token, "/partner/8/classes").await, 403, "forbidden");
    // A token of one kind is none of the other.
    let other = body["refresh_token"].as_str().unwrap();
    assert_detail(&get(&server, other, CLASS).await, 401, "unauthorized");
    let reply = refresh(&server, &body["access_token"]).await;
    assert_detail(&reply, 401, "invalid refresh token");
    let student = access(&login(&server, "hajun@example.com", "demo-student-password").await);
    assert_detail(&get(&server, &student, CLASS).await, 403, "not_a_partner");
    assert_eq!(get(&server, &student, "/user/classes").await.status, 200);
    for (body, fields) in [
        ("{}", vec!["email", "password"]),
        (r#"{"email":1,"password":null}"#, vec!["email", "password"]),
        (r#"{"email":"a"}"#, vec!["password"]),
    ] {
        let reply = server.request("POST", "/user/login").body(body).send().await;
        let detail = reply.json()["detail"].clone();
        let found: Vec<_> = detail
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["loc"][1].as_str().unwrap())
            .collect();
        assert_eq!((reply.status, found), (422, fields), "{body}");
    }
    server.assert_sound().await;
}

async fn wrong_passwords(server: Server) {
    let wrong = async |email: &str, password: &str| {
        assert_detail(&login(&server, email, password).await, 401, "invalid credentials");
    };
    wrong(EMAIL, "").await;
    wrong("nobody@example.com", PASSWORD).await;
    wrong("", PASSWORD).await;
    wrong("a\u{0}b", PASSWORD).await;
    // Somebody without a password cannot sign in with any.
    wrong("seoyeon@example.com", "").await;
    for _ in 0..9 {
        wrong(EMAIL, "demo-guess").await;
    }
    // Ten within a minute: now the right one is as wrong, and nothing tells that it is known.
    wrong(EMAIL, PASSWORD).await;
    access(&login(&server, "hajun@example.com", "demo-student-password").await);
    server.clock.advance(jiff::SignedDuration::from_secs(60));
    access(&login(&server, EMAIL, PASSWORD).await);
    let status = Patch::Value(PersonStatus::Suspended);
    set::<Person>(&server, 101, PersonEdit { status, ..PersonEdit::default() }).await;
    assert_detail(&login(&server, EMAIL, PASSWORD).await, 403, "user is not active");
    wrong(EMAIL, "demo-guess").await;
    server.assert_sound().await;
}

async fn tokens_end(server: Server) {
    let body = login(&server, EMAIL, PASSWORD).await.json();
    let token = body["access_token"].as_str().unwrap().to_owned();
    server.clock.advance(jiff::SignedDuration::from_hours(12));
    assert_detail(&get(&server, &token, CLASS).await, 401, "unauthorized");
    let next = refresh(&server, &body["refresh_token"]).await;
    let token = access(&next);
    assert_eq!(get(&server, &token, CLASS).await.status, 200);
    let again = refresh(&server, &body["refresh_token"]).await;
    assert_detail(&again, 401, "invalid refresh token");
    let next = next.json();
    // Revoking the credential of all logins ends them.
    let credential = {
        let found = server.app.store.read(|facts| facts.select::<Credential>(3, "person_id", 101));
        let found = found.await.unwrap();
        found.iter().find(|c| c.record.label == "logins").expect("one for all").id()
    };
    let now = Patch::Value(server.clock.now());
    set::<Credential>(&server, credential, CredentialEdit { revoked_at: now, ..<_>::default() })
        .await;
    assert_detail(&get(&server, &token, CLASS).await, 401, "unauthorized");
    let reply = refresh(&server, &next["refresh_token"]).await;
    assert_detail(&reply, 401, "invalid refresh token");
    let token = access(&login(&server, EMAIL, PASSWORD).await);
    let status = Patch::Value(PersonStatus::Suspended);
    set::<Person>(&server, 101, PersonEdit { status, ..PersonEdit::default() }).await;
    assert_detail(&get(&server, &token, CLASS).await, 401, "unauthorized");
    server.assert_sound().await;
}
