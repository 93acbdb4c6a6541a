//! The text of a migration is written once, in `migrations/source`, and stands rendered in the folder of
//! each database. In it `{this|that}` is `this` for SQLite and `that` for PostgreSQL; a line
//! `-- sqlite:` or `-- postgres:` begins what is for one of them alone, `-- both:` ends that.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Backend;

/// Names the variable with which the rendered files are written anew.
const WRITE: &str = "WRITE_MIGRATIONS";

const BACKENDS: [(Backend, &str); 2] =
    [(Backend::Sqlite, "sqlite"), (Backend::Postgres, "postgres")];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name)
}

fn render(source: &str, backend: Backend) -> String {
    let mut rendered = String::new();
    let mut is_ours = true;
    for line in source.lines() {
        match (line, backend) {
            ("-- both:", _)
            | ("-- sqlite:", Backend::Sqlite)
            | ("-- postgres:", Backend::Postgres) => is_ours = true,
            ("-- sqlite:" | "-- postgres:", _) => is_ours = false,
            _ if is_ours => {
                rendered.push_str(&choose(line, backend));
                rendered.push('\n');
            }
            _ => {}
        }
    }
    rendered
}

fn choose(line: &str, backend: Backend) -> String {
    let mut parts = line.split('{');
    let mut chosen = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (choice, rest) = part.split_once('}').expect("a closing brace");
        let (sqlite, postgres) = choice.split_once('|').expect("two choices");
        chosen.push_str(if matches!(backend, Backend::Sqlite) { sqlite } else { postgres });
        chosen.push_str(rest);
    }
    chosen
}

#[test]
fn each_database_has_the_one_text_in_its_own_words() {
    #[expect(clippy::disallowed_methods, reason = "a developer asks for it this way")]
    let writes = std::env::var_os(WRITE).is_some();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder("source")).expect("sources") {
        let name = entry.expect("an entry").file_name();
        let source = fs::read_to_string(folder("source").join(&name)).expect("a source");
        for (backend, words) in BACKENDS {
            let rendered = render(&source, backend);
            let path = folder(words).join(&name);
            if writes {
                fs::write(&path, &rendered).expect("the file is written");
            }
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == rendered,
                "{} is not what its source says; {WRITE}=1 writes it anew",
                path.display()
            );
        }
        names.push(name);
    }
    names.sort();
    for (_, words) in BACKENDS {
        let mut committed: Vec<_> = fs::read_dir(folder(words))
            .expect("migrations")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        committed.sort();
        assert_eq!(committed, names, "{words} has a migration without a source");
    }
}

#[test]
fn marks_choose_between_the_two() {
    let source = "a {b|c} d{| e}{ f|};\n-- sqlite:\ng\n-- postgres:\nh || i\n-- both:\nj\n";
    assert_eq!(render(source, Backend::Sqlite), "a b d f;\ng\nj\n");
    assert_eq!(render(source, Backend::Postgres), "a c d e;\nh || i\nj\n");
}
