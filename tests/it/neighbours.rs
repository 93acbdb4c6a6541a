//! One caller's trouble, or somebody else's lock, is nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use haksa::app::{App, Clock};
use haksa::config::Config;
use haksa::dialect::Dialect;
use haksa::domain::actor::Actor;
use haksa::domain::command::{Command, Create, Edit, Expected, Undo};
use haksa::domain::delivery::outbox::Outbox;
use haksa::domain::patch::Patch;
use haksa::domain::people::account::Account;
use haksa::domain::people::credential::{Credential, CredentialEdit};
use haksa::domain::people::known::{Introduce, KnownBy};
use haksa::domain::people::person::{Person, PersonEdit};
use haksa::domain::record::Key;
use haksa::pipeline::{Envelope, Reply as Done};
use haksa::store::Store;
use haksa::vault::{MasterKey, Vault, hash_password, hash_token};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::support::{Backend, Reply, Request, Server, on_both_stores};

/// The good neighbour's edits, while others do their worst.
const EDITS: usize = 30;
const TROUBLEMAKERS: usize = 4;
const ONE: &str = "/open-api/achievements/1539";

on_both_stores!(
    an_unreadable_row_is_the_trouble_of_who_asks_for_it,
    a_class_with_many_codes_goes,
    a_guess_that_cannot_be_counted_is_not_judged,
    what_the_database_refuses_is_refused_alone,
    a_list_that_takes_long_is_its_accounts_alone,
    an_undo_of_what_was_long_ago_holds_up_nobody,
);

/// Sends `bad` over and over from several connections while another tenant edits. Returns what the
/// troublemakers were told; the neighbour has to be served always.
async fn beside(server: &Server, bad: Request) -> Vec<Reply> {
    let stop = Arc::new(AtomicBool::new(false));
    let troubles: Vec<_> = (0..TROUBLEMAKERS)
        .map(|_| {
            let (bad, stop) = (bad.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut told = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    told.push(bad.clone().send().await);
                }
                told
            })
        })
        .collect();
    for level in 0..EDITS {
        let edit = server.request("PATCH", "/open-api/achievements/9001");
        let edit = edit.bearer("demo-kolleges-other-key").json(&json!({"level": level}));
        let reply = edit.send().await;
        assert_eq!(reply.status, 200, "edit {level}: {}", reply.text());
    }
    stop.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for trouble in troubles {
        told.extend(trouble.await.expect("no panic"));
    }
    assert!(!told.is_empty());
    told
}

async fn an_unreadable_row_is_the_trouble_of_who_asks_for_it(server: Server) {
    let users = json!([{"name": "이몽룡", "email": "lee@example.com"}]);
    let body = json!({"achievementFormId": 551, "mode": "email", "users": users});
    let issue = server.request("POST", "/open-api/achievements/issue");
    let issued = issue.bearer("demo-kolleges-key").json(&body).send().await;
    assert_eq!(issued.status, 201, "{}", issued.text());
    let list = server.request("GET", "/open-api/achievements?search=lee%40example.com");
    let list = list.bearer("demo-kolleges-key").send().await.json();
    let id = list["achievements"][0]["id"].as_i64().unwrap_or_else(|| panic!("no id in {list}"));
    server.spoil(&format!("UPDATE achievement SET body = '{{' WHERE id = {id}")).await;
    // A server that has it in memory would not notice.
    let server = Server::start_on(&server.url).await;
    let target = format!("/open-api/achievements/{id}");
    let edit = server.request("PATCH", &target).bearer("demo-kolleges-key");
    for reply in beside(&server, edit.json(&json!({"level": 3}))).await {
        assert_eq!(reply.status, 500, "{}", reply.text());
        assert!(!reply.text().contains(&id.to_string()), "{}", reply.text());
    }
    // Reads are answered in groups, too.
    let read = server.request("GET", &target).bearer("demo-kolleges-key");
    for reply in beside(&server, read).await {
        assert_eq!(reply.status, 500, "{}", reply.text());
    }
}

/// The rows that end are all known at once, so that so many are no reason to give up.
async fn a_class_with_many_codes_goes(server: Server) {
    let codes = "/partner/7/classes/11/invite-codes";
    let make = || {
        let make = server.request("POST", codes).bearer("demo-partner-token");
        make.json(&json!({"target_role": "student"})).send()
    };
    let tasks: Vec<_> = (0..620).map(|_| tokio::spawn(make())).collect();
    for task in tasks {
        let reply = task.await.expect("no panic");
        assert_eq!(reply.status, 201, "{}", reply.text());
    }
    let delete = server.request("DELETE", "/partner/7/classes/11").bearer("demo-partner-token");
    let dry = delete.clone().header("haksa-dry-run", "true");
    for reply in beside(&server, dry).await {
        assert_eq!((reply.status, reply.header("haksa-changes")), (204, "622"), "{}", reply.text());
    }
    // Alone, at a server that has seen nothing of it.
    let server = Server::start_on(&server.url).await;
    let delete = server.request("DELETE", "/partner/7/classes/11").bearer("demo-partner-token");
    assert_eq!(delete.send().await.status, 204);
    server.assert_sound().await;
}

async fn a_guess_that_cannot_be_counted_is_not_judged(server: Server) {
    let ask = |password: &str| {
        let target = "/enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59";
        let ask = server.request("GET", target).header("x-auth-email", "adm");
        let ask = ask.header("x-auth-account-url", "https://demo.ispringlearn.com");
        ask.header("x-auth-password", password).send()
    };
    let right = "demo-ispring-password";
    let held = async {
        let guesses = std::iter::repeat_n("demo-guess", 11).chain([right]);
        let asked = guesses.map(|given| timeout(Duration::from_secs(3), ask(given)));
        // Refused, or nothing said so far.
        for reply in join_all(asked).await.into_iter().flatten() {
            assert_eq!(reply.status, 503, "{}", reply.text());
            assert_ne!(reply.header("retry-after"), "");
        }
    };
    if let Some(path) = server.url.strip_prefix("sqlite:") {
        let other = rusqlite::Connection::open(path).expect("the file opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        held.await;
    } else {
        let mut outsider = server.outsider().await;
        let lock = outsider.transaction().await.expect("a transaction");
        lock.execute("LOCK TABLE throttle IN SHARE MODE", &[]).await.expect("it");
        held.await;
        lock.rollback().await.expect("let go");
    }
    assert_eq!(ask(right).await.status, 200);
}

/// Lists of an account's that never come to an end: they are stopped, and meanwhile nobody else waits.
async fn a_list_that_takes_long_is_its_accounts_alone(server: Server) {
    let list = |path: &str, key: &str| server.request("GET", path).bearer(key).send();
    let bad = || list("/haksa/v1/models", "demo-admin-key");
    let good = || list("/open-api/achievements/forms", "demo-kolleges-other-key");
    assert_eq!((bad().await.status, good().await.status), (200, 200));
    let endless = if server.url.starts_with("sqlite:") {
        "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n)"
    } else {
        "pg_sleep(600)"
    };
    let spoilt = format!(
        "ALTER TABLE model RENAME TO kept; \
         CREATE VIEW model AS SELECT kept.* FROM kept, {endless} AS endless"
    );
    server.spoil(&spoilt).await;

    let begun = Instant::now();
    let tasks: Vec<_> = (0..20).map(|_| tokio::spawn(bad())).collect();
    let mut first = None;
    while begun.elapsed() < Duration::from_secs(6) {
        let asked = Instant::now();
        let reply = timeout(Duration::from_secs(2), good()).await.expect("nobody else waits");
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        // What is no list waits for none.
        let (status, _) = edit(&server, ONE, "demo-kolleges-key", 3).await;
        assert_eq!(status, 200);
        let is_told = tasks.iter().any(tokio::task::JoinHandle::is_finished);
        first = first.or_else(|| is_told.then(|| begun.elapsed()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let first = first.expect("the first is stopped");
    assert!((3..6).contains(&first.as_secs()), "{first:?}");
    for task in tasks {
        let reply = timeout(Duration::from_secs(8), task).await.expect("an answer").expect("it");
        assert_eq!((reply.status, reply.header("retry-after")), (503, "1"), "{}", reply.text());
    }
    server.spoil("DROP VIEW model; ALTER TABLE kept RENAME TO model").await;
    assert_eq!(bad().await.status, 200);
}

/// Ten trial runs at once, each of which has to know what happened in ten thousand changes since.
async fn an_undo_of_what_was_long_ago_holds_up_nobody(server: Server) {
    for level in 1..=3 {
        assert_eq!(edit(&server, ONE, "demo-kolleges-key", level).await.0, 200);
    }
    let history = server.history("achievement/1539").await;
    let [newest, before, ..] = &history[..] else { panic!("{history:?}") };
    // Of another field than the edit whose undo is asked for.
    let [id, version] = ["change_id", "version"].map(|name| newest[name].as_i64().expect("it"));
    let (first, last) = (1_000_000, 1_009_999);
    let count = last - first + 1;
    let advance = if server.url.starts_with("sqlite:") {
        String::new()
    } else {
        format!("SELECT setval('change_id_seq', {last});")
    };
    let spoilt = format!(
        "INSERT INTO change SELECT * FROM (\
         WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) \
         SELECT i, account_id, kind, record_id, {version} + 1 + i - {first}, \
         CASE WHEN i = {first} THEN {id} ELSE i - 1 END, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), \
         CAST(NULL AS BIGINT), at, actor, dialect, request_id, action, \
         CASE WHEN i % 2 = 0 THEN '{{\"admin_comment\":null}}' ELSE '{{\"admin_comment\":\"a\"}}' END, \
         CASE WHEN i % 2 = 0 THEN '{{\"admin_comment\":\"a\"}}' ELSE '{{\"admin_comment\":null}}' END \
         FROM n, change WHERE change.id = {id}) AS made; \
         UPDATE achievement SET version = version + {count}, change_id = {last} WHERE id = 1539; \
         {advance}"
    );
    server.spoil(&spoilt).await;
    // A server that has it in memory would not notice.
    let server = Server::start_on(&server.url).await;
    let dry = server.undo(newest).header("haksa-dry-run", "true");
    let undoing: Vec<_> = (0..10).map(|_| tokio::spawn(dry.clone().send())).collect();
    let mut took = Vec::new();
    while undoing.iter().any(|task| !task.is_finished()) || took.len() < 50 {
        let (path, key) = ("/open-api/achievements/9001", "demo-kolleges-other-key");
        let (status, time) = edit(&server, path, key, took.len()).await;
        assert_eq!(status, 200);
        took.push(time);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for task in undoing {
        let reply = task.await.expect("no panic");
        assert_eq!((reply.status, reply.header("haksa-changes")), (200, "1"), "{}", reply.text());
    }
    took.sort();
    assert!(took[took.len() * 98 / 100] < Duration::from_millis(500), "{took:?}");
    // What came in the meantime is seen, whether it was before the look or after.
    let undone = server.undo(newest).send().await;
    assert_eq!(undone.status, 200, "{}", undone.text());
    let again = server.undo(newest).send().await;
    assert_eq!((again.status, again.json()["conflicts"].clone()), (409, json!(["undone"])));
    let touched = server.undo(before).send().await;
    assert_eq!(touched.status, 200, "what took it back was taken back: {}", touched.text());
    server.assert_sound().await;
}

/// A value that the database does not take: here a name that is another's.
async fn what_the_database_refuses_is_refused_alone(server: Server) {
    let rename = server.request("PATCH", "/haksa/v1/account").bearer("demo-admin-key");
    let rename = rename.header("content-type", "application/merge-patch+json");
    let rename = rename.body(json!({"club_domain": "another"}).to_string());
    for reply in beside(&server, rename).await {
        assert_eq!(reply.status, 400, "{}", reply.text());
    }
}

/// How long others may be held up by a lock that is not theirs: once for looking who holds what.
const HELD_UP: Duration = Duration::from_millis(1_500);

async fn edit(server: &Server, path: &str, key: &str, level: usize) -> (u16, Duration) {
    let begun = Instant::now();
    let edit = server.request("PATCH", path).bearer(key).json(&json!({"level": level}));
    (edit.send().await.status, begun.elapsed())
}

async fn others_go_on(server: &Server, until: Duration) {
    let begun = Instant::now();
    let mut level = 0;
    while begun.elapsed() < until {
        level += 1;
        let path = "/open-api/achievements/9001";
        let (status, took) = edit(server, path, "demo-kolleges-other-key", level).await;
        assert_eq!(status, 200, "after {:?}", begun.elapsed());
        assert!(took < HELD_UP, "waited {took:?} for somebody else's lock");
    }
    assert!(level > 10, "only {level} edits in {until:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_row_stops_only_who_needs_it() {
    let server = Arc::new(Server::start(Backend::Postgres).await);
    let mut outsider = server.outsider().await;
    let waits = |level| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { edit(&server, ONE, "demo-kolleges-key", level).await })
    };

    // Whoever needs it waits a little, ...
    let lock = outsider.transaction().await.expect("a transaction");
    lock.execute("SELECT 1 FROM achievement WHERE id = 1539 FOR UPDATE", &[]).await.expect("it");
    let waiting = [waits(1), waits(2)];
    others_go_on(&server, Duration::from_secs(1)).await;
    lock.rollback().await.expect("let go");
    for waiting in waiting {
        assert_eq!(waiting.await.expect("no panic").0, 200);
    }

    // ... but not for ever, and what others make names the row.
    let lock = outsider.transaction().await.expect("a transaction");
    for name in ["achievement WHERE id = 1539", "form WHERE id = 551"] {
        let text = format!("SELECT 1 FROM {name} FOR UPDATE");
        lock.execute(&text, &[]).await.expect("it");
    }
    let waiting = waits(3);
    let issue = |form: i64| {
        let users = json!([{"name": "이몽룡", "email": "lee@example.com"}]);
        let body = json!({"achievementFormId": form, "mode": "email", "users": users});
        let issue = server.request("POST", "/open-api/achievements/issue");
        issue.bearer("demo-kolleges-key").json(&body).send()
    };
    let names_it = tokio::spawn(issue(551));
    others_go_on(&server, Duration::from_secs(1)).await;
    assert_eq!(issue(482).await.status, 201);
    others_go_on(&server, Duration::from_secs(5)).await;
    let (status, took) = waiting.await.expect("no panic");
    assert_eq!(status, 503);
    assert!(took < Duration::from_secs(8), "{took:?}");
    let refused = names_it.await.expect("no panic");
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    lock.rollback().await.expect("let go");
    assert_eq!(edit(&server, ONE, "demo-kolleges-key", 4).await.0, 200);
    assert_eq!(issue(551).await.status, 201);

    // A whole table; and an idempotency key that another node works on.
    let lock = outsider.transaction().await.expect("a transaction");
    lock.execute("LOCK TABLE course IN ACCESS EXCLUSIVE MODE", &[]).await.expect("it");
    let mut hash = Sha256::new();
    hash.update(1_i64.to_be_bytes());
    hash.update("the-same");
    let number = i64::from_be_bytes(*hash.finalize().first_chunk().expect("eight bytes"));
    lock.execute("SELECT pg_advisory_xact_lock($1)", &[&number]).await.expect("it");
    let course = server.request("PATCH", "/partner/7/course/5").bearer("demo-partner-token");
    let course = tokio::spawn(course.json(&json!({"title": "제목"})).send());
    let keyed = server.request("PATCH", ONE).bearer("demo-kolleges-key");
    let keyed = keyed.header("idempotency-key", "the-same").json(&json!({"level": 7}));
    let keyed = tokio::spawn(keyed.send());
    others_go_on(&server, Duration::from_secs(1)).await;
    assert!(!course.is_finished() && !keyed.is_finished(), "these wait for what they need");
    lock.rollback().await.expect("let go");
    assert_eq!(course.await.expect("no panic").status, 200);
    assert_eq!(keyed.await.expect("no panic").status, 200);
    server.assert_sound().await;
}

/// Another process on the same file, as the command line is beside a server.
async fn process(server: &Server) -> App {
    let store = Store::open(&server.url).await.expect("the file opens");
    let vault = Vault::new(&MasterKey::from_bytes([7; 32]));
    let (app, _running) =
        App::start(store, vault, Clock::System, Outbox::default(), Config::default())
            .expect("a writer");
    app
}

async fn run(app: &App, command: impl Command) -> i64 {
    run_in(app, 3, command).await
}

async fn run_in(app: &App, account_id: i64, command: impl Command) -> i64 {
    let envelope = Envelope::new(Actor::operator(account_id), "test");
    match app.pipeline.run(command, envelope).await.expect("done") {
        Done::Done(outcome, _) => outcome.subject.meta.key.as_int().unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

/// Issues to 51 people over and over, each of which is a large command, until told to stop.
fn storm(server: &Server, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
    let users: Vec<Value> =
        (0..51).map(|n| json!({"name": "이몽룡", "email": format!("{n}@example.com")})).collect();
    let body = json!({"achievementFormId": 551, "mode": "email", "users": users});
    let request = server.request("POST", "/open-api/achievements/issue");
    let (request, stop) = (request.bearer("demo-kolleges-key").json(&body), stop.clone());
    tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(request.clone().send().await.status, 201);
        }
    })
}

/// Waits for an answer, not for long.
async fn becomes(read: &Request, is_it: impl Fn(&Reply) -> bool, what: &str) {
    let begun = Instant::now();
    loop {
        let reply = read.clone().send().await;
        if is_it(&reply) {
            return;
        }
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(2), "{what}: {} {}", reply.status, reply.text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What another process writes is noticed within moments, whatever the server writes meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_dead_while_many_certificates_are_issued() {
    let server = Server::start(Backend::Sqlite).await;
    let other = process(&server).await;
    let stop = Arc::new(AtomicBool::new(false));
    let issuing = storm(&server, &stop);
    for round in 0..25 {
        let key = format!("demo-key-{round}");
        let id = run(&other, Create::new(key_of(&key))).await;
        let read = server.request("GET", ONE).bearer(&key);
        becomes(&read, |reply| reply.status == 200, "a new key").await;
        let revoke = CredentialEdit {
            revoked_at: Patch::Value(other.clock.now()),
            ..CredentialEdit::default()
        };
        run(&other, Edit::<Credential> { key: id.into(), edit: revoke, expected: Expected::Any })
            .await;
        becomes(&read, |reply| reply.status == 401, "a revoked key").await;
    }
    stop.store(true, Ordering::Relaxed);
    issuing.await.expect("no panic");
}

fn key_of(text: &str) -> Credential {
    let mut credential = Credential::new(Dialect::Kolleges, "short-lived");
    credential.secret_hash = Some(hex::encode(hash_token(text)));
    credential
}

/// The same of everything else that the command line writes: accounts, people, passwords, undos.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_another_process_writes_is_known_while_many_certificates_are_issued() {
    let server = Server::start(Backend::Sqlite).await;
    let other = process(&server).await;
    let stop = Arc::new(AtomicBool::new(false));
    let issuing = storm(&server, &stop);
    let login = |email: &str, password: &str| {
        server.request("POST", "/user/login").json(&json!({"email": email, "password": password}))
    };
    for round in 0..6 {
        let account = Account { name: format!("club {round}"), ..Account::default() };
        let account = run_in(&other, 0, Create::new(account)).await;
        let key = format!("demo-account-key-{round}");
        run_in(&other, account, Create::new(key_of(&key))).await;
        let forms = server.request("GET", "/open-api/achievements/forms").bearer(&key);
        becomes(&forms, |reply| reply.status == 200, "a new account's key").await;

        let email = format!("new{round}@example.com");
        let passwords = ["demo-first", "demo-second"];
        let hashes = passwords.map(|password| hash_password(password, [7; 16]).expect("a hash"));
        let [first, second] = hashes.map(Patch::Value);
        let person =
            Person {
                name: "새 사람".to_owned(), email: Some(email.clone()), ..Person::default()
            };
        let known_by = vec![KnownBy::email(&email)];
        let person = run(&other, Introduce { person, known_by }).await;
        let password = |password_hash| Edit::<Person> {
            key: Key::Int(person),
            edit: PersonEdit { password_hash, ..PersonEdit::default() },
            expected: Expected::Any,
        };
        run(&other, password(first)).await;
        let sign_in = login(&email, passwords[0]);
        becomes(&sign_in, |reply| reply.status == 200, "a new person's password").await;
        let token =
            sign_in.send().await.json()["access_token"].as_str().expect("a token").to_owned();
        let classes = server.request("GET", "/user/classes").bearer(&token);
        assert_eq!(classes.clone().send().await.status, 200);
        run(&other, password(second)).await;
        becomes(&classes, |reply| reply.status == 401, "a session of an old password").await;

        let edit = server.request("PATCH", ONE).bearer("demo-kolleges-key");
        assert_eq!(edit.json(&json!({"level": 100 + round})).send().await.status, 200);
        let id = server.history("achievement/1539").await[0]["change_id"].as_i64().expect("an id");
        let change = other.store.read(|facts| facts.change(id)).await.expect("a read");
        let change = change.expect("the change");
        let undo = other.store.read(|facts| Undo::of(&change, Expected::Any, facts)).await;
        run(&other, undo.expect("an undo")).await;
        let read = server.request("GET", ONE).bearer("demo-kolleges-key");
        let is_back = |reply: &Reply| reply.json()["achievement"]["level"] != 100 + round;
        becomes(&read, is_back, "what was taken back").await;
    }
    stop.store(true, Ordering::Relaxed);
    issuing.await.expect("no panic");
    server.assert_sound().await;
}
