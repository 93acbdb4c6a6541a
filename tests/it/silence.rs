//! A database that gives no answer, and commits that nobody confirms.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use haksa::domain::actor::Actor;
use haksa::domain::command::{Command, Context, Decision};
use haksa::domain::error::Error;
use haksa::domain::facts::{Facts, Known, Need};
use haksa::pipeline::Envelope;
use serde_json::{Value, json};

use crate::support::proxy::{Proxy, Then, Weather};
use crate::support::{Backend, Reply, Request, Server, new_postgres_database, on_both_stores};

on_both_stores!(
    a_writer_that_is_gone_is_told_of,
    a_writer_of_large_commands_that_is_gone_is_told_of,
);

const ONE: &str = "/open-api/achievements/1539";
/// What anybody may be kept waiting, and something for a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(9);
/// From when the network is back.
const BACK_WITHIN: Duration = Duration::from_secs(5);

async fn start() -> (Server, Proxy) {
    let proxy = Proxy::before(&new_postgres_database().await).await;
    (Server::start_on(&proxy.url).await, proxy)
}

fn edit(server: &Server, level: i64) -> Request {
    let edit = server.request("PATCH", ONE).bearer("demo-kolleges-key");
    edit.json(&json!({"level": level}))
}

async fn in_time(request: Request) -> Reply {
    tokio::time::timeout(ANSWER_WITHIN, request.send()).await.expect("an answer in time")
}

/// How often history says that the level was set.
async fn count(server: &Server, level: i64) -> usize {
    let changes = server.history("achievement/1539").await;
    changes.iter().filter(|change| change["after"]["level"] == level).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_is_told_soon_and_forgotten_soon() {
    let (server, proxy) = start().await;
    assert_eq!(in_time(edit(&server, 1)).await.status, 200);
    proxy.set(Weather::Silent);
    for round in 0..2 {
        let read = server.request("GET", ONE).bearer("demo-kolleges-key");
        let list = server.request("GET", "/open-api/achievements").bearer("demo-kolleges-key");
        let mut asked = vec![edit(&server, 2), read, list];
        asked.extend((0..24 * round).map(|_| server.request("GET", "/readyz")));
        for reply in join_all(asked.into_iter().map(in_time)).await {
            assert_eq!(reply.status, 503, "round {round}: {}", reply.text());
        }
        // A probe has seen it three seconds later.
        let since = Instant::now();
        while server.request("GET", "/readyz").send().await.status == 200 {
            assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // Who asks for that waits for nobody.
    let asked = Instant::now();
    assert_eq!(server.request("GET", "/readyz").send().await.status, 503);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(server.request("GET", "/healthz").send().await.status, 200);
    proxy.set(Weather::Fair);
    let back = Instant::now();
    for target in ["/readyz", ONE] {
        while server.request("GET", target).bearer("demo-kolleges-key").send().await.status != 200 {
            assert!(back.elapsed() < BACK_WITHIN, "{target} after {:?}", back.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let mut level = 3;
    while in_time(edit(&server, level)).await.status != 200 {
        assert!(back.elapsed() < BACK_WITHIN, "an edit after {:?}", back.elapsed());
        level += 1;
    }
    server.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_told_what_became_of_a_commit_that_nobody_confirmed() {
    let (server, proxy) = start().await;
    for (level, weather) in
        [(21, Weather::AnswerLost(Then::Fair)), (22, Weather::CommitLost(Then::Fair))]
    {
        proxy.set(weather);
        let reply = in_time(edit(&server, level)).await;
        assert_eq!(proxy.weather(), Weather::Fair, "a commit was cut off");
        assert_eq!(reply.status, 200, "{weather:?}: {}", reply.text());
        assert_eq!(count(&server, level).await, 1, "{weather:?}");
    }
    // A large command goes the same way.
    let users: Vec<Value> =
        (0..80).map(|n| json!({"name": "이몽룡", "email": format!("{n}@example.com")})).collect();
    let issue = json!({"achievementFormId": 551, "mode": "email", "users": users});
    let issued = "SELECT count(*) FROM achievement WHERE deleted_at IS NULL";
    let before = server.numbers(issued).await;
    for (times, weather) in
        [(1, Weather::AnswerLost(Then::Closed)), (2, Weather::CommitLost(Then::Closed))]
    {
        proxy.set(weather);
        let request = server.request("POST", "/open-api/achievements/issue");
        let request = request.bearer("demo-kolleges-key").json(&issue);
        assert_eq!(in_time(request).await.status, 201, "{weather:?}");
        assert_eq!(proxy.weather(), Weather::Fair, "a commit was cut off");
        assert_eq!(server.numbers(issued).await[0], before[0] + 80 * times, "{weather:?}");
    }
    server.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_knows_nobody_is_invited_to_try_again() {
    let (server, proxy) = start().await;
    let keyed = edit(&server, 31).header("idempotency-key", "one");
    for (level, request, status, retry_after) in
        [(31, keyed.clone(), 503, "5"), (32, edit(&server, 32), 500, "")]
    {
        proxy.set(Weather::AnswerLost(Then::Silent));
        let reply = tokio::time::timeout(Duration::from_secs(15), request.send()).await;
        let reply = reply.expect("an answer in time");
        assert_eq!(proxy.weather(), Weather::Silent, "a commit was cut off");
        let told = (reply.status, reply.header("retry-after"));
        assert_eq!(told, (status, retry_after), "{level}: {}", reply.text());
        proxy.set(Weather::Fair);
        let back = Instant::now();
        while server.request("GET", ONE).bearer("demo-kolleges-key").send().await.status != 200 {
            assert!(back.elapsed() < BACK_WITHIN);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // It had happened, and is not done twice.
    assert_eq!(in_time(keyed).await.status, 200);
    assert_eq!((count(&server, 31).await, count(&server, 32).await), (1, 1));
    server.assert_sound().await;
}

/// Waits until a page answers so.
async fn becomes(server: &Server, target: &str, status: u16) {
    let begun = Instant::now();
    while in_time(server.request("GET", target)).await.status != status {
        assert!(begun.elapsed() < BACK_WITHIN, "{target} is not {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_write_is_not_ready() {
    let server = Server::start(Backend::Sqlite).await;
    becomes(&server, "/readyz", 200).await;
    let path = server.url.strip_prefix("sqlite:").expect("a file");
    let log = format!("{path}-wal");
    let written = || std::fs::metadata(&log).and_then(|log| log.modified()).expect("a log");
    let before = written();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(written(), before, "to see whether it can write, it wrote");

    let other = rusqlite::Connection::open(path).expect("the file opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    becomes(&server, "/readyz", 503).await;
    let refused = in_time(edit(&server, 1)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"));
    assert_eq!(in_time(server.request("GET", ONE).bearer("demo-kolleges-key")).await.status, 200);
    other.execute_batch("ROLLBACK").expect("let go");
    becomes(&server, "/readyz", 200).await;
    assert_eq!(in_time(edit(&server, 1)).await.status, 200);
}

/// A command that meets a fault of ours where nobody expects one.
struct Faulty {
    is_large: bool,
}

impl Command for Faulty {
    fn needs(&self) -> Vec<Need> {
        panic!("a fault")
    }

    fn is_large(&self) -> bool {
        self.is_large
    }

    fn decide(&self, _: &mut Context<'_>, _: &mut Facts) -> Known<Decision> {
        unreachable!("its needs come first")
    }
}

async fn meets(server: &Server, fault: Faulty) {
    becomes(server, "/readyz", 200).await;
    becomes(server, "/healthz", 200).await;
    let envelope = Envelope::new(Actor::operator(3), "test");
    let told = server.app.pipeline.run(fault, envelope).await;
    assert!(matches!(told, Err(Error::Uncertain)), "{told:?}");
    becomes(server, "/healthz", 503).await;
    becomes(server, "/readyz", 503).await;
    let cause = server.app.store.alarm().cause().expect("a cause");
    assert!(cause.ends_with("ended before its time"), "{cause}");
}

async fn a_writer_that_is_gone_is_told_of(server: Server) {
    meets(&server, Faulty { is_large: false }).await;
}

async fn a_writer_of_large_commands_that_is_gone_is_told_of(server: Server) {
    meets(&server, Faulty { is_large: true }).await;
}
