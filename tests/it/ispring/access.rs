//! Who may do what where, by token and by password.

use haksa::domain::actor::Actor;
use haksa::domain::command::{Create, Edit, Expected};
use haksa::domain::error::Error;
use haksa::domain::kind::Kind;
use haksa::domain::patch::Patch;
use haksa::domain::people::department::{Department, DepartmentEdit};
use haksa::domain::record::Key;
use haksa::pipeline::Envelope;
use serde_json::{Value, json};

use super::{
    D1, D3, DOCUMENTED, E1, E2, E3, EX, assert_edited, assert_refused, assert_unauthorized,
    assert_wrong, get, post, set, token,
};
use crate::support::{Server, on_both_stores};

on_both_stores!(
    who_may,
    who_may_not_even_ask,
    account_headers,
    one_guard_stands_at_every_door,
    scopes_follow_the_tree,
    deep_trees,
    broken_trees,
    roles_hold_at_once,
);

/// Caller × department, for edits and reads.
async fn who_may(server: Server) {
    const YES: u16 = 200;
    const NO: u16 = 403;
    // Caller; edits of E1 (D1), E2 (D2, in D1), E3 (D3); reads of the same.
    for (caller, edits, reads) in [
        ("OWN", [YES, YES, YES], [YES, YES, YES]),
        ("ADM", [YES, YES, YES], [YES, YES, YES]),
        ("DA1", [YES, YES, NO], [YES, YES, NO]),
        ("DA2", [NO, YES, NO], [NO, YES, NO]),
        ("PUB2", [NO, YES, NO], [NO, YES, NO]),
        ("CE1", [YES, YES, NO], [YES, YES, NO]),
        ("CV1", [NO, NO, NO], [YES, YES, NO]),
        ("MIX", [NO, YES, NO], [NO, YES, YES]),
        ("DA0", [NO, NO, NO], [NO, NO, NO]),
        ("LRN", [NO, NO, NO], [NO, NO, NO]),
    ] {
        for (id, (edit, read)) in [E1, E2, E3].into_iter().zip(edits.into_iter().zip(reads)) {
            let reply = post(&server, caller, id, DOCUMENTED).send().await;
            assert_eq!(reply.status, edit, "{caller} edits {id}");
            // The scope is looked at before the body.
            let bad = post(&server, caller, id, "<bad").send().await;
            let read_reply = get(&server, caller, id).send().await;
            assert_eq!(read_reply.status, read, "{caller} reads {id}");
            if edit == YES {
                assert_edited(&reply);
                assert_wrong(&bad);
            } else {
                assert_refused(&reply, 403, "Permission denied");
                assert_refused(&bad, 403, "Permission denied");
            }
            if read == NO {
                assert_refused(&read_reply, 403, "Permission denied");
            }
        }
    }
    // Refused edits changed nothing: only OWN's and ADM's reached E3.
    assert_eq!(get(&server, "OWN", E3).send().await.version(), "2");
}

async fn who_may_not_even_ask(server: Server) {
    for authorization in [
        "",
        " ",
        "wrong",
        "Bearer",
        "Bearer wrong",
        "Basic ZGVtbzpkZW1v",
        "Bearer demo-ispring-OWN-token twice",
        "Digest demo-ispring-OWN-token",
        "demo-ispring-OWN-secret",
        "demo-kolleges-key",
        "demo-admin-key",
    ] {
        for id in [E1, E2, E3, EX, "not-a-uuid"] {
            for method in ["POST", "GET"] {
                let request = server.request(method, &format!("/enrollment/{id}"));
                let reply =
                    request.header("authorization", authorization).body("<bad").send().await;
                assert_unauthorized(&reply);
            }
        }
    }
    let reply = server.request("POST", &format!("/enrollment/{E1}")).body(DOCUMENTED).send().await;
    assert_unauthorized(&reply);
    for scheme in ["", "Bearer ", "bearer ", "BEARER  "] {
        let value = format!("{scheme}{}", token("ADM"));
        let request = server.request("POST", &format!("/enrollment/{E1}"));
        let reply = request.header("authorization", value).body(DOCUMENTED).send().await;
        assert_edited(&reply);
    }
}

async fn account_headers(server: Server) {
    const URL: &str = "https://demo.ispringlearn.com";
    const PASSWORD: &str = "demo-ispring-password";
    let send = |id: &str, url: &str, login: &str, password: &str| {
        server
            .request("POST", &format!("/enrollment/{id}"))
            .header("X-Auth-Account-Url", url)
            .header("X-Auth-Email", login)
            .header("X-Auth-Password", password)
            .body(DOCUMENTED)
    };
    for login in ["da1", "DA1@demo.example"] {
        for (id, status) in [(E1, 200), (E2, 200), (E3, 403)] {
            assert_eq!(send(id, URL, login, PASSWORD).send().await.status, status, "{login} {id}");
        }
    }
    for url in ["http://demo.ispringlearn.com/", "HTTPS://Demo.ispringlearn.com"] {
        assert_edited(&send(E1, url, "da1", PASSWORD).send().await);
    }
    for (url, login, password) in [
        (URL, "da1", "wrong"),
        (URL, "da1", ""),
        (URL, "", PASSWORD),
        (URL, "nobody", PASSWORD),
        ("https://another.ispringlearn.com", "da1", PASSWORD),
        ("https://nowhere.example", "da1", PASSWORD),
        ("", "da1", PASSWORD),
        // A learner without a password.
        (URL, "Learner One", PASSWORD),
    ] {
        assert_unauthorized(&send(E1, url, login, password).send().await);
    }
    for missing in ["X-Auth-Account-Url", "X-Auth-Email", "X-Auth-Password"] {
        let request = server.request("POST", &format!("/enrollment/{E1}")).body(DOCUMENTED);
        let request =
            [("X-Auth-Account-Url", URL), ("X-Auth-Email", "da1"), ("X-Auth-Password", PASSWORD)]
                .into_iter()
                .filter(|(name, _)| *name != missing)
                .fold(request, |request, (name, value)| request.header(name, value));
        assert_unauthorized(&request.send().await);
    }
    // Each header once, though both be right; of `Authorization` that is so everywhere.
    for name in ["X-Auth-Account-Url", "X-Auth-Email", "X-Auth-Password"] {
        let value = match name {
            "X-Auth-Account-Url" => URL,
            "X-Auth-Email" => "da1",
            _ => PASSWORD,
        };
        assert_unauthorized(&send(E1, URL, "da1", PASSWORD).header(name, value).send().await);
    }
    let request = send(E1, URL, "da1", PASSWORD);
    let twice = ["OWN", "OWN"].map(token);
    let request =
        twice.into_iter().fold(request, |request, value| request.header("authorization", value));
    assert_wrong(&request.send().await);
    // With both schemes, `Authorization` decides.
    let both = |authorization: &str, password: &str| {
        send(E3, URL, "da1", password).header("authorization", authorization).send()
    };
    assert_edited(&both(&token("OWN"), "wrong").await);
    assert_unauthorized(&both("wrong", PASSWORD).await);
    // Callers without a credential keep their idempotency keys apart.
    let keyed = |login: &str, id: &str| {
        send(id, URL, login, PASSWORD).header("idempotency-key", "k").send()
    };
    assert_edited(&keyed("da1", E1).await);
    assert_edited(&keyed("da2", E2).await);
    assert_refused(&keyed("da1", E2).await, 422, "Idempotency-Key was used with another request");
    set(&server, Kind::Person, 313, json!({"status": "inactive"})).await;
    assert_unauthorized(&send(E1, URL, "da1", PASSWORD).send().await);
}

async fn scopes_follow_the_tree(server: Server) {
    let da1 = async |id: &str| post(&server, "DA1", id, DOCUMENTED).send().await.status;
    assert_eq!(da1(E1).await, 200);
    set(&server, Kind::Person, 301, json!({"department_id": D3})).await;
    assert_eq!(da1(E1).await, 403);
    set(&server, Kind::Department, D3, json!({"parent_id": D1})).await;
    assert_eq!(da1(E1).await, 200);
    assert_eq!(da1(E3).await, 200);
    // A learner in no department is in the account's scope only.
    set(&server, Kind::Person, 301, json!({"department_id": null})).await;
    assert_eq!(da1(E1).await, 403);
    assert_eq!(post(&server, "ADM", E1, DOCUMENTED).send().await.status, 200);
}

/// The id of a department `level` levels below D3.
fn below(level: usize) -> String {
    format!("5f0c2b9e-0000-4000-8000-0000000001{level:02}")
}

async fn create(server: &Server, id: &str, parent_id: Option<&str>) -> Result<(), Error> {
    let department = Department {
        name: id.to_owned(),
        parent_id: parent_id.map(str::to_owned),
        ..Department::default()
    };
    let command = Create { key: Some(Key::from(id)), ..Create::new(department) };
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(command, envelope).await.map(|_| ())
}

async fn move_below(server: &Server, id: &str, parent_id: &str) -> Result<(), Error> {
    let edit = DepartmentEdit {
        parent_id: Patch::Value(parent_id.to_owned()),
        ..DepartmentEdit::default()
    };
    let command = Edit::<Department> { key: Key::from(id), edit, expected: Expected::Any };
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(command, envelope).await.map(|_| ())
}

fn assert_invalid(result: Result<(), Error>, code: &str) {
    let Err(Error::Invalid(errors)) = result else {
        panic!("{code}: {result:?}");
    };
    assert_eq!(errors.iter().map(|e| (e.field, e.code)).collect::<Vec<_>>(), [("parent_id", code)]);
}

async fn deep_trees(server: Server) {
    // D3 is the second level; the tree has 32.
    let mut parent = D3.to_owned();
    for level in 1..=30 {
        create(&server, &below(level), Some(&parent)).await.expect("it fits");
        parent = below(level);
    }
    assert_invalid(create(&server, &below(31), Some(&parent)).await, "too_deep");
    assert_invalid(create(&server, &below(31), Some(&below(99))).await, "unknown");
    assert_invalid(
        create(&server, &below(31), Some("5f0c2b9e-0000-4000-8000-0000000000d9")).await,
        "unknown",
    );
    assert_invalid(move_below(&server, D3, &below(30)).await, "cycle");
    assert_invalid(move_below(&server, D3, D3).await, "cycle");
    // What is below a department goes with it.
    assert_invalid(move_below(&server, D3, D1).await, "too_deep");
    move_below(&server, &below(1), D1).await.expect("the same depth");
    move_below(&server, &below(1), D3).await.expect("the same depth");
    // Who manages D3 reaches the deepest learner.
    set(&server, Kind::Person, 301, json!({"department_id": below(30)})).await;
    for caller in ["OWN", "MIX"] {
        assert_eq!(get(&server, caller, E1).send().await.status, 200, "{caller}");
    }
    assert_edited(&post(&server, "OWN", E1, DOCUMENTED).send().await);
    assert_refused(&get(&server, "DA1", E1).send().await, 403, "Permission denied");
}

/// A tree that the rules would not let grow is refused to who manages a part of it, and harms nobody
/// else.
async fn broken_trees(server: Server) {
    for level in 1..=80 {
        create(&server, &below(level), None).await.expect("a root");
        let parent = if level == 1 { D1.to_owned() } else { below(level - 1) };
        set(&server, Kind::Department, &*below(level), json!({"parent_id": parent})).await;
    }
    set(&server, Kind::Person, 301, json!({"department_id": below(80)})).await;
    for looped in [false, true] {
        if looped {
            set(&server, Kind::Department, D1, json!({"parent_id": below(80)})).await;
        }
        assert_eq!(get(&server, "OWN", E1).send().await.status, 200);
        assert_edited(&post(&server, "OWN", E1, DOCUMENTED).send().await);
        assert_refused(&get(&server, "DA1", E1).send().await, 403, "Permission denied");
        assert_refused(
            &post(&server, "DA1", E1, DOCUMENTED).send().await,
            403,
            "Permission denied",
        );
    }
}

async fn roles_hold_at_once(server: Server) {
    let da1 = async || post(&server, "DA1", E1, DOCUMENTED).send().await;
    let role = |id: &str, departments: Value| {
        json!({"roles": [{
            "role_id": format!("5f0c2b9e-0000-4000-8000-0000000000{id}"),
            "department_ids": departments,
        }]})
    };
    assert_edited(&da1().await);
    for (roles, status) in [
        (role("b3", json!([D3])), 403),
        (role("b1", json!([])), 200),
        (role("b7", json!([D1])), 403),
        // The other account's owner role is no role here.
        (role("b9", json!([])), 403),
        (json!({"roles": []}), 403),
        (role("b3", json!([D1])), 200),
    ] {
        set(&server, Kind::Person, 313, roles.clone()).await;
        assert_eq!(da1().await.status, status, "{roles}");
    }
    for status in ["inactive", "suspended", "terminated"] {
        set(&server, Kind::Person, 313, json!({"status": status})).await;
        assert_unauthorized(&da1().await);
    }
    set(&server, Kind::Person, 313, json!({"status": "active"})).await;
    assert_edited(&da1().await);
    set(&server, Kind::Credential, 43, json!({"revoked_at": "2026-01-01T00:00:00Z"})).await;
    assert_unauthorized(&da1().await);
}

async fn one_guard_stands_at_every_door(server: Server) {
    const PASSWORD: &str = "demo-ispring-password";
    let header = async |id: &str, login: &str, password: &str, dry: &str| {
        let request = server.request("POST", &format!("/enrollment/{id}"));
        let request = request
            .header("X-Auth-Account-Url", "https://demo.ispringlearn.com")
            .header("X-Auth-Email", login)
            .header("X-Auth-Password", password)
            .header("haksa-dry-run", dry);
        request.body(DOCUMENTED).send().await
    };
    let sign_in = async |email: &str, password: &str| {
        let body = serde_json::json!({"email": email, "password": password});
        server.request("POST", "/user/login").json(&body).send().await
    };
    // Half of the guesses at each door; those of a trial run count too.
    for _ in 0..5 {
        assert_unauthorized(&header(E1, "da1", "demo-guess", "true").await);
        assert_eq!(sign_in("da1@demo.example", "demo-guess").await.status, 401);
    }
    // Now the right one is as wrong, in the same words, whatever it would open.
    let wrong = header(E1, "da1", "demo-guess", "false").await;
    for id in [E1, E3] {
        let right = header(id, "DA1@demo.example", PASSWORD, "false").await;
        assert_unauthorized(&right);
        assert_eq!(right.body, wrong.body);
    }
    assert_eq!(sign_in("da1@demo.example", PASSWORD).await.status, 401);
    // Nobody else is kept out, nor a key of the same person's.
    assert_edited(&header(E1, "own", PASSWORD, "false").await);
    assert_eq!(get(&server, "DA1", E1).send().await.status, 200);
    server.clock.advance(jiff::SignedDuration::from_secs(60));
    assert_edited(&header(E1, "da1", PASSWORD, "false").await);
    assert_eq!(header(E3, "da1", PASSWORD, "false").await.status, 403);
    // Guesses at this door alone, many at a time: few of one address wait for their turn, and of those
    // only so many are judged.
    for _ in 0..4 {
        let guesses = (0..60).map(|_| header(E1, "da1", "demo-guess", "false"));
        for reply in futures_util::future::join_all(guesses).await {
            assert!([401, 503].contains(&reply.status), "{}", reply.status);
        }
    }
    assert_unauthorized(&header(E1, "da1", PASSWORD, "false").await);
    server.assert_sound().await;
}
