//! Many writers at once: nothing lost, nothing done twice, no neighbour harmed.

use haksa::domain::actor::Actor;
use haksa::domain::certificate::achievement::Achievement;
use haksa::domain::change::Action;
use haksa::domain::command::{Command, Context, Create, Decision, Write};
use haksa::domain::error::Error;
use haksa::domain::facts::{Facts, Known, Sequence, Signature};
use haksa::domain::kind::Kind;
use haksa::domain::people::department::Department;
use haksa::domain::record::{Document, Key, Meta, Record};
use haksa::pipeline::{Envelope, Reply};
use serde_json::json;

use crate::support::{Server, on_both_stores};

const WRITERS: usize = 64;
const ONE: &str = "/open-api/achievements/1539";

on_both_stores!(
    every_edit_counts,
    one_of_two_conditional_edits_wins,
    an_idempotency_key_works_once,
    a_refused_command_harms_no_neighbour,
    undo_races_edit,
    a_command_may_make_what_names_each_other_in_any_order,
    a_fault_at_the_commit_harms_no_neighbour,
    several_changes_of_one_command_are_one_act,
    a_signature_is_used_up_whatever_becomes_of_its_command,
);

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
    let changes = server.history("achievement/1539").await;
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
    assert_eq!(server.history("achievement/1539").await.len(), 11);
}

async fn an_idempotency_key_works_once(server: Server) {
    let edits = (0..WRITERS).map(|_| {
        let request = server.request("PATCH", ONE).bearer("demo-kolleges-key");
        request.header("idempotency-key", "just-once").json(&json!({"level": 9})).send()
    });
    for reply in all(edits).await {
        assert_eq!((reply.status, reply.header("etag")), (200, "\"2\""));
    }
    assert_eq!(server.history("achievement/1539").await.len(), 2);
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
        let undo = server.undo(&server.history("achievement/1539").await[0]);
        let edit = server.request("PATCH", ONE).bearer("demo-kolleges-key");
        let edit = edit.json(&json!({"level": round + 1000}));
        let (undone, edited) = tokio::join!(undo.send(), edit.send());
        assert_eq!(edited.status, 200);
        assert!([200, 409].contains(&undone.status), "{}", undone.text());
    }
    server.assert_sound().await;
}

/// Makes records just as they are, without a look at what they name.
struct Make {
    departments: Vec<(&'static str, Option<&'static str>)>,
    /// A certificate of this number, too.
    certificate: Option<&'static str>,
    is_large: bool,
}

impl Make {
    fn departments(departments: &[(&'static str, Option<&'static str>)]) -> Self {
        Self { departments: departments.to_vec(), certificate: None, is_large: false }
    }

    fn certificate(number: &'static str, is_large: bool) -> Self {
        Self { departments: Vec::new(), certificate: Some(number), is_large }
    }
}

fn made<R: Record>(key: Key, record: R, at: jiff::Timestamp) -> Write {
    let meta = Meta {
        kind: R::KIND,
        key,
        account_id: 3,
        version: 0,
        change_id: 0,
        created_at: at,
        updated_at: at,
        deleted_at: None,
    };
    Write { action: Action::Create, before: None, after: Document::of(meta, record) }
}

impl Command for Make {
    fn is_large(&self) -> bool {
        self.is_large
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let mut writes = Vec::new();
        for (id, parent) in &self.departments {
            let parent_id = parent.map(ToOwned::to_owned);
            let department = Department { parent_id, ..Department::default() };
            writes.push(made(Key::from(*id), department, context.at));
        }
        if let Some(number) = self.certificate {
            let certificate = Achievement {
                form_id: 551,
                person_id: 501,
                certificate_number: number.to_owned(),
                ..Achievement::default()
            };
            let id = facts.take(Sequence::Record(Kind::Achievement))?;
            writes.push(made(Key::Int(id), certificate, context.at));
        }
        Ok(Decision { writes, ..Decision::default() })
    }
}

async fn run(server: &Server, command: impl Command) -> Result<Reply, Error> {
    server.app.pipeline.run(command, Envelope::new(Actor::operator(3), "test")).await
}

async fn a_command_may_make_what_names_each_other_in_any_order(server: Server) {
    let tree = Make::departments(&[("a-child", Some("b-parent")), ("b-parent", None)]);
    let done = run(&server, tree).await;
    assert!(matches!(done, Ok(Reply::Done(..))), "{done:?}");
    server.assert_sound().await;
}

async fn a_fault_at_the_commit_harms_no_neighbour(server: Server) {
    let make = |n: usize| {
        let pipeline = server.app.pipeline.clone();
        let id: &'static str = format!("department-{n}").leak();
        let parent = (n % 8 == 3).then_some("nobody's");
        async move {
            let envelope = Envelope::new(Actor::operator(3), "test");
            pipeline.run(Make::departments(&[(id, parent)]), envelope).await
        }
    };
    for (n, result) in all((0..WRITERS).map(make)).await.into_iter().enumerate() {
        match result {
            Ok(_) => assert_ne!(n % 8, 3, "nothing is named so"),
            Err(error) => assert_eq!(n % 8, 3, "{error:?}"),
        }
    }
    server.assert_sound().await;
}

async fn several_changes_of_one_command_are_one_act(server: Server) {
    let acts = async |command: Make| {
        let Ok(Reply::Done(outcome, _)) = run(&server, command).await else { panic!("refused") };
        let mut stored = Vec::new();
        for change in &outcome.changes {
            let found =
                server.app.store.history(3, change.id, 1, i64::MAX).await.expect("a change");
            assert_eq!(found[0], **change);
            stored.push((change.id, change.act_id, change.act_end));
        }
        stored
    };
    let one = acts(Make::departments(&[("one", None)])).await;
    assert_eq!(one, [(one[0].0, None, None)]);
    let several = acts(Make {
        certificate: Some("ACT-1"),
        ..Make::departments(&[("first", None), ("second", Some("first"))])
    });
    let several = several.await;
    let [first, second, third] = [several[0].0, several[1].0, several[2].0];
    let expected = [
        (first, Some(first), Some(third)),
        (second, Some(first), None),
        (third, Some(first), None),
    ];
    assert_eq!(several, expected);
}

async fn a_signature_is_used_up_whatever_becomes_of_its_command(server: Server) {
    let signature = |digest: &str| Signature {
        expires_at: server.clock.now() + jiff::SignedDuration::from_mins(1),
        credential_id: 31,
        digest: digest.to_owned(),
    };
    // The last is refused by the database alone, when its second look has shown the same.
    for (digest, number, is_large, is_good) in [
        ("small", "SIGNED-1", false, true),
        ("large", "SIGNED-2", true, true),
        ("small, refused", "SIGNED-1", false, false),
        ("large, refused", "SIGNED-1", true, false),
    ] {
        let run = |number| {
            let envelope = Envelope {
                signature: Some(signature(digest)),
                ..Envelope::new(Actor::operator(3), "test")
            };
            server.app.pipeline.run(Make::certificate(number, is_large), envelope)
        };
        match run(number).await {
            Ok(_) => assert!(is_good, "{digest}"),
            Err(error) => {
                assert!(!is_good && matches!(error, Error::Conflict(_)), "{digest}: {error:?}");
            }
        }
        for again in [run("SIGNED-3").await.map(|_| ()), run("SIGNED-4").await.map(|_| ())] {
            assert!(matches!(again, Err(Error::Replayed)), "{digest}: {again:?}");
        }
        let alone = server.app.pipeline.burn_signature(1, signature(digest)).await;
        assert!(matches!(alone, Err(Error::Replayed)), "{digest}: {alone:?}");
    }
    server.assert_sound().await;
}
