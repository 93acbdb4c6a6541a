//! What the code says of its tables, what SQLite has and what PostgreSQL has are the same.

use std::collections::{BTreeMap, BTreeSet};

use haksa::domain::kind::Kind;
use haksa::domain::table::{Among, ColumnType, KeyType};

use crate::support::{Backend, Server};

/// Tables that a file alone has: for large commands, which PostgreSQL writes in one transaction. Twins
/// are named with what they are of.
const OF_SQLITE: [(&str, Option<&str>); 3] =
    [("staging", None), ("change_staged", Some("change")), ("link_staged", Some("link"))];
/// Columns and indexes that PostgreSQL alone has: a file has a table of its own for searches.
const OF_POSTGRES: [&str; 2] = ["grams", "person_by_grams"];
/// The longest name that PostgreSQL keeps whole, bytes.
const NAME_MAX: usize = 63;

/// A table as a database has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    /// Names, with type and whether null is refused.
    columns: BTreeMap<String, (String, bool)>,
    key: Vec<String>,
    /// Columns that name a row of another table.
    references: BTreeMap<String, Reference>,
    indexes: BTreeSet<Index>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    table: String,
    is_deferred: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Index {
    /// None where SQLite made it up for a UNIQUE of the table's.
    name: Option<String>,
    columns: Vec<String>,
    is_unique: bool,
    /// For which rows.
    condition: Option<String>,
}

impl Index {
    fn is_live(&self) -> bool {
        self.condition.as_deref() == Some("deleted_at IS NULL")
    }
}

type Catalogue = BTreeMap<String, Table>;

async fn of_sqlite() -> Catalogue {
    let server = Server::start(Backend::Sqlite).await;
    let path = server.url.strip_prefix("sqlite:").expect("a file");
    let connection = rusqlite::Connection::open(path).expect("the file opens");
    let rows = |text: &str| -> Vec<Vec<String>> {
        let mut statement = connection.prepare(text).expect("a statement");
        let width = statement.column_count();
        let text = |row: &rusqlite::Row<'_>, column| {
            let value: rusqlite::types::Value = row.get(column)?;
            Ok(match value {
                rusqlite::types::Value::Integer(value) => value.to_string(),
                rusqlite::types::Value::Text(text) => text,
                _ => String::new(),
            })
        };
        let row = |row: &rusqlite::Row<'_>| (0..width).map(|column| text(row, column)).collect();
        statement.query_map([], row).expect("rows").map(|row| row.expect("a row")).collect()
    };
    let tables = "SELECT name, sql FROM sqlite_master WHERE type = 'table' \
                  AND name NOT LIKE 'person_search%' AND name NOT LIKE 'sqlite_%'";
    let mut catalogue = Catalogue::new();
    for named in rows(tables) {
        let (name, text) = (&named[0], &named[1]);
        let mut table = Table::default();
        let mut key = BTreeMap::new();
        for row in
            rows(&format!("SELECT name, type, \"notnull\", pk FROM pragma_table_info('{name}')"))
        {
            // Of a key that is the row's number SQLite says no more.
            let kind = row[1].replace("INTEGER", "BIGINT").replace("BLOB", "BYTEA");
            if row[3] != "0" {
                key.insert(row[3].clone(), row[0].clone());
            }
            table.columns.insert(row[0].clone(), (kind, row[2] == "1" || row[3] != "0"));
        }
        table.key = key.into_values().collect();
        for row in
            rows(&format!("SELECT \"from\", \"table\" FROM pragma_foreign_key_list('{name}')"))
        {
            let line = text.lines().find(|line| line.trim().starts_with(&format!("{} ", row[0])));
            let is_deferred = line.expect("a line").contains("DEFERRABLE INITIALLY DEFERRED");
            let reference = Reference { table: row[1].clone(), is_deferred };
            table.references.insert(row[0].clone(), reference);
        }
        for row in rows(&format!(
            "SELECT l.name, l.\"unique\", l.origin, coalesce(m.sql, '') FROM pragma_index_list('{name}') l \
             LEFT JOIN sqlite_master m ON m.name = l.name"
        )) {
            if row[2] == "pk" {
                continue;
            }
            let columns = rows(&format!("SELECT name FROM pragma_index_info('{}')", row[0]));
            table.indexes.insert(Index {
                name: (row[2] == "c").then(|| row[0].clone()),
                columns: columns.into_iter().flatten().collect(),
                is_unique: row[1] == "1",
                condition: row[3].split_once(" WHERE ").map(|(_, condition)| condition.to_owned()),
            });
        }
        catalogue.insert(name.clone(), table);
    }
    catalogue
}

async fn of_postgres() -> Catalogue {
    let server = Server::start(Backend::Postgres).await;
    let connecting = tokio_postgres::connect(&server.url, tokio_postgres::NoTls).await;
    let (client, connection) = connecting.expect("the database");
    tokio::spawn(connection);
    let rows = async |text: &str| -> Vec<Vec<String>> {
        let found = client.query(text, &[]).await.expect("rows");
        let text = |row: &tokio_postgres::Row, column| row.get::<_, Option<String>>(column);
        let row = |row: &tokio_postgres::Row| {
            (0..row.len()).map(|column| text(row, column).unwrap_or_default()).collect()
        };
        found.iter().map(row).collect()
    };
    let mut catalogue = Catalogue::new();
    for row in rows(
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text \
         FROM information_schema.columns WHERE table_schema = 'public'",
    )
    .await
    {
        let kind = row[2].to_uppercase();
        let columns = &mut catalogue.entry(row[0].clone()).or_default().columns;
        columns.insert(row[1].clone(), (kind, row[3] == "NO"));
    }
    for row in rows(
        "SELECT c.conrelid::regclass::text, a.attname::text, c.confrelid::regclass::text, \
         c.condeferred::text FROM pg_constraint c \
         JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] \
         WHERE c.contype = 'f'",
    )
    .await
    {
        let reference = Reference { table: row[2].clone(), is_deferred: row[3] == "true" };
        let table = catalogue.get_mut(&row[0]).expect("a table");
        table.references.insert(row[1].clone(), reference);
    }
    for row in rows(
        "SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text, \
         (SELECT string_agg(a.attname, ',' ORDER BY k.place) \
         FROM unnest(i.indkey) WITH ORDINALITY AS k (number, place) \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number), \
         i.indisunique::text, i.indisprimary::text, pg_get_expr(i.indpred, i.indrelid) \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'",
    )
    .await
    {
        let table = catalogue.get_mut(&row[0]).expect("a table");
        let columns: Vec<String> = row[2].split(',').map(str::to_owned).collect();
        if row[4] == "true" {
            table.key = columns;
            continue;
        }
        let condition = row[5].replace(['(', ')'], "");
        table.indexes.insert(Index {
            name: Some(row[1].clone()),
            columns,
            is_unique: row[3] == "true",
            condition: Some(condition).filter(|condition| !condition.is_empty()),
        });
    }
    catalogue
}

/// The tables that a kind's records name in columns.
fn named(kind: Kind) -> impl Iterator<Item = Kind> {
    kind.table().columns.iter().filter_map(|column| match column.column_type {
        ColumnType::Reference(named, _) => Some(named),
        _ => None,
    })
}

/// Whether records of a kind come back to `kind` by what they name.
fn leads_back(from: Kind, kind: Kind) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(one) = next.pop() {
        if one == kind {
            return true;
        }
        if seen.insert(one) {
            next.extend(named(one));
        }
    }
    false
}

/// A unique index over what is there is called by its fields, those that name others without `_id`.
fn live_name(table: &str, fields: &[String]) -> String {
    let fields = fields.iter().map(|name| name.strip_suffix("_id").unwrap_or(name));
    format!("{table}_{}_live", fields.collect::<Vec<_>>().join("_"))
}

fn assert_declared(catalogue: &Catalogue, backend: Backend) {
    let is_sqlite = matches!(backend, Backend::Sqlite);
    let text_or_number = |is_text| if is_text { "TEXT" } else { "BIGINT" }.to_owned();
    for kind in Kind::ALL.iter().copied() {
        let declared = kind.table();
        let table = catalogue.get(declared.name).expect("a table");
        let mut columns = BTreeMap::new();
        columns.insert("id", (text_or_number(declared.key == KeyType::Text), Some(true)));
        for name in ["account_id", "version", "change_id", "created_at", "updated_at"] {
            columns.insert(name, ("BIGINT".to_owned(), Some(true)));
        }
        columns.insert("deleted_at", ("BIGINT".to_owned(), Some(false)));
        columns.insert("body", ("TEXT".to_owned(), Some(true)));
        let mut references = BTreeMap::new();
        if kind != Kind::Account {
            references.insert("account_id", (Kind::Account.name(), false));
        }
        for column in declared.columns {
            let is_text = column.column_type.is_text();
            columns.insert(column.name, (text_or_number(is_text), None));
            if let ColumnType::Reference(named, _) = column.column_type {
                references.insert(column.name, (named.name(), leads_back(named, kind)));
            }
        }
        if kind == Kind::Image {
            references.insert("content_hash", ("content", true));
        }
        let found = table.columns.iter().map(|(name, found)| (name.as_str(), found));
        let mut found: BTreeMap<_, _> = found.collect();
        if !is_sqlite && kind == Kind::Person {
            found.remove("grams").expect("the grams");
        }
        let names: Vec<_> = found.keys().collect();
        assert_eq!(names, columns.keys().collect::<Vec<_>>(), "{}", declared.name);
        for (name, (kind, refuses_null)) in columns {
            assert_eq!(found[name].0, kind, "{}.{name}", declared.name);
            if let Some(refuses_null) = refuses_null {
                assert_eq!(found[name].1, refuses_null, "{}.{name}", declared.name);
            }
        }
        assert_eq!(table.key, ["id"], "{}", declared.name);
        let expected = references.into_iter().map(|(name, (table, is_circle))| {
            let is_deferred = is_sqlite || is_circle;
            (name.to_owned(), Reference { table: table.to_owned(), is_deferred })
        });
        assert_eq!(table.references, expected.collect(), "{}", declared.name);
        let unique = table.indexes.iter().filter(|index| index.is_unique);
        let found: BTreeSet<_> = unique.map(|index| (fields_of(index), index.is_live())).collect();
        let expected = declared.unique.iter().map(|unique| {
            let fields = unique.fields.iter().map(ToString::to_string).collect::<Vec<_>>();
            (fields, unique.among == Among::Live)
        });
        assert_eq!(found, expected.collect(), "{}", declared.name);
        // What is unique in an account is known by the account, or by a record that only it can name.
        for index in table.indexes.iter().filter(|index| index.is_unique && index.is_live()) {
            let has_owner =
                |name: &String| name == "account_id" || table.references.contains_key(name);
            assert!(index.columns.iter().any(has_owner), "{index:?}");
        }
        for index in table.indexes.iter().filter(|index| index.is_unique) {
            assert!(!index.columns.iter().skip(1).any(|name| name == "account_id"), "{index:?}");
        }
    }
}

fn fields_of(index: &Index) -> Vec<String> {
    index.columns.iter().filter(|name| *name != "account_id").cloned().collect()
}

#[tokio::test]
async fn tables_are_as_declared_and_the_same_in_both_databases() {
    let (mut sqlite, mut postgres) = (of_sqlite().await, of_postgres().await);
    assert_declared(&sqlite, Backend::Sqlite);
    assert_declared(&postgres, Backend::Postgres);
    for (name, twin) in OF_SQLITE {
        let table = sqlite.remove(name).expect("a table of its own");
        if let Some(twin) = twin {
            assert_eq!(table, sqlite[twin], "{name} is to hold what {twin} holds");
        }
    }
    // Refinery's own, whose types differ.
    assert!(sqlite.remove("refinery_schema_history").is_some());
    assert!(postgres.remove("refinery_schema_history").is_some());
    for (name, table) in &mut postgres {
        table.columns.retain(|column, _| !OF_POSTGRES.contains(&column.as_str()));
        table.indexes.retain(|index| {
            !index.name.as_ref().is_some_and(|name| OF_POSTGRES.contains(&name.as_str()))
        });
        for index in &table.indexes {
            let index_name = index.name.as_ref().expect("a name");
            assert!(index_name.len() <= NAME_MAX, "{index_name}");
            if index.is_unique && index.is_live() {
                assert_eq!(*index_name, live_name(name, &fields_of(index)));
            } else if index.is_unique {
                assert_eq!(*index_name, format!("{name}_{}_key", index.columns.join("_")));
            }
        }
    }
    // What is named in the table's own text has no name in SQLite, and when a reference is looked at
    // was asserted above.
    for table in sqlite.values_mut().chain(postgres.values_mut()) {
        let plain = |mut index: Index| {
            if index.is_unique && index.condition.is_none() {
                index.name = None;
            }
            index
        };
        table.indexes = std::mem::take(&mut table.indexes).into_iter().map(plain).collect();
        table.references.values_mut().for_each(|reference| reference.is_deferred = false);
    }
    assert_eq!(sqlite.keys().collect::<Vec<_>>(), postgres.keys().collect::<Vec<_>>());
    for (name, table) in &sqlite {
        assert_eq!(table, &postgres[name], "{name}: SQLite's and PostgreSQL's");
    }
}
