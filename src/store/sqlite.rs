//! Records in one file. One thread writes, over one connection; readers take connections from a
//! pool. `synchronous=FULL`: a commit is on disk before anyone is answered.

mod bulk;
mod links;
mod log;
mod look;
mod pool;
mod staging;
mod statement;
mod sweep;
mod writer;

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub use self::look::{Eye, TABLES};
use self::pool::Pool;
use self::statement::{Rerun, SqliteFault, execute, load, numbered, numbered_statements, query};
use super::cache::Cache;
use super::sql::{Sql, Statements};
use super::{OpenError, STOPPED_AFTER, Whom, Writer};
use crate::alarm::Alarm;
use crate::domain::error::Error;
use crate::domain::facts::{Fact, Facts, Need};
use crate::domain::kind::Kind;
use crate::pipeline::Room;
use crate::sabotage::Protection;
use crate::seats::{Seat, Seats};

mod migrations {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Older versions can damage a log that two connections reset (fixed in 3.51.3).
const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// Whether any migration was applied.
pub(super) const SCHEMA_FIND: &str =
    "SELECT count(*) FROM sqlite_master WHERE name = 'refinery_schema_history'";
/// Whether a file is ours: the mark of its first migration, which a copy made from SQL text lacks;
/// how many tables it has beside those of a migration that was not finished; how many of some of ours.
const OWNER_FIND: &str = "SELECT (SELECT application_id FROM pragma_application_id), \
     count(*) FILTER (WHERE name <> 'refinery_schema_history'), \
     count(*) FILTER (WHERE name IN ('refinery_schema_history', 'account', 'change')) \
     FROM sqlite_master WHERE type = 'table'";
/// The mark: "Haks".
const APPLICATION_ID: i64 = 0x4861_6b73;
/// How long a statement of a server's waits for another connection's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// The same for an operator's command: beside a server that writes without pause its turn may be long in
/// coming.
const OPERATOR_TIMEOUT: Duration = Duration::from_secs(10);
/// Statements held ready per connection.
const STATEMENTS_MAX: usize = 192;

/// Where the file is, and how long a connection to it waits for another's lock.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    busy_timeout: Duration,
}

/// A database in one file.
#[derive(Clone, Debug)]
pub struct Sqlite {
    place: Arc<Place>,
    readers: Arc<Pool>,
    statements: Arc<HashMap<Kind, Statements>>,
    cache: Arc<Cache>,
    pub(super) alarm: Alarm,
    pub(super) seats: Seats<i64>,
    /// Open for as long as the store is: with the last connection that closes, SQLite copies the whole
    /// log into the file, and the next one opens when it is done.
    _first: Arc<parking_lot::Mutex<Connection>>,
}

impl Sqlite {
    /// Looks how many bytes the file's disk still has.
    pub(super) fn room(&self) -> Room {
        let path = self.place.path.clone();
        Box::new(move || {
            let disk = rustix::fs::statvfs(&*path).ok()?;
            Some(disk.f_bavail.saturating_mul(disk.f_frsize))
        })
    }

    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be opened as a database.
    pub fn open(path: &Path, whom: Whom) -> Result<Self, OpenError> {
        if rusqlite::version_number() < SQLITE_VERSION_MIN {
            return Err(OpenError::Open(format!("SQLite {} is too old", rusqlite::version())));
        }
        let busy_timeout = match whom {
            Whom::Clients => BUSY_TIMEOUT,
            Whom::Operator => OPERATOR_TIMEOUT,
        };
        let place = Arc::new(Place { path: path.to_owned(), busy_timeout });
        // The first connection turns the log on, which is a property of the file.
        let first = connect(&place, true)?;
        Ok(Self::over(place, first, connect_to_read))
    }

    /// Opens a file, and changes nothing: neither the file nor what lies beside it, where it may not.
    ///
    /// # Errors
    /// As [`Sqlite::open`].
    pub fn open_to_look(path: &Path) -> Result<Self, OpenError> {
        let place = Place { path: path.to_owned(), busy_timeout: OPERATOR_TIMEOUT };
        let first = connect_to_look(&place)?;
        Ok(Self::over(Arc::new(place), first, connect_to_look))
    }

    fn over(place: Arc<Place>, first: Connection, connect: pool::Connect) -> Self {
        Self {
            readers: Arc::new(Pool::new(Arc::clone(&place), connect)),
            place,
            statements: Arc::new(
                Kind::ALL.iter().map(|kind| (*kind, numbered_statements(*kind))).collect(),
            ),
            cache: Arc::new(Cache::new()),
            alarm: Alarm::default(),
            seats: super::seats(),
            _first: Arc::new(parking_lot::Mutex::new(first)),
        }
    }

    /// Takes the lock of a file beside the database, which the system releases when the process ends.
    pub(super) fn claim(&self) -> Result<File, OpenError> {
        let open = |cause| OpenError::Open(format!("{}: {cause}", self.place.path.display()));
        // One file may go by several names.
        let mut name = self.place.path.canonicalize().map_err(open)?.into_os_string();
        name.push(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(&name);
        let file = file.map_err(|cause| OpenError::Open(format!("{}: {cause}", name.display())))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(OpenError::Served { path: self.place.path.clone() })
            }
            Err(TryLockError::Error(cause)) => Err(open(cause)),
        }
    }

    /// Runs a statement by itself, outside of the writer: for what is done before there is one.
    pub(super) fn execute(&self, text: &str, parameters: &[Sql]) -> Result<(), Error> {
        let connection = connect(&self.place, true).map_err(Error::internal)?;
        execute(&connection, text, parameters).map(|_| ()).map_err(SqliteFault::into_error)
    }

    pub(super) fn migrate(&self) -> Result<Vec<String>, OpenError> {
        let mut connection = connect(&self.place, true)?;
        let report = migrations::migrations::runner()
            .run(&mut connection)
            .map_err(|cause| OpenError::Migrate(why_not_migrated(&cause)))?;
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
        let read =
            |connection: &Connection| load(&mut Rerun::over(connection), &self.statements, need);
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

    /// Runs a statement that may take long, away from the threads that serve requests. Whoever has a
    /// seat has it stopped when it takes too long.
    pub(super) async fn rows(
        &self,
        seat: Option<Seat<i64>>,
        text: String,
        parameters: Vec<Sql>,
        width: usize,
    ) -> Result<Vec<Vec<Sql>>, Error> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            let ask = |connection: &Connection| query(connection, &text, &parameters, width);
            let rows = match seat {
                Some(_) => this.readers.read_within(STOPPED_AFTER, ask),
                None => this.readers.read(ask),
            };
            // Kept by the statement itself: it runs on when its caller is gone.
            drop(seat);
            rows
        })
        .await
        .map_err(Error::internal)?
    }

    /// Asks whether the file can be read, waiting for nobody's seat.
    pub(super) async fn probe(&self, text: &'static str) -> Result<(), Error> {
        let this = self.clone();
        let read = move || this.readers.read(|connection| query(connection, text, &[], 1));
        tokio::task::spawn_blocking(read).await.map_err(Error::internal)?.map(|_| ())
    }

    /// Starts the only thread that changes records, and what works beside it.
    pub(super) fn start_writer(&self, writer: Writer) -> Result<JoinHandle<()>, OpenError> {
        writer::start(self, writer)
    }
}

/// False for a file that another program made.
fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let numbers = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (mark, others, ours): (i64, i64, i64) = connection.query_row(OWNER_FIND, [], numbers)?;
    Ok(mark == APPLICATION_ID || (mark == 0 && (others == 0 || ours == 3)))
}

fn connect_to_read(place: &Place) -> Result<Connection, OpenError> {
    connect(place, false)
}

/// A connection that can only read, also where nothing can be written.
fn connect_to_look(place: &Place) -> Result<Connection, OpenError> {
    let Place { path, busy_timeout } = place;
    let failed = |cause: rusqlite::Error| OpenError::Open(format!("{}: {cause}", path.display()));
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_ONLY;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(*busy_timeout).map_err(failed)?;
    let mut is_our_file = is_ours(&connection);
    // To read beside a log takes a file for locks, which cannot be made in a folder that is read-only.
    // Where there is no log, none is needed either, as long as nobody writes; and nobody can.
    if is_our_file.is_err() && !has_log(path) {
        let mut name = path.as_os_str().to_string_lossy().into_owned();
        for (character, code) in [("%", "%25"), ("?", "%3f"), ("#", "%23")] {
            name = name.replace(character, code);
        }
        let name = format!("file:{name}?immutable=1");
        let flags = flags | OpenFlags::SQLITE_OPEN_URI;
        connection = Connection::open_with_flags(name, flags).map_err(failed)?;
        is_our_file = is_ours(&connection);
    }
    if !is_our_file.map_err(failed)? {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failed)?;
    connection.pragma_update(None, "cache_size", -16_384).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// True when not all of what a database holds may be in its file.
fn has_log(path: &Path) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    std::fs::metadata(name).is_ok_and(|log| log.len() > 0)
}

fn connect(place: &Place, is_writer: bool) -> Result<Connection, OpenError> {
    let Place { path, busy_timeout } = place;
    let open = |cause: rusqlite::Error| OpenError::Open(format!("{}: {cause}", path.display()));
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_WRITE;
    if is_writer {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags).map_err(open)?;
    connection.busy_timeout(*busy_timeout).map_err(open)?;
    // Before anything is set that stays with the file.
    if is_writer && !is_ours(&connection).map_err(open)? {
        return Err(OpenError::Foreign { path: path.clone() });
    }
    // One plan for a statement whatever it is run with: some were planned anew each time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(open)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(open)?;
    let synchronous = if Protection::Durability.is_on() { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", synchronous).map_err(open)?;
    connection.pragma_update(None, "foreign_keys", "ON").map_err(open)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(open)?;
    // What is deleted is overwritten, and not only given free.
    connection.pragma_update(None, "secure_delete", "ON").map_err(open)?;
    // Kibibytes. Readers lean on the system's cache, of which there is one for all of them.
    let cache = if is_writer { -16_384 } else { -2_048 };
    connection.pragma_update(None, "cache_size", cache).map_err(open)?;
    if !is_writer {
        connection.pragma_update(None, "query_only", "ON").map_err(open)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// What a migration failed at, without its text, which SQLite repeats whole.
fn why_not_migrated(cause: &refinery::Error) -> String {
    let source = std::error::Error::source(cause);
    match source.and_then(|source| source.downcast_ref::<rusqlite::Error>()) {
        Some(rusqlite::Error::SqlInputError { msg, .. }) => msg.clone(),
        _ => super::causes(cause),
    }
}

/// The migrations of this release.
pub(super) fn migrations() -> refinery::Runner {
    migrations::migrations::runner()
}

/// The statements of this store alone, to be prepared by a check.
pub(super) fn statements() -> Vec<String> {
    let mut all = vec![writer::CHANGE_INSERT.to_owned()];
    all.extend(staging::statements());
    all.extend(links::statements());
    all.extend(bulk::statements());
    for kind in Kind::ALL {
        let Statements { insert, update, update_body, update_state, .. } = Statements::new(*kind);
        all.extend([insert, update, update_body, update_state]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deleted_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("haksa.db");
        let store = Sqlite::open(&path, Whom::Clients).unwrap();
        store.migrate().unwrap();
        let connection = connect(&store.place, true).unwrap();
        let has = |text: &str| {
            connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
            let file = std::fs::read(&path).unwrap();
            file.windows(text.len()).any(|bytes| bytes == text.as_bytes())
        };
        let text = "a text that nothing else has";
        let put = "INSERT INTO content (hash, bytes) VALUES ($1, $1)";
        execute(&connection, put, &[Sql::Text(text.to_owned())]).unwrap();
        assert!(has(text));
        execute(&connection, "DELETE FROM content", &[]).unwrap();
        assert!(!has(text));

        // Of a name, the first three characters are whole in the index of words, unless others there
        // begin as they do.
        connection.pragma_update(None, "foreign_keys", "OFF").unwrap();
        let put = "INSERT INTO person (id, account_id, version, change_id, created_at, updated_at, \
                   name_key, body) VALUES (1, 1, 1, 1, 1, 1, '뷁뷂뷃', '{}')";
        execute(&connection, put, &[]).unwrap();
        assert!(has("뷁뷂뷃"));
        execute(&connection, "UPDATE person SET name_key = 'a'", &[]).unwrap();
        assert!(!has("뷁뷂뷃"));
    }
}
