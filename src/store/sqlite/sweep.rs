//! Forgetting what has outlived its use, in the transactions of others or, while there are none, in
//! small ones of its own.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::Connection;

use super::bulk::Turn;
use super::statement::{SqliteFault, execute};
use crate::store::search::Flavor;
use crate::store::sweep::{IDLE, IDLE_EVERY, RIDING, Sweep};

/// Who forgets, whichever thread it is.
pub(super) struct Sweeper {
    is_on: bool,
    sweep: Mutex<Sweep>,
    /// When the last batch was committed, or the last step made.
    last: Mutex<Instant>,
}

impl Sweeper {
    pub(super) fn new(is_on: bool) -> Self {
        let sweep = Mutex::new(Sweep::new(Flavor::Sqlite));
        Self { is_on, sweep, last: Mutex::new(Instant::now()) }
    }

    /// A step within a transaction that there is.
    pub(super) fn ride(&self, connection: &Connection, now: Timestamp) {
        if !self.is_on {
            return;
        }
        *self.last.lock() = Instant::now();
        let mut sweep = self.sweep.lock();
        if let Err(fault) = step(&mut sweep, connection, RIDING, now) {
            sweep.rest(&fault);
        }
    }

    /// A step in a transaction of its own, where nobody else has had one for a while.
    pub(super) fn idle(&self, connection: &Connection, turn: &Turn, now: Timestamp) {
        if !self.is_on || self.last.lock().elapsed() < IDLE_EVERY || !self.sweep.lock().is_due() {
            return;
        }
        let Some(_turn) = turn.try_lock() else { return };
        *self.last.lock() = Instant::now();
        let mut sweep = self.sweep.lock();
        let made = alone(connection, |connection| step(&mut sweep, connection, IDLE, now));
        if let Err(fault) = made {
            sweep.rest(&fault);
        }
    }
}

/// Runs `f` in a transaction, without waiting for another process's.
fn alone(
    connection: &Connection,
    f: impl FnOnce(&Connection) -> Result<(), SqliteFault>,
) -> Result<(), SqliteFault> {
    let _ = connection.busy_timeout(Duration::ZERO);
    let made = match execute(connection, "BEGIN IMMEDIATE", &[]) {
        Ok(_) => f(connection).and_then(|()| execute(connection, "COMMIT", &[]).map(|_| ())),
        // Whoever is at the file has it.
        Err(_) => Ok(()),
    };
    if !connection.is_autocommit() {
        let _ = execute(connection, "ROLLBACK", &[]);
    }
    let _ = connection.busy_timeout(super::BUSY_TIMEOUT);
    made
}

fn step(
    sweep: &mut Sweep,
    connection: &Connection,
    rows: i64,
    now: Timestamp,
) -> Result<(), SqliteFault> {
    let Some(mut step) = sweep.step(rows, now) else { return Ok(()) };
    while let Some((text, values)) = sweep.remove(&mut step) {
        let count = execute(connection, &text, &values)?;
        sweep.removed(&mut step, i64::try_from(count).unwrap_or(i64::MAX));
    }
    sweep.end(&step);
    Ok(())
}
