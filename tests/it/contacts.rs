//! Whoever is new to all is one person, however many commands make that person at once.

use std::time::Duration;

use futures_util::future::join_all;
use haksa::domain::certificate::achievement::{Achievement, IssuanceMethod};
use haksa::domain::certificate::issue::{Issue, Recipient};
use haksa::domain::command::{All, Command, Create, Edit, Expected, Policy};
use haksa::domain::error::Error;
use haksa::domain::kind::Kind;
use haksa::domain::patch::Patch;
use haksa::domain::people::known::{Introduce, KnownBy};
use haksa::domain::people::person::{Person, PersonEdit};
use haksa::domain::record::Key;
use haksa::pipeline::Outcome;
use serde_json::json;

use crate::support::command::{run, try_run};
use crate::support::paused::Paused;
use crate::support::{Backend, Server, new_postgres_database, on_both_stores};

on_both_stores!(
    a_large_issue_and_a_small_one_make_one_person,
    an_address_that_is_repeated_in_one_commit_is_one_persons,
    an_edit_may_give_somebody_the_address_of_another,
    whoever_is_made_by_hand_is_nobody_whom_others_know,
);

/// Two forms: an issue holds the row of its own.
const FORMS: [i64; 2] = [551, 482];
/// Recipients of a large issue.
const MANY: usize = 300;

/// An issue to so many, the last of whom has `contact`; the others are known by its text and a number.
fn issue(server: &Server, form_id: i64, contact: &KnownBy, count: usize) -> Box<dyn Command> {
    let (method, texts) = match contact {
        KnownBy::Phone(_) => (IssuanceMethod::Phone, [contact.to_string(), String::new()]),
        _ => (IssuanceMethod::Email, [String::new(), contact.to_string()]),
    };
    let recipient = |n: usize| {
        let other = if n + 1 == count { String::new() } else { n.to_string() };
        let [phone, email] = texts.clone().map(|text| (!text.is_empty()).then_some(text + &other));
        let name = format!("사람 {form_id}");
        Recipient { name, email, phone, ..Recipient::default() }
    };
    let recipients = (0..count).map(recipient).collect();
    Box::new(Issue::new(form_id, method, recipients, server.app.outbox.clone()))
}

async fn people(server: &Server, contact: &KnownBy) -> Vec<i64> {
    let found = server.app.store.read(|facts| contact.people(3, facts)).await.expect("a read");
    found.iter().map(haksa::domain::record::Stored::id).collect()
}

/// Who holds the certificate that an issue made last.
fn holder(outcome: &Outcome) -> i64 {
    let mut made = outcome.written.iter().rev().filter(|one| one.meta.kind == Kind::Achievement);
    let made = made.next().expect("a certificate").typed::<Achievement>().expect("of its type");
    made.record.person_id
}

/// The first has decided when the second comes, is done, and lets the first go on.
async fn cross(
    (one, first, is_large): (&Server, Box<dyn Command>, bool),
    (other, second): (&Server, Box<dyn Command>),
) -> (Result<Outcome, Error>, Result<Outcome, Error>) {
    let (first, decided, go) = Paused::new(first, is_large);
    tokio::join!(try_run(one, first), async {
        let _ = decided.await;
        let second = try_run(other, second).await;
        let _ = go.send(());
        second
    })
}

fn contacts(name: &str, number: &str) -> [KnownBy; 2] {
    [KnownBy::email(&format!("{name}@example.com")), KnownBy::phone(number)]
}

async fn cross_issues(nodes: [&Server; 2], counts: [usize; 2], contacts: [KnownBy; 2]) {
    for contact in contacts {
        let [first, second] = [0, 1].map(|n| issue(nodes[n], FORMS[n], &contact, counts[n]));
        let first = (nodes[0], first, counts[0] == MANY);
        let (first, second) = cross(first, (nodes[1], second)).await;
        let (first, second) = (first.expect("the first"), second.expect("the second"));
        let found = people(nodes[0], &contact).await;
        assert_eq!(found, [holder(&first)], "{contact}");
        assert_eq!(found, [holder(&second)], "{contact}");
    }
    nodes[0].assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_issues_at_two_nodes_make_one_person() {
    let url = new_postgres_database().await;
    let nodes = [Server::start_on(&url).await, Server::start_on(&url).await];
    let nodes = [&nodes[0], &nodes[1]];
    cross_issues(nodes, [1, 1], contacts("small", "01012340001")).await;
    cross_issues(nodes, [1, MANY], contacts("second", "01012340002")).await;
    cross_issues(nodes, [MANY, MANY], contacts("both", "01012340003")).await;
}

async fn a_large_issue_and_a_small_one_make_one_person(server: Server) {
    let nodes = [&server, &server];
    cross_issues(nodes, [MANY, 1], contacts("large", "01012340004")).await;
}

/// Statement against statement, as chance has it; among others, who are new as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_issues_at_two_nodes_make_one_person_for_each_address_and_nobody_is_refused() {
    const ROUNDS: usize = 40;
    let url = new_postgres_database().await;
    let nodes = [Server::start_on(&url).await, Server::start_on(&url).await];
    for round in 0..ROUNDS {
        let issue = |n: usize, name: String| {
            let users = json!([{"name": "이몽룡", "email": format!("{name}@example.com")}]);
            let body = json!({"achievementFormId": FORMS[n], "mode": "email", "users": users});
            let issue = nodes[n].request("POST", "/open-api/achievements/issue");
            issue.bearer("demo-kolleges-key").json(&body).send()
        };
        let same = [0, 1].map(|n| issue(n, format!("same-{round}")));
        let others = (0..4).map(|other| issue(other % 2, format!("other-{round}-{other}")));
        for reply in join_all(same.into_iter().chain(others)).await {
            assert_eq!(reply.status, 201, "round {round}: {}", reply.text());
        }
    }
    let count = "SELECT count(DISTINCT email_key), count(*) FROM person WHERE email_key LIKE '%same-%' \
                 OR email_key LIKE '%other-%'";
    let expected = i64::try_from(5 * ROUNDS).expect("a number");
    assert_eq!(nodes[0].numbers(count).await, [expected, expected]);
    nodes[0].assert_sound().await;
}

fn give(person: &Key, email: &KnownBy) -> Box<dyn Command> {
    let edit = PersonEdit { email: Patch::Value(email.to_string()), ..PersonEdit::default() };
    Box::new(Edit::<Person> { key: person.clone(), edit, expected: Expected::Any })
}

fn all(commands: Vec<Box<dyn Command>>) -> All {
    All { commands, policy: Policy::AllOrNone }
}

async fn an_address_that_is_repeated_in_one_commit_is_one_persons(server: Server) {
    let [email, phone] = contacts("again", "01012340005");
    for contact in [&email, &phone] {
        let issues = [551, 482, 551].map(|form| issue(&server, form, contact, 1));
        run(&server, all(issues.into())).await;
        assert_eq!(people(&server, contact).await.len(), 1, "{contact}");
    }
    // Commands that come together share a commit.
    let [email, _] = contacts("together", "");
    let commands = (0..40).map(|n| try_run(&server, issue(&server, FORMS[n % 2], &email, 1)));
    let issued = join_all(commands).await;
    let found = people(&server, &email).await;
    for issued in issued {
        assert_eq!([holder(&issued.expect("accepted"))], *found);
    }
    server.assert_sound().await;
}

async fn an_edit_may_give_somebody_the_address_of_another(server: Server) {
    let somebody = Person { name: "성춘향".to_owned(), ..Person::default() };
    let other = run(&server, Create::new(somebody)).await.subject.meta.key.clone();
    let id = other.as_int().expect("a number");
    let [email, _] = contacts("family", "");
    let first = holder(&run(&server, issue(&server, 551, &email, 1)).await);
    run(&server, give(&other, &email)).await;
    assert_eq!(people(&server, &email).await, [id.min(first), id.max(first)]);

    // In one commit with an issue that makes somebody with it, and with one that does so because it
    // has just become free.
    let [email, _] = contacts("family2", "");
    let both = all(vec![issue(&server, 551, &email, 1), give(&other, &email)]);
    run(&server, both).await;
    assert_eq!(people(&server, &email).await.len(), 2);
    let [email, _] = contacts("free", "");
    run(&server, give(&other, &email)).await;
    let [elsewhere, _] = contacts("elsewhere", "");
    let freed = all(vec![give(&other, &elsewhere), issue(&server, 551, &email, 1)]);
    let made = holder(&run(&server, freed).await);
    assert_eq!(people(&server, &email).await, [made]);
    assert_ne!(made, id);

    // Beside a large one that has not found it yet.
    let [email, _] = contacts("late", "");
    let issue = (&server, issue(&server, 551, &email, MANY), true);
    let (issued, edited) = cross(issue, (&server, give(&other, &email))).await;
    edited.expect("the edit");
    assert_eq!(holder(&issued.expect("the issue")), id);
    assert_eq!(people(&server, &email).await, [id]);
    server.assert_sound().await;
}

async fn whoever_is_made_by_hand_is_nobody_whom_others_know(server: Server) {
    let introduce = |email: &KnownBy| {
        let (name, email) = ("성춘향".to_owned(), email.to_string());
        let known_by = vec![KnownBy::email(&email)];
        let person = Person { name, email: Some(email), ..Person::default() };
        Box::new(Introduce { person, known_by }) as Box<dyn Command>
    };
    let [email, _] = contacts("hand", "");
    let made = run(&server, introduce(&email)).await.subject.meta.key.clone();
    let again = try_run(&server, introduce(&email)).await;
    assert!(matches!(&again, Err(Error::Conflict(what)) if *what == ["person"]), "{again:?}");
    assert_eq!(Some(holder(&run(&server, issue(&server, 551, &email, 1)).await)), made.as_int());

    let [email, _] = contacts("hand2", "");
    let issue = |email| (&server, issue(&server, 551, email, MANY), true);
    let (issued, made) = cross(issue(&email), (&server, introduce(&email))).await;
    let made = made.expect("made").subject.meta.key.as_int();
    assert_eq!(Some(holder(&issued.expect("issued"))), made);
    if server.url.starts_with("postgres:") {
        let [email, _] = contacts("hand3", "");
        let other = Server::start_on(&server.url).await;
        let made = (&other, introduce(&email), false);
        let (made, issued) = cross(made, (&server, issue(&email).1)).await;
        assert!(matches!(&made, Err(Error::Conflict(what)) if *what == ["person"]), "{made:?}");
        assert_eq!(people(&server, &email).await, [holder(&issued.expect("issued"))]);
    }
    server.assert_sound().await;
}

/// A node that has an account's latches, and takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_makes_somebody_waits_for_who_may_make_the_same_and_nobody_else_does() {
    let server = Server::start(Backend::Postgres).await;
    let [known, stranger] = ["hong", "stranger"].map(|name| contacts(name, "")[0].clone());
    let mut outsider = server.outsider().await;
    let hold = "SELECT pg_advisory_xact_lock(3, n) FROM generate_series(0, 63) n";
    let latched = outsider.transaction().await.expect("a transaction");
    latched.execute(hold, &[]).await.expect("they are free");
    let mut waiting = std::pin::pin!(try_run(&server, issue(&server, 551, &stranger, 1)));
    let others = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let begun = std::time::Instant::now();
            // To somebody who is known; with the same form.
            run(&server, issue(&server, 551, &known, 1)).await;
            let edit = server.request("PATCH", "/open-api/achievements/9001");
            let edit = edit.bearer("demo-kolleges-other-key").json(&json!({"level": 1}));
            assert_eq!(edit.send().await.status, 200);
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
    };
    tokio::select! {
        done = &mut waiting => panic!("it did not wait: {done:?}"),
        () = others => {}
    }
    latched.rollback().await.expect("let go");
    waiting.await.expect("accepted");
    assert_eq!(people(&server, &stranger).await.len(), 1);

    // But not for ever.
    let latched = outsider.transaction().await.expect("a transaction");
    latched.execute(hold, &[]).await.expect("they are free");
    let refused = try_run(&server, issue(&server, 551, &contacts("other", "")[0], 1)).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    latched.rollback().await.expect("let go");
    server.assert_sound().await;
}
