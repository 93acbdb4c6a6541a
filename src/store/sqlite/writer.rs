//! The thread that writes, over one connection: it decides a batch, applies it, and commits once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::bulk::{Bulk, Turn, report};
use super::log::{Log, checkpoint};
use super::pool::Pool;
use super::statement::{
    Rerun, SqliteFault, execute, load, newest_id, sequence_table, write, write_beside,
};
use super::sweep::Sweeper;
use super::{Sqlite, connect, links, staging};
use crate::alarm::Alarm;
use crate::domain::command::Entropy;
use crate::domain::error::Error;
use crate::domain::facts::{Fact, Facts, Need, Sequence};
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::pipeline::{Batch, Blame, Jobs, Next, Part, Pending, WeakQueue, Writes};
use crate::sabotage::{self, Protection};
use crate::store::cache::Cache;
use crate::store::sql::{self, Statements, change_columns};
use crate::store::{Blamed, OpenError, Writer};

/// A new change.
pub(super) const CHANGE_INSERT: &str = concat!(
    "INSERT INTO change (",
    change_columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
);
/// How often another process's commits are looked for.
const NOTICE_EVERY: Duration = Duration::from_millis(50);
/// The log is copied into the file at every so many looks, ten seconds apart, whatever little is new.
const LOOKS_PER_COPY: u32 = 200;
/// A long log is copied so many times in a row: what came while one copy was made is less, and sooner
/// copied.
const COPIES_MAX: u32 = 3;

/// Starts the writer, and what works beside it: the thread of large commands, and the one that copies
/// the log.
pub(super) fn start(store: &Sqlite, writer: Writer) -> Result<JoinHandle<()>, OpenError> {
    let log = Arc::new(Log::new());
    let mut connection = connect(&store.place, true)?;
    let open = |cause: rusqlite::Error| OpenError::Open(cause.to_string());
    log.fit_to(std::fs::metadata(&store.place.path).map_or(0, |file| file.len()));
    connection.pragma_update(None, "journal_size_limit", log.size_kept()).map_err(open)?;
    let noted = Arc::clone(&log);
    let hook = move |_: &mut rusqlite::hooks::Wal, count| {
        noted.has(i64::from(count));
        Ok(())
    };
    connection.wal_hook(Some(hook)).map_err(open)?;
    let Writer { queues, now, entropy, is_sweeping } = writer;
    let (turn, sweeper) = (Arc::new(Turn::default()), Arc::new(Sweeper::new(is_sweeping)));
    let bulk = Bulk::start(store, queues.large, Arc::clone(&now), entropy, &turn)?;
    let mut thread = WriterThread {
        connection,
        to_large: queues.to_large,
        turn,
        log: Arc::clone(&log),
        statements: Arc::clone(&store.statements),
        cache: Arc::clone(&store.cache),
        readers: Arc::clone(&store.readers),
        busy_timeout: store.place.busy_timeout,
        alarm: store.alarm.clone(),
        sweeper: Arc::clone(&sweeper),
    };
    store.cache.turn_on();
    let (stop, stopped) = mpsc::channel();
    let sweep_now = Arc::clone(&now);
    let idle_turn = Arc::clone(&thread.turn);
    let sweep = move |connection: &Connection| sweeper.idle(connection, &idle_turn, sweep_now());
    let helper = start_helper(store, log, stopped, sweep)?;
    let guard = store.alarm.guard("haksa-writer");
    spawn("haksa-writer", move || {
        thread.run(queues.jobs, &*now, &mut *entropy());
        let _ = bulk.join();
        drop(stop);
        let _ = helper.join();
        guard.done();
    })
}

/// Looks for what other processes committed, copies the log and lets `sweep`, until `stopped` is told.
fn start_helper(
    store: &Sqlite,
    log: Arc<Log>,
    stopped: mpsc::Receiver<()>,
    sweep: impl Fn(&Connection) + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let connection = connect(&store.place, true)?;
    let file = File::open(&store.place.path)
        .map_err(|cause| OpenError::Open(format!("{}: {cause}", store.place.path.display())))?;
    let (cache, readers) = (Arc::clone(&store.cache), Arc::clone(&store.readers));
    let guard = store.alarm.guard("haksa-checkpoint");
    spawn("haksa-checkpoint", move || {
        let mut looks = 0_u32;
        while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(NOTICE_EVERY) {
            if let Ok(newest) = newest_id(&connection, "change") {
                cache.notice(newest);
            }
            log.warn();
            if let Ok(metadata) = file.metadata() {
                log.fit_to(metadata.len());
            }
            sweep(&connection);
            readers.end_views();
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOKS_PER_COPY) {
                log.copy(&connection, &file);
            }
            for _ in 0..COPIES_MAX {
                if !log.is_long() || log.is_nearly_copied() {
                    break;
                }
                readers.end_views();
                log.copy(&connection, &file);
            }
            sabotage::stumble("haksa-checkpoint");
        }
        guard.done();
    })
}

fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(f).map_err(|cause| OpenError::Open(cause.to_string()))
}

struct WriterThread {
    connection: Connection,
    to_large: WeakQueue,
    turn: Arc<Turn>,
    log: Arc<Log>,
    statements: Arc<HashMap<Kind, Statements>>,
    cache: Arc<Cache>,
    readers: Arc<Pool>,
    busy_timeout: Duration,
    alarm: Alarm,
    sweeper: Arc<Sweeper>,
}

impl WriterThread {
    fn run(
        &mut self,
        mut jobs: Jobs,
        now: &dyn Fn() -> jiff::Timestamp,
        entropy: &mut dyn Entropy,
    ) {
        while let Next::Part(Part { jobs: waiting, look }) = jobs.blocking_next(None) {
            let begun = Instant::now();
            let mut batch = Batch::new(waiting, now(), Facts::over(self.cache.clone()));
            match self.commit(&mut batch, entropy) {
                Ok(()) => batch.answer(Some(&self.to_large)),
                Err(Blamed { fault: SqliteFault::Fatal(cause), .. }) => {
                    batch.refuse_uncertain();
                    report(&self.alarm, &cause);
                    return;
                }
                Err(Blamed {
                    fault: fault @ (SqliteFault::Constraint(_) | SqliteFault::Internal(_)),
                    blame,
                }) => {
                    batch.split(look, &mut jobs, &blame, &fault.into_error());
                }
                Err(Blamed { fault, .. }) => {
                    batch.refuse(&fault.into_error());
                    // On a full disk the file may have room for what the log holds, and the log
                    // then for the next batch.
                    self.log.alone(|| self.begin_log("TRUNCATE"));
                    if !Protection::PatientWriter.is_on() {
                        return;
                    }
                }
            }
            sabotage::stumble("haksa-writer");
            jobs.took(look, begun.elapsed());
        }
        self.log.alone(|| self.begin_log("TRUNCATE"));
    }

    /// Copies the log whole and begins it anew; false where something stood in the way. It does not
    /// wait for who reads: everybody who writes would wait along.
    fn begin_log(&self, mode: &str) -> bool {
        let _ = self.connection.busy_timeout(Duration::ZERO);
        let copied = self.readers.without_views(|| checkpoint(&self.connection, mode));
        let _ = self.connection.busy_timeout(self.busy_timeout);
        matches!(copied, Ok(Some(_)))
    }

    fn commit(
        &mut self,
        batch: &mut Batch,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Blamed<SqliteFault>> {
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
                    return Err(fault.into());
                }
                self.cache.commit(batch.writes());
                self.limit_log();
                Ok(())
            }
            Ok(false) => {
                self.roll_back();
                Ok(())
            }
            Err(refused) => {
                self.roll_back();
                Err(refused)
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
    ) -> Result<bool, Blamed<SqliteFault>> {
        let mut issued = HashMap::new();
        let mut finds = Rerun::over(&self.connection);
        let mut read = Vec::new();
        let mut needs = batch.needs();
        // The batch sees to it that there is an end.
        loop {
            // Ids first: the newest tells whether another process wrote what the cache has otherwise.
            let mut counts: HashMap<Sequence, i64> = HashMap::new();
            for need in &needs {
                if let Need::Id(sequence) = need {
                    *counts.entry(*sequence).or_default() += 1;
                }
            }
            for (sequence, count) in counts {
                let last = self.last_id(sequence, &mut issued)?;
                let ids = (*last + 1..=*last + count).collect();
                *last += count;
                batch.supply(Need::Id(sequence), Fact::Ids(ids));
            }
            for need in needs.into_iter().filter(|need| !matches!(need, Need::Id(_))) {
                let fact = if let Some(fact) = self.cache.find(&need) {
                    fact
                } else {
                    let fact = load(&mut finds, &self.statements, &need)?;
                    match (&need, &fact) {
                        (Need::Record(kind, key), _) => {
                            read.push(((*kind, key.clone()), fact.clone()));
                        }
                        (Need::Above(kind, _), Fact::Select(documents)) => {
                            read.extend(documents.iter().map(|document| {
                                let place = (*kind, document.meta.key.clone());
                                (place, Fact::Record(Some(Arc::clone(document))))
                            }));
                        }
                        _ => {}
                    }
                    fact
                };
                batch.supply(need, fact);
            }
            needs = batch.advance(entropy);
            if needs.is_empty() {
                self.apply(batch.writes())?;
                self.remember(read, batch.writes());
                let is_something = !batch.writes().is_empty();
                if is_something {
                    self.sweeper.ride(&self.connection, batch.at());
                }
                return Ok(is_something);
            }
        }
    }

    /// Keeps what was read and is not written: the next that asks for a record it may not touch, or for
    /// one that is not there, waits for the file in neither case.
    fn remember(&self, read: Vec<((Kind, Key), Fact)>, writes: &Writes) {
        let generation = self.cache.generation();
        for (place, fact) in read {
            if !writes.documents.contains_key(&place) {
                self.cache.take_in(&Need::Record(place.0, place.1), &fact, generation);
            }
        }
    }

    /// The last id that was given.
    fn last_id<'a>(
        &self,
        sequence: Sequence,
        issued: &'a mut HashMap<Sequence, i64>,
    ) -> Result<&'a mut i64, SqliteFault> {
        let vacant = match issued.entry(sequence) {
            Entry::Occupied(last) => return Ok(last.into_mut()),
            Entry::Vacant(vacant) => vacant,
        };
        let newest = newest_id(&self.connection, sequence_table(sequence))?;
        if sequence == Sequence::Change {
            self.cache.notice(newest);
        }
        let last = newest.max(staging::last_id(&self.connection, sequence_table(sequence))?);
        Ok(vacant.insert(last))
    }

    fn apply(&self, writes: &Writes) -> Result<(), Blamed<SqliteFault>> {
        let mut rows = Rerun::over(&self.connection);
        for ((kind, key), pending) in &writes.documents {
            self.write_row(&mut rows, *kind, pending).map_err(|fault| {
                let blame = Blame::Record(*kind, key.clone());
                Blamed { fault, blame }
            })?;
        }
        for change in &writes.changes {
            rows.execute(CHANGE_INSERT, &sql::encode_change(change))?;
        }
        links::write(&self.connection, writes.links.iter())?;
        Ok(write_beside(&self.connection, writes)?)
    }

    fn write_row<'a>(
        &'a self,
        rows: &mut Rerun<'a>,
        kind: Kind,
        pending: &Pending,
    ) -> Result<(), SqliteFault> {
        let statements = self.statements.get(&kind);
        let statements = statements.ok_or_else(|| Error::internal("a kind without statements"))?;
        let (text, values) = write(statements, pending)?;
        if rows.execute(text, &values)? == 1 {
            Ok(())
        } else {
            Err(Error::internal(format!("{} row was not written", kind.name())).into())
        }
    }

    /// Begins a log anew that has outgrown the background checkpoints.
    fn limit_log(&self) {
        self.log.begin_when_due(|| {
            // The file may have grown.
            let kept = self.log.size_kept();
            let _ = self.connection.pragma_update(None, "journal_size_limit", kept);
            self.begin_log("RESTART")
        });
    }
}
