//! Many writers at once: nothing lost, nothing done twice, no neighbour harmed.

use haksa::domain::actor::Actor;
use haksa::domain::certificate::achievement::Achievement;
use haksa::domain::command::Create;
use haksa::domain::error::Error;
use haksa::domain::record::Key;
use haksa::pipeline::Envelope;
use serde_json::{Value, json};

use crate::support::{Server, on_both_stores};

const WRITERS: usize = 64;
const ONE: &str = "/open-api/achievements/1539";

on_both_stores!(
    every_edit_counts,
    one_of_two_conditional_edits_wins,
    an_idempotency_key_works_once,
    a_refused_command_harms_no_neighbour,
    undo_races_edit,
);

async fn history(server: &Server) -> Vec<Value> {
    let target = "/haksa/v1/records/achievement/1539/history?limit=100";
    let reply = server.request("GET", target).bearer("demo-admin-key").send().await;
    reply.json()["items"].as_array().unwrap().clone()
}

async fn all<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no panic"));
    }
    results
}

async fn every_edit_counts(server: Server) {
    let edits = (0..WRITERS).map(|n| {
        let request = server.request("PATCH", ONE).bearer("demo-kolleges-key");
        request.json(&json!({"level": n, "admin_comment": format!("작성자 {n}")})).send()
    });
    for reply in all(edits).await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let changes = history(&server).await;
    assert_eq!(changes.len(), WRITERS + 1);
    let mut before = changes[0]["after"].clone();
    for (index, change) in changes.iter().enumerate() {
        assert_eq!(change["version"], WRITERS + 1 - index);
        if index < WRITERS {
            assert_eq!(change["after"], before, "the chain is broken");
            before = change["before"].clone();
        }
    }
    server.assert_sound().await;
}

async fn one_of_two_conditional_edits_wins(server: Server) {
    for round in 1..=10_i64 {
        let edits = (0..8).map(|n| {
            let request = server.request("PATCH", ONE).bearer("demo-kolleges-key");
            let request = request.header("if-match", format!("\"{round}\""));
            request.json(&json!({"level": round * 100 + n})).send()
        });
        let mut statuses: Vec<_> = all(edits).await.iter().map(|reply| reply.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    }
    assert_eq!(history(&server).await.len(), 11);
}

async fn an_idempotency_key_works_once(server: Server) {
    let edits = (0..WRITERS).map(|_| {
        let request = server.request("PATCH", ONE).bearer("demo-kolleges-key");
        request.header("idempotency-key", "just-once").json(&json!({"level": 9})).send()
    });
    for reply in all(edits).await {
        assert_eq!((reply.status, reply.header("etag")), (200, "\"2\""));
    }
    assert_eq!(history(&server).await.len(), 2);
}

/// Certificate numbers are unique in the database alone, so a second one fails the whole commit; its
/// neighbours go through all the same.
async fn a_refused_command_harms_no_neighbour(server: Server) {
    let create = |n: usize, number: String| {
        let pipeline = server.app.pipeline.clone();
        let record = Achievement {
            form_id: 551,
            person_id: 501,
            certificate_number: number,
            level: Some(n.into()),
            ..Achievement::default()
        };
        async move {
            let envelope = Envelope::new(Actor::operator(3), format!("request-{n}"));
            pipeline.run(Create::new(record), envelope).await
        }
    };
    let commands = (0..WRITERS).map(|n| {
        let is_bad = n % 8 == 3;
        create(n, if is_bad { "SAND-202504-r9a1pt".to_owned() } else { format!("NEW-{n}") })
    });
    for (n, result) in all(commands).await.into_iter().enumerate() {
        match result {
            Ok(_) => assert_ne!(n % 8, 3),
            Err(error) => {
                assert_eq!(n % 8, 3, "{error}");
                assert!(matches!(error, Error::Conflict(_)), "{error:?}");
            }
        }
    }
    server.assert_sound().await;
    // A reference to nothing is the database's to refuse as well.
    let orphan = Achievement { form_id: 1, person_id: 501, ..Achievement::default() };
    let envelope = Envelope::new(Actor::operator(3), "orphan");
    let refused = server.app.pipeline.run(Create::new(orphan), envelope).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    // Text that one of the databases cannot keep is refused on both.
    let unstorable = Achievement {
        form_id: 551,
        person_id: 501,
        certificate_number: "A\0B".to_owned(),
        ..Achievement::default()
    };
    let envelope = Envelope::new(Actor::operator(3), "nul");
    let refused = server.app.pipeline.run(Create::new(unstorable), envelope).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    let found = server
        .app
        .store
        .read(|facts| facts.find::<Achievement>(3, Key::Int(1539)).map(|found| found.is_some()));
    assert!(found.await.expect("a read"));
}

async fn undo_races_edit(server: Server) {
    for round in 0..10 {
        let level = json!({"level": round + 1});
        let request = server.request("PATCH", ONE).bearer("demo-kolleges-key").json(&level);
        assert_eq!(request.send().await.status, 200);
        let change = history(&server).await[0]["change_id"].clone();
        let target = format!("/haksa/v1/changes/{change}/undo");
        let undo = server.request("POST", &target).bearer("demo-admin-key");
        let edit = server.request("PATCH", ONE).bearer("demo-kolleges-key");
        let edit = edit.json(&json!({"level": round + 1000}));
        let (undone, edited) = tokio::join!(undo.send(), edit.send());
        assert_eq!(edited.status, 200);
        assert!([200, 409].contains(&undone.status), "{}", undone.text());
    }
    server.assert_sound().await;
}
