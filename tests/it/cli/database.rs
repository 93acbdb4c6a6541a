//! Which database a command opens, makes or refuses, and under which master key.

use super::{HAKSA, Place, assert_said, demo, for_both_stores, haksa, text};
use crate::support::{Backend, new_postgres_database};

for_both_stores!(
    a_demo_stays_out_of_a_real_database,
    a_lost_or_another_master_key_is_noticed,
    the_first_proof_of_a_master_key_stands,
    only_what_begins_makes_a_database,
    a_database_of_a_newer_release_is_left_alone,
    a_database_of_an_earlier_build_is_told,
    what_a_migration_fails_at_is_told_without_its_text,
);

/// Commands that have no use for an empty database.
const INSPECT: [&[&str]; 7] = [
    &["check"],
    &["account", "list"],
    &["credential", "list", "--account", "1"],
    &["credential", "create", "--account", "1", "--dialect", "kolleges"],
    &["credential", "revoke", "1"],
    &["history", "achievement/1539"],
    &["undo", "1"],
];

async fn a_demo_stays_out_of_a_real_database(backend: Backend) {
    let place = Place::with_account(backend).await;
    let data = place.folder.path().join("demo").display().to_string();
    let arguments = ["demo", "--listen", "127.0.0.1:0", "--data", &data];
    assert_said(&place.run(&arguments), 2, "account 1 \"한빛학원\" is in this database");
    assert_eq!(text(&place.run(&["account", "list"])), "1  한빛학원\n");
    // A demonstration of its own is reopened, whatever was made in it.
    let place = Place::new(backend).await;
    for round in 0..2 {
        let mut child = place.command(&[&arguments[..4], &[&data, "--json"]].concat());
        let child = child.stdout(std::process::Stdio::piped()).spawn().expect("haksa starts");
        let mut running = super::Running(child);
        let mut line = String::new();
        let output = running.0.stdout.as_mut().expect("standard output");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)
            .expect("a line");
        assert!(line.starts_with('{'), "round {round}: {line}");
        assert_said(&place.run(&["account", "create", &format!("more {round}")]), 0, "account ");
    }
}

#[test]
fn a_demo_does_not_read_which_database_is_served_in_earnest() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = folder.path().join("served.db");
    let mut child = std::process::Command::new(HAKSA)
        .args(["demo", "--json", "--listen", "127.0.0.1:0"])
        .env("HAKSA_DATABASE", format!("sqlite:{}", served.display()))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("haksa starts");
    let mut line = String::new();
    let output = child.stdout.as_mut().expect("standard output");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("a line");
    let _running = super::Running(child);
    assert!(line.starts_with('{'), "{line}");
    assert!(!served.exists());
}

async fn a_lost_or_another_master_key_is_noticed(backend: Backend) {
    let place = Place::with_account(backend).await;
    let (key, away) = (place.key_file(), place.folder.path().join("away"));
    assert!(!key.exists(), "nothing was sealed yet");
    let create = ["credential", "create", "--account", "1", "--dialect", "solapi"];
    let create = [&create[..], &["--policy", "MEMBER"]].concat();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    assert_said(&place.run(&create), 0, "secret ");
    assert_said(&place.run(&create), 0, "secret ");
    assert_said(&place.run(&["check"]), 0, "no faults");

    std::fs::rename(&key, &away).expect("the key moves");
    for arguments in [&create[..], &serve] {
        let output = place.run(arguments);
        assert_said(&output, 2, &format!("the master key file {} does not exist", key.display()));
        assert!(!key.exists(), "another key was made");
    }
    assert_said(&place.run(&["check"]), 0, "the master key is not here and was not checked");

    std::fs::write(&key, "00".repeat(32)).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).expect("permissions");
    let words = format!("the master key in {} is not the one", key.display());
    for (arguments, code) in [(&create[..], 2), (&serve, 2), (&["check"], 1)] {
        assert_said(&place.run(arguments), code, &words);
    }
    let of_variable = |value: &str, arguments: &[&str]| {
        place.command(arguments).env("HAKSA_MASTER_KEY", value).output().expect("haksa runs")
    };
    assert_said(&of_variable(&"00".repeat(32), &create), 2, "in HAKSA_MASTER_KEY is not the one");
    let right = std::fs::read_to_string(&away).expect("the key");
    assert_said(&of_variable(&right, &create), 0, "secret ");
    assert_said(&of_variable(&right, &["check"]), 0, "no faults");
    // What seals nothing needs no key.
    std::fs::remove_file(&key).expect("the file goes");
    assert_said(&place.run(&["credential", "revoke", "1"]), 0, "opens nothing any more");
    std::fs::rename(&away, &key).expect("the key returns");
    assert_said(&place.run(&create), 0, "secret ");
}

/// Servers that start at the same moment agree.
async fn the_first_proof_of_a_master_key_stands(backend: Backend) {
    let place = Place::with_account(backend).await;
    let store = place.store().await;
    assert_eq!(store.master_key_proof().await.unwrap(), None);
    let keep = |proof: String| {
        let store = store.clone();
        tokio::spawn(async move { store.keep_master_key_proof(proof).await.unwrap() })
    };
    let keeping: Vec<_> = (0..8).map(|n| keep(n.to_string())).collect();
    let mut stands = Vec::new();
    for kept in keeping {
        stands.push(kept.await.expect("an answer"));
    }
    assert_eq!(stands, vec![stands[0].clone(); 8]);
    assert_eq!(store.master_key_proof().await.unwrap().as_ref(), stands.first());
}

async fn only_what_begins_makes_a_database(backend: Backend) {
    let place = Place::new(backend).await;
    let path = place.folder.path().join("haksa.db");
    if let Backend::Sqlite = backend {
        for arguments in INSPECT {
            assert_said(&place.run(arguments), 2, "no such database: ");
        }
        assert_eq!(std::fs::read_dir(place.folder.path()).expect("a folder").count(), 0);
        std::fs::write(path, "").expect("an empty file");
    }
    for arguments in INSPECT {
        assert_said(&place.run(arguments), 2, "run: haksa migrate");
    }
    assert!(!place.key_file().exists());
    assert_said(&place.run(&["migrate"]), 0, "applied");
    for arguments in INSPECT {
        assert!(!text(&place.run(arguments)).contains("migrate"), "{arguments:?}");
    }
}

async fn a_database_of_a_newer_release_is_left_alone(backend: Backend) {
    let place = Place::with_account(backend).await;
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
                 VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')";
    execute(&place, newer).await;
    for arguments in OPENING {
        assert_said(&place.run(arguments), 2, "made by a newer haksa");
    }
}

/// Commands that open a database, each in a way of its own.
const OPENING: [&[&str]; 5] = [
    &["migrate"],
    &["serve", "--listen", "127.0.0.1:0"],
    &["check"],
    &["account", "list"],
    &["account", "create", "another"],
];

/// Runs a statement on the database, which nobody serves.
pub(super) async fn execute(place: &Place, statement: &str) {
    if let Some(path) = place.database.strip_prefix("sqlite:") {
        let connection = rusqlite::Connection::open(path).expect("the file opens");
        connection.execute_batch(statement).expect("the statement runs");
        return;
    }
    let connecting = tokio_postgres::connect(&place.database, tokio_postgres::NoTls).await;
    let (client, connection) = connecting.expect("the database");
    tokio::spawn(connection);
    client.batch_execute(statement).await.expect("the statement runs");
}

/// In a word, and without the text of any migration.
async fn a_database_of_an_earlier_build_is_told(backend: Backend) {
    let place = Place::with_account(backend).await;
    execute(&place, "UPDATE refinery_schema_history SET checksum = '1' WHERE version = 1").await;
    if let Backend::Sqlite = backend {
        // Files had no mark then.
        execute(&place, "PRAGMA application_id = 0").await;
    }
    for arguments in OPENING {
        let output = place.run(arguments);
        assert_said(&output, 2, "made by an earlier build of haksa");
        assert!(!text(&output).contains("CREATE"), "{}", text(&output));
    }
}

#[tokio::test]
async fn a_file_of_another_program_is_left_as_it_is() {
    let marked = "PRAGMA application_id = 7";
    let filled = "CREATE TABLE account (id INTEGER PRIMARY KEY); INSERT INTO account VALUES (1)";
    for made_by in [marked, filled] {
        let place = Place::new(Backend::Sqlite).await;
        execute(&place, made_by).await;
        let path = place.folder.path().join("haksa.db");
        let before = std::fs::read(&path).expect("the file");
        for arguments in OPENING {
            assert_said(&place.run(arguments), 2, "is not a database of haksa's");
        }
        assert_eq!(std::fs::read(&path).expect("the file"), before, "{made_by}");
    }
    let place = Place::new(Backend::Sqlite).await;
    std::fs::write(place.folder.path().join("haksa.db"), "no database at all").expect("a file");
    for arguments in OPENING {
        assert_said(&place.run(arguments), 2, "file is not a database");
    }
}

/// A file that was copied as SQL text has lost its mark.
#[tokio::test]
async fn a_file_without_the_mark_is_known_by_its_tables() {
    let place = Place::with_account(Backend::Sqlite).await;
    execute(&place, "PRAGMA application_id = 0").await;
    assert_said(&place.run(&["check"]), 0, "no faults");
}

async fn what_a_migration_fails_at_is_told_without_its_text(backend: Backend) {
    let place = Place::new(backend).await;
    let (mark, words) = match backend {
        Backend::Sqlite => ("PRAGMA application_id = 1214344051;", "table account already exists"),
        Backend::Postgres => ("", "relation \"account\" already exists"),
    };
    execute(&place, &format!("{mark} CREATE TABLE account (id INTEGER)")).await;
    for arguments in [&["migrate"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        let output = place.run(arguments);
        assert_said(&output, 2, "cannot migrate the database: ");
        let said = text(&output);
        let expected = format!("haksa: cannot migrate the database: {words}");
        assert_eq!(said.lines().last(), Some(expected.as_str()));
        assert!(!said.contains("CREATE"), "{said}");
    }
}

/// A run in an empty folder, and what it left there.
fn run_at(address: &str, is_variable: bool) -> (std::process::Output, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let address = address.replace("FOLDER", &folder.path().display().to_string());
    let mut command = std::process::Command::new(HAKSA);
    command.arg("migrate").current_dir(folder.path());
    if is_variable {
        command.env("HAKSA_DATABASE", &address);
    } else {
        command.args(["--database", &address]);
    }
    let output = command.output().expect("haksa runs");
    let names = std::fs::read_dir(folder.path()).expect("the folder");
    let mut names: Vec<String> =
        names.map(|file| file.expect("a file").file_name().into_string().expect("text")).collect();
    names.sort();
    (output, names)
}

#[test]
fn an_address_opens_the_file_that_is_meant_or_none() {
    for address in [
        "sqlite:haksa.db",
        "sqlite:./haksa.db",
        "sqlite:FOLDER/haksa.db",
        "sqlite:haksa.db\n",
        "sqlite:haksa.db\r",
        " sqlite:haksa.db ",
    ] {
        for is_variable in [false, true] {
            let (output, names) = run_at(address, is_variable);
            assert_eq!(output.status.code(), Some(0), "{address:?}: {}", text(&output));
            assert_eq!(names, ["haksa.db"], "{address:?}");
        }
    }
    for (address, words) in [
        ("sqlite://haksa.db", "no `//` comes before it"),
        ("sqlite:///haksa.db", "no `//` comes before it"),
        ("sqlite:///FOLDER/haksa.db", "no `//` comes before it"),
        ("sqlite:haksa.db?mode=rwc", "no settings come behind it"),
        ("sqlite:haksa.db?", "no settings come behind it"),
        ("sqlite:my%20haksa.db", "not written like `%20`"),
        ("sqlite: haksa.db", "no blank comes before it"),
        ("sqlite:'haksa.db'", "no quotation marks"),
        ("sqlite:\"haksa.db\"", "no quotation marks"),
        ("sqlite:~/haksa.db", "nobody replaces `~`"),
        ("sqlite:$HOME.db", "nobody replaces `~` and `$`"),
        ("sqlite:haksa.db\nsqlite:other.db", "no line ends"),
        ("sqlite:", "needs the path of a file"),
        ("sqlite:\n", "needs the path of a file"),
        ("\"sqlite:haksa.db\"", "a database is `sqlite:PATH`"),
        ("haksa.db", "a database is `sqlite:PATH`"),
        ("sqlite3:haksa.db", "a database is `sqlite:PATH`"),
        ("SQLite:haksa.db", "a database is `sqlite:PATH`"),
    ] {
        for is_variable in [false, true] {
            let (output, names) = run_at(address, is_variable);
            assert_said(&output, 2, words);
            assert_eq!(names, [""; 0], "{address:?}");
        }
    }
    assert!(!std::path::Path::new("/haksa.db").exists());
}

/// Files of variables with line ends of Windows leave a part of them in each value.
#[tokio::test]
async fn a_line_end_is_no_part_of_a_variable() {
    let place = Place::with_account(Backend::Sqlite).await;
    let create =
        ["credential", "create", "--account", "1", "--dialect", "solapi", "--policy", "MEMBER"];
    let mut command = std::process::Command::new(HAKSA);
    command.args(create).env("HAKSA_DATABASE", format!("{}\r", place.database));
    command.env("HAKSA_MASTER_KEY_FILE", format!("{}\r\n", place.key_file().display()));
    assert_said(&command.output().expect("haksa runs"), 0, "secret ");
    assert!(place.key_file().exists());
    // Without a file that is named, the key is beside the database that is meant.
    std::fs::remove_file(place.key_file()).expect("the key goes");
    command.env("HAKSA_MASTER_KEY_FILE", " ");
    let words = format!("the master key file {} does not exist", place.key_file().display());
    assert_said(&command.output().expect("haksa runs"), 2, &words);
    let key = format!("{}\r\n", "07".repeat(32));
    command.env("HAKSA_MASTER_KEY", key);
    assert_said(&command.output().expect("haksa runs"), 2, "in HAKSA_MASTER_KEY is not the one");
}

#[tokio::test]
async fn what_postgres_refuses_is_told_without_secrets() {
    let good = new_postgres_database().await;
    let (server, name) = good.rsplit_once('/').expect("a database");
    let (user, host) = server.rsplit_once('@').expect("a user");
    let (user, _) = user.rsplit_once(':').expect("a password");
    for (url, words) in [
        (format!("{user}:demo-wrong@{host}/{name}"), "password authentication failed for user"),
        (format!("{server}/no_such_database"), "database \"no_such_database\" does not exist"),
        (format!("{user}:demo-wrong@127.0.0.1:1/{name}"), "Connection refused"),
        (format!("{user}:demo-wrong@{host}:x/{name}"), "malformed postgres address"),
        (good.clone(), "run: haksa migrate"),
    ] {
        let output = haksa(&["account", "list", "--database", &url]);
        assert_said(&output, 2, words);
        assert!(!text(&output).contains("demo-wrong"), "{}", text(&output));
    }
}

#[test]
fn the_password_of_an_address_is_not_repeated() {
    for (address, shown) in [
        ("mysql://bob:S3CRETPW@h/x", "not `mysql:…`"),
        ("bob:S3CRETPW@h/x", "not `bob:…`"),
        ("host=h password=S3CRETPW:x", "not that"),
        ("S3CRETPW", "not that"),
    ] {
        let output = haksa(&["check", "--database", address]);
        assert_said(&output, 2, shown);
        assert!(!text(&output).contains("S3CRETPW"), "{}", text(&output));
    }
}

#[test]
fn the_master_key_never_stands_on_the_command_line() {
    let output = haksa(&["check", "--database", "sqlite:x.db", "--master-key", "00"]);
    assert_said(&output, 2, "unexpected argument");
    for arguments in [&["serve", "--help"][..], &["credential", "create", "--help"]] {
        assert_said(&haksa(arguments), 0, "HAKSA_MASTER_KEY");
    }
}

#[test]
fn one_server_at_a_time_serves_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, _) = demo(folder.path());
    let database = format!("sqlite:{}", folder.path().join("haksa.db").display());
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(folder.path().join("haksa.db"), &link).expect("a link");
    let data = folder.path().display().to_string();
    let linked = format!("sqlite:{}", link.display());
    for arguments in [
        &["serve", "--listen", "127.0.0.1:0", "--database", &database][..],
        &["serve", "--listen", "127.0.0.1:0", "--database", &linked],
        &["demo", "--listen", "127.0.0.1:0", "--data", &data],
    ] {
        assert_said(&haksa(arguments), 2, "another haksa serves ");
    }
    // Short writes are welcome beside a server.
    let create = ["credential", "create", "--account", "3", "--dialect", "kolleges"];
    let create = [&create[..], &["--database", &database]].concat();
    assert_said(&haksa(&create), 0, "secret ");
    // The lock goes with the process, however that ends.
    drop(first);
    drop(demo(folder.path()));
}
