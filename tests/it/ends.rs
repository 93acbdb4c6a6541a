//! One record begins to name another while that one ends: whichever of the two comes first, nobody is
//! left with the name of what is gone.

use std::time::Duration;

use haksa::domain::command::{Command, Create, Delete, Edit, Expected};
use haksa::domain::error::Error;
use haksa::domain::learning::course::Course;
use haksa::domain::patch::Patch;
use haksa::domain::record::{Key, Record};
use haksa::domain::teaching::class::{Class, ClassEdit};
use haksa::domain::teaching::model::Model;
use serde_json::json;

use crate::support::command::{self, try_run};
use crate::support::paused::Paused;
use crate::support::{Backend, Server, new_postgres_database};

/// How one record comes to name another.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A new class has the course in a column.
    InColumn,
    /// A new class has the model in its list.
    InBody,
    /// A class gets the model into its list.
    ByEdit,
}

const WAYS: [Way; 3] = [Way::InColumn, Way::InBody, Way::ByEdit];

async fn make<R: Record>(server: &Server, record: R) -> i64 {
    command::make(server, record).await.as_int().expect("a number")
}

/// What is to be named, and the command that names it.
async fn named(server: &Server, way: Way, what: &str) -> (i64, Box<dyn Command>) {
    if let Way::InColumn = way {
        let (title, course_key) = (what.to_owned(), Some(what.to_owned()));
        let course = Course { title, course_key, ..Course::default() };
        let id = make(server, course).await;
        let (name, course_id) = (what.to_owned(), Some(id));
        let timezone = "UTC".to_owned();
        let class = Class { partner_id: 7, name, timezone, course_id, ..Class::default() };
        return (id, Box::new(Create::new(class)));
    }
    let model =
        Model { provider: "test".to_owned(), model_name: what.to_owned(), ..Model::default() };
    let id = make(server, model).await;
    // Another is the first, which has a column.
    let class = |allowed_model_ids| Class {
        partner_id: 7,
        name: what.to_owned(),
        timezone: "UTC".to_owned(),
        primary_model_id: Some(1),
        allowed_model_ids,
        ..Class::default()
    };
    if let Way::InBody = way {
        return (id, Box::new(Create::new(class(vec![1, id]))));
    }
    let edit = ClassEdit { allowed_model_ids: Patch::Value(vec![1, id]), ..ClassEdit::default() };
    let key = Key::Int(make(server, class(vec![1])).await);
    (id, Box::new(Edit::<Class> { key, edit, expected: Expected::Any }))
}

fn end(way: Way, id: i64) -> Box<dyn Command> {
    match way {
        Way::InColumn => Box::new(Delete::<Course>::new(Key::Int(id), Expected::Any)),
        Way::InBody | Way::ByEdit => Box::new(Delete::<Model>::new(Key::Int(id), Expected::Any)),
    }
}

async fn faults(server: &Server) -> Vec<String> {
    haksa::check::run(&server.app.store).await.expect("a check").faults
}

/// Each way, while the one that names has decided, and while the one that ends has.
async fn whoever_comes_first(one: &Server, other: &Server, is_large: bool) {
    let mut wrong = Vec::new();
    for way in WAYS {
        let (id, naming) = named(one, way, &format!("{way:?}, first {is_large}")).await;
        let (naming, decided, go) = Paused::new(naming, is_large);
        let (named_it, ended) = tokio::join!(try_run(one, naming), async {
            let _ = decided.await;
            let ended = try_run(other, Paused::never(end(way, id))).await;
            let _ = go.send(());
            ended
        });
        if ended.is_err() || !matches!(named_it, Err(Error::Conflict(_) | Error::Invalid(_))) {
            wrong.push(format!("{way:?}: ended ({ended:?}), then named ({named_it:?})"));
        }
        wrong.extend(faults(one).await);

        let (id, naming) = named(one, way, &format!("{way:?}, second {is_large}")).await;
        let (ending, decided, go) = Paused::new(end(way, id), is_large);
        let (ended, named_it) = tokio::join!(try_run(other, ending), async {
            let _ = decided.await;
            let named_it = try_run(one, Paused::never(naming)).await;
            let _ = go.send(());
            named_it
        });
        // It is refused, or takes the name away.
        if named_it.is_err() || !matches!(ended, Ok(_) | Err(Error::Conflict(_))) {
            wrong.push(format!("{way:?}: named ({named_it:?}), then ended ({ended:?})"));
        }
        wrong.extend(faults(one).await);
    }
    assert_eq!(wrong, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_name_stays_of_what_another_node_ends() {
    let url = new_postgres_database().await;
    let nodes = [Server::start_on(&url).await, Server::start_on(&url).await];
    whoever_comes_first(&nodes[0], &nodes[1], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_name_stays_of_what_ends_beside_a_large_command() {
    let url = new_postgres_database().await;
    let nodes = [Server::start_on(&url).await, Server::start_on(&url).await];
    whoever_comes_first(&nodes[0], &nodes[1], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_stays_of_what_ends_beside_a_large_command_in_a_file() {
    let server = Server::start(Backend::Sqlite).await;
    whoever_comes_first(&server, &server, true).await;
}

/// Statement against statement, as chance has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_goes_at_one_node_while_classes_of_another_begin_to_allow_it() {
    let url = new_postgres_database().await;
    let nodes = [Server::start_on(&url).await, Server::start_on(&url).await];
    let (mut before, mut after) = (0, 0);
    for round in 0..60 {
        let model = json!({"provider": "test", "model_name": round.to_string()});
        let model =
            nodes[0].request("POST", "/haksa/v1/models").bearer("demo-admin-key").json(&model);
        let id = model.send().await.json()["id"].clone();
        let class = nodes[0].request("POST", "/partner/7/classes").bearer("demo-partner-token");
        let class = class.json(&json!({"name": "a", "allowed_model_ids": [1, id]}));
        let delete = nodes[1].request("DELETE", &format!("/haksa/v1/models/{id}"));
        let delete = async {
            tokio::time::sleep(Duration::from_micros(round * 100)).await;
            delete.bearer("demo-admin-key").send().await
        };
        let (made, deleted) = tokio::join!(class.send(), delete);
        assert_eq!(deleted.status, 204, "round {round}: {}", deleted.text());
        if made.status == 201 {
            before += 1;
            let target = format!("/partner/7/classes/{}", made.json()["id"]);
            let class = nodes[0].request("GET", &target).bearer("demo-partner-token").send().await;
            assert_eq!(class.json()["allowed_model_ids"], json!([1]), "round {round}");
        } else {
            after += 1;
            assert_eq!(made.status, 400, "round {round}: {}", made.text());
        }
    }
    assert!(before > 0, "the model was always gone: {after}");
    nodes[0].assert_sound().await;
}

async fn model(server: &Server, name: &str) -> i64 {
    let body = json!({"provider": "test", "model_name": name});
    let make = server.request("POST", "/haksa/v1/models").bearer("demo-admin-key").json(&body);
    make.send().await.json()["id"].as_i64().expect("an id")
}

/// Who names a model that somebody is about to end waits, and then sees that it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_waits_for_who_ends_what_it_names() {
    let server = Server::start(Backend::Postgres).await;
    let mut outsider = server.outsider().await;
    // Longer than a batch waits for a lock, at last.
    for ms in [10, 15, 20, 25, 30, 35, 300] {
        let id = model(&server, &format!("model {ms}")).await;
        let ending = outsider.transaction().await.expect("a transaction");
        let end = format!(
            "UPDATE model SET deleted_at = updated_at WHERE id = {id}; \
             SELECT 1 FROM model WHERE id = {id} FOR UPDATE"
        );
        ending.batch_execute(&end).await.expect("it ends");
        let class = server.request("POST", "/partner/7/classes").bearer("demo-partner-token");
        let class = class.json(&json!({"name": "a", "allowed_model_ids": [1, id]})).send();
        let class = tokio::spawn(class);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        assert!(!class.is_finished(), "it did not wait {ms} ms");
        ending.commit().await.expect("committed");
        let reply = class.await.expect("no panic");
        assert_eq!(reply.status, 400, "after {ms} ms: {}", reply.text());
    }
    // What was done by hand is in no history.
    let ended = "version and newest change disagree: model ";
    let found = faults(&server).await;
    assert!(found.len() == 7 && found.iter().all(|fault| fault.starts_with(ended)), "{found:?}");
}

/// Who ends a model that somebody begins to name waits, and then sees the name. Nobody else waits, not
/// even who edits the model.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_waits_for_who_names_what_it_ends() {
    let server = Server::start(Backend::Postgres).await;
    let mut outsider = server.outsider().await;
    let id = model(&server, "named").await;
    let naming = outsider.transaction().await.expect("a transaction");
    let name = format!("UPDATE class SET primary_model_id = {id} WHERE id = 11");
    naming.batch_execute(&name).await.expect("it names");
    let target = format!("/haksa/v1/models/{id}");
    let delete = server.request("DELETE", &target).bearer("demo-admin-key").send();
    let delete = tokio::spawn(delete);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begun = std::time::Instant::now();
        let edit = server.request("PATCH", &target).bearer("demo-admin-key");
        let edited = edit.json(&json!({"supports_parallel": true})).send().await;
        assert_eq!(edited.status, 200, "{}", edited.text());
        assert!(begun.elapsed() < Duration::from_secs(1), "an edit waits for no name");
    }
    assert!(!delete.is_finished(), "the end did not wait for the name");
    naming.commit().await.expect("committed");
    let reply = delete.await.expect("no panic");
    assert_eq!(reply.status, 204, "{}", reply.text());
    let named = format!("SELECT count(*) FROM class WHERE primary_model_id = {id}");
    assert_eq!(server.numbers(&named).await, [0]);
    // What was done by hand is in no history.
    let by_hand = "history that disagrees with its record: class 11: change 43 says otherwise of primary_model_id";
    assert_eq!(faults(&server).await, [by_hand]);
}
