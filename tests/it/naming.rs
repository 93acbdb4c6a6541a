//! Who names whom elsewhere than in columns, as it is kept beside the records.

use std::collections::BTreeSet;

use haksa::domain::change::Action;
use haksa::domain::command::{Command, Context, Create, Decision, Edit, Expected, Undo, Write};
use haksa::domain::error::Error;
use haksa::domain::facts::{Facts, Known, Sequence};
use haksa::domain::kind::Kind;
use haksa::domain::patch::Patch;
use haksa::domain::people::department::Department;
use haksa::domain::people::person::{Person, PersonEdit, RoleGrant};
use haksa::domain::people::role::Role;
use haksa::domain::record::{Key, Record};
use haksa::domain::teaching::class::{Class, ClassEdit};
use haksa::pipeline::Outcome;
use serde_json::{Value, json};

use crate::support::command::{make, run, try_run};
use crate::support::{Server, on_both_stores};

on_both_stores!(
    links_say_what_classes_and_people_name,
    a_large_command_shows_its_links_with_its_rows,
    a_check_finds_links_that_are_missing_and_links_that_are_stray,
);

type Link = [String; 4];

fn link(to: (Kind, &Key), from: (Kind, &Key)) -> Link {
    let (to_kind, from_kind) = (to.0.name().to_owned(), from.0.name().to_owned());
    [to_kind, to.1.to_string(), from_kind, from.1.to_string()]
}

async fn links(server: &Server) -> BTreeSet<Link> {
    let (mut found, mut after) = (BTreeSet::new(), Link::default());
    // Few at once, so that there are several pages.
    while let Some(last) = {
        let page = server.app.store.links_after(&after, 3).await.expect("links");
        found.extend(page.iter().cloned());
        page.into_iter().last()
    } {
        after = last;
    }
    found
}

async fn edit<R: Record>(server: &Server, key: &Key, edit: R::Edit) -> Outcome {
    run(server, Edit::<R> { key: key.clone(), edit, expected: Expected::Any }).await
}

async fn undo(server: &Server, outcome: &Outcome) {
    let change_id = outcome.changes[0].id;
    run(
        server,
        Undo {
            change_id,
            expected: Expected::Any,
            held: Vec::new(),
            is_large: false,
            trails: Vec::new(),
        },
    )
    .await;
}

fn person(grants: &[(&Key, &[&Key])]) -> Person {
    let grant = |(role, departments): &(&Key, &[&Key])| RoleGrant {
        role_id: role.to_string(),
        department_ids: departments.iter().map(ToString::to_string).collect(),
    };
    let roles = grants.iter().map(grant).collect();
    Person { name: "이몽룡".to_owned(), roles, ..Person::default() }
}

async fn links_say_what_classes_and_people_name(server: Server) {
    let before = links(&server).await;
    assert!(!before.is_empty(), "people of the demo account have roles");
    let come = async || -> BTreeSet<Link> {
        let now = links(&server).await;
        assert!(now.is_superset(&before), "others' are gone");
        now.difference(&before).cloned().collect()
    };

    let target = "/partner/7/classes";
    let body = json!({"name": "a", "allowed_model_ids": [2, 1]});
    let class = server.request("POST", target).bearer("demo-partner-token").json(&body);
    let class = class.send().await.json()["id"].as_i64().expect("an id");
    let to_models = |ids: &[i64]| -> BTreeSet<Link> {
        let from = Key::Int(class);
        ids.iter().map(|id| link((Kind::Model, &Key::Int(*id)), (Kind::Class, &from))).collect()
    };
    assert_eq!(come().await, to_models(&[1, 2]));
    let key = Key::Int(class);
    let other = ClassEdit { name: Patch::Value("b".to_owned()), ..ClassEdit::default() };
    edit::<Class>(&server, &key, other).await;
    assert_eq!(come().await, to_models(&[1, 2]));
    let models = ClassEdit {
        allowed_model_ids: Patch::Value(vec![1, 3]),
        primary_model_id: Patch::Value(3),
        ..ClassEdit::default()
    };
    let edited = edit::<Class>(&server, &key, models).await;
    assert_eq!(come().await, to_models(&[1, 3]));
    undo(&server, &edited).await;
    assert_eq!(come().await, to_models(&[1, 2]));
    let target = format!("{target}/{class}");
    let delete = server.request("DELETE", &target).bearer("demo-partner-token");
    assert_eq!(delete.send().await.status, 204);
    assert_eq!(come().await, BTreeSet::new());
    let history = format!("/haksa/v1/records/class/{class}/history");
    let history = server.request("GET", &history).bearer("demo-admin-key").send().await.json();
    let change = format!("/haksa/v1/changes/{}/undo", history["items"][0]["change_id"]);
    let restored = server.request("POST", &change).bearer("demo-admin-key").send().await;
    assert_eq!(restored.status, 200, "{}", restored.text());
    assert_eq!(come().await, to_models(&[1, 2]));

    let [role, other] =
        [make(&server, Role::default()).await, make(&server, Role::default()).await];
    let department = make(&server, Department::default()).await;
    let holder = make(&server, person(&[(&role, &[&department]), (&other, &[&department])])).await;
    let of_holder = |named: &[(Kind, &Key)]| -> BTreeSet<Link> {
        let from = (Kind::Person, &holder);
        let mut all = to_models(&[1, 2]);
        all.extend(named.iter().map(|to| link(*to, from)));
        all
    };
    let (to_role, to_department) = ((Kind::Role, &role), (Kind::Department, &department));
    let all = of_holder(&[to_role, (Kind::Role, &other), to_department]);
    assert_eq!(come().await, all);
    let one_less = PersonEdit {
        roles: Patch::Value(person(&[(&role, &[&department])]).roles),
        ..PersonEdit::default()
    };
    let edited = edit::<Person>(&server, &holder, one_less).await;
    assert_eq!(come().await, of_holder(&[to_role, to_department]));
    undo(&server, &edited).await;
    assert_eq!(come().await, all);
    server.assert_sound().await;
}

/// Makes people who have a role, in the large lane.
struct Many {
    role: Key,
    /// None of them after all: the database refuses a learner id that somebody has.
    is_refused: bool,
    /// A person who has no role any more.
    retired: Key,
}

const MANY: usize = 700;

impl Command for Many {
    fn is_large(&self) -> bool {
        true
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        facts.want_ids(&[(Sequence::Record(Kind::Person), MANY), (Sequence::Change, MANY + 1)])?;
        let mut writes = Vec::new();
        for n in 0..MANY {
            let mut made = person(&[(&self.role, &[])]);
            let is_last = n + 1 == MANY;
            made.learner_id = (self.is_refused && is_last).then(|| "taken".to_owned());
            let decision = Create::new(made).decide(context, facts)?;
            writes.extend(decision.writes);
        }
        let before = facts.document(Kind::Person, &self.retired)?.expect("a person");
        let without = haksa::domain::record::Document::of(
            before.meta.clone(),
            Person { name_key: "이몽룡".to_owned(), ..person(&[]) },
        );
        writes.push(Write { action: Action::Edit, before: Some(before), after: without });
        Ok(Decision { writes, ..Decision::default() })
    }
}

async fn a_large_command_shows_its_links_with_its_rows(server: Server) {
    let role = make(&server, Role::default()).await;
    let mut known = person(&[(&role, &[])]);
    known.learner_id = Some("taken".to_owned());
    let retired = make(&server, known).await;
    let before = links(&server).await;
    if server.url.starts_with("sqlite:") {
        // What a command that was killed has left behind.
        let left = "INSERT INTO staging VALUES ('person', 900000, 900000); \
                    INSERT INTO link_staged VALUES ('role', 'x', 'person', '900000')";
        server.spoil(left).await;
    }
    let many = |is_refused| Many { role: role.clone(), is_refused, retired: retired.clone() };
    let refused = try_run(&server, many(true)).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert_eq!(links(&server).await, before);

    let outcome = run(&server, many(false)).await;
    let of = |key: &Key| link((Kind::Role, &role), (Kind::Person, key));
    let mut expected = before;
    assert!(expected.remove(&of(&retired)));
    for document in &outcome.written {
        if document.meta.key != retired {
            assert!(expected.insert(of(&document.meta.key)));
        }
    }
    assert_eq!(outcome.written.len(), MANY + 1);
    assert_eq!(links(&server).await, expected);
    if server.url.starts_with("sqlite:") {
        assert_eq!(server.numbers("SELECT count(*) FROM link_staged").await, [0]);
    }
    server.assert_sound().await;
}

async fn a_check_finds_links_that_are_missing_and_links_that_are_stray(server: Server) {
    let class = json!({"name": "a", "allowed_model_ids": [2, 1]});
    let class =
        server.request("POST", "/partner/7/classes").bearer("demo-partner-token").json(&class);
    let class: Value = class.send().await.json()["id"].clone();
    let faults = async || haksa::check::run(&server.app.store).await.expect("a check").faults;
    assert_eq!(faults().await, [""; 0]);
    let missing = format!(
        "DELETE FROM link WHERE from_kind = 'class' AND from_id = '{class}' AND to_id = '2'"
    );
    server.spoil(&missing).await;
    assert_eq!(faults().await, [format!("missing link: class {class} names model 2")]);
    let stray = format!(
        "INSERT INTO link VALUES ('model', '2', 'class', '{class}'), ('model', '3', 'class', '{class}'), \
         ('model', '3', 'class', '999999'), ('model', '3', 'planet', '1')"
    );
    server.spoil(&stray).await;
    let expected = [class.to_string(), "999999".to_owned()]
        .map(|from| format!("stray link: class {from} names model 3"));
    let expected = [&expected[..], &["stray link: planet 1 names model 3".to_owned()]].concat();
    assert_eq!(faults().await, expected);
    // A record that nobody can read is at fault itself, and not its links.
    server.spoil("DELETE FROM link WHERE to_id = '3' AND from_id <> '11'").await;
    server.spoil(&format!("UPDATE class SET body = '{{' WHERE id = {class}")).await;
    let server = Server::start_on(&server.url).await;
    let faults = haksa::check::run(&server.app.store).await.expect("a check").faults;
    assert!(matches!(&*faults, [only] if only.starts_with("unreadable: ")), "{faults:?}");
}
