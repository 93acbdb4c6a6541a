//! Two servers on one PostgreSQL database.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{CLASS, COURSES, TOKEN, assert_detail, edit, read};
use crate::support::{Reply, Server, new_postgres_database};

async fn two_nodes() -> [Server; 2] {
    let url = new_postgres_database().await;
    [Server::start_on(&url).await, Server::start_on(&url).await]
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
