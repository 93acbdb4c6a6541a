//! What an acknowledgement is worth: killed servers, full disks, a database that goes away.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::{self, Running};
use crate::support::{Reply, Request, numbers};

const WRITERS: i64 = 8;
const HAKSA: &str = env!("CARGO_BIN_EXE_haksa");

fn address(ready: &Value) -> SocketAddr {
    let url = ready["base_url"].as_str().expect("a URL");
    url.strip_prefix("http://").expect("http").parse().expect("an address")
}

async fn edit(address: SocketAddr, level: i64) -> Option<Reply> {
    Request::to(address, "PATCH", "/open-api/achievements/1539")
        .bearer("demo-kolleges-key")
        .json(&json!({"level": level}))
        .try_send()
        .await
}

/// Every level that history says was set, newest first.
async fn levels(address: SocketAddr) -> Vec<i64> {
    let mut levels = Vec::new();
    let mut query = "limit=100".to_owned();
    loop {
        let target = format!("/haksa/v1/records/achievement/1539/history?{query}");
        let page = Request::to(address, "GET", &target).bearer("demo-admin-key").send().await;
        let page = page.json();
        let items = page["items"].as_array().expect("items");
        levels.extend(items.iter().filter_map(|item| item["after"]["level"].as_i64()));
        match page["next"].as_str() {
            Some(next) => query = format!("limit=100&cursor={next}"),
            None => return levels,
        }
    }
}

/// Writes until told to stop; gives the levels that were acknowledged.
async fn write(address: SocketAddr, next: Arc<AtomicI64>, stop: Arc<AtomicBool>) -> Vec<i64> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let level = next.fetch_add(1, Ordering::SeqCst);
        match edit(address, level).await {
            Some(reply) if reply.status == 200 => acknowledged.push(level),
            Some(reply) => assert_eq!(reply.status, 503, "{}", reply.text()),
            None => return acknowledged,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_edit_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("haksa.db").display());
    let next = Arc::new(AtomicI64::new(1));
    let mut acknowledged = Vec::new();
    for round in 0..20_u64 {
        let (running, ready) = cli::demo(folder.path());
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| tokio::spawn(write(address(&ready), Arc::clone(&next), Arc::clone(&stop))))
            .collect();
        // Another moment of the commit in every round.
        tokio::time::sleep(Duration::from_millis(20 + round * 7)).await;
        running.signal("KILL");
        for writer in writers {
            acknowledged.extend(writer.await.expect("a writer"));
        }
        drop(running);
        let check = cli::haksa(&["check", "--database", &database]);
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    }
    assert!(acknowledged.len() > 100, "too little was written: {}", acknowledged.len());
    let (_running, ready) = cli::demo(folder.path());
    let kept = levels(address(&ready)).await;
    let lost: Vec<_> = acknowledged.iter().filter(|level| !kept.contains(level)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

/// How many certificates the list says there are whose holder is called so.
async fn issued(address: SocketAddr, holder: &str) -> i64 {
    let query: String = form_urlencoded::byte_serialize(holder.as_bytes()).collect();
    let target = format!("/open-api/achievements?pageSize=1&search={query}");
    let reply = Request::to(address, "GET", &target).bearer("demo-kolleges-key").send().await;
    reply.json()["totalPages"].as_i64().expect("a number")
}

/// Rows of a large command are written in parts: killed between any two, it has issued all or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_issue_survives_kill_9_whole_or_not_at_all() {
    const RECIPIENTS: i64 = 600;
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("haksa.db").display());
    let issue = |address, holder: String| {
        let users: Vec<Value> = (0..RECIPIENTS)
            .map(|n| json!({"name": holder, "email": format!("{n}@{holder}.example.com")}))
            .collect();
        Request::to(address, "POST", "/open-api/achievements/issue")
            .bearer("demo-kolleges-key")
            .json(&json!({"achievementFormId": 551, "mode": "email", "users": users}))
            .try_send()
    };
    let (running, ready) = cli::demo(folder.path());
    let begun = std::time::Instant::now();
    assert_eq!(issue(address(&ready), "whole".to_owned()).await.expect("an answer").status, 201);
    let took = begun.elapsed();
    drop(running);
    for round in 1..=4_u32 {
        let holder = format!("round{round}");
        let (running, ready) = cli::demo(folder.path());
        let issuing = tokio::spawn(issue(address(&ready), holder.clone()));
        tokio::time::sleep(took * round / 4).await;
        running.signal("KILL");
        let answer = issuing.await.expect("a request");
        drop(running);
        let check = cli::haksa(&["check", "--database", &database]);
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        let told = numbers(
            &database,
            "SELECT count(*) FROM change WHERE kind = 'achievement' AND id NOT IN \
             (SELECT change_id FROM achievement WHERE deleted_at IS NULL)",
        );
        assert_eq!(told.await, [0], "history tells what did not happen");
        let (running, ready) = cli::demo(folder.path());
        let count = issued(address(&ready), &holder).await;
        assert!([0, RECIPIENTS].contains(&count), "{count} of {RECIPIENTS} in round {round}");
        if answer.is_some_and(|answer| answer.status == 201) {
            assert_eq!(count, RECIPIENTS, "acknowledged and lost");
        }
        // What was left behind stands in nobody's way.
        let holder = format!("after{round}");
        let answer = issue(address(&ready), holder.clone()).await.expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(issued(address(&ready), &holder).await, RECIPIENTS);
        drop(running);
        let check = cli::haksa(&["check", "--database", &database]);
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    }
}

/// A server over a small file system of its own, in namespaces of its own; commands for the shell
/// beside it come through standard input.
struct Cramped {
    running: Running,
    address: SocketAddr,
    answers: BufReader<std::process::ChildStdout>,
}

impl Cramped {
    fn start(folder: &Path) -> Self {
        let script = "mount -t tmpfs -o size=6m none \"$1\" && cd \"$1\" && \
             { \"$2\" demo --listen 127.0.0.1:0 --json --data \"$1\" & } && \
             while read -r line; do eval \"$line\"; echo done; done";
        // The shell is the first process of a space of its own: when it ends, so does the server.
        let mut child = Command::new("unshare")
            .args(["--map-root-user", "--mount", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", script, "sh"])
            .arg(folder)
            .arg(HAKSA)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare runs");
        let mut answers = BufReader::new(child.stdout.take().expect("standard output"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("JSON");
        Self { running: Running(child), address: address(&ready), answers }
    }

    fn run(&mut self, command: &str) {
        let input = self.running.0.stdin.as_mut().expect("standard input");
        writeln!(input, "{command}").expect("the shell reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        assert_eq!(line, "done\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_recovers() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Cramped::start(folder.path());
    // Little is taken while there is little room.
    let comment = "가".repeat(500);
    let address = server.address;
    let send = |level: i64| {
        Request::to(address, "PATCH", "/open-api/achievements/1539")
            .bearer("demo-kolleges-key")
            .json(&json!({"level": level, "admin_comment": format!("{comment}{level}")}))
            .send()
    };
    assert_eq!(send(1).await.status, 200);
    server.run("dd if=/dev/zero of=filler bs=4k 2>/dev/null");
    let mut acknowledged = 1;
    let mut refused = 0;
    for level in 2..60 {
        let reply = send(level).await;
        match reply.status {
            200 => acknowledged = level,
            503 => {
                refused += 1;
                assert_eq!(reply.json()["error"], "ServiceUnavailable");
                assert_ne!(reply.header("retry-after"), "");
            }
            other => panic!("{other}: {}", reply.text()),
        }
    }
    assert!(refused > 0, "the disk was never full");
    let read = Request::to(address, "GET", "/open-api/achievements/1539");
    let read = read.bearer("demo-kolleges-key").send().await;
    assert_eq!(read.json()["achievement"]["level"], acknowledged);
    server.run("rm filler");
    assert_eq!(send(100).await.status, 200, "it did not recover");
    let long = json!({"admin_comment": "가".repeat(5_000)});
    let long = Request::to(address, "PATCH", "/open-api/achievements/1539").json(&long);
    let reply = long.bearer("demo-kolleges-key").send().await;
    assert_eq!(reply.status, 503, "much is taken while there is little room");
    assert_eq!(reply.header("retry-after"), "30");
}

/// Somebody reads for long on a connection of their own, a backup or a forgotten shell, while the log
/// outgrows what it may be: it cannot be begun anew, and nobody waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_do_not_wait_for_who_reads_for_long() {
    const LOG_BYTES_MAX: u64 = 48_000 * 4_120;
    let folder = tempfile::tempdir().expect("a folder");
    let (_running, ready) = cli::demo(folder.path());
    let (address, comment) = (address(&ready), "가".repeat(19_990));
    let send = async |level: i64| {
        // More than one account writes at once.
        let (id, key) = match level % 2 {
            0 => (1539, "demo-kolleges-key"),
            _ => (9001, "demo-kolleges-other-key"),
        };
        let reply = Request::to(address, "PATCH", &format!("/open-api/achievements/{id}"))
            .bearer(key)
            .json(&json!({"level": level, "admin_comment": format!("{level}{comment}")}))
            .send();
        assert_eq!(reply.await.status, 200);
    };
    let log_bytes = || std::fs::metadata(folder.path().join("haksa.db-wal")).expect("a log").len();
    let reader = rusqlite::Connection::open(folder.path().join("haksa.db")).expect("a database");
    reader.execute_batch("BEGIN; SELECT count(*) FROM account").expect("a view");
    let mut level = 1;
    while log_bytes() <= LOG_BYTES_MAX + 1024 * 1024 {
        send(level).await;
        level += 1;
    }
    // SQLite's own way is to wait ten seconds for the reader.
    for level in level..level + 30 {
        let edit = tokio::time::timeout(Duration::from_secs(9), send(level));
        edit.await.expect("edits go on");
    }
    drop(reader);
    let cut = async {
        while log_bytes() > LOG_BYTES_MAX {
            level += 1;
            send(level + 30).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(100), cut).await.expect("the log is begun anew");
}

/// Makes system calls of a running program fail.
struct Sabotage(std::process::Child);

impl Sabotage {
    async fn of(running: &Running, calls: &str, error: &str) -> Self {
        let child = Command::new("strace")
            .args(["-f", "-e", &format!("trace={calls}"), "-o", "/dev/null"])
            .args(["-e", &format!("inject={calls}:error={error}")])
            .args(["-p", &running.0.id().to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace runs");
        let mut this = Self(child);
        let mut line = String::new();
        let output = this.0.stderr.take().expect("standard error");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert!(line.contains("attached"), "{line}");
        // Its threads are attached one by one.
        tokio::time::sleep(Duration::from_millis(300)).await;
        this
    }

    fn end(mut self) {
        let done = Command::new("kill").arg(self.0.id().to_string()).status().expect("kill runs");
        assert!(done.success());
        self.0.wait().expect("it ends");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_disk_refuses_and_recovers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (running, ready) = cli::demo(folder.path());
    let address = address(&ready);
    assert_eq!(edit(address, 1).await.expect("an answer").status, 200);
    let sabotage = Sabotage::of(&running, "pwrite64,ftruncate", "EROFS").await;
    for level in 2..10 {
        let reply = edit(address, level).await.expect("an answer");
        assert_eq!((reply.status, &reply.json()["error"]), (503, &json!("ServiceUnavailable")));
        let read = Request::to(address, "GET", "/open-api/achievements/1539");
        let read = read.bearer("demo-kolleges-key").send().await;
        assert_eq!(read.json()["achievement"]["level"], 1);
    }
    sabotage.end();
    assert_eq!(edit(address, 10).await.expect("an answer").status, 200);
    assert_eq!(levels(address).await, [10, 1]);
}

/// After a failed flush nobody knows what is on the disk: not the server, not a second attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_flush_stops_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut running, ready) = cli::demo(folder.path());
    assert_eq!(edit(address(&ready), 1).await.expect("an answer").status, 200);
    let sabotage = Sabotage::of(&running, "fsync,fdatasync", "EIO").await;
    for level in 2..6 {
        // Of the one whose flush failed nobody knows whether it was done; of those after it, everybody.
        if let Some(reply) = edit(address(&ready), level).await {
            let told = (reply.status, reply.header("retry-after").is_empty());
            let is_first = level == 2;
            let expected = if is_first { (500, true) } else { (503, false) };
            assert_eq!(told, expected, "{level}: {}", reply.text());
        }
    }
    let ended = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        running.0.try_wait().expect("its state")
    });
    assert!(ended.is_some_and(|status| !status.success()), "{ended:?}");
    drop(sabotage);
    let (_running, ready) = cli::demo(folder.path());
    assert!(levels(address(&ready)).await.contains(&1));
    let database = format!("sqlite:{}", folder.path().join("haksa.db").display());
    assert!(cli::haksa(&["check", "--database", &database]).status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_crashes_loses_nothing_and_is_found_again() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/postgres");
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = folder.path().join("cluster");
    let postgres = |verb: &str| {
        let output = Command::new(script).arg(verb).arg(&cluster).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    // Debian's server runs as another user, who has to reach the folder.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), mode).expect("permissions");
    let url = postgres("start");
    let server = crate::support::Server::start_on(&url).await;
    let next = Arc::new(AtomicI64::new(1));
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| tokio::spawn(write(server.address, Arc::clone(&next), Arc::clone(&stop))))
        .collect();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        // However slow the machine is: so many were asked for while the server was there.
        for _ in 0..300 {
            if next.load(Ordering::SeqCst) > 150 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        postgres("crash");
        let refused = edit(server.address, 0).await.expect("an answer");
        assert_eq!(refused.status, 503, "{}", refused.text());
        postgres("resume");
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::SeqCst);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.expect("a writer"));
    }
    // It comes back by itself.
    for _ in 0..100 {
        if edit(server.address, -1).await.is_some_and(|reply| reply.status == 200) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let kept = levels(server.address).await;
    let lost: Vec<_> = acknowledged.iter().filter(|level| !kept.contains(level)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(acknowledged.len() > 100, "too little was written: {}", acknowledged.len());
    server.assert_sound().await;
    postgres("stop");
}
