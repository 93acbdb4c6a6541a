//! Where records live: one enum over two databases, the same verbs and the same SQL text for both.
//! Nothing here knows a rule, and nothing outside knows SQL.

mod cache;
mod postgres;
mod sql;
mod sqlite;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::domain::change::Change;
use crate::domain::command::Entropy;
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Stop};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};
use crate::pipeline::Job;

pub use postgres::Postgres;
pub use sqlite::Sqlite;

/// Log directives that hold whatever an operator asks for: below these levels a driver logs what
/// statements are run with, which is personal data, and what callers sent in the place of a key.
pub const LOG_LIMITS: [&str; 2] = ["tokio_postgres=info", "tokio_postgres::query=info"];

/// How many rounds of loading a read or a decision may take before it is taken for a fault.
const ROUNDS_MAX: usize = 64;

/// The longest text that is searched for, bytes: SQLite takes patterns of 50,000, each byte of which
/// may need another before it.
const SEARCH_BYTES_MAX: usize = 16 * 1024;

/// A database that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address names no backend.
    #[error("a database is `sqlite:PATH` or `postgres://…`, not {0:?}")]
    Address(String),
    /// The database refused.
    #[error("cannot open the database: {0}")]
    Open(String),
    /// A migration failed.
    #[error("cannot migrate the database: {0}")]
    Migrate(String),
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
    pub jobs: mpsc::Receiver<Job>,
    /// The clock of decisions.
    pub clock: crate::app::Clock,
    /// Where new ids and secrets come from.
    pub entropy: Box<dyn Entropy + Send>,
    /// Told when the writer meets a fault after which no write can be trusted.
    pub fatal: oneshot::Sender<String>,
}

/// A page of a list: what to look for, where to begin, how many.
#[derive(Clone, Debug, Default)]
pub struct AchievementQuery {
    /// Folded text to find in the holder's name or e-mail or in the form's name.
    pub search: Option<String>,
    /// Issued at or after, microseconds since 1970.
    pub issued_from: Option<i64>,
    /// Issued before, microseconds since 1970.
    pub issued_before: Option<i64>,
    /// Rows to pass over.
    pub offset: i64,
    /// Rows at the most.
    pub limit: i64,
}

/// A page of an account's courses with a key.
#[derive(Clone, Debug, Default)]
pub struct CourseQuery {
    /// The status that they must have.
    pub status: Option<String>,
    /// Folded text to find in title or key.
    pub search: Option<String>,
    /// Rows to pass over.
    pub offset: i64,
    /// Rows at the most.
    pub limit: i64,
}

impl Store {
    /// Opens `sqlite:PATH` or `postgres://…`.
    ///
    /// # Errors
    /// [`OpenError`] when the address is of no known form or the database does not answer.
    pub async fn open(address: &str) -> Result<Self, OpenError> {
        if let Some(path) = address.strip_prefix("sqlite:") {
            Sqlite::open(std::path::Path::new(path)).map(Self::Sqlite)
        } else if address.starts_with("postgres://") || address.starts_with("postgresql://") {
            Postgres::open(address).await.map(Self::Postgres)
        } else {
            Err(OpenError::Address(address.to_owned()))
        }
    }

    /// Brings the tables up to date; returns the names of the migrations applied.
    ///
    /// # Errors
    /// [`OpenError::Migrate`].
    pub async fn migrate(&self) -> Result<Vec<String>, OpenError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.migrate(),
            Self::Postgres(postgres) => postgres.migrate().await,
        }
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
        let mut facts = Facts::default();
        match self {
            Self::Sqlite(sqlite) => {
                for _ in 0..ROUNDS_MAX {
                    match f(&mut facts) {
                        Ok(value) => return Ok(value),
                        Err(Stop::Refused(error)) => return Err(error),
                        Err(Stop::Missing(needs)) => {
                            for need in needs {
                                let fact = sqlite.load(&need)?;
                                facts.supply(need, fact);
                            }
                        }
                    }
                }
            }
            Self::Postgres(postgres) => {
                let reader = postgres.reader().await?;
                for _ in 0..ROUNDS_MAX {
                    match f(&mut facts) {
                        Ok(value) => return Ok(value),
                        Err(Stop::Refused(error)) => return Err(error),
                        Err(Stop::Missing(needs)) => {
                            for (need, fact) in reader.load(needs).await? {
                                facts.supply(need, fact);
                            }
                        }
                    }
                }
            }
        }
        Err(Error::internal("a read asked for facts without end"))
    }

    /// A record's history, newest first, from change `from` of the account.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn history(
        &self,
        account_id: i64,
        from: i64,
        limit: i64,
    ) -> Result<Vec<Change>, Error> {
        let parameters = vec![sql::Sql::Int(from), sql::Sql::Int(limit)];
        let rows = self.rows(sql::HISTORY.to_owned(), parameters, sql::CHANGE_WIDTH).await?;
        let mut changes =
            rows.into_iter().map(sql::decode_change).collect::<Result<Vec<_>, _>>()?;
        changes.retain(|change| change.account_id == account_id);
        Ok(changes)
    }

    /// Ids of the account's certificates that match, newest issue first, and how many match in all.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn achievements(
        &self,
        account_id: i64,
        query: &AchievementQuery,
    ) -> Result<(Vec<i64>, i64), Error> {
        if !is_findable(query.search.as_deref()) {
            return Ok((Vec::new(), 0));
        }
        self.page(sql::achievements(account_id, query), query.limit, query.offset).await
    }

    /// Ids of the account's courses with a key that match, newest first, and how many match in all.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn courses(
        &self,
        account_id: i64,
        query: &CourseQuery,
    ) -> Result<(Vec<i64>, i64), Error> {
        if !is_findable(query.search.as_deref()) || !is_findable(query.status.as_deref()) {
            return Ok((Vec::new(), 0));
        }
        self.page(sql::courses(account_id, query), query.limit, query.offset).await
    }

    async fn page(
        &self,
        (count, page, mut parameters): (String, String, Vec<sql::Sql>),
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<i64>, i64), Error> {
        let total = self.rows(count, parameters.clone(), 1).await?;
        parameters.extend([sql::Sql::Int(limit), sql::Sql::Int(offset)]);
        let ids = self.rows(page, parameters, 1).await?;
        Ok((
            ids.iter().filter_map(|row| sql::first_int(row)).collect(),
            total.first().and_then(|row| sql::first_int(row)).unwrap_or_default(),
        ))
    }

    /// Every record of a kind, deleted ones included, in id order after `after`: for checks.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away, [`Error::Internal`] for an unreadable row.
    pub async fn documents_after(
        &self,
        kind: Kind,
        after: Option<&Key>,
        limit: i64,
    ) -> Result<Vec<Document>, Error> {
        let (text, parameters) = sql::documents_after(kind, after, limit);
        let rows = self.rows(text, parameters, sql::column_count(kind.table())).await?;
        rows.into_iter().map(|row| sql::decode(kind, row)).collect()
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
            for row in self.rows("PRAGMA foreign_key_check".to_owned(), Vec::new(), 3).await? {
                found.push(format!("orphaned reference: {row:?}"));
            }
        }
        let mut statements = sql::all();
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
            for row in self.rows(sql::version_faults(*kind), Vec::new(), 2).await? {
                found.push(format!("{}: version and newest change disagree: {row:?}", kind.name()));
            }
        }
        Ok(found)
    }

    /// True when the database answers.
    pub async fn is_ready(&self) -> bool {
        self.rows("SELECT 1".to_owned(), Vec::new(), 1).await.is_ok()
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

/// False for a text that no stored one can hold, and that a database would choke on.
fn is_findable(text: Option<&str>) -> bool {
    text.is_none_or(|text| !text.contains('\0') && text.len() <= SEARCH_BYTES_MAX)
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
