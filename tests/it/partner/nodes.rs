//! Two servers on one PostgreSQL database.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::join::{CLASSES, CODES, STUDENT, people, post, redeem};
use super::login::{EMAIL, PASSWORD, login, login_from};
use super::{CLASS, COURSES, TOKEN, assert_detail, edit, read};
use crate::support::{Reply, Server, new_postgres_database};

async fn two_nodes() -> [Server; 2] {
    let url = new_postgres_database().await;
    [Server::start_on(&url).await, Server::start_on(&url).await]
}

async fn class_with_one_place(server: &Server) -> Value {
    post(server, CLASSES, &json!({"name": "a", "capacity": 1})).send().await.json()
}

async fn create(server: &Server, name: &str, idempotency_key: Option<&str>) -> Reply {
    let mut request = server.request("POST", COURSES).bearer(TOKEN);
    if let Some(key) = idempotency_key {
        request = request.header("idempotency-key", key);
    }
    request.json(&json!({"title": name, "course_key": name})).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_class_keeps_a_course_that_another_node_deletes() {
    let [one, other] = two_nodes().await;
    for round in 0..60 {
        let course = create(&one, &format!("course {round}"), None).await.json();
        let target = format!("{COURSES}/{}", course["id"]);
        let body = json!({"course_id": course["id"]});
        let (edited, deleted) = tokio::join!(
            edit(&one, &body).send(),
            other.request("DELETE", &target).bearer(TOKEN).send()
        );
        assert_eq!(deleted.status, 204, "{}", deleted.text());
        if edited.status != 200 {
            assert_detail(&edited, 400, "course_not_found");
        }
        assert_eq!(read(&one, CLASS).await["course_id"], Value::Null, "round {round}");
    }
    one.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_gets_one_answer_from_all_nodes() {
    let nodes = two_nodes().await;
    for round in 0..40 {
        let name = format!("course {round}");
        let tries = (0..6).map(|n| create(&nodes[n % 2], &name, Some(&name)));
        let replies = join_all(tries).await;
        for reply in &replies {
            assert_eq!((reply.status, reply.text()), (201, replies[0].text()), "round {round}");
        }
    }
    // Another request under a key is told so wherever the first one went.
    let reply = create(&nodes[1], "another", Some("course 0")).await;
    assert_detail(&reply, 422, "idempotency_key_reused");
    nodes[0].assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_fill_a_class_to_its_last_place_and_no_further() {
    let nodes = two_nodes().await;
    edit(&nodes[0], &json!({"capacity": 20})).send().await;
    // A code for each node: nothing but the class itself keeps them apart.
    let other = post(&nodes[0], CODES, &json!({"code": "BCD345"})).send().await.json();
    let tokens = people(&nodes[0], 60).await;
    let tries = tokens.iter().enumerate().map(|(n, token)| {
        let code = if n % 2 == 0 { "ABC234" } else { "BCD345" };
        redeem(&nodes[n % 2], token, code).send()
    });
    let replies = join_all(tries).await;
    let joined = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(joined, 20);
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        assert_detail(reply, 400, "class_full");
    }
    let members = read(&nodes[1], &format!("{CLASS}/enrollments?status=active")).await;
    assert_eq!(members["total"], 20);
    let codes = read(&nodes[1], CODES).await;
    assert_eq!(codes["items"][0]["id"], other["id"]);
    let uses = |n: usize| codes["items"][n]["used_count"].as_i64().unwrap();
    assert_eq!(uses(0) + uses(1), 20);
    nodes[0].assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_place_goes_to_one_of_two_nodes() {
    let nodes = two_nodes().await;
    let tokens = people(&nodes[0], 2).await;
    for round in 0..60 {
        let class = class_with_one_place(&nodes[0]).await;
        let target = format!("{CLASSES}/{}/invite-codes", class["id"]);
        let other = post(&nodes[0], &target, &json!({})).send().await.json();
        let code = class["invite_codes"][0]["code"].as_str().unwrap();
        let (one, two) = tokio::join!(
            redeem(&nodes[0], &tokens[0], code).send(),
            redeem(&nodes[1], &tokens[1], other["code"].as_str().unwrap()).send()
        );
        let mut replies = [(one.status, one), (two.status, two)];
        replies.sort_by_key(|(status, _)| *status);
        assert_eq!(replies[0].0, 201, "round {round}: {}", replies[0].1.text());
        assert_detail(&replies[1].1, 400, "class_full");
    }
    nodes[0].assert_sound().await;
}

/// Nothing is prepared yet at a node that has just started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_place_goes_to_one_of_two_nodes_that_have_just_started() {
    for round in 0..8 {
        let nodes = two_nodes().await;
        let tokens = people(&nodes[0], 2).await;
        let class = class_with_one_place(&nodes[0]).await;
        let code = class["invite_codes"][0]["code"].as_str().unwrap();
        let (one, two) = tokio::join!(
            redeem(&nodes[0], &tokens[0], code).send(),
            redeem(&nodes[1], &tokens[1], code).send()
        );
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 400], "round {round}: {} {}", one.text(), two.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_at_one_node_and_a_code_at_another_share_the_last_place() {
    let nodes = two_nodes().await;
    let tokens = people(&nodes[0], 2).await;
    for round in 0..60 {
        let class = class_with_one_place(&nodes[0]).await;
        let code = class["invite_codes"][0]["code"].as_str().unwrap();
        let joined = redeem(&nodes[0], &tokens[0], code).send().await.json();
        let target = format!("/user/class/enrollments/{}", joined["id"]);
        let left = nodes[0].request("DELETE", &target).bearer(&tokens[0]).send().await;
        assert_eq!(left.status, 204, "{}", left.text());
        let undo = &nodes[0].history(&format!("membership/{}", joined["id"])).await[0];
        let (back, other) =
            tokio::join!(nodes[0].undo(undo).send(), redeem(&nodes[1], &tokens[1], code).send());
        let target = format!("{CLASSES}/{}/enrollments?status=active", class["id"]);
        assert_eq!(read(&nodes[1], &target).await["total"], 1, "round {round}");
        assert_ne!(back.status == 200, other.status == 201, "round {round}: {}", back.text());
    }
    nodes[0].assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_of_so_many_uses_has_no_more_on_two_nodes() {
    let nodes = two_nodes().await;
    for round in 0..10 {
        let body = json!({"max_uses": 3});
        let code = post(&nodes[0], CODES, &body).send().await.json();
        let text = code["code"].as_str().unwrap();
        let tokens = people(&nodes[0], 8).await;
        let tries = tokens.iter().enumerate();
        let replies =
            join_all(tries.map(|(n, token)| redeem(&nodes[n % 2], token, text).send())).await;
        let joined = replies.iter().filter(|reply| reply.status == 201).count();
        assert_eq!(joined, 3, "round {round}");
        for reply in replies.iter().filter(|reply| reply.status != 201) {
            assert_detail(reply, 400, "invalid_or_expired_code");
        }
        let used = read(&nodes[1], CODES).await["items"][0].clone();
        assert_eq!(used["id"], code["id"]);
        assert_eq!((&used["used_count"], &used["status"]), (&json!(3), &json!("disabled")));
    }
    nodes[0].assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_person_at_two_nodes_joins_once_in_each_class() {
    let nodes = two_nodes().await;
    for round in 0..15 {
        // Two classes of one course: one student, one thing owed, two memberships.
        let mut codes = Vec::new();
        for _ in 0..2 {
            let body = json!({"name": "a", "course_id": 5});
            let class = post(&nodes[0], CLASSES, &body).send().await.json();
            codes.push(class["invite_codes"][0]["code"].as_str().unwrap().to_owned());
        }
        let token = people(&nodes[0], 1).await.remove(0);
        let tries = (0..8).map(|n| redeem(&nodes[n % 2], &token, &codes[n / 2 % 2]).send());
        let replies = join_all(tries).await;
        let mut seen = std::collections::BTreeSet::new();
        let mut students = std::collections::BTreeSet::new();
        for reply in &replies {
            assert_eq!(reply.status, 201, "round {round}: {}", reply.text());
            seen.insert(reply.json()["id"].as_i64());
            students.insert(reply.json()["student_id"].as_i64());
        }
        assert_eq!((seen.len(), students.len()), (2, 1), "round {round}");
        let mine = nodes[1].request("GET", "/user/classes").bearer(&token).send().await.json();
        assert_eq!(mine["total"], 2);
        let student = students.first().copied().flatten().unwrap();
        let person = read(&nodes[1], &format!("/partner/7/student/{student}")).await;
        let person = person["user_id"].as_i64().unwrap();
        let owed = nodes[1].app.store.read(|facts| {
            facts.select::<haksa::domain::learning::enrollment::Enrollment>(3, "person_id", person)
        });
        assert_eq!(owed.await.unwrap().len(), 1, "round {round}");
    }
    nodes[0].assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_joins_a_class_that_another_node_deletes() {
    let [one, other] = two_nodes().await;
    for round in 0..15 {
        let class = post(&one, CLASSES, &json!({"name": "a"})).send().await.json();
        let code = class["invite_codes"][0]["code"].as_str().unwrap();
        let tokens = people(&one, 4).await;
        let target = format!("{CLASSES}/{}", class["id"]);
        let joining = join_all(tokens.iter().map(|token| redeem(&one, token, code).send()));
        let deleting = other.request("DELETE", &target).bearer(TOKEN).send();
        let (joined, deleted) = tokio::join!(joining, deleting);
        assert_eq!(deleted.status, 204, "{}", deleted.text());
        for reply in joined.iter().filter(|reply| reply.status != 201) {
            let detail = reply.json()["detail"].as_str().unwrap_or_default().to_owned();
            assert!(
                ["invalid_or_expired_code", "class_not_found"].contains(&detail.as_str()),
                "round {round}: {}",
                reply.text()
            );
        }
        // Who came in before was sent out with the rest.
        for token in &tokens {
            let mine = other.request("GET", "/user/classes").bearer(token).send().await.json();
            assert_eq!(mine["total"], 0, "round {round}");
        }
        one.clock.advance(jiff::SignedDuration::from_mins(1));
        other.clock.advance(jiff::SignedDuration::from_mins(1));
    }
    one.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_counted_over_all_nodes() {
    let nodes = two_nodes().await;
    let guesses = (0..30).map(|n| redeem(&nodes[n % 2], STUDENT, "ZZZZZZ").send());
    let replies = join_all(guesses).await;
    let (wrong, limited): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 400);
    assert_eq!((wrong.len(), limited.len()), (10, 20));
    for reply in limited {
        assert_detail(reply, 429, "Too Many Requests");
    }
    nodes[0].assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_guessed_at_ten_times_over_all_nodes() {
    let nodes = two_nodes().await;
    // Far enough apart for one to think that it is over what has not begun at the other.
    nodes[1].clock.advance(jiff::SignedDuration::from_secs(-90));
    for n in 0..4 {
        let reply = login(&nodes[n % 2], EMAIL, PASSWORD).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    // From so many places that all may wait.
    let guess = |n: usize| {
        let last = 2 + u8::try_from(n / 2).expect("few");
        login_from(&nodes[n % 2], last, EMAIL, "demo-guess")
    };
    for reply in join_all((0..30).map(guess)).await {
        assert_detail(&reply, 401, "invalid credentials");
    }
    let counts = "SELECT (body::json->>'count')::bigint FROM throttle \
                  WHERE id = '3/password/person/101'";
    assert_eq!(nodes[0].numbers(counts).await, [10]);
    for node in &nodes {
        let reply = login_from(node, 2, EMAIL, PASSWORD).await;
        assert_detail(&reply, 401, "invalid credentials");
        // From where the person has signed in, at whichever node.
        assert_eq!(login(node, EMAIL, PASSWORD).await.status, 200);
    }
    nodes[0].assert_sound().await;
}
