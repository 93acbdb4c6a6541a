//! The program as its users run it.

mod check;
mod database;
mod help;
mod log;
mod manage;
mod person;
mod serve;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Backend, new_postgres_database};

const HAKSA: &str = env!("CARGO_BIN_EXE_haksa");

/// A program that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }
}

/// Starts `haksa demo` in a folder; gives it and its line of JSON.
pub(crate) fn demo(folder: &Path) -> (Running, Value) {
    let mut child = Command::new(HAKSA)
        .args(["demo", "--listen", "127.0.0.1:0", "--json", "--data"])
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("haksa starts");
    let mut line = String::new();
    let stdout = child.stdout.as_mut().expect("standard output");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    (Running(child), serde_json::from_str(&line).expect("JSON"))
}

/// Runs `haksa` to its end.
pub(crate) fn haksa(arguments: &[&str]) -> Output {
    Command::new(HAKSA).args(arguments).output().expect("haksa runs")
}

/// A database that nobody has opened yet, and a folder for its master key.
struct Place {
    folder: TempDir,
    database: String,
}

impl Place {
    async fn new(backend: Backend) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = match backend {
            Backend::Sqlite => format!("sqlite:{}", folder.path().join("haksa.db").display()),
            Backend::Postgres => new_postgres_database().await,
        };
        Self { folder, database }
    }

    /// The same, with tables and an account 1.
    async fn with_account(backend: Backend) -> Self {
        let place = Self::new(backend).await;
        assert_said(&place.run(&["account", "create", "한빛학원"]), 0, "account 1");
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(HAKSA);
        command.args(arguments).args(["--database", &self.database]);
        command.env("HAKSA_MASTER_KEY_FILE", self.key_file());
        command
    }

    /// Runs `haksa` on the database to its end.
    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("haksa runs")
    }

    fn key_file(&self) -> std::path::PathBuf {
        self.folder.path().join("master.key")
    }

    async fn store(&self) -> haksa::store::Store {
        haksa::store::Store::open(&self.database).await.expect("the database opens")
    }
}

/// Runs each of the named functions, `async fn(backend: Backend)`, for both stores.
macro_rules! for_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Backend::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Backend::Postgres).await;
            })+
        }
    };
}
pub(crate) use for_both_stores;

/// Asserts how a run ended, and something that it said.
#[track_caller]
fn assert_said(output: &Output, code: i32, words: &str) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(words), "no {words:?} in: {text}");
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn demo_prints_one_line_and_stops_cleanly() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut running, ready) = demo(folder.path());
    assert!(ready["base_url"].as_str().expect("a URL").starts_with("http://127.0.0.1:"));
    assert_eq!(ready["kolleges"]["api_key"], "demo-kolleges-key");
    running.signal("TERM");
    let status = running.0.wait().expect("it ends");
    assert_eq!(status.code(), Some(0));
    let mut rest = String::new();
    running.0.stdout.take().expect("standard output").read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "", "more than one line");
    // The folder is reopened, with what it holds.
    let (_running, again) = demo(folder.path());
    assert_eq!(again["kolleges"], ready["kolleges"]);
}

#[test]
fn an_operator_sets_up_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("haksa.db").display());
    let run = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--database", &database]);
        haksa(&all)
    };
    assert!(text(&run(&["migrate"])).contains("applied"));
    assert!(text(&run(&["migrate"])).starts_with("up to date"));
    let created = run(&["account", "create", "한빛학원", "--club-domain", "hanbit"]);
    assert_eq!(text(&created).lines().next(), Some("account 1"));
    assert!(text(&run(&["account", "list"])).contains("한빛학원"));
    let key = run(&["credential", "create", "--account", "1", "--dialect", "kolleges"]);
    assert!(key.status.success(), "{}", text(&key));
    let text_of_key = text(&key);
    let secret =
        text_of_key.lines().find_map(|line| line.strip_prefix("secret ")).expect("a secret");
    assert_eq!(secret.len(), 43);
    let pair = ["credential", "create", "--account", "1", "--dialect", "solapi"];
    let pair = run(&[&pair[..], &["--policy", "MEMBER"]].concat());
    assert!(text(&pair).contains("\nid "), "{}", text(&pair));
    let bad =
        run(&["credential", "create", "--account", "1", "--dialect", "native", "--policy", "x"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad).contains("no policy \"x\""), "{}", text(&bad));
    let list = text(&run(&["credential", "list", "--account", "1"]));
    assert!(list.contains("kolleges") && !list.contains(secret), "{list}");
    assert!(run(&["credential", "revoke", "1"]).status.success());
    assert!(text(&run(&["credential", "list", "--account", "1"])).contains("revoked at"));
    let history = text(&run(&["history", "credential/1"]));
    assert!(history.contains("revoked_at: null -> "), "{history}");
    assert!(!history.contains(secret));
    let change = history.lines().next().and_then(|line| line.split_whitespace().nth(1));
    let undone = run(&["undo", change.expect("a change")]);
    assert_eq!(undone.status.code(), Some(2));
    assert!(text(&undone).contains("revoked_at cannot be taken back"), "{}", text(&undone));
    assert!(text(&run(&["check"])).ends_with("no faults\n"));
}

#[test]
fn mistakes_are_explained() {
    for (arguments, explanation) in [
        (&["serve"][..], "which database?"),
        (&["migrate", "--database", "mysql://x"], "a database is `sqlite:PATH`"),
        (&["check", "--database", "sqlite:/nonexistent/haksa.db"], "no such database"),
        (&["history", "achievement", "--database", "sqlite:x.db"], "is not KIND/ID"),
        (&["history", "nothing/1", "--database", "sqlite:x.db"], "no kind \"nothing\""),
        (&["serve", "--database", "sqlite:"], "needs the path of a file"),
        (&["serve", "--database", "sqlite::memory:"], "needs the path of a file"),
        (&["migrate", "--database", "sqlite:file:x?mode=memory"], "needs the path of a file"),
        (&["demo", "--database", "postgres://h/x"], "needs --data DIR"),
        (&["openapi", "klingon"], "there are kolleges, partner"),
        (&["serve", "--config", "/nonexistent.toml"], "cannot read /nonexistent.toml"),
        (&["demo", "--listen", "nowhere"], "cannot listen on nowhere"),
        (&["dmeo"], "a similar subcommand exists: 'demo'"),
    ] {
        let output = haksa(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output).contains(explanation), "{arguments:?}: {}", text(&output));
    }
    assert!(text(&haksa(&["--help"])).contains("Try `haksa demo` first"));
    let document: Value =
        serde_json::from_slice(&haksa(&["openapi", "kolleges"]).stdout).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn check_finds_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(demo(folder.path()));
    let path = folder.path().join("haksa.db");
    let database = format!("sqlite:{}", path.display());
    let check = || haksa(&["check", "--database", &database]);
    assert_eq!(check().status.code(), Some(0), "{}", text(&check()));
    let run = |statement: &str| {
        let connection = rusqlite::Connection::open(&path).expect("the file opens");
        connection.execute_batch(statement).expect("the statement runs");
    };
    for (damage, repair, finding) in [
        (
            "UPDATE achievement SET version = 7 WHERE id = 1539",
            "UPDATE achievement SET version = 1 WHERE id = 1539",
            "version and newest change disagree",
        ),
        (
            "UPDATE change SET version = 3 WHERE kind = 'form' AND record_id = '551'",
            "UPDATE change SET version = 1 WHERE kind = 'form' AND record_id = '551'",
            "the chain of changes is broken",
        ),
        (
            "PRAGMA foreign_keys = OFF; UPDATE achievement SET form_id = 77 WHERE id = 1539",
            "UPDATE achievement SET form_id = 551 WHERE id = 1539",
            "orphaned reference",
        ),
        (
            "UPDATE achievement SET body = json_set(body, '$.level', 'x') WHERE id = 1539",
            "UPDATE achievement SET body = json_set(body, '$.level', NULL) WHERE id = 1539",
            "achievement 1539",
        ),
        (
            "UPDATE class SET body = json_set(body, '$.allowed_model_ids', json('[1,99]')) \
             WHERE id = 11",
            "UPDATE class SET body = json_set(body, '$.allowed_model_ids', json('[]')) \
             WHERE id = 11",
            "class 11 names model 99",
        ),
        (
            "UPDATE form SET deleted_at = 1 WHERE id = 551",
            "UPDATE form SET deleted_at = NULL WHERE id = 551",
            "achievement 1539 names form 551",
        ),
        (
            "UPDATE class SET course_id = 6 WHERE id = 11",
            "UPDATE class SET course_id = NULL WHERE id = 11",
            "class 11 names course 6",
        ),
    ] {
        run(damage);
        let found = check();
        assert_eq!(found.status.code(), Some(1), "{damage}");
        assert!(text(&found).contains(finding), "{}", text(&found));
        run(repair);
        assert_eq!(check().status.code(), Some(0), "{}", text(&check()));
    }
}
