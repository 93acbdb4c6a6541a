//! Connections that read. To begin a view of the database SQLite takes one lock of the whole process
//! around several system calls, which many readers would queue for; so a connection keeps its view
//! from one read to the next, as long as nothing is committed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{OpenError, Place, SqliteFault, execute};
use crate::domain::error::Error;

/// Opens a connection that reads.
pub(super) type Connect = fn(&Place) -> Result<Connection, OpenError>;

/// Steps of SQLite's machine after which it is asked for how long it has run: some fractions of a
/// millisecond.
const STEPS: i32 = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    place: Arc<Place>,
    connect: Connect,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    readers: Vec<PooledReader>,
    /// No view outlives its read: the log is about to be begun anew, for which nobody may look at it.
    is_clearing: bool,
}

#[derive(Debug)]
struct PooledReader {
    connection: Connection,
    /// The generation of the cache to which the connection's open view belongs.
    view: Option<u64>,
}

impl PooledReader {
    fn end_view(&mut self) {
        if self.view.take().is_some() {
            let _ = execute(&self.connection, "ROLLBACK", &[]);
        }
    }
}

impl Pool {
    pub(super) fn new(place: Arc<Place>, connect: Connect) -> Self {
        Self { place, connect, idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` over the newest state.
    pub(super) fn read<T>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, SqliteFault>,
    ) -> Result<T, Error> {
        let mut reader = self.take()?;
        reader.end_view();
        let result = f(&reader.connection);
        self.give_back(reader);
        result.map_err(SqliteFault::into_error)
    }

    /// The same; what is not done `within` that time is stopped.
    pub(super) fn read_within<T>(
        &self,
        within: Duration,
        f: impl FnOnce(&Connection) -> Result<T, SqliteFault>,
    ) -> Result<T, Error> {
        let mut reader = self.take()?;
        reader.end_view();
        let end = Instant::now() + within;
        let is_over = move || Instant::now() > end;
        let watched = reader.connection.progress_handler(STEPS, Some(is_over));
        let result = watched.map_err(SqliteFault::from).and_then(|()| f(&reader.connection));
        // A reader that would go on stopping what others ask is not given back.
        if reader.connection.progress_handler(0, None::<fn() -> bool>).is_ok() {
            self.give_back(reader);
        }
        result.map_err(SqliteFault::into_error)
    }

    /// Runs `f` over a state that holds every commit counted in `generation`, and keeps the view for
    /// the next that asks for the same.
    pub(super) fn read_at<T>(
        &self,
        generation: u64,
        f: impl FnOnce(&Connection) -> Result<T, SqliteFault>,
    ) -> Result<T, Error> {
        let mut reader = self.take()?;
        let result = if reader.view == Some(generation) {
            f(&reader.connection)
        } else {
            reader.end_view();
            execute(&reader.connection, "BEGIN", &[]).and_then(|_| {
                reader.view = Some(generation);
                f(&reader.connection)
            })
        };
        if result.is_err() {
            reader.end_view();
        }
        self.give_back(reader);
        result.map_err(SqliteFault::into_error)
    }

    fn take(&self) -> Result<PooledReader, Error> {
        if let Some(reader) = self.idle().readers.pop() {
            return Ok(reader);
        }
        // Mostly no file descriptor left.
        let away = |cause: OpenError| SqliteFault::Unavailable(cause.to_string()).into_error();
        Ok(PooledReader { connection: (self.connect)(&self.place).map_err(away)?, view: None })
    }

    fn give_back(&self, mut reader: PooledReader) {
        let mut idle = self.idle();
        if idle.is_clearing {
            reader.end_view();
        }
        idle.readers.push(reader);
    }

    /// Ends the views that are not in use, so that what they look at can be copied or overwritten.
    pub(super) fn end_views(&self) {
        for reader in &mut self.idle().readers {
            reader.end_view();
        }
    }

    /// Runs `f` while no view is kept.
    pub(super) fn without_views<T>(&self, f: impl FnOnce() -> T) -> T {
        self.idle().is_clearing = true;
        self.end_views();
        let result = f();
        self.idle().is_clearing = false;
        result
    }
}
