//! Nobody has to take a server's log lines for it to go on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{HAKSA, Running, for_both_stores, haksa};
use crate::support::{Backend, Reply, Request, new_postgres_database};

/// What any answer may take on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// What design allows for a stop, and something for a busy machine.
const STOP_WITHIN: Duration = Duration::from_secs(14);
/// What a pipe holds.
const PIPE_BYTES: usize = 65_536;

for_both_stores!(
    edits_go_on_when_the_reader_of_the_log_has_gone,
    edits_go_on_when_nobody_reads_the_log,
    edits_go_on_when_the_disk_of_the_log_is_full,
);

/// A server that logs as much as it can.
struct Talker {
    running: Running,
    address: SocketAddr,
    _folder: TempDir,
}

impl Talker {
    async fn start(backend: Backend, log: Stdio) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(HAKSA);
        command.args(["demo", "--listen", "127.0.0.1:0", "--json", "--data"]).arg(folder.path());
        if matches!(backend, Backend::Postgres) {
            command.args(["--database", &new_postgres_database().await]);
        }
        command.env("HAKSA_LOG", "trace").stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("haksa starts");
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("standard output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("JSON");
        let url = ready["base_url"].as_str().and_then(|url| url.strip_prefix("http://"));
        let address = url.expect("a URL").parse().expect("an address");
        Self { running: Running(child), address, _folder: folder }
    }

    async fn ask(&self, request: Request) -> Reply {
        let answer = tokio::time::timeout(ANSWER_WITHIN, request.try_send()).await;
        answer.expect("an answer in time").expect("a whole answer")
    }

    async fn edit(&self, level: i64) {
        let request = Request::to(self.address, "PATCH", "/open-api/achievements/1539");
        let request = request.bearer("demo-kolleges-key").json(&json!({"level": level}));
        let reply = self.ask(request).await;
        assert_eq!(reply.status, 200, "edit {level}: {}", reply.text());
    }

    async fn get(&self, target: &str) -> String {
        let reply = self.ask(Request::to(self.address, "GET", target)).await;
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        reply.text()
    }

    /// Edits until more lines are lost than the queue holds, and asks how the server is.
    async fn go_on(&self) {
        for round in 0..100 {
            let edits = (1..=16).map(|level| self.edit(round * 16 + level));
            futures_util::future::join_all(edits).await;
        }
        assert_eq!(self.get("/healthz").await, r#"{"status":"ok"}"#);
        self.get("/readyz").await;
        assert!(self.lost().await > 0, "lines are lost, and counted");
    }

    /// How many lines the server says were lost.
    async fn lost(&self) -> u64 {
        let metrics = self.get("/metrics").await;
        let count =
            metrics.lines().find_map(|line| line.strip_prefix("haksa_log_lines_lost_total "));
        count.expect("a count").parse().expect("a number")
    }

    fn stop(mut self) {
        self.running.signal("TERM");
        let told = Instant::now();
        let status = loop {
            if let Some(status) = self.running.0.try_wait().expect("its state") {
                break status;
            }
            assert!(told.elapsed() < STOP_WITHIN, "it still runs");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0));
    }
}

async fn edits_go_on_when_the_reader_of_the_log_has_gone(backend: Backend) {
    let mut server = Talker::start(backend, Stdio::piped()).await;
    drop(server.running.0.stderr.take());
    server.go_on().await;
    server.stop();
}

async fn edits_go_on_when_nobody_reads_the_log(backend: Backend) {
    let server = Talker::start(backend, Stdio::piped()).await;
    server.go_on().await;
    server.stop();
}

async fn edits_go_on_when_the_disk_of_the_log_is_full(backend: Backend) {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full disk");
    let server = Talker::start(backend, full.into()).await;
    server.go_on().await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_is_said_when_somebody_reads_again() {
    let mut server = Talker::start(Backend::Sqlite, Stdio::piped()).await;
    server.go_on().await;
    let log = BufReader::new(server.running.0.stderr.take().expect("standard error"));
    let reader = std::thread::spawn(move || {
        // Every line is whole, whatever was lost between them.
        log.lines()
            .map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("JSON"))
            .collect::<Vec<_>>()
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let lost = server.lost().await;
    server.edit(5000).await;
    server.stop();
    let lines = reader.join().expect("lines");
    let told = lines.iter().find_map(|line| line["fields"]["lost"].as_u64());
    assert_eq!(told, Some(lost), "lines: {}", lines.len());
    // What came after it was written again, to the end.
    assert!(lines.last().is_some_and(|line| line["fields"]["lost"].is_null()));
}

#[test]
fn a_last_word_waits_for_nobody() {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&vec![b'.'; PIPE_BYTES]).expect("it holds that much");
    let mut child = Command::new(HAKSA)
        .args(["check", "--database", "sqlite:/nonexistent/haksa.db"])
        .stderr(writer)
        .spawn()
        .expect("haksa starts");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("its state") {
            break status;
        }
        if begun.elapsed() > STOP_WITHIN {
            child.kill().expect("it ends");
            panic!("it waits for a reader");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(2));
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("text");
    assert_eq!(said.trim_start_matches('.'), "");
    // Where somebody reads, it is heard.
    let output = haksa(&["check", "--database", "sqlite:/nonexistent/haksa.db"]);
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("haksa: "));
}

/// Brings a database of PostgreSQL's up to date once more, on which its driver tells of what is there already.
async fn migrating_again(log: &str) -> String {
    let database = new_postgres_database().await;
    assert!(haksa(&["migrate", "--database", &database]).status.success());
    let mut command = Command::new(HAKSA);
    command.args(["migrate", "--database", &database]).env("HAKSA_LOG", log);
    let output = command.output().expect("haksa runs");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_logged_than_is_asked_for() {
    let driver = "\"target\":\"tokio_postgres";
    for log in ["off", "error", "warn", "info,tokio_postgres=warn"] {
        let said = migrating_again(log).await;
        assert!(!said.contains(driver), "{log}: {said}");
    }
    assert_eq!(migrating_again("off").await, "");
    let said = migrating_again("info").await;
    assert!(said.contains(driver) && said.contains("already exists, skipping"), "{said}");
    // What statements are run with is logged for nobody.
    for log in ["trace", "tokio_postgres=debug", "off,tokio_postgres::query=trace"] {
        let said = migrating_again(log).await;
        let is_too_much = |line: &&str| line.contains(driver) && !line.contains("\"INFO\"");
        assert_eq!(said.lines().find(is_too_much), None, "{log}");
    }
}
