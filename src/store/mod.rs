//! Where records live: one enum over two databases, the same verbs and the same SQL text for both.
//! Nothing here knows a rule, and nothing outside knows SQL.

mod cache;
mod changes;
mod links;
mod list;
mod look;
#[cfg(debug_assertions)]
mod plan;
mod postgres;
mod question;
mod search;
mod sql;
mod sqlite;
mod sweep;
mod trees;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::alarm::Alarm;
use crate::domain::change::Change;
use crate::domain::command::Entropy;
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Need, Stop};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key, Meta};
use crate::domain::text::escapes;
use crate::pipeline::{Blame, Queues, Room};
use crate::seats::{SeatRules, Seats};

pub use changes::ChangeQuery;
pub use list::First;
pub use look::{Entry, Looker, Row, Standing, Step};
pub use postgres::Postgres;
use search::Flavor;
pub use sqlite::Sqlite;

/// What is logged at the most whatever an operator asks for, target and level: below it a driver logs what
/// statements are run with, which is personal data, and what callers sent in the place of a key.
pub const LOG_LIMIT: (&str, tracing::Level) = ("tokio_postgres", tracing::Level::INFO);

/// What the database is asked to see whether it answers.
const PROBE: &str = "SELECT id FROM account LIMIT 1";
/// How long a statement of an account's may take that reads a list, or what else may take long.
const STOPPED_AFTER: Duration = Duration::from_secs(4);

/// The seats at which these statements are run, by account: so many at once as there are cores.
fn seats() -> Seats<i64> {
    let at_once = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    Seats::new(SeatRules {
        at_once,
        each_at_once: at_once / 2,
        waiting_each: 32,
        waiting_in_all: 256,
        longest: Duration::from_secs(5),
    })
}

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
    /// The address is of SQLite's, and perhaps not of the file that is meant.
    #[error(
        "after `sqlite:` comes the path of a file as it is, e.g. sqlite:haksa.db or \
         sqlite:/var/lib/haksa/haksa.db: {0}"
    )]
    Path(&'static str),
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

/// For whom a database is opened, and so how long it may keep them waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Those whom a server serves: better told soon that it cannot be done.
    Clients,
    /// An operator at the command line, who waits for what may take long, and for their turn beside a
    /// busy server.
    Operator,
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
    /// Whether it forgets what has outlived its use, too. Whoever only runs a command does not: its clock is
    /// nobody's.
    pub is_sweeping: bool,
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
    /// Opens `sqlite:PATH` or `postgres://…` for a server; a file is made where there is none.
    ///
    /// # Errors
    /// [`OpenError`] when the address is of no known form or the database does not answer.
    pub async fn open(address: &str) -> Result<Self, OpenError> {
        Self::open_for(Whom::Clients, address).await
    }

    /// Opens it for whom it is to serve.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_for(whom: Whom, address: &str) -> Result<Self, OpenError> {
        match sqlite_path(address)? {
            Some(path) => Sqlite::open(path, whom).map(Self::Sqlite),
            None => Postgres::open(address.trim(), whom).await.map(Self::Postgres),
        }
    }

    /// Opens a database that is there and up to date for an operator, and changes nothing about it.
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
        Self::open_for(Whom::Operator, address).await?.if_current().await
    }

    /// The same for who only looks: a file may be read-only, and what lies beside it.
    ///
    /// # Errors
    /// As [`Store::open_existing`].
    pub async fn open_to_look(address: &str) -> Result<Self, OpenError> {
        match sqlite_path(address)? {
            Some(path) if !path.exists() => Err(OpenError::Missing { path: path.to_owned() }),
            Some(path) => Self::Sqlite(Sqlite::open_to_look(path)?).if_current().await,
            None => Self::open_existing(address).await,
        }
    }

    async fn if_current(self) -> Result<Self, OpenError> {
        match self.schema().await? {
            Schema::Current => Ok(self),
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

    /// The same as [`Store::read`] for what an account has to wait for, beside others of its own and of other
    /// accounts.
    ///
    /// # Errors
    /// As there.
    pub async fn read_long<T>(
        &self,
        account_id: i64,
        f: impl FnMut(&mut Facts) -> Known<T>,
    ) -> Result<T, Error> {
        let seats = match self {
            Self::Sqlite(sqlite) => &sqlite.seats,
            Self::Postgres(postgres) => &postgres.seats,
        };
        let _seat = seats.take(account_id).await?;
        self.read(f).await
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
                Err(Stop::Large | Stop::Long) => {
                    return Err(Error::internal("nobody waits for a read"));
                }
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
        let text = sql::HISTORY_PAGE.to_owned();
        let rows = self.rows_for(account_id, text, parameters, sql::CHANGE_WIDTH).await?;
        let mut changes =
            rows.into_iter().map(sql::decode_change).collect::<Result<Vec<_>, _>>()?;
        changes.retain(|change| change.account_id == account_id);
        Ok(changes)
    }

    /// The content with this hash, of a picture of this account's.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn content(
        &self,
        account_id: i64,
        hash: &str,
    ) -> Result<Option<bytes::Bytes>, Error> {
        let parameters = vec![sql::Sql::Text(hash.to_owned())];
        let text = sql::CONTENT_FIND.to_owned();
        let rows = self.rows_for(account_id, text, parameters, 1).await?;
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

    /// Rung when what works for the database in the background cannot go on.
    pub fn alarm(&self) -> &Alarm {
        match self {
            Self::Sqlite(sqlite) => &sqlite.alarm,
            Self::Postgres(postgres) => &postgres.alarm,
        }
    }

    /// Tries the way that reads of records go.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it is not open.
    pub async fn probe_read(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(postgres) => postgres.load(vec![Need::Change(0)]).await.map(|_| ()),
        }
    }

    /// Tries the way that lists go, past all that wait there.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it is not open.
    pub async fn probe_list(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(sqlite) => sqlite.probe(PROBE).await,
            Self::Postgres(postgres) => postgres.probe(PROBE).await,
        }
    }

    /// Looks how many bytes can still be written; a server's own disk is that server's to watch.
    pub fn room(&self) -> Room {
        match self {
            Self::Sqlite(sqlite) => sqlite.room(),
            Self::Postgres(_) => Box::new(|| None),
        }
    }

    const fn flavor(&self) -> Flavor {
        match self {
            Self::Sqlite(_) => Flavor::Sqlite,
            Self::Postgres(_) => Flavor::Postgres,
        }
    }

    /// Runs a statement of the server's own, or of an operator's command.
    async fn rows(
        &self,
        text: String,
        parameters: Vec<sql::Sql>,
        width: usize,
    ) -> Result<Vec<Vec<sql::Sql>>, Error> {
        match self {
            Self::Sqlite(sqlite) => sqlite.rows(None, text, parameters, width).await,
            Self::Postgres(postgres) => postgres.rows(&text, &parameters, width).await,
        }
    }

    /// Runs a statement that an account has to wait for: beside others of its own and of other
    /// accounts, and not for ever.
    async fn rows_for(
        &self,
        account_id: i64,
        text: String,
        parameters: Vec<sql::Sql>,
        width: usize,
    ) -> Result<Vec<Vec<sql::Sql>>, Error> {
        match self {
            Self::Sqlite(sqlite) => {
                let seat = sqlite.seats.take(account_id).await?;
                sqlite.rows(Some(seat), text, parameters, width).await
            }
            Self::Postgres(postgres) => {
                let seat = postgres.seats.take(account_id).await?;
                postgres.rows_alone(seat, text, parameters, width).await
            }
        }
    }
}

/// The file of an address of SQLite's; none for one of PostgreSQL's. Blanks and line ends around an address
/// are none of it: files of variables leave them there.
///
/// # Errors
/// [`OpenError::Address`] and [`OpenError::NotAFile`]; [`OpenError::Path`] for forms that mean one file to
/// people, and another to the system.
pub fn sqlite_path(address: &str) -> Result<Option<&Path>, OpenError> {
    let address = address.trim();
    if let Some(path) = address.strip_prefix("sqlite:") {
        // To SQLite these are databases in memory, or may be.
        let is_no_file = path.is_empty() || path == ":memory:" || path.starts_with("file:");
        if is_no_file {
            return Err(OpenError::NotAFile);
        }
        return misleading(path).map_or(Ok(Some(Path::new(path))), |why| Err(OpenError::Path(why)));
    }
    if address.starts_with("postgres://") || address.starts_with("postgresql://") {
        return Ok(None);
    }
    let is_scheme = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let scheme = address.split_once(':').map(|(scheme, _)| scheme).filter(is_scheme);
    Err(OpenError::Address(scheme.map_or("that".to_owned(), |scheme| format!("`{scheme}:…`"))))
}

/// Why a path may not be the one that is meant: it is written as other programs have it.
fn misleading(path: &str) -> Option<&'static str> {
    let is_quote = |c: char| matches!(c, '"' | '\'' | '`');
    if path.starts_with("//") {
        Some("no `//` comes before it")
    } else if path.contains('?') {
        Some("no settings come behind it after a `?`")
    } else if escapes(path).any(|is_whole| is_whole) {
        Some("its letters are not written like `%20`")
    } else if path.starts_with(char::is_whitespace) {
        Some("no blank comes before it")
    } else if path.starts_with(is_quote) || path.ends_with(is_quote) {
        Some("no quotation marks are around it")
    } else if path.starts_with(['~', '$']) {
        Some("nobody replaces `~` and `$` here")
    } else if path.contains(char::is_control) {
        Some("it has no line ends or other control characters")
    } else {
        None
    }
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
