//! What has outlived its use is forgotten in steps so small that nobody waits for them, and by a server
//! that has nothing else to do as well.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::search::Flavor;
use super::sql::{Sql, micros};
use crate::sabotage::Protection;

/// Rows that go in a batch of commands at the most.
pub(super) const RIDING: i64 = 200;
/// Rows that go at once while there are no commands at the most.
pub(super) const IDLE: i64 = 1000;
/// How often that may be.
pub(super) const IDLE_EVERY: Duration = Duration::from_millis(100);
/// How long a step may take, where others wait for it, before it is left for the next.
const LONG: Duration = Duration::from_millis(2);
/// Rows of one statement there, so that there is an occasion to stop.
const SLICE: i64 = 100;
/// After this long it is looked again where there was nothing to forget.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How far the clock may be wrong for a while without anything being forgotten that still counts,
/// microseconds.
const CLOCK_ERROR: i64 = 2 * 3_600_000_000;
/// How long an answer to an idempotency key is kept, microseconds.
const ANSWER_LIFE: i64 = 24 * 3_600_000_000;

/// A table whose rows outlive their use.
struct Outliving {
    table: &'static str,
    key: &'static str,
    at: &'static str,
    /// How long after that, microseconds.
    life: i64,
    /// For how many rows one counts: what is long takes longer to remove.
    weight: i64,
}

const OUTLIVING: [Outliving; 3] = [
    Outliving {
        table: "signature",
        key: "expires_at, credential_id, digest",
        at: "expires_at",
        life: CLOCK_ERROR,
        weight: 1,
    },
    Outliving { table: "token", key: "hash", at: "expires_at", life: CLOCK_ERROR, weight: 1 },
    Outliving {
        table: "idempotency",
        key: "credential_id, key",
        at: "at",
        life: ANSWER_LIFE + CLOCK_ERROR,
        weight: 20,
    },
];

impl Outliving {
    /// Removes the `$2` oldest of those that are older than `$1`.
    fn text(&self, flavor: Flavor) -> String {
        let Self { table, key, at, .. } = self;
        match flavor {
            Flavor::Sqlite => format!(
                "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {at} < $1 \
                 ORDER BY {at} LIMIT $2)"
            ),
            // Another node removes others at the same time.
            Flavor::Postgres => format!(
                "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} \
                 WHERE {at} < $1 ORDER BY {at} LIMIT $2 FOR UPDATE SKIP LOCKED))"
            ),
        }
    }
}

/// Every statement here, to be prepared by a check.
pub(super) fn statements(flavor: Flavor) -> impl Iterator<Item = String> {
    OUTLIVING.iter().map(move |table| table.text(flavor))
}

/// How far a sweep is.
pub(super) struct Sweep {
    flavor: Flavor,
    /// Before then there is nothing to do.
    next: Instant,
    /// Tables that had no more to remove.
    swept: usize,
    table: usize,
}

/// What one step may still do.
pub(super) struct Step {
    rows: i64,
    begun: Instant,
    limit: i64,
    asked: i64,
    removed: bool,
}

impl Sweep {
    pub(super) fn new(flavor: Flavor) -> Self {
        Self { flavor, next: Instant::now(), swept: 0, table: 0 }
    }

    /// Whether there may be something to do.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// A step, of so many rows at the most; none while there is nothing to do.
    pub(super) fn step(&mut self, rows: i64, now: Timestamp) -> Option<Step> {
        self.swept = 0;
        let rows = if Protection::SmallSweeps.is_on() { rows } else { i64::MAX };
        let (begun, limit) = (Instant::now(), micros(now));
        self.is_due().then_some(Step { rows, begun, limit, asked: 0, removed: false })
    }

    /// What removes the next rows, and its parameters; none at the end of the step.
    pub(super) fn remove(&self, step: &mut Step) -> Option<(String, Vec<Sql>)> {
        let (slice, long) = match self.flavor {
            _ if !Protection::SmallSweeps.is_on() => (i64::MAX, Duration::MAX),
            Flavor::Sqlite => (SLICE, LONG),
            Flavor::Postgres => (IDLE, Duration::MAX),
        };
        let is_over = step.rows <= 0 || step.begun.elapsed() > long;
        if is_over || self.swept == OUTLIVING.len() {
            return None;
        }
        let table = OUTLIVING.get(self.table % OUTLIVING.len())?;
        step.asked = (step.rows.min(slice) / table.weight).max(1);
        let values = vec![Sql::Int(step.limit - table.life), Sql::Int(step.asked)];
        Some((table.text(self.flavor), values))
    }

    /// Notes how many rows were removed.
    pub(super) fn removed(&mut self, step: &mut Step, count: i64) {
        step.removed |= count > 0;
        step.rows -= count * OUTLIVING.get(self.table % OUTLIVING.len()).map_or(1, |it| it.weight);
        if count < step.asked {
            self.swept += 1;
            self.table += 1;
        }
    }

    /// Ends a step.
    pub(super) fn end(&mut self, step: &Step) {
        if !step.removed {
            self.next = Instant::now() + LOOK_EVERY;
        }
    }

    /// Leaves it for a while: something stands in the way.
    pub(super) fn rest(&mut self, cause: &dyn std::fmt::Debug) {
        tracing::warn!(error.cause = ?cause, "sweep failed");
        self.next = Instant::now() + LOOK_EVERY;
    }
}
