//! The boundaries of the house, held by reading its source.

use std::path::{Path, PathBuf};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"))
    {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn source() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "tests"] {
        for path in files(&root.join(folder)) {
            let name = path.strip_prefix(root).expect("inside").to_string_lossy().into_owned();
            found.push((name, std::fs::read_to_string(&path).expect("text")));
        }
    }
    assert!(found.len() > 20, "the source was not found");
    found
}

/// Every file outside `allowed` whose text has one of `words`.
fn offenders(words: &[&str], within: &str, allowed: &[&str]) -> Vec<String> {
    source()
        .into_iter()
        .filter(|(name, _)| name.starts_with(within))
        .filter(|(name, _)| !allowed.iter().any(|allowed| name.starts_with(allowed)))
        .flat_map(|(name, text)| {
            words
                .iter()
                .filter(move |word| text.contains(*word))
                .map(move |word| format!("{name}: {word}"))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn the_domain_is_pure() {
    let words = ["axum", "hyper", "http::", "rusqlite", "tokio", "async ", "SELECT ", "std::fs"];
    assert_eq!(offenders(&words, "src/domain", &[]), [""; 0]);
}

#[test]
fn only_stores_know_their_drivers() {
    assert_eq!(offenders(&["rusqlite", "tokio_postgres"], "src", &["src/store"]), [""; 0]);
}

#[test]
fn rows_are_written_in_one_place() {
    let words = ["INSERT INTO", "UPDATE ", "DELETE FROM"];
    assert_eq!(offenders(&words, "src", &["src/store"]), [""; 0]);
}

#[test]
fn no_dialect_knows_another() {
    let names = ["kolleges", "partner", "ncloud", "solapi", "ispring", "native"];
    for own in names {
        let others: Vec<String> = names
            .iter()
            .filter(|other| **other != own)
            .flat_map(|other| [format!("dialect::{other}::"), format!("super::super::{other}")])
            .collect();
        let words: Vec<&str> = others.iter().map(String::as_str).collect();
        assert_eq!(offenders(&words, &format!("src/dialect/{own}"), &[]), [""; 0]);
    }
}

#[test]
fn time_and_randomness_come_in_at_one_door() {
    let words = [
        "Timestamp::now",
        "SystemTime::now",
        "Zoned::now",
        "getrandom::",
        "Uuid::new_v4",
        "Uuid::now_v7",
    ];
    assert_eq!(offenders(&words, "src", &["src/app.rs"]), [""; 0]);
}

#[test]
fn the_names_of_an_enum_are_said_once() {
    let allowed = ["src/domain/names.rs", "src/domain/kind.rs"];
    assert_eq!(offenders(&["rename_all", "fn name(self)"], "src/domain", &allowed), [""; 0]);
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<_> = source()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > 800)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(long, [""; 0]);
}

#[test]
fn passwords_are_judged_at_one_door() {
    let judges = ["is_password(", "NOBODYS_HASH"];
    let rooms = ["src/vault.rs", "src/dialect/password.rs", "src/demo/"];
    assert_eq!(offenders(&judges, "src", &rooms), [""; 0]);
    assert_eq!(offenders(&["password::is_right"], "src", &[]), [""; 0]);
}
