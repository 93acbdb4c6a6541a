//! Records on a PostgreSQL server, which several nodes may share. One task writes per node,
//! see [`writer`]; a few read for all requests, see [`reader`]. No transaction ever lives in a
//! request.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;
use tokio_postgres::types::{ToSql, Type};

use super::question;
use super::sql::{self, Sql};
use super::{OpenError, Whom, Writer};
use crate::alarm::Alarm;
use crate::domain::error::Error;
use crate::domain::facts::{Fact, Need};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};
use crate::seats::{Seat, Seats};

mod alone;
mod aside;
mod connection;
mod fate;
mod look;
mod naming;
mod reader;
mod sets;
mod statistics;
mod sweep;
mod writer;

use connection::{Connection, Connections, Patience, Way};
pub use look::Eye;
use reader::Reader;
pub(super) use writer::statements;
use writer::{Lane, WriterTask};

mod migrations {
    refinery::embed_migrations!("migrations/postgres");
}

/// Connections that reads of records share.
const READERS: usize = 2;
/// Connections that share what the server itself asks, and an operator's commands.
const LISTERS: usize = 2;
/// Guards migrations against a second node that starts at the same time.
const MIGRATION_LOCK: i64 = 0x4861_6b73_6100;
/// Whether any migration was applied.
pub(super) const SCHEMA_FIND: &str =
    "SELECT count(*) FROM pg_class WHERE oid = to_regclass('refinery_schema_history')";

/// A database on a server.
#[derive(Clone, Debug)]
pub struct Postgres {
    way: Arc<Way>,
    reader: Reader,
    listers: Arc<Connections>,
    turn: Arc<AtomicUsize>,
    pub(super) alarm: Alarm,
    pub(super) seats: Seats<i64>,
    alone: Arc<Alone>,
}

/// Connections each of which has one statement at a time: behind one that takes long nobody waits.
#[derive(Debug)]
struct Alone {
    connections: Connections,
    free: Mutex<Vec<usize>>,
}

/// One of them, while it is in use.
struct Taken<'a> {
    alone: &'a Alone,
    index: usize,
}

impl Alone {
    fn take(&self) -> Result<Taken<'_>, Error> {
        let index =
            self.free.lock().pop().ok_or_else(|| Error::internal("a seat without a connection"))?;
        Ok(Taken { alone: self, index })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.alone.free.lock().push(self.index);
    }
}

/// Why a batch failed.
#[derive(Debug)]
enum PgFault {
    /// A rule of the database itself.
    Constraint(Error),
    /// Another node was in the way: the same batch may succeed now, or be refused by what is so now.
    Retry,
    /// A lock was not had in time.
    Locked,
    /// A statement took longer than statements may.
    Late,
    /// The server refuses for now; the connection is given up.
    Unavailable(String),
    /// The server gave no answer, or there is no way to it.
    Lost(String),
    /// The same in the middle of a commit.
    InDoubt(String),
    /// A commit was cut off, and has surely not happened: the same batch may succeed now.
    Undone,
    /// A commit was cut off, and nobody says whether it happened.
    Unknown,
    /// A fault of ours.
    Internal(Error),
}

impl PgFault {
    fn into_error(self) -> Error {
        match self {
            Self::Constraint(error) | Self::Internal(error) => error,
            Self::Retry | Self::Locked | Self::Late | Self::Undone => {
                Error::Unavailable { retry_after_s: 1 }
            }
            Self::Unavailable(cause) | Self::Lost(cause) => {
                tracing::error!(error.cause = %cause, "database unavailable");
                Error::Unavailable { retry_after_s: 2 }
            }
            Self::InDoubt(_) | Self::Unknown => Error::Uncertain,
        }
    }

    /// For an operator.
    fn into_text(self) -> String {
        match self {
            Self::Constraint(error) => error.to_string(),
            Self::Unavailable(text) | Self::Lost(text) | Self::InDoubt(text) => text,
            Self::Undone => "the commit was cut off".to_owned(),
            Self::Unknown => "nobody says what became of the commit".to_owned(),
            Self::Retry => "another node was in the way".to_owned(),
            Self::Locked => "what it needs is locked".to_owned(),
            Self::Late => "a statement took too long".to_owned(),
            Self::Internal(error) => super::cause(error),
        }
    }
}

impl From<Error> for PgFault {
    fn from(error: Error) -> Self {
        Self::Internal(error)
    }
}

impl From<tokio_postgres::Error> for PgFault {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            return Self::Lost(super::causes(&error));
        };
        let text = || refusal.to_string();
        match refusal.code().code().as_bytes() {
            b"23505" => {
                let name = refusal.constraint().unwrap_or_default();
                match sql::refusal(|table, unique| unique.name_in(table) == name) {
                    Some(refusal) => Self::Constraint(refusal),
                    None => Self::Internal(Error::Internal(text())),
                }
            }
            // A division by zero: see `naming` and `alone`.
            b"40001" | b"40P01" | b"22012" => Self::Retry,
            b"55P03" => Self::Locked,
            b"57014" => Self::Late,
            // A server that may not be written to, or a transaction that it ended, is nobody's fault.
            b"25006" | b"25P03" | b"42501" | [b'0', b'8', ..] | [b'5', b'3' | b'7' | b'8', ..] => {
                Self::Unavailable(text())
            }
            _ => Self::Internal(Error::Internal(text())),
        }
    }
}

/// Parameters of a statement, owned.
type Parameters = Vec<Box<dyn ToSql + Sync + Send>>;

fn parameter(value: &Sql) -> Box<dyn ToSql + Sync + Send> {
    match value {
        Sql::Null => Box::new(None::<i64>),
        Sql::Int(value) => Box::new(*value),
        Sql::Text(text) => Box::new(text.clone()),
        Sql::Bytes(bytes) => Box::new(bytes.to_vec()),
    }
}

/// The rows of a kind with these ids.
fn find_any(kind: Kind, for_update: bool) -> String {
    let table = kind.table();
    // Ids never change, so a row that others only name need not be waited for.
    let lock = if for_update { " FOR NO KEY UPDATE" } else { "" };
    format!(
        "SELECT {} FROM {} WHERE id = ANY($1) ORDER BY id{lock}",
        sql::columns(table),
        table.name
    )
}

impl Connection {
    /// What is neither a record nor a selection. What is there and cannot be read is a fact, too.
    async fn load_one(&self, need: &Need) -> Result<Fact, PgFault> {
        let (text, parameters, width) = question::of(need)?;
        let parameters = parameters.iter().map(parameter).collect();
        let rows = self.query(&text, &parameters, width).await?;
        Ok(question::answer(need, rows).unwrap_or_else(Fact::Unreadable))
    }

    /// Prepares what locks rows of a kind: a statement that had to be prepared when its turn comes would
    /// be sent behind those that must see what it waited for.
    async fn prepare_lock(&self, kind: Kind) -> Result<(), PgFault> {
        self.statement(&find_any(kind, true)).await.map(|_| ())
    }

    /// The records of a kind with these ids, in the order of the ids.
    async fn load_records(
        &self,
        kind: Kind,
        keys: &[&Key],
        for_update: bool,
    ) -> Result<Vec<Fact>, PgFault> {
        let text = find_any(kind, for_update);
        let width = sql::column_count(kind.table());
        let rows = self.query(&text, &vec![array(keys)], width).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let Some(key) = row.first().cloned() else { continue };
            let document = sql::decode(kind, &row).map(|document| Some(Arc::new(document)));
            found.insert(key, document.map_or_else(Fact::Unreadable, Fact::Record));
        }
        let fact = |key: &&Key| found.remove(&sql::key(key)).unwrap_or(Fact::Record(None));
        Ok(keys.iter().map(fact).collect())
    }

    /// The live records of a kind with each of these values in a column, oldest id first.
    async fn load_selections(
        &self,
        kind: Kind,
        column: &str,
        values: &[&Key],
    ) -> Result<Vec<Fact>, PgFault> {
        let table = kind.table();
        let index = sql::column_index(table, column)
            .ok_or_else(|| Error::internal("a selection by no column"))?;
        let text = sql::select_any(kind, column);
        let rows = self.query(&text, &vec![array(values)], sql::column_count(table)).await?;
        let mut found: HashMap<Sql, Result<Vec<Arc<Document>>, Error>> = HashMap::new();
        for row in rows {
            let Some(value) = row.get(index).cloned() else { continue };
            let documents = found.entry(value).or_insert_with(|| Ok(Vec::new()));
            match (sql::decode(kind, &row), &mut *documents) {
                (Ok(document), Ok(documents)) => documents.push(Arc::new(document)),
                (Err(error), Ok(_)) => *documents = Err(error),
                (_, Err(_)) => {}
            }
        }
        let fact = |value: &&Key| {
            let documents = found.remove(&sql::key(value)).unwrap_or_else(|| Ok(Vec::new()));
            documents.map_or_else(Fact::Unreadable, Fact::Select)
        };
        Ok(values.iter().map(fact).collect())
    }
}

/// Keys of one type as one parameter.
fn array(keys: &[&Key]) -> Box<dyn ToSql + Sync + Send> {
    match keys.first() {
        Some(Key::Text(_)) => Box::new(keys.iter().map(ToString::to_string).collect::<Vec<_>>()),
        _ => Box::new(keys.iter().filter_map(|key| key.as_int()).collect::<Vec<_>>()),
    }
}

fn read_row(row: &tokio_postgres::Row, width: usize) -> Result<Vec<Sql>, PgFault> {
    let mut values = Vec::with_capacity(width);
    for (index, column) in row.columns().iter().enumerate().take(width) {
        let kind = column.type_();
        values.push(if *kind == Type::INT8 {
            row.try_get::<_, Option<i64>>(index)?.map_or(Sql::Null, Sql::Int)
        } else if *kind == Type::INT4 {
            row.try_get::<_, Option<i32>>(index)?.map_or(Sql::Null, |value| Sql::Int(value.into()))
        } else if *kind == Type::BYTEA {
            row.try_get::<_, Option<Vec<u8>>>(index)?
                .map_or(Sql::Null, |value| Sql::Bytes(value.into()))
        } else {
            row.try_get::<_, Option<String>>(index)?.map_or(Sql::Null, Sql::Text)
        });
    }
    Ok(values)
}

impl Postgres {
    /// Reaches the server once.
    ///
    /// # Errors
    /// [`OpenError`] when the address is malformed or the server does not answer.
    pub async fn open(address: &str, whom: Whom) -> Result<Self, OpenError> {
        let way = Way::to(address)
            .map_err(|_| OpenError::Open("malformed postgres address".to_owned()))?;
        let way = Arc::new(way);
        let readers = Connections::new(&way, READERS, Patience::Reads);
        let patience = match whom {
            Whom::Clients => Patience::Lists,
            Whom::Operator => Patience::Operator,
        };
        let listers = LISTERS + 1 + usize::from(cfg!(debug_assertions));
        let alarm = Alarm::default();
        let seats = super::seats();
        let this = Self {
            reader: Reader::start(&Arc::new(readers), &alarm),
            listers: Arc::new(Connections::new(&way, listers, patience)),
            turn: Arc::default(),
            alone: Arc::new(Alone {
                connections: Connections::new(&way, seats.at_once(), Patience::Lists),
                free: Mutex::new((0..seats.at_once()).collect()),
            }),
            seats,
            alarm,
            way,
        };
        match this.listers.at(0).await {
            Ok(_) => Ok(this),
            Err(fault) => Err(OpenError::Open(fault.into_text())),
        }
    }

    pub(super) async fn migrate(&self) -> Result<Vec<String>, OpenError> {
        let failed = |cause: &dyn std::error::Error| OpenError::Migrate(super::causes(cause));
        let connecting = self.way.config.connect(NoTls).await;
        let (mut client, connection) = connecting.map_err(|cause| failed(&cause))?;
        let driver = tokio::spawn(connection);
        client
            .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
            .await
            .map_err(|cause| failed(&cause))?;
        let report = migrations::migrations::runner()
            .run_async(&mut client)
            .await
            .map_err(|cause| OpenError::Migrate(why_not_migrated(&cause)))?;
        drop(client);
        let _ = driver.await;
        Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
    }

    /// What a read lacks.
    pub(super) async fn load(&self, needs: Vec<Need>) -> Result<Vec<(Need, Fact)>, Error> {
        self.reader.load(needs).await
    }

    async fn lister(&self) -> Result<Arc<Connection>, Error> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % LISTERS;
        self.listers.at(turn).await.map_err(PgFault::into_error)
    }

    /// Checks that a statement fits the tables.
    pub(super) async fn prepare(&self, text: &str) -> Result<(), Error> {
        let lister = self.lister().await?;
        lister.statement(text).await.map(|_| ()).map_err(PgFault::into_error)
    }

    pub(super) async fn rows(
        &self,
        text: &str,
        parameters: &[Sql],
        width: usize,
    ) -> Result<Vec<Vec<Sql>>, Error> {
        let lister = self.lister().await?;
        let parameters: Parameters = parameters.iter().map(parameter).collect();
        lister.query(text, &parameters, width).await.map_err(PgFault::into_error)
    }

    /// Asks whether the server answers. It has a connection of its own, behind those of the lists.
    pub(super) async fn probe(&self, text: &str) -> Result<(), Error> {
        let asked = async { self.listers.at(LISTERS).await?.query(text, &Vec::new(), 1).await };
        asked.await.map(|_| ()).map_err(PgFault::into_error)
    }

    /// Runs a statement on a connection that it has to itself. It is stopped when it takes too long.
    pub(super) async fn rows_alone(
        &self,
        seat: Seat<i64>,
        text: String,
        parameters: Vec<Sql>,
        width: usize,
    ) -> Result<Vec<Vec<Sql>>, Error> {
        let alone = Arc::clone(&self.alone);
        let asking = tokio::spawn(async move {
            // Kept by the statement itself: it runs on when its caller is gone.
            let _seat = seat;
            let taken = alone.take()?;
            let asked = async {
                let connection = alone.connections.at(taken.index).await?;
                let parameters: Parameters = parameters.iter().map(parameter).collect();
                connection.query(&text, &parameters, width).await
            };
            asked.await.map_err(PgFault::into_error)
        });
        asking.await.map_err(Error::internal)?
    }

    /// How a statement is run where it is dear to walk through a table and to put rows in order. It has a
    /// connection of its own, too.
    #[cfg(debug_assertions)]
    pub(super) async fn explain(
        &self,
        text: &str,
        parameters: &[Sql],
    ) -> Result<Vec<Vec<Sql>>, Error> {
        let explained = async {
            let connection = self.listers.at(LISTERS + 1).await?;
            let dear = "SET enable_seqscan = off; SET enable_sort = off; \
                        SET enable_incremental_sort = off";
            connection.script(dear).await?;
            let parameters = parameters.iter().map(parameter).collect();
            connection.query(&format!("EXPLAIN (COSTS OFF) {text}"), &parameters, 1).await
        };
        explained.await.map_err(PgFault::into_error)
    }

    /// Runs a statement by itself, outside of the writer: for what is done before there is one.
    pub(super) async fn execute(&self, text: &str, parameters: &[Sql]) -> Result<(), Error> {
        let lister = self.lister().await?;
        let parameters: Parameters = parameters.iter().map(parameter).collect();
        lister.execute(text, &parameters).await.map(|_| ()).map_err(PgFault::into_error)
    }

    pub(super) fn start_writer(&self, writer: Writer) -> JoinHandle<()> {
        let Writer { queues, now, entropy, is_sweeping } = writer;
        let of = |lane| WriterTask::new(Arc::clone(&self.way), lane, queues.to_large.clone());
        let (mut task, mut large) = (of(Lane::Batches), of(Lane::Large));
        let large_now = Arc::clone(&now);
        let (guard, large_guard) =
            (self.alarm.guard("the writer"), self.alarm.guard("the writer of large commands"));
        let (way, sweep_now) = (Arc::clone(&self.way), Arc::clone(&now));
        let sweep = move || sweep::run(Arc::clone(&way), Arc::clone(&sweep_now));
        let sweep =
            is_sweeping.then(|| tokio::spawn(self.alarm.clone().keep_up("the sweep", sweep)));
        tokio::spawn(async move {
            // A task of its own: what it computes for long would stop all that shares a task with it.
            let large = tokio::spawn(async move {
                large.run(queues.large, large_now, entropy()).await;
                large_guard.done();
            });
            task.run(queues.jobs, now, entropy()).await;
            let _ = large.await;
            guard.done();
            sweep.inspect(tokio::task::JoinHandle::abort);
        })
    }
}

/// What a migration failed at, in the server's own words.
fn why_not_migrated(cause: &refinery::Error) -> String {
    let source = std::error::Error::source(cause);
    let source = source.and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    let told = source.and_then(tokio_postgres::Error::as_db_error);
    told.map_or_else(|| super::causes(cause), |told| told.message().to_owned())
}

/// The migrations of this release.
pub(super) fn migrations() -> refinery::Runner {
    migrations::migrations::runner()
}
