//! Connections, and how long one waits for what is at their other end. A network that swallows what is
//! sent, or a server whose processes stand still, gives no answer and no error either: so every call has
//! a deadline of ours, and a shorter one of the server's, which is told in its words.

use std::collections::HashMap;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, Statement};

use super::fate::{Session, Transaction};
use super::{Parameters, PgFault, read_row};
use crate::domain::error::Error;
use crate::sabotage::Protection;
use crate::store::sql::Sql;

/// How long a large command's commit may take, which flushes more and looks at more references.
const LARGE_COMMIT_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may take to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How long whoever needs a connection is told that it could not be opened, before it is tried again.
const FAILURE_LASTS: Duration = Duration::from_millis(500);
/// After how long the kernel gives up a peer that acknowledges nothing; and how soon it asks one that is
/// silent whether it is there, how often, and how many times.
const SILENT_WITHIN: Duration = Duration::from_secs(3);
const ALIVE_AFTER: Duration = Duration::from_secs(3);
const ALIVE_EVERY: Duration = Duration::from_secs(1);
const ALIVE_TRIES: u32 = 2;

/// How long one waits for the server, by what a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Reads of records, for which many wait.
    Reads,
    /// Lists, and pictures.
    Lists,
    /// The writer of batches.
    Batches,
    /// The writer of large commands, each of which is many statements.
    Large,
    /// An operator's command that looks through everything.
    Operator,
}

impl Patience {
    /// How long an answer is waited for: ours, and the server's in milliseconds, 0 for ever.
    const fn limits(self) -> (Option<Duration>, u32) {
        match self {
            Self::Reads => (Some(Duration::from_secs(2)), 1_500),
            Self::Lists => (Some(Duration::from_secs(5)), 4_000),
            Self::Batches => (Some(Duration::from_secs(3)), 2_500),
            Self::Large => (Some(Duration::from_secs(35)), 30_000),
            Self::Operator => (None, 0),
        }
    }

    /// What the server is told of it. A transaction whose client is silent is ended, and its locks with
    /// it; a large command may compute for long between two statements.
    fn settings(self) -> String {
        let (_, statement) = self.limits();
        let (lock, idle) = match self {
            Self::Large => ("2s", "60s"),
            Self::Batches if !Protection::LockLimit.is_on() => ("10s", "5s"),
            Self::Batches => ("50ms", "5s"),
            Self::Reads => ("100ms", "5s"),
            Self::Lists | Self::Operator => ("1s", "5s"),
        };
        format!(
            "SET client_min_messages = error; \
             SET statement_timeout = {statement}; SET lock_timeout = '{lock}'; \
             SET idle_in_transaction_session_timeout = '{idle}'; \
             SET tcp_user_timeout = {}; SET tcp_keepalives_idle = {}; \
             SET tcp_keepalives_interval = {}; SET tcp_keepalives_count = {ALIVE_TRIES}; ",
            SILENT_WITHIN.as_millis(),
            ALIVE_AFTER.as_secs(),
            ALIVE_EVERY.as_secs()
        )
    }
}

/// The way to a server.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) config: tokio_postgres::Config,
    /// Since when there was no answer the last time that there was none. A connection on which nothing was
    /// heard since may be as dead, and finding out would take as long.
    silent_since: Mutex<Option<Instant>>,
}

impl Way {
    pub(super) fn to(address: &str) -> Result<Self, tokio_postgres::Error> {
        let mut config: tokio_postgres::Config = address.parse()?;
        config.connect_timeout(CONNECT_WITHIN).tcp_user_timeout(SILENT_WITHIN).keepalives(true);
        config.keepalives_idle(ALIVE_AFTER).keepalives_interval(ALIVE_EVERY);
        config.keepalives_retries(ALIVE_TRIES);
        Ok(Self { config, silent_since: Mutex::default() })
    }
}

/// One connection with its prepared statements.
#[derive(Debug)]
pub(super) struct Connection {
    way: Arc<Way>,
    client: Client,
    statements: RwLock<HashMap<String, Statement>>,
    patience: Patience,
    /// What moves bytes between the client and the socket.
    driver: AbortHandle,
    is_given_up: AtomicBool,
    heard_at: Mutex<Instant>,
    session: Session,
    /// The transaction that was begun last, where it has a number.
    transaction: Mutex<Option<Transaction>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It would wait for what is under way, and it may be for nothing.
        self.driver.abort();
    }
}

impl Connection {
    /// Opens one.
    pub(super) async fn open(way: &Arc<Way>, patience: Patience) -> Result<Self, PgFault> {
        let silent = || PgFault::Lost("no answer to a connection attempt".to_owned());
        tokio::time::timeout(CONNECT_WITHIN, Self::open_slowly(way, patience))
            .await
            .map_err(|_| silent())?
    }

    async fn open_slowly(way: &Arc<Way>, patience: Patience) -> Result<Self, PgFault> {
        let (client, connection) = way.config.connect(NoTls).await?;
        let driver = tokio::spawn(async move {
            // The error also reaches whoever waits on the connection.
            let _ = connection.await;
        });
        let mut this = Self {
            way: Arc::clone(way),
            client,
            statements: RwLock::default(),
            patience,
            driver: driver.abort_handle(),
            is_given_up: AtomicBool::new(false),
            heard_at: Mutex::new(Instant::now()),
            session: Session::default(),
            transaction: Mutex::default(),
        };
        let mut settings = patience.settings();
        settings.push_str(if Protection::Durability.is_on() {
            "SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'"
        } else {
            "SET synchronous_commit = 'off'"
        });
        this.script(&settings).await?;
        this.session = Session::of(&this).await?;
        Ok(this)
    }

    /// What it is made of, for an operator's command that waits for as long as it takes.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// False once it was lost, or somebody gave it up.
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed() && !self.is_given_up.load(Ordering::Relaxed)
    }

    /// Whether there is no reason to open another.
    pub(super) fn is_good(&self) -> bool {
        self.is_open() && *self.way.silent_since.lock() <= Some(*self.heard_at.lock())
    }

    /// Drops the socket: what is under way on it gets no answer.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        self.driver.abort();
    }

    /// Waits for an answer as long as is right here. After that nobody can say what the next answer
    /// would be to, so the connection is given up.
    async fn answer<T>(
        &self,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PgFault> {
        self.answer_within(self.patience.limits().0, asked).await
    }

    async fn answer_within<T>(
        &self,
        within: Option<Duration>,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PgFault> {
        let (Some(within), true) = (within, Protection::Deadlines.is_on()) else {
            return Ok(asked.await?);
        };
        let since = Instant::now();
        if let Ok(answer) = tokio::time::timeout(within, asked).await {
            *self.heard_at.lock() = Instant::now();
            return Ok(answer?);
        }
        *self.way.silent_since.lock() = Some(since);
        self.give_up();
        Err(PgFault::Lost(format!("no answer within {within:?}")))
    }

    /// Runs statements without parameters or rows.
    pub(super) async fn script(&self, text: &str) -> Result<(), PgFault> {
        self.answer(self.client.batch_execute(text)).await
    }

    /// Commits. The server's own limit does not hold for that.
    pub(super) async fn commit(&self) -> Result<(), PgFault> {
        let within = match self.patience {
            Patience::Large => Some(LARGE_COMMIT_WITHIN),
            patience => patience.limits().0,
        };
        self.answer_within(within, self.client.batch_execute("COMMIT")).await
    }

    /// Runs statements without parameters; gives the first value of each row, as text.
    pub(super) async fn texts(&self, text: &str) -> Result<Vec<Option<String>>, PgFault> {
        let messages = self.answer(self.client.simple_query(text)).await?;
        let first = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
            _ => None,
        };
        Ok(messages.iter().filter_map(first).collect())
    }

    /// Begins a transaction with `text` behind it. Where `is_numbered`, its number comes along: what
    /// became of it can then be asked by another session.
    pub(super) async fn begin(&self, text: &str, is_numbered: bool) -> Result<(), PgFault> {
        self.transaction.lock().take();
        let mut begin = format!("BEGIN{text}");
        if is_numbered {
            begin.push_str("; SELECT pg_current_xact_id()");
        }
        let texts = self.texts(&begin).await?;
        if is_numbered {
            let number = texts.into_iter().next_back().flatten();
            *self.transaction.lock() = number.map(|number| self.session.transaction(number));
        }
        Ok(())
    }

    /// The transaction that was begun last, where it has a number.
    pub(super) fn transaction(&self) -> Option<Transaction> {
        self.transaction.lock().clone()
    }

    pub(super) async fn statement(&self, text: &str) -> Result<Statement, PgFault> {
        let held =
            self.statements.read().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(statement) = held {
            return Ok(statement);
        }
        let statement = self.answer(self.client.prepare(text)).await?;
        self.statements
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(text.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(super) async fn query(
        &self,
        text: &str,
        parameters: &Parameters,
        width: usize,
    ) -> Result<Vec<Vec<Sql>>, PgFault> {
        let statement = self.statement(text).await?;
        let borrowed = borrowed(parameters);
        let rows = self.answer(self.client.query(&statement, &borrowed)).await?;
        rows.iter().map(|row| read_row(row, width)).collect()
    }

    pub(super) async fn execute(
        &self,
        text: &str,
        parameters: &Parameters,
    ) -> Result<u64, PgFault> {
        let statement = self.statement(text).await?;
        self.answer(self.client.execute(&statement, &borrowed(parameters))).await
    }
}

fn borrowed(parameters: &Parameters) -> Vec<&(dyn ToSql + Sync)> {
    parameters.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect()
}

/// A connection, or when and why there was none.
type Opened = Result<Arc<Connection>, (Instant, String)>;
/// What all wait for who need the same connection.
type Opening = Shared<Pin<Box<dyn Future<Output = Opened> + Send>>>;

/// Connections that many share, each opened when it is first needed and again when it was lost.
pub(super) struct Connections {
    way: Arc<Way>,
    patience: Patience,
    slots: Vec<Mutex<Option<Opening>>>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Connections {
    pub(super) fn new(way: &Arc<Way>, count: usize, patience: Patience) -> Self {
        let slots = (0..count).map(|_| Mutex::default()).collect();
        Self { way: Arc::clone(way), patience, slots }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) async fn at(&self, index: usize) -> Result<Arc<Connection>, PgFault> {
        let slot = self.slots.get(index).ok_or_else(|| Error::internal("no such connection"))?;
        let opening = {
            let mut slot = slot.lock();
            let is_good = |opening: &Opening| match opening.peek() {
                None => true,
                Some(Ok(connection)) => connection.is_good(),
                Some(Err((at, _))) => at.elapsed() < FAILURE_LASTS,
            };
            match &*slot {
                Some(opening) if is_good(opening) => opening.clone(),
                _ => slot.insert(self.open()).clone(),
            }
        };
        opening.await.map_err(|(_, cause)| PgFault::Lost(cause))
    }

    /// Opens one in a task: whoever asked first may hang up, and others wait for it too.
    fn open(&self) -> Opening {
        let (way, patience) = (Arc::clone(&self.way), self.patience);
        let task = tokio::spawn(async move { Connection::open(&way, patience).await });
        let opened = task.map(|opened| match opened {
            Ok(Ok(connection)) => Ok(Arc::new(connection)),
            Ok(Err(fault)) => Err((Instant::now(), fault.into_text())),
            Err(cause) => Err((Instant::now(), cause.to_string())),
        });
        opened.boxed().shared()
    }
}
