//! What became of a commit that nobody confirmed. The socket it was sent on is dropped; from another
//! session the old one is ended, so that it cannot commit any later, and the database is asked for the
//! transaction's fate until that is final. A commit that waits for a standby is left alone: told to wait
//! no longer, it would be one, though the standby has nothing of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::PgFault;
use super::connection::{Connection, Patience, Way};
use crate::domain::change::Change;
use crate::pipeline::Writes;
use crate::sabotage::Protection;
use crate::store::sql;

/// How long the database is asked.
const ASK_FOR: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// One life of the server: its start, and its last recovery. After another start an unfinished
/// transaction's number may be somebody else's.
macro_rules! life {
    () => {
        "concat(pg_postmaster_start_time(), ' ', pg_stat_get_bgwriter_stat_reset_time())"
    };
}
const SESSION: &str = concat!(
    "SELECT pg_backend_pid(); \
     SELECT (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity \
     WHERE pid = pg_backend_pid(); SELECT ",
    life!()
);

/// A session of ours, as others know it.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    pid: i64,
    /// Microseconds since 1970. Numbers of processes come again.
    started_at: i64,
    life: Arc<str>,
}

impl Session {
    pub(super) async fn of(connection: &Connection) -> Result<Self, PgFault> {
        let texts = connection.texts(SESSION).await?;
        let number = |index: usize| texts.get(index)?.as_ref()?.parse().ok();
        Ok(Self {
            pid: number(0).unwrap_or_default(),
            started_at: number(1).unwrap_or_default(),
            life: texts.get(2).cloned().flatten().unwrap_or_default().into(),
        })
    }

    /// The transaction of this number.
    pub(super) fn transaction(&self, number: String) -> Transaction {
        Transaction { session: self.clone(), number }
    }
}

/// A transaction, and whose it was.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    session: Session,
    number: String,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed,
    Aborted,
    Unknown,
}

/// Sees to a commit that nobody confirmed: all is well where it happened.
pub(super) async fn settle(
    connection: &Connection,
    way: &Arc<Way>,
    writes: &Writes,
    cause: &str,
) -> Result<(), PgFault> {
    connection.give_up();
    if !Protection::CommitLookup.is_on() {
        return Err(PgFault::Lost(cause.to_owned()));
    }
    let fate = match connection.transaction() {
        Some(transaction) => transaction.fate(way, writes.changes.first()).await,
        None => Fate::Unknown,
    };
    tracing::warn!(error.cause = %cause, ?fate, "a commit was not confirmed");
    match fate {
        Fate::Committed => Ok(()),
        Fate::Aborted => Err(PgFault::Undone),
        Fate::Unknown => Err(PgFault::Unknown),
    }
}

impl Transaction {
    /// What became of it. `witness` is a change of its own, where it made one.
    async fn fate(&self, way: &Arc<Way>, witness: Option<&Arc<Change>>) -> Fate {
        let until = Instant::now() + ASK_FOR;
        while Instant::now() < until {
            match timeout_at(until, self.ask(way, witness, until)).await {
                Ok(Ok(fate)) => return fate,
                Ok(Err(fault)) => {
                    tracing::warn!(error.cause = %fault.into_text(), "a commit is in doubt");
                    sleep(ASK_EVERY).await;
                }
                Err(_) => break,
            }
        }
        Fate::Unknown
    }

    async fn ask(
        &self,
        way: &Arc<Way>,
        witness: Option<&Arc<Change>>,
        until: Instant,
    ) -> Result<Fate, PgFault> {
        let connection = Connection::open(way, Patience::Reads).await?;
        let Session { pid, started_at, life } = &self.session;
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = {pid} \
             AND (extract(epoch FROM backend_start) * 1000000)::bigint = {started_at} \
             AND wait_event IS DISTINCT FROM 'SyncRep' \
             AND current_setting('synchronous_standby_names') = ''"
        );
        while Instant::now() < until {
            connection.script(&end).await?;
            // As long as its session is there, its number is its own; without one, a number that a later life has
            // not come to was lost with what had not been written.
            let status = format!(
                "SELECT CASE WHEN EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid} \
                 AND (extract(epoch FROM backend_start) * 1000000)::bigint = {started_at}) \
                 OR '{number}'::xid8 < pg_snapshot_xmax(pg_current_snapshot()) \
                 THEN pg_xact_status('{number}') ELSE 'aborted' END; SELECT {now}",
                now = life!(),
                number = self.number
            );
            let texts = connection.texts(&status).await?;
            let status = texts.first().and_then(Option::as_deref);
            let is_same_life = texts.get(1).and_then(Option::as_deref) == Some(&**life);
            match (status, is_same_life) {
                (Some("committed"), true) => return Ok(Fate::Committed),
                (Some("committed"), false) => return found(&connection, witness).await,

                (Some("aborted"), _) => return Ok(Fate::Aborted),
                (Some("in progress"), _) => sleep(ASK_EVERY).await,
                _ => return Ok(Fate::Unknown),
            }
        }
        Ok(Fate::Unknown)
    }
}

/// Looks for what the transaction wrote.
async fn found(connection: &Connection, witness: Option<&Arc<Change>>) -> Result<Fate, PgFault> {
    let Some(witness) = witness else { return Ok(Fate::Unknown) };
    let at = sql::micros(witness.at);
    let text = format!("SELECT id FROM change WHERE id = {} AND at = {at}", witness.id);
    let rows = connection.texts(&text).await?;
    Ok(if rows.is_empty() { Fate::Aborted } else { Fate::Committed })
}
