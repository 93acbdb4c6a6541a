//! Where records live: one enum over two databases, the same verbs and the same SQL text for both.
//! Nothing here knows a rule, and nothing outside knows SQL.

mod cache;
mod changes;
mod links;
mod list;
#[cfg(debug_assertions)]
mod plan;
mod postgres;
mod question;
mod search;
mod sql;
mod sqlite;
mod trees;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::domain::change::Change;
use crate::domain::command::Entropy;
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Stop};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key, Meta};
use crate::pipeline::{Blame, Queues};

pub use changes::ChangeQuery;
pub use list::First;
pub use postgres::Postgres;
use search::Flavor;
pub use sqlite::Sqlite;

/// Log directives that hold whatever an operator asks for: below these levels a driver logs what
/// statements are run with, which is personal data, and what callers sent in the place of a key.
pub const LOG_LIMITS: [&str; 2] = ["tokio_postgres=info", "tokio_postgres::query=info"];

/// How many rounds of loading a read or a decision may take before it is taken for a fault.
const ROUNDS_MAX: usize = 64;

/// A database that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address names no backend. Holds its scheme alone: the rest may hold a password.
    #[error("a database is `sqlite:PATH` or `postgres://…`, not {0}")]
    Address(String),
    /// An SQLite database that would be gone with the program.
    #[error("`sqlite:` needs the path of a file, e.g. sqlite:/var/lib/haksa/haksa.db")]
    NotAFile,
    /// The file does not exist.
    #[error(
        "there is no such database: {path}; to make it, run: haksa migrate --database sqlite:{path}"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The database lacks tables.
    #[error("the database has not been brought up to date; run: haksa migrate")]
    Outdated,
    /// The database has tables of this release's names, and others than they are now.
    #[error(
        "the database was made by an earlier build of haksa, whose tables this one cannot bring up \
         to date; serve it with that build, or begin with a new database"
    )]
    Earlier,
    /// The file is another program's.
    #[error("{path} is not a database of haksa's, and was left as it is")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The database has migrations that this release does not know.
    #[error("the database was made by a newer haksa; use that release or a later one")]
    Newer,
    /// Another process serves the file.
    #[error(
        "another haksa serves {path}; stop that one first (several servers can share one database \
         on PostgreSQL)"
    )]
    Served {
        /// The file.
        path: PathBuf,
    },
    /// The database refused.
    #[error("cannot open the database: {0}")]
    Open(String),
    /// A migration failed.
    #[error("cannot migrate the database: {0}")]
    Migrate(String),
}

/// Why a batch was not committed, and where.
struct Blamed<F> {
    fault: F,
    blame: Blame,
}

impl<F> From<F> for Blamed<F> {
    fn from(fault: F) -> Self {
        Self { fault, blame: Blame::Unknown }
    }
}

/// How a database's tables stand to this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// There are none.
    Empty,
    /// Some migrations are still to come.
    Older,
    /// All is there.
    Current,
    /// A later release has been here.
    Newer,
    /// A migration that was applied has another text now.
    Earlier,
}

/// A database.
#[derive(Clone, Debug)]
pub enum Store {
    /// One file.
    Sqlite(Sqlite),
    /// A server, which several nodes may share.
    Postgres(Postgres),
}

/// What a writer needs besides the database.
pub struct Writer {
    /// Where commands wait.
    pub queues: Queues,
    /// The time of decisions.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Where new ids and secrets come from.
    pub entropy: fn() -> Box<dyn Entropy + Send>,
    /// Told when the writer meets a fault after which no write can be trusted.
    pub fatal: oneshot::Sender<String>,
}

/// A record whose fields are not of its type.
#[derive(Debug, thiserror::Error)]
#[error("{} {}: {cause}", meta.kind.name(), meta.key)]
pub struct Unreadable {
    /// Which record.
    pub meta: Meta,
    cause: serde_json::Error,
}

impl Store {
    /// Opens `sqlite:PATH` or `postgres://…`; a file is made where there is none.
    ///
    /// # Errors
    /// [`OpenError`] when the address is of no known form or the database does not answer.
    pub async fn open(address: &str) -> Result<Self, OpenError> {
        match sqlite_path(address)? {
            Some(path) => Sqlite::open(path).map(Self::Sqlite),
            None => Postgres::open(address).await.map(Self::Postgres),
        }
    }

    /// Opens a database that is there and up to date, and changes nothing about it.
    ///
    /// # Errors
    /// As [`Store::open`]; [`OpenError::Missing`], [`OpenError::Outdated`], [`OpenError::Newer`],
    /// [`OpenError::Earlier`].
    pub async fn open_existing(address: &str) -> Result<Self, OpenError> {
        if let Some(path) = sqlite_path(address)?
            && !path.exists()
        {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        let store = Self::open(address).await?;
        match store.schema().await? {
            Schema::Current => Ok(store),
            Schema::Empty | Schema::Older => Err(OpenError::Outdated),
            Schema::Newer => Err(OpenError::Newer),
            Schema::Earlier => Err(OpenError::Earlier),
        }
    }

    /// How the tables stand to this release.
    ///
    /// # Errors
    /// [`OpenError::Open`] when the database does not answer.
    pub async fn schema(&self) -> Result<Schema, OpenError> {
        let (find, release) = match self {
            Self::Sqlite(_) => (sqlite::SCHEMA_FIND, sqlite::migrations()),
            Self::Postgres(_) => (postgres::SCHEMA_FIND, postgres::migrations()),
        };
        let of = |migration: &refinery::Migration| {
            (i64::from(migration.version()), migration.checksum().to_string())
        };
        let known: BTreeMap<i64, String> = release.get_migrations().iter().map(of).collect();
        let rows = async |text: &str, width| {
            let rows = self.rows(text.to_owned(), Vec::new(), width).await;
            rows.map_err(|error| OpenError::Open(cause(error)))
        };
        if rows(find, 1).await?.first().and_then(|row| sql::first_int(row)) == Some(0) {
            return Ok(Schema::Empty);
        }
        let applied = rows(sql::SCHEMA_HISTORY, 2).await?;
        let is_known = |row: &Vec<sql::Sql>| match &**row {
            [sql::Sql::Int(version), sql::Sql::Text(checksum)] => {
                known.get(version).is_some_and(|known| known == checksum)
            }
            _ => false,
        };
        let newest = applied.last().and_then(|row| sql::first_int(row));
        Ok(match newest.cmp(&known.keys().max().copied()) {
            _ if newest.is_none() => Schema::Empty,
            std::cmp::Ordering::Greater => Schema::Newer,
            _ if !applied.iter().all(is_known) => Schema::Earlier,
            std::cmp::Ordering::Less => Schema::Older,
            std::cmp::Ordering::Equal => Schema::Current,
        })
    }

    /// Brings the tables up to date; returns the names of the migrations applied.
    ///
    /// # Errors
    /// [`OpenError::Migrate`]; [`OpenError::Newer`] and [`OpenError::Earlier`] when there is nothing
    /// that this release could do.
    pub async fn migrate(&self) -> Result<Vec<String>, OpenError> {
        match self.schema().await? {
            Schema::Newer => return Err(OpenError::Newer),
            Schema::Earlier => return Err(OpenError::Earlier),
            Schema::Empty | Schema::Older | Schema::Current => {}
        }
        match self {
            Self::Sqlite(sqlite) => sqlite.migrate(),
            Self::Postgres(postgres) => postgres.migrate().await,
        }
    }

    /// Reserves the database for one serving process, as long as the answer is held: a file's records
    /// are kept in memory, which another server would make untrue. A PostgreSQL database may have
    /// many servers.
    ///
    /// # Errors
    /// [`OpenError::Served`] when another process has it.
    pub fn claim(&self) -> Result<Option<File>, OpenError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.claim().map(Some),
            Self::Postgres(_) => Ok(None),
        }
    }

    /// The proof of the master key, where one was kept.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn master_key_proof(&self) -> Result<Option<String>, Error> {
        let rows = self.rows(sql::MASTER_KEY_FIND.to_owned(), Vec::new(), 1).await?;
        Ok(match rows.into_iter().next().and_then(|row| row.into_iter().next()) {
            Some(sql::Sql::Text(proof)) => Some(proof),
            _ => None,
        })
    }

    /// Keeps the proof of the master key unless there is one. Returns the one that stands: of
    /// servers that start at the same moment, one has its way.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn keep_master_key_proof(&self, proof: String) -> Result<String, Error> {
        let parameters = [sql::Sql::Text(proof)];
        match self {
            Self::Sqlite(sqlite) => sqlite.execute(sql::MASTER_KEY_PUT, &parameters)?,
            Self::Postgres(postgres) => postgres.execute(sql::MASTER_KEY_PUT, &parameters).await?,
        }
        let stands = self.master_key_proof().await?;
        stands.ok_or_else(|| Error::internal("the proof of the master key was not kept"))
    }

    /// Starts the writer, the only place that changes the database. It ends when every sender of
    /// its queue is gone and the queue is empty.
    ///
    /// # Errors
    /// [`OpenError`] when its connection cannot be opened.
    pub fn start_writer(&self, writer: Writer) -> Result<WriterHandle, OpenError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.start_writer(writer).map(WriterHandle::Thread),
            Self::Postgres(postgres) => Ok(WriterHandle::Task(postgres.start_writer(writer))),
        }
    }

    /// Runs a read: `f` asks for facts, and is run again with what it lacked until it has all.
    ///
    /// # Errors
    /// The read's refusal, or [`Error::Unavailable`] when the database is away.
    pub async fn read<T>(&self, mut f: impl FnMut(&mut Facts) -> Known<T>) -> Result<T, Error> {
        let mut facts = match self {
            Self::Sqlite(sqlite) => sqlite.facts(),
            Self::Postgres(_) => Facts::default(),
        };
        for _ in 0..ROUNDS_MAX {
            match f(&mut facts) {
                Ok(value) => return Ok(value),
                Err(Stop::Refused(error)) => return Err(error),
                Err(Stop::Large) => return Err(Error::internal("a read writes nothing")),
                Err(Stop::Missing(needs)) => match self {
                    Self::Sqlite(sqlite) => {
                        for need in needs {
                            let fact = sqlite.fetch(&need)?;
                            facts.supply(need, fact);
                        }
                    }
                    Self::Postgres(postgres) => {
                        for (need, fact) in postgres.load(needs).await? {
                            facts.supply(need, fact);
                        }
                    }
                },
            }
        }
        Err(Error::internal("a read asked for facts without end"))
    }

    /// A record's history, newest first, from change `from` of the account: `limit` changes and about
    /// `bytes` at the most, but never none of those that are there.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn history(
        &self,
        account_id: i64,
        from: i64,
        limit: i64,
        bytes: i64,
    ) -> Result<Vec<Change>, Error> {
        let parameters = [from, limit, bytes].map(sql::Sql::Int).to_vec();
        let rows = self.rows(sql::HISTORY_PAGE.to_owned(), parameters, sql::CHANGE_WIDTH).await?;
        let mut changes =
            rows.into_iter().map(sql::decode_change).collect::<Result<Vec<_>, _>>()?;
        changes.retain(|change| change.account_id == account_id);
        Ok(changes)
    }

    /// The content with this hash.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn content(&self, hash: &str) -> Result<Option<bytes::Bytes>, Error> {
        let parameters = vec![sql::Sql::Text(hash.to_owned())];
        let rows = self.rows(sql::CONTENT_FIND.to_owned(), parameters, 1).await?;
        Ok(match rows.into_iter().next().and_then(|row| row.into_iter().next()) {
            Some(sql::Sql::Bytes(bytes)) => Some(bytes),
            _ => None,
        })
    }

    /// Every record of a kind, deleted ones included, in id order after `after`: for checks.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away, [`Error::Internal`] for a row that does not
    /// even say whose it is.
    pub async fn documents_after(
        &self,
        kind: Kind,
        after: Option<&Key>,
        limit: i64,
    ) -> Result<Vec<Result<Document, Unreadable>>, Error> {
        let (text, parameters) = sql::documents_after(kind, after, limit);
        let rows = self.rows(text, parameters, sql::column_count(kind.table())).await?;
        let decode = |row: &Vec<sql::Sql>| match sql::try_decode(kind, row) {
            Ok(document) => Ok(Ok(document)),
            Err(sql::Undecodable::Row(error)) => Err(error),
            Err(sql::Undecodable::Fields(meta, cause)) => Ok(Err(Unreadable { meta, cause })),
        };
        rows.iter().map(decode).collect()
    }

    /// Faults that the database itself finds: broken references, damaged pages, history that does
    /// not agree with the records. Empty when all is well.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn faults(&self) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        if let Self::Sqlite(_) = self {
            for row in self.rows("PRAGMA integrity_check".to_owned(), Vec::new(), 1).await? {
                if let Some(sql::Sql::Text(text)) = row.first()
                    && text != "ok"
                {
                    found.push(format!("integrity: {text}"));
                }
            }
            for row in self.rows(sqlite::SEARCH_FAULTS.to_owned(), Vec::new(), 1).await? {
                found.push(format!("person: not in the search index: {row:?}"));
            }
            for row in self.rows("PRAGMA foreign_key_check".to_owned(), Vec::new(), 3).await? {
                found.push(format!("orphaned reference: {row:?}"));
            }
        } else {
            for row in self.rows(search::GRAM_FAULTS.to_owned(), Vec::new(), 1).await? {
                found.push(format!("person: not to be found by a search: {row:?}"));
            }
        }
        let mut statements = sql::all();
        statements.extend(list::statements(self.flavor())?);
        statements.extend(links::statements());
        statements.extend(changes::statements());
        statements.extend(match self {
            Self::Sqlite(_) => sqlite::statements(),
            Self::Postgres(_) => postgres::statements(),
        });
        for text in statements {
            let prepared = match self {
                Self::Sqlite(sqlite) => sqlite.prepare(&text),
                Self::Postgres(postgres) => postgres.prepare(&text).await,
            };
            if let Err(error) = prepared {
                found.push(format!("statement: {error:?}: {text}"));
            }
        }
        for row in self.rows(sql::CHAIN_FAULTS.to_owned(), Vec::new(), 1).await? {
            found.push(format!("the chain of changes is broken: {row:?}"));
        }
        for kind in Kind::ALL {
            let faults = match self {
                Self::Sqlite(_) => sqlite::version_faults(*kind),
                Self::Postgres(_) => sql::version_faults(*kind, "FALSE"),
            };
            for row in self.rows(faults, Vec::new(), 2).await? {
                found.push(format!("{}: version and newest change disagree: {row:?}", kind.name()));
            }
        }
        Ok(found)
    }

    /// True when the database answers.
    pub async fn is_ready(&self) -> bool {
        self.rows("SELECT 1".to_owned(), Vec::new(), 1).await.is_ok()
    }

    const fn flavor(&self) -> Flavor {
        match self {
            Self::Sqlite(_) => Flavor::Sqlite,
            Self::Postgres(_) => Flavor::Postgres,
        }
    }

    async fn rows(
        &self,
        text: String,
        parameters: Vec<sql::Sql>,
        width: usize,
    ) -> Result<Vec<Vec<sql::Sql>>, Error> {
        match self {
            Self::Sqlite(sqlite) => sqlite.rows(text, parameters, width).await,
            Self::Postgres(postgres) => postgres.rows(&text, &parameters, width).await,
        }
    }
}

/// The file of an address of SQLite's; none for one of PostgreSQL's.
fn sqlite_path(address: &str) -> Result<Option<&Path>, OpenError> {
    if let Some(path) = address.strip_prefix("sqlite:") {
        // To SQLite these are databases in memory, or may be.
        let is_no_file = path.is_empty() || path == ":memory:" || path.starts_with("file:");
        return if is_no_file { Err(OpenError::NotAFile) } else { Ok(Some(Path::new(path))) };
    }
    if address.starts_with("postgres://") || address.starts_with("postgresql://") {
        return Ok(None);
    }
    let is_scheme = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let scheme = address.split_once(':').map(|(scheme, _)| scheme).filter(is_scheme);
    Err(OpenError::Address(scheme.map_or("that".to_owned(), |scheme| format!("`{scheme}:…`"))))
}

/// An error's text for an operator.
fn cause(error: Error) -> String {
    match error {
        Error::Internal(cause) => cause,
        error => error.to_string(),
    }
}

/// An error's text with those of its sources, where these are not part of it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

/// A running writer.
#[derive(Debug)]
pub enum WriterHandle {
    /// SQLite's.
    Thread(std::thread::JoinHandle<()>),
    /// PostgreSQL's.
    Task(tokio::task::JoinHandle<()>),
}

impl WriterHandle {
    /// Waits until the writer has written all that was queued and has ended.
    pub async fn join(self) {
        match self {
            Self::Thread(thread) => {
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
            Self::Task(task) => {
                let _ = task.await;
            }
        }
    }
}

/// Pauses between attempts to reach a database that is away.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
