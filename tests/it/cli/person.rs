//! People at the command line.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::json;

use super::{Place, assert_said, for_both_stores, text};
use crate::support::{Backend, Server};

for_both_stores!(an_instructor_is_made_and_signs_in, a_person_has_only_values_that_mean_something);

/// Runs `haksa person password` with something on standard input.
fn password(place: &Place, person: &str, input: &str) -> Output {
    let mut child = place
        .command(&["person", "password", person, "--account", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("haksa starts");
    // One that refuses at once may not read.
    let _ = child.stdin.take().expect("standard input").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

async fn an_instructor_is_made_and_signs_in(backend: Backend) {
    let place = Place::with_account(backend).await;
    let create = ["person", "create", "김강사", "--account", "1", "--partner"];
    let made = place.run(&[&create[..], &["--email", "Teach@example.com"]].concat());
    assert_said(&made, 0, "person 1\npartner 1\n");
    assert_said(&password(&place, "1", "demo-password\nmore\n"), 0, "person 1 has a new password");
    let history = place.run(&["history", "person/1"]);
    assert!(!text(&history).contains("argon2"), "{}", text(&history));
    let server = Server::start_on(&place.database).await;
    let body = json!({"email": "teach@example.com", "password": "demo-password"});
    let reply = server.request("POST", "/user/login").json(&body).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let token = reply.json()["access_token"].as_str().expect("a token").to_owned();
    let class = server.request("POST", "/partner/1/classes").bearer(&token);
    let class = class.json(&json!({"name": "첫 강의"})).send().await;
    assert_eq!(class.status, 201, "{}", class.text());
    // A new password ends what the old one opened, while the server runs.
    assert_said(&password(&place, "1", "another-password\n"), 0, "person 1 has a new password");
    let list = || server.request("GET", "/partner/1/classes").bearer(&token);
    for _ in 0..40 {
        if list().send().await.status != 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(list().send().await.status, 401);
    let refresh = json!({"refresh_token": reply.json()["refresh_token"]});
    let refresh = server.request("POST", "/user/refresh").json(&refresh).send().await;
    assert_eq!(refresh.status, 401, "{}", refresh.text());
    let body = json!({"email": "teach@example.com", "password": "another-password"});
    let reply = server.request("POST", "/user/login").json(&body).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let list = text(&place.run(&["credential", "list", "--account", "1"]));
    let without_ids = list.lines().filter_map(|line| line.split_once("  ")).map(|(_, line)| line);
    let expected = [
        "partner  -  logins  ended by a new password  as person 1",
        "partner  -  logins  live  as person 1",
    ];
    assert_eq!(without_ids.collect::<Vec<_>>(), expected);
    server.assert_sound().await;
}

async fn a_person_has_only_values_that_mean_something(backend: Backend) {
    let place = Place::with_account(backend).await;
    let create = |more: &[&str]| {
        place.run(&[&["person", "create", "김학생", "--account", "1"], more].concat())
    };
    assert_said(&create(&["--email", "a@example.com", "--login", "kim"]), 0, "person 1\n");
    assert_said(&create(&["--email", " A@EXAMPLE.com"]), 2, "is person 1, 김학생");
    assert_said(&create(&["--login", "KIM"]), 2, "kim is person 1, 김학생");
    let unknown = place.run(&["person", "create", "김학생", "--account", "9"]);
    assert_said(&unknown, 2, "there is no account 9");
    assert_said(&place.run(&["person", "create", " ", "--account", "1"]), 2, "needs a name");
    assert_said(&password(&place, "1", "short\n"), 2, "at least 8 characters");
    assert_said(&password(&place, "1", ""), 2, "at least 8 characters");
    assert_said(&password(&place, "7", "demo-password\n"), 2, "account 1 has no person 7");
}
