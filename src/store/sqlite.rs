//! Records in one file. One thread writes, over one connection; readers take connections from a
//! pool. `synchronous=FULL`: a commit is on disk before anyone is answered.

mod bulk;
mod pool;

use bulk::Bulk;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql, ffi};

use self::pool::Pool;
use super::cache::Cache;
use super::search::{self, Flavor};
use super::sql::{self, Sql, Statements};
use super::{OpenError, ROUNDS_MAX, Writer};
use crate::domain::command::Entropy;
use crate::domain::error::Error;
use crate::domain::facts::{Fact, Facts, Need, Sequence};
use crate::domain::kind::Kind;
use crate::pipeline::{BATCH_MAX, Batch, Job, Writes};
use crate::sabotage::Protection;

mod migrations {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Older versions can damage a log that two connections reset (fixed in 3.51.3).
const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// Whether any migration was applied.
pub(super) const SCHEMA_FIND: &str =
    "SELECT count(*) FROM sqlite_master WHERE name = 'refinery_schema_history'";
/// People that a search cannot find.
pub(super) const SEARCH_FAULTS: &str = "SELECT p.id FROM person p \
     LEFT JOIN person_search_docsize s ON s.id = p.id WHERE s.id IS NULL";
/// How often another process's commits are looked for.
const NOTICE_EVERY: Duration = Duration::from_millis(50);
/// The log is copied into the file at every fifth look, which takes pages that change again before
/// that only once. Less often, and each copy would be felt by whoever waits for a flush.
const LOOKS_PER_COPY: u32 = 5;
/// A log of more pages than this is begun anew by the writer itself, in place: a file that grows costs
/// every flush an entry in the file system's own journal.
const LOG_PAGES_MAX: i64 = 24_000;
/// The writer waits with that until no more pages than this are still to be copied, for everybody waits
/// meanwhile; unless the log is twice as long by then.
const PAGES_LEFT_MAX: i64 = 1_000;
/// Long reads at once; each holds a connection, and more would only share the same disk.
const SEATS: usize = 16;
/// Statements held ready per connection.
const STATEMENTS_MAX: usize = 192;
/// How often the writer forgets outlived keys, tokens and signatures.
const SWEEP_EVERY: Duration = Duration::from_mins(5);

/// A database in one file.
#[derive(Clone, Debug)]
pub struct Sqlite {
    path: Arc<PathBuf>,
    readers: Arc<Pool>,
    statements: Arc<HashMap<Kind, Statements>>,
    cache: Arc<Cache>,
    /// Seats for statements that may take long.
    seats: Arc<tokio::sync::Semaphore>,
}

impl ToSql for Sql {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Sqlite {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be opened as a database.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if rusqlite::version_number() < SQLITE_VERSION_MIN {
            return Err(OpenError::Open(format!("SQLite {} is too old", rusqlite::version())));
        }
        let path = Arc::new(path.to_owned());
        let this = Self {
            readers: Arc::new(Pool::new(Arc::clone(&path))),
            path,
            statements: Arc::new(
                Kind::ALL.iter().map(|kind| (*kind, numbered_statements(*kind))).collect(),
            ),
            cache: Arc::new(Cache::new()),
            seats: Arc::new(tokio::sync::Semaphore::new(SEATS)),
        };
        // The first connection turns the log on, which is a property of the file.
        drop(connect(&this.path, true)?);
        Ok(this)
    }

    /// Takes the lock of a file beside the database, which the system releases when the process ends.
    pub(super) fn claim(&self) -> Result<File, OpenError> {
        let open = |cause| OpenError::Open(format!("{}: {cause}", self.path.display()));
        // One file may go by several names.
        let mut name = self.path.canonicalize().map_err(open)?.into_os_string();
        name.push(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(&name);
        let file = file.map_err(|cause| OpenError::Open(format!("{}: {cause}", name.display())))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(OpenError::Served { path: self.path.to_path_buf() })
            }
            Err(TryLockError::Error(cause)) => Err(open(cause)),
        }
    }

    /// Runs a statement by itself, outside of the writer: for what is done before there is one.
    pub(super) fn execute(&self, text: &str, parameters: &[Sql]) -> Result<(), Error> {
        let connection = connect(&self.path, true).map_err(Error::internal)?;
        execute(&connection, text, parameters).map(|_| ()).map_err(Fault::into_error)
    }

    pub(super) fn migrate(&self) -> Result<Vec<String>, OpenError> {
        let mut connection = connect(&self.path, true)?;
        let report = migrations::migrations::runner()
            .run(&mut connection)
            .map_err(|cause| OpenError::Migrate(super::causes(&cause)))?;
        Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
    }

    /// What a read begins with.
    pub(super) fn facts(&self) -> Facts {
        Facts::over(self.cache.clone())
    }

    /// What a decision asks for, from memory or the database.
    pub(super) fn load(&self, need: &Need) -> Result<Fact, Error> {
        self.cache.find(need).map_or_else(|| self.fetch(need), Ok)
    }

    /// What is not in memory.
    pub(super) fn fetch(&self, need: &Need) -> Result<Fact, Error> {
        let generation = self.cache.generation();
        let read = |connection: &Connection| load(connection, &self.statements, need);
        let fact = if self.cache.is_on() {
            self.readers.read_at(generation, read)?
        } else {
            self.readers.read(read)?
        };
        self.cache.take_in(need, &fact, generation);
        Ok(fact)
    }

    /// Checks that a statement fits the tables.
    pub(super) fn prepare(&self, text: &str) -> Result<(), Error> {
        self.readers.read(|connection| Ok(connection.prepare(&numbered(text)).map(|_| ())?))
    }

    /// Runs a statement that may take long, away from the threads that serve requests.
    pub(super) async fn rows(
        &self,
        text: String,
        parameters: Vec<Sql>,
        width: usize,
    ) -> Result<Vec<Vec<Sql>>, Error> {
        let seat = Arc::clone(&self.seats).acquire_owned().await.map_err(Error::internal)?;
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            // Kept by the statement itself: it runs on when its caller is gone.
            let _seat = seat;
            this.readers.read(|connection| query(connection, &text, &parameters, width))
        })
        .await
        .map_err(Error::internal)?
    }

    pub(super) fn start_writer(&self, writer: Writer) -> Result<JoinHandle<()>, OpenError> {
        let log = Arc::new(Log::default());
        let mut connection = connect(&self.path, true)?;
        let (copied_log, noted) = (Arc::clone(&log), Arc::clone(&log));
        let hook = move |_: &mut rusqlite::hooks::Wal, count| {
            noted.pages.store(i64::from(count), Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(hook)).map_err(|cause| OpenError::Open(cause.to_string()))?;
        let Writer { queues, now, entropy, fatal } = writer;
        let turn = Arc::new(Turn::default());
        let fatal = Arc::new(Mutex::new(Some(fatal)));
        let bulk = Bulk::start(self, queues.large, Arc::clone(&now), entropy, &turn, &fatal)?;
        let mut thread = WriterThread {
            connection,
            turn,
            log,
            statements: Arc::clone(&self.statements),
            cache: Arc::clone(&self.cache),
            readers: Arc::clone(&self.readers),
        };
        self.cache.turn_on();
        let helper = connect(&self.path, true)?;
        let file = std::fs::File::open(&*self.path)
            .map_err(|cause| OpenError::Open(format!("{}: {cause}", self.path.display())))?;
        let (cache, readers) = (Arc::clone(&self.cache), Arc::clone(&self.readers));
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let checkpointer = std::thread::Builder::new()
            .name("haksa-checkpoint".to_owned())
            .spawn(move || {
                let mut looks = 0_u32;
                while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) =
                    stopped.recv_timeout(NOTICE_EVERY)
                {
                    if let Ok(newest) = newest_id(&helper, "change") {
                        cache.notice(newest);
                    }
                    readers.end_views();
                    looks = looks.wrapping_add(1);
                    if looks.is_multiple_of(LOOKS_PER_COPY) {
                        copied_log.copy(&helper, &file);
                        // What came while the first copy was made is little, and soon copied too.
                        if copied_log.is_long() {
                            readers.end_views();
                            copied_log.copy(&helper, &file);
                        }
                    }
                }
            })
            .map_err(|cause| OpenError::Open(cause.to_string()))?;
        std::thread::Builder::new()
            .name("haksa-writer".to_owned())
            .spawn(move || {
                thread.run(queues.jobs, &*now, &mut *entropy(), &fatal);
                let _ = bulk.join();
                drop(stop);
                let _ = checkpointer.join();
            })
            .map_err(|cause| OpenError::Open(cause.to_string()))
    }
}

fn connect(path: &Path, is_writer: bool) -> Result<Connection, OpenError> {
    let open = |cause: rusqlite::Error| OpenError::Open(format!("{}: {cause}", path.display()));
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_WRITE;
    if is_writer {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags).map_err(open)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(open)?;
    // One plan for a statement whatever it is run with: some were planned anew each time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(open)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(open)?;
    let synchronous = if Protection::Durability.is_on() { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", synchronous).map_err(open)?;
    connection.pragma_update(None, "foreign_keys", "ON").map_err(open)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(open)?;
    // Kibibytes. Readers lean on the system's cache, of which there is one for all of them.
    let cache = if is_writer { -16_384 } else { -2_048 };
    connection.pragma_update(None, "cache_size", cache).map_err(open)?;
    if !is_writer {
        connection.pragma_update(None, "query_only", "ON").map_err(open)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// The newest migration of this release.
pub(super) fn newest_migration() -> i64 {
    let runner = migrations::migrations::runner();
    runner
        .get_migrations()
        .iter()
        .map(|migration| i64::from(migration.version()))
        .max()
        .unwrap_or(0)
}

/// The statements of this store alone, to be prepared by a check.
pub(super) fn statements() -> Vec<String> {
    let mut all = vec![sql::CHANGE_INSERT.to_owned()];
    all.extend(search::statements(Flavor::Sqlite));
    for kind in Kind::ALL {
        let Statements { insert, update, update_body, .. } = Statements::new(*kind);
        all.extend([insert, update, update_body]);
    }
    all
}

/// Copies the log into the file; gives how many of its pages are there then.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(2))
}

/// Why a statement or a commit failed.
#[derive(Debug)]
enum Fault {
    /// A rule of the database itself.
    Constraint(String),
    /// Nothing was written; later attempts may work (disk full, locked, read-only).
    Unavailable(String),
    /// What is on disk is no longer known: no further write can be trusted.
    Fatal(String),
    /// A fault of ours.
    Internal(Error),
}

impl Fault {
    fn into_error(self) -> Error {
        match self {
            Self::Constraint(what) => Error::Conflict(vec![what]),
            Self::Unavailable(cause) => {
                tracing::error!(error.cause = %cause, "database unavailable");
                Error::Unavailable { retry_after_s: 5 }
            }
            Self::Fatal(cause) => Error::Internal(cause),
            Self::Internal(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            return Self::Internal(Error::Internal(text));
        };
        match failure.code {
            ErrorCode::ConstraintViolation => Self::Constraint(text),
            _ if failure.extended_code == ffi::SQLITE_IOERR_FSYNC => Self::Fatal(text),
            ErrorCode::DiskFull
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::OutOfMemory
            | ErrorCode::SystemIoFailure => Self::Unavailable(text),
            _ => Self::Internal(Error::Internal(text)),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Internal(error)
    }
}

/// The shared text with SQLite's numbered parameters: to SQLite `$1` is a name, which takes the next
/// free number wherever it first stands.
fn numbered(text: &str) -> Cow<'_, str> {
    if text.contains('$') { text.replace('$', "?").into() } else { text.into() }
}

/// The statements of a kind, numbered beforehand.
fn numbered_statements(kind: Kind) -> Statements {
    let Statements { find, insert, update, update_body } = Statements::new(kind);
    let [find, insert, update, update_body] =
        [find, insert, update, update_body].map(|text| numbered(&text).into_owned());
    Statements { find, insert, update, update_body }
}

fn query(
    connection: &Connection,
    text: &str,
    parameters: &[Sql],
    width: usize,
) -> Result<Vec<Vec<Sql>>, Fault> {
    let mut statement = connection.prepare_cached(&numbered(text))?;
    let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(width);
        for column in 0..width {
            values.push(match row.get_ref(column)? {
                ValueRef::Null => Sql::Null,
                ValueRef::Integer(value) => Sql::Int(value),
                ValueRef::Text(text) => Sql::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Blob(bytes) => Sql::Bytes(bytes::Bytes::copy_from_slice(bytes)),
                ValueRef::Real(_) => {
                    return Err(Error::internal("a column of an unknown type").into());
                }
            });
        }
        found.push(values);
    }
    Ok(found)
}

fn execute(connection: &Connection, text: &str, parameters: &[Sql]) -> Result<usize, Fault> {
    let mut statement = connection.prepare_cached(&numbered(text))?;
    Ok(statement.execute(rusqlite::params_from_iter(parameters))?)
}

fn load(
    connection: &Connection,
    statements: &HashMap<Kind, Statements>,
    need: &Need,
) -> Result<Fact, Fault> {
    let of = |kind: &Kind| {
        statements.get(kind).ok_or_else(|| Error::internal("a kind without statements"))
    };
    Ok(match need {
        Need::Record(kind, key) => {
            let width = sql::column_count(kind.table());
            let rows = query(connection, &of(kind)?.find, &[sql::key(key)], width)?;
            let document =
                rows.into_iter().next().map(|row| sql::decode(*kind, row)).transpose()?;
            Fact::Record(document.map(Arc::new))
        }
        Need::Select(selector) => {
            let width = sql::column_count(selector.kind.table());
            let text = sql::select(selector.kind, selector.column);
            let rows = query(connection, &text, &[sql::key(&selector.value)], width)?;
            let documents =
                rows.into_iter().map(|row| sql::decode(selector.kind, row).map(Arc::new));
            Fact::Select(documents.collect::<Result<_, _>>()?)
        }
        Need::Taken(selector) => {
            let text = sql::taken(selector.kind, selector.column);
            let rows = query(connection, &text, &[sql::key(&selector.value)], 1)?;
            Fact::Taken(!rows.is_empty())
        }
        Need::Id(_) => return Err(Error::internal("ids are the writer's to give").into()),
        Need::Change(id) => {
            let rows = query(connection, sql::CHANGE_FIND, &[Sql::Int(*id)], sql::CHANGE_WIDTH)?;
            let change = rows.into_iter().next().map(sql::decode_change).transpose()?;
            Fact::Change(change.map(Arc::new))
        }
        Need::Changes(id) => {
            let parameters = [Sql::Int(*id), Sql::Int(sql::HISTORY_STRIDE)];
            let rows = query(connection, sql::HISTORY, &parameters, sql::CHANGE_WIDTH)?;
            Fact::Changes(rows.into_iter().map(sql::decode_change).collect::<Result<_, _>>()?)
        }
        Need::Idempotency(credential_id, key) => {
            let parameters = [Sql::Int(*credential_id), Sql::Text(key.clone())];
            let rows = query(connection, sql::IDEMPOTENCY_FIND, &parameters, 5)?;
            Fact::Idempotency(rows.into_iter().next().map(sql::decode_answer).transpose()?)
        }
        Need::Token(hash) => {
            let rows = query(connection, sql::TOKEN_FIND, &[Sql::Text(hash.clone())], 3)?;
            Fact::Token(rows.into_iter().next().map(sql::decode_token).transpose()?)
        }
        Need::Signature(credential_id, digest) => {
            let parameters = [Sql::Int(*credential_id), Sql::Text(digest.clone())];
            Fact::Signature(!query(connection, sql::SIGNATURE_FIND, &parameters, 1)?.is_empty())
        }
    })
}

/// The table whose ids a sequence gives.
fn sequence_table(sequence: Sequence) -> &'static str {
    match sequence {
        Sequence::Change => "change",
        Sequence::Record(kind) => kind.table().name,
    }
}

/// The largest id of a table. Rows are never removed, so it is the last one given.
fn newest_id(connection: &Connection, table: &str) -> Result<i64, Fault> {
    let rows = query(connection, &format!("SELECT coalesce(max(id), 0) FROM {table}"), &[], 1)?;
    Ok(rows.first().and_then(|row| sql::first_int(row)).unwrap_or_default())
}

/// Told once, of a fault after which no write can be trusted.
type Fatal = Arc<Mutex<Option<tokio::sync::oneshot::Sender<String>>>>;

fn report(fatal: &Fatal, cause: String) {
    if let Some(fatal) = fatal.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = fatal.send(cause);
    }
}

/// Who writes holds the turn from the beginning of a transaction to its end: SQLite's own way to wait
/// for another writer is to look again now and then. It can be handed to who waits for it.
type Turn = parking_lot::Mutex<()>;

fn keep_answers(connection: &Connection, writes: &Writes) -> Result<(), Fault> {
    for (credential_id, key, answer) in &writes.answers {
        let values = sql::encode_answer(*credential_id, key, answer)?;
        if execute(connection, sql::IDEMPOTENCY_PUT, &values)? != 1 {
            return Err(Fault::Constraint("idempotency".to_owned()));
        }
    }
    Ok(())
}

/// How far the log has come.
#[derive(Debug, Default)]
struct Log {
    /// Pages in it after the last commit.
    pages: AtomicI64,
    /// How many of them are in the file, and on the disk there.
    copied: AtomicI64,
}

impl Log {
    /// Copies what is new, beside the writer.
    fn copy(&self, connection: &Connection, file: &File) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages == self.copied.load(Ordering::Relaxed) {
            return;
        }
        // A failure shows in the writer soon enough; the log just stays longer.
        let Ok(copied) = checkpoint(connection, "PASSIVE") else { return };
        // What is on the disk by now, the writer need not wait for.
        if file.sync_data().is_ok() {
            // A long read may have held up a part.
            self.copied.store(copied.min(pages), Ordering::Relaxed);
        }
    }

    fn is_long(&self) -> bool {
        self.pages.load(Ordering::Relaxed) > LOG_PAGES_MAX
    }

    /// Whether it is to be begun anew now.
    fn is_due(&self) -> bool {
        let pages = self.pages.load(Ordering::Relaxed);
        let left = pages - self.copied.load(Ordering::Relaxed);
        pages > LOG_PAGES_MAX && (left <= PAGES_LEFT_MAX || pages > 2 * LOG_PAGES_MAX)
    }

    fn is_begun(&self) {
        self.copied.store(0, Ordering::Relaxed);
        self.pages.store(0, Ordering::Relaxed);
    }
}

/// The largest id of a table that was put aside for rows which are not all written yet.
fn staged_id(connection: &Connection, table: &str) -> Result<i64, Fault> {
    let rows = query(connection, sql::STAGED_ID, &[Sql::Text(table.to_owned())], 1)?;
    Ok(rows.first().and_then(|row| sql::first_int(row)).unwrap_or_default())
}

struct WriterThread {
    connection: Connection,
    turn: Arc<Turn>,
    log: Arc<Log>,
    statements: Arc<HashMap<Kind, Statements>>,
    cache: Arc<Cache>,
    readers: Arc<Pool>,
}

impl WriterThread {
    fn run(
        &mut self,
        mut jobs: tokio::sync::mpsc::Receiver<Job>,
        now: &dyn Fn() -> jiff::Timestamp,
        entropy: &mut dyn Entropy,
        fatal: &Fatal,
    ) {
        let mut last_sweep = std::time::Instant::now();
        while let Some(first) = jobs.blocking_recv() {
            let mut waiting = vec![first];
            while waiting.len() < BATCH_MAX
                && let Ok(job) = jobs.try_recv()
            {
                waiting.push(job);
            }
            let mut queue = VecDeque::from([(waiting, 0)]);
            while let Some((waiting, attempt)) = queue.pop_front() {
                let mut batch = Batch::new(waiting, now(), Facts::over(self.cache.clone()));
                match self.commit(&mut batch, entropy) {
                    Ok(()) => batch.answer(),
                    Err(Fault::Constraint(what)) => {
                        batch.split(attempt, &mut queue, &Error::Conflict(vec![what]));
                    }
                    Err(Fault::Fatal(cause)) => {
                        batch.refuse(&Error::Unavailable { retry_after_s: 5 });
                        report(fatal, cause);
                        return;
                    }
                    Err(fault) => {
                        batch.refuse(&fault.into_error());
                        // On a full disk the file may have room for what the log holds, and the log
                        // then for the next batch.
                        let _ = self.begin_log("TRUNCATE");
                        if !Protection::PatientWriter.is_on() {
                            return;
                        }
                    }
                }
            }
            if last_sweep.elapsed() > SWEEP_EVERY {
                last_sweep = std::time::Instant::now();
                self.sweep(now());
            }
        }
        let _ = self.begin_log("TRUNCATE");
    }

    /// Copies the log whole and begins it anew.
    fn begin_log(&self, mode: &str) -> rusqlite::Result<i64> {
        self.readers.without_views(|| checkpoint(&self.connection, mode))
    }

    fn commit(&mut self, batch: &mut Batch, entropy: &mut dyn Entropy) -> Result<(), Fault> {
        let turn = Arc::clone(&self.turn);
        let _turn = turn.lock();
        execute(&self.connection, "BEGIN IMMEDIATE", &[])?;
        let result = self.decide_and_apply(batch, entropy);
        match result {
            Ok(true) if !Protection::CommitFirst.is_on() && batch.len() % 2 == 1 => {
                self.roll_back();
                Ok(())
            }
            Ok(true) => {
                if let Err(fault) = execute(&self.connection, "COMMIT", &[]) {
                    self.roll_back();
                    return Err(fault);
                }
                self.cache.commit(batch.writes());
                self.limit_log();
                Ok(())
            }
            Ok(false) => {
                self.roll_back();
                Ok(())
            }
            Err(fault) => {
                self.roll_back();
                Err(fault)
            }
        }
    }

    fn roll_back(&self) {
        // SQLite has already rolled back by itself after some faults, and then says so.
        if !self.connection.is_autocommit() {
            let _ = execute(&self.connection, "ROLLBACK", &[]);
        }
    }

    /// True when there is something to commit.
    fn decide_and_apply(
        &self,
        batch: &mut Batch,
        entropy: &mut dyn Entropy,
    ) -> Result<bool, Fault> {
        let mut issued = HashMap::new();
        let mut needs = batch.needs();
        for _ in 0..ROUNDS_MAX + BATCH_MAX {
            for need in needs {
                let fact = match &need {
                    Need::Id(sequence) => Fact::Ids(vec![self.next_id(*sequence, &mut issued)?]),
                    need => match self.cache.find(need) {
                        Some(fact) => fact,
                        None => load(&self.connection, &self.statements, need)?,
                    },
                };
                batch.supply(need, fact);
            }
            needs = batch.advance(entropy);
            if needs.is_empty() {
                self.apply(batch.writes())?;
                return Ok(!batch.writes().is_empty());
            }
        }
        Err(Error::internal("a batch asked for facts without end").into())
    }

    fn next_id(
        &self,
        sequence: Sequence,
        issued: &mut HashMap<Sequence, i64>,
    ) -> Result<i64, Fault> {
        let last = if let Some(last) = issued.get(&sequence) {
            *last
        } else {
            let newest = newest_id(&self.connection, sequence_table(sequence))?;
            if sequence == Sequence::Change {
                self.cache.notice(newest);
            }
            newest.max(staged_id(&self.connection, sequence_table(sequence))?)
        };
        issued.insert(sequence, last + 1);
        Ok(last + 1)
    }

    fn apply(&self, writes: &Writes) -> Result<(), Fault> {
        for ((kind, _), pending) in &writes.documents {
            let statements = self
                .statements
                .get(kind)
                .ok_or_else(|| Error::internal("a kind without statements"))?;
            let (text, mut values) = match pending.stored_version {
                None => (&statements.insert, sql::encode(&pending.document)?),
                Some(_) if pending.is_body_only => {
                    (&statements.update_body, sql::encode_body(&pending.document)?)
                }
                Some(_) => (&statements.update, sql::encode(&pending.document)?),
            };
            values.extend(pending.stored_version.map(Sql::Int));
            let written = execute(&self.connection, text, &values)?;
            if written != 1 {
                return Err(Error::internal(format!("{} row was not written", kind.name())).into());
            }
        }
        for change in &writes.changes {
            execute(&self.connection, sql::CHANGE_INSERT, &sql::encode_change(change))?;
        }
        for content in &writes.contents {
            execute(&self.connection, sql::CONTENT_PUT, &sql::encode_content(content))?;
        }
        keep_answers(&self.connection, writes)?;
        for token in &writes.tokens {
            execute(&self.connection, sql::TOKEN_PUT, &sql::encode_token(token))?;
        }
        for (credential_id, digest, expires_at) in &writes.signatures {
            let values = [
                Sql::Int(*credential_id),
                Sql::Text(digest.clone()),
                Sql::Int(sql::micros(*expires_at)),
            ];
            execute(&self.connection, sql::SIGNATURE_PUT, &values)?;
        }
        Ok(())
    }

    /// Begins a log anew that has outgrown the background checkpoints.
    fn limit_log(&self) {
        if self.log.is_due() && self.begin_log("RESTART").is_ok() {
            self.log.is_begun();
        }
    }

    fn sweep(&self, now: jiff::Timestamp) {
        for (text, before) in sql::SWEEPS {
            let limit = sql::micros(now) - before;
            if let Err(fault) = execute(&self.connection, text, &[Sql::Int(limit)]) {
                tracing::warn!(error.cause = ?fault, "sweep failed");
            }
        }
    }
}
