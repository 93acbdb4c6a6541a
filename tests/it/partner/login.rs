//! Signing in with e-mail and password.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::join::get;
use super::{CLASS, assert_detail, set};
use crate::support::{Reply, Server, on_both_stores};
use haksa::domain::actor::Actor;
use haksa::domain::patch::Patch;
use haksa::domain::people::credential::{Credential, CredentialEdit};
use haksa::domain::people::person::{Person, PersonEdit, PersonStatus};
use haksa::domain::people::throttle::{CountGuess, Guesser, PERSON_MAX, Throttle};
use haksa::pipeline::Envelope;

pub(super) const EMAIL: &str = "doyun@example.com";
pub(super) const PASSWORD: &str = "demo-partner-password";

on_both_stores!(
    tokens_open_what_the_person_may,
    wrong_passwords,
    who_guesses_meanwhile_is_refused,
    who_asked_before_the_limit_is_held_to_it,
    a_clock_that_goes_back_frees_no_guesses,
    right_passwords_are_no_guesses,
    tokens_end,
    a_new_password_ends_every_session,
    a_spent_token_that_comes_again_ends_its_family,
    a_refresh_that_comes_again_at_once_gets_its_answer,
    a_login_under_a_key_is_one_login,
    strangers_keep_nobody_out_who_is_known,
    a_person_is_known_by_a_password_for_some_time,
    a_crowd_at_one_address_keeps_no_other_out,
);

pub(super) async fn login(server: &Server, email: &str, password: &str) -> Reply {
    login_from(server, 1, email, password).await
}

/// Signs in from 127.0.0.`last`.
pub(super) async fn login_from(server: &Server, last: u8, email: &str, password: &str) -> Reply {
    let body = json!({"email": email, "password": password});
    server.request("POST", "/user/login").json(&body).from(last).send().await
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
    assert_eq!((token.len(), other.len()), (87, 87));
    assert_detail(&get(&server, other, CLASS).await, 401, "unauthorized");
    let reply = refresh(&server, &body["access_token"]).await;
    assert_detail(&reply, 401, "invalid refresh token");
    let student = access(&login(&server, "hajun@example.com", "demo-student-password").await);
    assert_detail(&get(&server, &student, CLASS).await, 403, "not_a_partner");
    assert_eq!(get(&server, &student, "/user/classes").await.status, 200);
    for (body, fields) in [
        ("{}", vec!["email", "password"]),
        (r#"{"email":1,"password":null}"#, vec!["email", "password"]),
        (r#"{"email":"a"}"#, vec!["email", "password"]),
        (r#"{"email":"a@b.co"}"#, vec!["password"]),
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
    for none in ["", "a\u{0}b@example.com"] {
        assert_eq!(login(&server, none, PASSWORD).await.status, 422, "no address is nobody's");
    }
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

/// Guesses that were begun before the limit was reached gain nothing by that.
async fn who_guesses_meanwhile_is_refused(server: Server) {
    let key = "3/password/person/101";
    let counted = async || {
        let found = server.app.store.read(|facts| facts.find::<Throttle>(3, key));
        found.await.unwrap().map_or(0, |throttle| throttle.record.count)
    };
    // From so many places that all may wait.
    let wrong = join_all((0..24).map(|n| login_from(&server, 2 + n / 3, EMAIL, "demo-guess")));
    // It comes while they wait for their turns, when the limit is far.
    let right = async {
        while counted().await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        login(&server, EMAIL, PASSWORD).await
    };
    let (wrong, right) = futures_util::future::join(wrong, right).await;
    for reply in wrong.iter().chain([&right]) {
        assert_detail(reply, 401, "invalid credentials");
    }
    assert_eq!(counted().await, PERSON_MAX);
}

/// Counts so many guesses at the person of [`EMAIL`], without one.
async fn count(server: &Server, guesses: i64) {
    for _ in 0..guesses {
        let guess = CountGuess(Guesser::person(3, "password", 101));
        let envelope = Envelope::new(Actor::worker(3), "test");
        server.app.pipeline.run(guess, envelope).await.expect("it is counted");
    }
}

/// A request whose last byte has not been sent yet.
async fn open(server: &Server, password: &str) -> TcpStream {
    let mut body = json!({"email": EMAIL, "password": password}).to_string();
    body.pop();
    let head = format!(
        "POST /user/login HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len() + 1
    );
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    stream.write_all((head + &body).as_bytes()).await.expect("it is taken");
    stream
}

async fn who_asked_before_the_limit_is_held_to_it(server: Server) {
    let held = join_all(["demo-guess", PASSWORD].map(|password| open(&server, password))).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    server.clock.advance(jiff::SignedDuration::from_secs(1));
    count(&server, PERSON_MAX).await;
    for mut stream in held {
        stream.write_all(b"}").await.expect("it is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
}

async fn a_clock_that_goes_back_frees_no_guesses(server: Server) {
    count(&server, PERSON_MAX).await;
    for back in [-30, -3600] {
        server.clock.advance(jiff::SignedDuration::from_secs(back));
        assert_detail(&login(&server, EMAIL, PASSWORD).await, 401, "invalid credentials");
    }
    // One that was wrong by days does not keep anybody out for days.
    server.clock.advance(jiff::SignedDuration::from_hours(-48));
    access(&login(&server, EMAIL, PASSWORD).await);
}

async fn right_passwords_are_no_guesses(server: Server) {
    // From as many places as a person is known from.
    for reply in join_all((0..30).map(|n| login_from(&server, 1 + n / 4, EMAIL, PASSWORD))).await {
        access(&reply);
    }
    // Whoever has gone meanwhile has not guessed wrong, either.
    for _ in 0..12 {
        let mut stream = open(&server, PASSWORD).await;
        stream.write_all(b"}").await.expect("it is taken");
    }
    for _ in 0..9 {
        assert_detail(&login(&server, EMAIL, "x").await, 401, "invalid credentials");
        access(&login(&server, EMAIL, PASSWORD).await);
    }
    assert_detail(&login(&server, EMAIL, "x").await, 401, "invalid credentials");
    assert_detail(&login(&server, EMAIL, PASSWORD).await, 401, "invalid credentials");
}

async fn tokens_end(server: Server) {
    let body = login(&server, EMAIL, PASSWORD).await.json();
    let token = body["access_token"].as_str().unwrap().to_owned();
    server.clock.advance(jiff::SignedDuration::from_hours(12));
    assert_detail(&get(&server, &token, CLASS).await, 401, "unauthorized");
    let next = refresh(&server, &body["refresh_token"]).await;
    let token = access(&next);
    assert_eq!(get(&server, &token, CLASS).await.status, 200);
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

async fn a_new_password_ends_every_session(server: Server) {
    let change = async |password: &str| {
        let hash = haksa::vault::hash_password(password, [5; 16]).expect("a hash");
        let edit = PersonEdit { password_hash: Patch::Value(hash), ..<_>::default() };
        set::<Person>(&server, 101, edit).await;
    };
    let (one, other) =
        (login(&server, EMAIL, PASSWORD).await, login(&server, EMAIL, PASSWORD).await);
    let refreshed = refresh(&server, &other.json()["refresh_token"]).await;
    let student = access(&login(&server, "hajun@example.com", "demo-student-password").await);
    for reply in [&one, &other, &refreshed] {
        assert_eq!(get(&server, &access(reply), CLASS).await.status, 200);
    }
    // In the same instant, and with a clock that goes back: what counts is which password it was.
    change("demo-new-password").await;
    let dead = async || {
        for reply in [&one, &other, &refreshed] {
            assert_detail(&get(&server, &access(reply), CLASS).await, 401, "unauthorized");
            let again = refresh(&server, &reply.json()["refresh_token"]).await;
            assert_detail(&again, 401, "invalid refresh token");
        }
    };
    dead().await;
    let new = login(&server, EMAIL, "demo-new-password").await;
    assert_eq!(get(&server, &access(&new), CLASS).await.status, 200);
    server.clock.advance(jiff::SignedDuration::from_hours(-1));
    dead().await;
    let early = login(&server, EMAIL, "demo-new-password").await;
    for reply in [&new, &early] {
        assert_eq!(get(&server, &access(reply), CLASS).await.status, 200);
    }
    assert_eq!(refresh(&server, &new.json()["refresh_token"]).await.status, 200);
    // The old one again is a new one again.
    change(PASSWORD).await;
    dead().await;
    assert_detail(&get(&server, &access(&early), CLASS).await, 401, "unauthorized");
    // Nobody else's end, nor the tokens that an operator gave out.
    assert_eq!(get(&server, &student, "/user/classes").await.status, 200);
    assert_eq!(get(&server, super::TOKEN, CLASS).await.status, 200);
    server.assert_sound().await;
}

async fn a_spent_token_that_comes_again_ends_its_family(server: Server) {
    let first = login(&server, EMAIL, PASSWORD).await;
    let other = login(&server, EMAIL, PASSWORD).await;
    let second = refresh(&server, &first.json()["refresh_token"]).await;
    let third = refresh(&server, &second.json()["refresh_token"]).await;
    for reply in [&first, &second, &third, &other] {
        assert_eq!(get(&server, &access(reply), CLASS).await.status, 200);
    }
    // Whoever has stolen it, or its owner, comes late; and not alone.
    let spent = first.json()["refresh_token"].clone();
    let late = (0..8).map(|_| refresh(&server, &spent));
    for reply in join_all(late).await {
        assert_detail(&reply, 401, "invalid refresh token");
    }
    for reply in [&first, &second, &third] {
        assert_detail(&get(&server, &access(reply), CLASS).await, 401, "unauthorized");
        let again = refresh(&server, &reply.json()["refresh_token"]).await;
        assert_detail(&again, 401, "invalid refresh token");
    }
    // Another session of the same person is another family.
    assert_eq!(get(&server, &access(&other), CLASS).await.status, 200);
    let other = refresh(&server, &other.json()["refresh_token"]).await;
    assert_eq!(get(&server, &access(&other), CLASS).await.status, 200);
    access(&login(&server, EMAIL, PASSWORD).await);
    // Nobody takes that back.
    let credential = {
        let found = server.app.store.read(|facts| facts.select::<Credential>(3, "person_id", 101));
        found.await.unwrap().iter().find(|c| c.record.label == "logins").expect("one").id()
    };
    let newest = &server.history(&format!("credential/{credential}")).await[0];
    let undone = server.undo(newest).send().await;
    assert_eq!(undone.json()["errors"][0]["field"], "ended_sessions", "{}", undone.text());
    assert_detail(&get(&server, &access(&third), CLASS).await, 401, "unauthorized");
    // It stays ended for as long as any of its tokens would have been good.
    server.clock.advance(jiff::SignedDuration::from_hours(11));
    assert_detail(&get(&server, &access(&third), CLASS).await, 401, "unauthorized");
    server.clock.advance(jiff::SignedDuration::from_hours(29 * 24));
    let last = refresh(&server, &third.json()["refresh_token"]).await;
    assert_detail(&last, 401, "invalid refresh token");
    server.assert_sound().await;
}

async fn a_refresh_that_comes_again_at_once_gets_its_answer(server: Server) {
    let first = login(&server, EMAIL, PASSWORD).await.json();
    let spent = &first["refresh_token"];
    // Together, too: whoever of them was first.
    let replies = join_all((0..4).map(|_| refresh(&server, spent))).await;
    let next = replies[0].text();
    for reply in &replies {
        access(reply);
        assert_eq!(reply.text(), next);
    }
    let next = replies[0].json();
    server.clock.advance(jiff::SignedDuration::from_secs(60));
    let body = json!({"refresh_token": spent});
    for key in ["a", "b"] {
        let again = server.request("POST", "/user/refresh").json(&body);
        let again = again.header("idempotency-key", key).send().await;
        assert_eq!((again.status, again.json()), (200, next.clone()), "whatever the key");
    }
    let bad = server.request("POST", "/user/refresh").json(&body).header("idempotency-key", "");
    assert_detail(&bad.send().await, 400, "invalid_idempotency_key");
    // Another that was refreshed in its turn had its answer.
    let other = login(&server, EMAIL, PASSWORD).await.json();
    let second = refresh(&server, &other["refresh_token"]).await.json();
    access(&refresh(&server, &second["refresh_token"]).await);
    let late = refresh(&server, &other["refresh_token"]).await;
    assert_detail(&late, 401, "invalid refresh token");
    // And here it is too late.
    server.clock.advance(jiff::SignedDuration::from_micros(1));
    assert_detail(&refresh(&server, spent).await, 401, "invalid refresh token");
    let token = next["access_token"].as_str().unwrap();
    assert_detail(&get(&server, token, CLASS).await, 401, "unauthorized");
    let end = refresh(&server, &next["refresh_token"]).await;
    assert_detail(&end, 401, "invalid refresh token");
    server.assert_sound().await;
}

async fn a_login_under_a_key_is_one_login(server: Server) {
    let sign_in = |password: &str, key: &str| {
        let body = json!({"email": EMAIL, "password": password});
        server.request("POST", "/user/login").json(&body).header("idempotency-key", key).send()
    };
    let first = sign_in(PASSWORD, "k").await;
    assert_eq!(get(&server, &access(&first), CLASS).await.status, 200);
    let again = join_all((0..3).map(|_| sign_in(PASSWORD, "k"))).await;
    for reply in &again {
        assert_eq!((reply.status, reply.text()), (200, first.text()));
    }
    assert_ne!(access(&sign_in(PASSWORD, "other").await), access(&first));
    assert_ne!(access(&login(&server, EMAIL, PASSWORD).await), access(&first));
    // A key is nobody's password, and another request's is no login's.
    assert_detail(&sign_in("demo-guess", "k").await, 401, "invalid credentials");
    let name = server.request("PATCH", CLASS).bearer(&access(&first)).json(&json!({"name": "b"}));
    let reused = name.clone().header("idempotency-key", "k").send().await;
    assert_detail(&reused, 422, "idempotency_key_reused");
    assert_eq!(name.header("idempotency-key", "edit").send().await.status, 200);
    assert_detail(&sign_in(PASSWORD, "edit").await, 422, "idempotency_key_reused");
    assert_detail(&sign_in(PASSWORD, "").await, 400, "invalid_idempotency_key");
    // Nothing that opens anything is kept with the key.
    let credential = {
        let found = server.app.store.read(|facts| facts.select::<Credential>(3, "person_id", 101));
        found.await.unwrap().iter().find(|c| c.record.label == "logins").expect("one").id()
    };
    let kept = server.app.store.read(|facts| facts.answer(credential, "k")).await.unwrap();
    let kept = format!("{:?}", kept.expect("an answer"));
    for token in ["access_token", "refresh_token"] {
        assert!(!kept.contains(first.json()[token].as_str().unwrap()));
    }
    // The next day it is another login.
    server.clock.advance(jiff::SignedDuration::from_hours(24));
    assert_ne!(access(&sign_in(PASSWORD, "k").await), access(&first));
    server.assert_sound().await;
}

const GUESS: &str = "demo-guess";
const STUDENT: &str = "hajun@example.com";
const STUDENT_PASSWORD: &str = "demo-student-password";

/// Ten wrong guesses from 127.0.0.`last`, and that the next are not judged, be they right.
async fn tire(server: &Server, last: u8, right: &str) {
    for _ in 0..PERSON_MAX {
        let reply = login_from(server, last, EMAIL, GUESS).await;
        assert_detail(&reply, 401, "invalid credentials");
    }
    let reply = login_from(server, last, EMAIL, right).await;
    assert_detail(&reply, 401, "invalid credentials");
}

async fn strangers_keep_nobody_out_who_is_known(server: Server) {
    access(&login_from(&server, 2, EMAIL, PASSWORD).await);
    access(&login_from(&server, 3, EMAIL, PASSWORD).await);
    // The second's guess is of the same count as the first's, which was none.
    tire(&server, 9, PASSWORD).await;
    let stranger = login_from(&server, 10, EMAIL, PASSWORD).await;
    assert_detail(&stranger, 401, "invalid credentials");
    access(&login_from(&server, 2, EMAIL, PASSWORD).await);
    // A known place is counted by itself: it locks out nobody but those who come from there.
    tire(&server, 2, PASSWORD).await;
    access(&login_from(&server, 3, EMAIL, PASSWORD).await);
    server.clock.advance(jiff::SignedDuration::from_secs(60));
    for last in [2, 9, 10] {
        access(&login_from(&server, last, EMAIL, PASSWORD).await);
    }
    // Nobody sees from where, neither in the history nor in the database.
    let target = "/haksa/v1/changes?kind=throttle&limit=100";
    let changes = server.request("GET", target).bearer("demo-admin-key").send().await;
    assert_eq!(changes.status, 200, "{}", changes.text());
    let items = changes.json()["items"].as_array().unwrap().clone();
    let known = |item: &Value| item["after"].get("known").cloned();
    let shown: Vec<Value> = items.iter().filter_map(known).collect();
    assert!(shown.len() > 3 && shown.iter().all(|known| known == "•••"), "{shown:?}");
    assert!(!changes.text().contains("127.0.0"), "{}", changes.text());
    let found = server.app.store.read(|facts| facts.find::<Throttle>(3, THROTTLE)).await;
    let found = found.unwrap().expect("a count");
    assert_eq!(found.record.known.len(), 4);
    assert!(!format!("{found:?}").contains("127.0.0"));
    server.assert_sound().await;
}

const THROTTLE: &str = "3/password/person/101";

async fn a_person_is_known_by_a_password_for_some_time(server: Server) {
    let change = async |password: &str| {
        let hash = haksa::vault::hash_password(password, [5; 16]).expect("a hash");
        let edit = PersonEdit { password_hash: Patch::Value(hash), ..<_>::default() };
        set::<Person>(&server, 101, edit).await;
    };
    // From eight places at the most, of which the oldest makes room.
    for last in 2..=10 {
        access(&login_from(&server, last, EMAIL, PASSWORD).await);
        server.clock.advance(jiff::SignedDuration::from_mins(2));
    }
    tire(&server, 99, PASSWORD).await;
    assert_eq!(login_from(&server, 2, EMAIL, PASSWORD).await.status, 401);
    access(&login_from(&server, 3, EMAIL, PASSWORD).await);
    // Whoever comes again stays known; others are strangers after thirty days.
    server.clock.advance(jiff::SignedDuration::from_hours(24 * 20));
    access(&login_from(&server, 3, EMAIL, PASSWORD).await);
    server.clock.advance(jiff::SignedDuration::from_hours(24 * 11));
    tire(&server, 99, PASSWORD).await;
    access(&login_from(&server, 3, EMAIL, PASSWORD).await);
    assert_eq!(login_from(&server, 10, EMAIL, PASSWORD).await.status, 401);
    // A new password is known from nowhere.
    change("demo-new-password").await;
    assert_eq!(login_from(&server, 3, EMAIL, "demo-new-password").await.status, 401);
    server.clock.advance(jiff::SignedDuration::from_mins(2));
    access(&login_from(&server, 3, EMAIL, "demo-new-password").await);
    tire(&server, 99, "demo-new-password").await;
    access(&login_from(&server, 3, EMAIL, "demo-new-password").await);
    server.assert_sound().await;
}

/// Forty connections that never stop guessing, at the person's own name and at others.
async fn a_crowd_at_one_address_keeps_no_other_out(server: Server) {
    access(&login_from(&server, 3, EMAIL, PASSWORD).await);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let crowd: Vec<_> = (0..40)
        .map(|n| {
            let email =
                if n % 4 == 0 { EMAIL.to_owned() } else { format!("nobody{n}@example.com") };
            let body = json!({"email": email, "password": GUESS});
            let guess = server.request("POST", "/user/login").json(&body).from(2);
            let stop = stop.clone();
            tokio::spawn(async move {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let reply = guess.clone().send().await;
                    assert!(matches!(reply.status, 401 | 503), "{}", reply.text());
                    if reply.status == 503 {
                        assert_eq!(reply.header("retry-after"), "1");
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    for _ in 0..5 {
        access(&login_from(&server, 3, EMAIL, PASSWORD).await);
        access(&login_from(&server, 4, STUDENT, STUDENT_PASSWORD).await);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for guessing in crowd {
        guessing.await.expect("no panic");
    }
}
