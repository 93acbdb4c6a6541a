//! Large commands. A file has one writer at a time, and a command of ten thousand rows would keep all
//! others waiting. So a large one is decided on a thread of its own; its rows are written in parts,
//! between the commits of others, marked as deleted, which no reader looks at; and the last part, one
//! short transaction, looks again at what was decided by and takes the mark off all of them at once.
//! What a crash leaves behind is removed before the next one.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use rusqlite::Connection;

use super::staging::Edits;
use super::statement::{
    Rerun, SqliteFault, execute, newest_id, query, sequence_table, write, write_beside,
};
use super::{Sqlite, Statements, links, staging};
use crate::alarm::Alarm;
use crate::domain::command::Entropy;
use crate::domain::error::Error;
use crate::domain::facts::{Fact, Facts, Need, Selector, Sequence};
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::domain::table::{KeyType, Way};
use crate::pipeline::{Batch, Job, Jobs, Link, Next, Pending, Sought, Writes};
use crate::sabotage::{self, APART_FOR, Protection};
use crate::store::OpenError;
use crate::store::sql::{self, Sql};
use crate::store::trees;

/// How long one part may take from others.
const PART: Duration = Duration::from_millis(15);
/// Rows made ready for the database at once.
const CHUNK: usize = 512;
/// Rows written by one statement, where so many are of one table. Before each statement that fires a
/// trigger, the index of words writes out what it has: for every single person it made a piece of its
/// own and put these together again, a third of the time of an issue.
const GROUP: usize = 128;
/// Rows removed by one statement.
const DISCARDED: i64 = 4;
/// How often a command is decided anew because others moved what it was decided by.
const ATTEMPTS: u32 = 3;

/// Who writes holds the turn from the beginning of a transaction to its end: SQLite's own way to wait
/// for another writer is to look again now and then. It can be handed to who waits for it.
pub(super) type Turn = parking_lot::Mutex<()>;

/// Tells that after this fault no write can be trusted.
pub(super) fn report(alarm: &Alarm, cause: &str) {
    alarm.ring(format!(
        "the database could not be written safely: {cause}. Check the disk, then start again"
    ));
}

/// Writes large commands.
pub(super) struct Bulk {
    store: Sqlite,
    connection: Connection,
    turn: Arc<Turn>,
}

/// A row on its way, a change or a link: the statement that inserts one.
struct Staged<'a> {
    text: &'a str,
    values: Vec<Sql>,
}

/// Rows of one table, and the statement that inserts as many.
struct RowGroup {
    text: String,
    values: Vec<Sql>,
}

/// Puts rows of one table together, as they follow each other: by powers of two, so that there are few
/// statements to prepare.
fn groups(rows: Vec<Staged<'_>>) -> VecDeque<RowGroup> {
    let mut groups = VecDeque::new();
    let mut rows = VecDeque::from(rows);
    while let Some(Staged { text, values }) = rows.front() {
        let (text, width) = (*text, values.len());
        let of_one_table = rows.iter().take(GROUP).take_while(|row| row.text == text).count();
        let count = 1 << of_one_table.ilog2();
        let values = rows.drain(..count).flat_map(|row| row.values).collect();
        groups.push_back(RowGroup { text: several(text, width, count), values });
    }
    groups
}

/// The statement for `count` rows of `width` values that `insert` is for one.
fn several(insert: &str, width: usize, count: usize) -> String {
    let row = |row: usize| {
        let marks: Vec<String> = (1..=width).map(|n| format!("?{}", row * width + n)).collect();
        format!(", ({})", marks.join(", "))
    };
    insert.to_owned() + &(1..count).map(row).collect::<String>()
}

impl Bulk {
    /// Removes what an earlier server left behind, and begins to write.
    pub(super) fn start(
        store: &Sqlite,
        mut jobs: Jobs,
        now: Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>,
        entropy: fn() -> Box<dyn Entropy + Send>,
        turn: &Arc<Turn>,
    ) -> Result<JoinHandle<()>, OpenError> {
        let connection = super::connect(&store.place, true)?;
        staging::make_edits(&connection)
            .map_err(|fault| OpenError::Open(fault.into_error().to_string()))?;
        let bulk = Self { store: store.clone(), connection, turn: Arc::clone(turn) };
        let guard = store.alarm.guard("haksa-bulk");
        std::thread::Builder::new()
            .name("haksa-bulk".to_owned())
            .spawn(move || {
                let mut entropy = entropy();
                let mut is_first = true;
                while let Next::Part(part) = jobs.blocking_next(None) {
                    // Not at the start: a program that only runs one command beside a server must
                    // leave what the server is about.
                    if std::mem::take(&mut is_first) {
                        bulk.tidy_up();
                    }
                    bulk.serve(part.jobs, &*now, &mut *entropy);
                    sabotage::stumble("haksa-bulk");
                }
                guard.done();
            })
            .map_err(|cause| OpenError::Open(cause.to_string()))
    }

    fn serve(
        &self,
        mut jobs: Vec<Job>,
        now: &dyn Fn() -> jiff::Timestamp,
        entropy: &mut dyn Entropy,
    ) {
        let mut attempts = 0;
        while !jobs.is_empty() {
            attempts += 1;
            let mut batch = Batch::new(jobs, now(), Facts::default());
            let fault = match self.write(&mut batch, entropy) {
                Ok(()) => {
                    batch.answer(None);
                    return;
                }
                Err(fault) => fault,
            };
            self.tidy_up();
            match fault {
                SqliteFault::Constraint(_) | SqliteFault::Moved if attempts < ATTEMPTS => {
                    jobs = batch.into_jobs();
                }
                fault @ (SqliteFault::Constraint(_) | SqliteFault::Moved) => {
                    jobs = batch.refuse_signed(&fault.into_error()).into_iter().collect();
                }
                SqliteFault::Fatal(cause) => {
                    batch.refuse_uncertain();
                    report(&self.store.alarm, &cause);
                    return;
                }
                fault => {
                    batch.refuse(&fault.into_error());
                    return;
                }
            }
        }
    }

    fn write(&self, batch: &mut Batch, entropy: &mut dyn Entropy) -> Result<(), SqliteFault> {
        let marks: Vec<u64> = Kind::ALL.iter().map(|kind| self.store.cache.kind(*kind)).collect();
        let since = newest_id(&self.connection, "change")?;
        self.decide(batch, entropy)?;
        if batch.writes().is_empty() {
            self.tidy_up();
            return Ok(());
        }
        // Before anything is staged that would have to be removed again.
        let newest = newest_id(&self.connection, "change")?;
        if self.has_come(batch.writes(), since)? {
            return Err(SqliteFault::Moved);
        }
        let since = newest;
        let edits = self.stage(batch.writes())?;
        let published = self.publish(batch, &edits, (&marks, since));
        if let Err(fault) = staging::forget_edits(&self.connection) {
            tracing::warn!(error.cause = ?fault, "edits of a large command stay in memory for now");
        }
        published
    }

    fn tidy_up(&self) {
        if let Err(fault) = self.clear() {
            tracing::warn!(error.cause = ?fault, "rows of an unfinished command stay for now");
        }
    }

    /// Decides by what readers see; ids are put aside for it.
    fn decide(&self, batch: &mut Batch, entropy: &mut dyn Entropy) -> Result<(), SqliteFault> {
        let mut needs = batch.needs();
        // The batch sees to it that there is an end.
        loop {
            let mut counts: HashMap<Sequence, i64> = HashMap::new();
            for need in needs {
                if let Need::Id(sequence) = need {
                    *counts.entry(sequence).or_default() += 1;
                } else {
                    let fact = self.store.load(&need)?;
                    batch.supply(need, fact);
                }
            }
            for (sequence, first, last) in self.put_aside(counts)? {
                batch.supply(Need::Id(sequence), Fact::Ids((first..=last).collect()));
            }
            needs = batch.advance(entropy);
            if needs.is_empty() {
                return Ok(());
            }
        }
    }

    fn put_aside(
        &self,
        counts: HashMap<Sequence, i64>,
    ) -> Result<Vec<(Sequence, i64, i64)>, SqliteFault> {
        if counts.is_empty() {
            return Ok(Vec::new());
        }
        self.transaction(|| {
            let mut found = Vec::with_capacity(counts.len());
            for (sequence, count) in counts {
                let table = sequence_table(sequence);
                let newest = newest_id(&self.connection, table)?;
                let last = newest.max(staging::last_id(&self.connection, table)?);
                let (first, last) = (last + 1, last + count);
                let noted = [Sql::Text(table.to_owned()), Sql::Int(first), Sql::Int(last)];
                execute(&self.connection, staging::PUT_ASIDE, &noted)?;
                found.push((sequence, first, last));
            }
            Ok(found)
        })
    }

    /// Runs `f` as a transaction, holding the turn.
    fn transaction<T>(&self, f: impl FnOnce() -> Result<T, SqliteFault>) -> Result<T, SqliteFault> {
        self.transaction_then(f, || {})
    }

    /// Runs `f` as a transaction, and `committed` before anybody else has the turn.
    fn transaction_then<T>(
        &self,
        f: impl FnOnce() -> Result<T, SqliteFault>,
        committed: impl FnOnce(),
    ) -> Result<T, SqliteFault> {
        let turn = self.turn.lock();
        execute(&self.connection, "BEGIN IMMEDIATE", &[])?;
        // Before any change of this command's is taken for known: it would hide what another process
        // committed a moment ago.
        let noticed = newest_id(&self.connection, "change");
        let done = noticed.map(|newest| self.store.cache.notice(newest)).and_then(|()| f());
        let done = done.and_then(|done| {
            execute(&self.connection, "COMMIT", &[])?;
            committed();
            Ok(done)
        });
        if done.is_err() && !self.connection.is_autocommit() {
            let _ = execute(&self.connection, "ROLLBACK", &[]);
        }
        // Whoever waits is next, even if this thread wants another turn at once.
        MutexGuard::unlock_fair(turn);
        done
    }

    /// Writes new rows and all changes, part by part, so that nobody sees them, and puts the edits of
    /// stored rows together. None of it has to be on the disk before the last part is.
    fn stage(&self, writes: &Writes) -> Result<Vec<Edits>, SqliteFault> {
        let edits = staging::stage_edits(&self.connection, writes)?;
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        let changes = writes.changes.iter().map(|change| {
            Ok(Staged { text: staging::CHANGE_PUT, values: sql::encode_change(change) })
        });
        let rows = writes.documents.values().filter(|pending| is_staged(pending)).map(|pending| {
            let mut hidden = (*pending.document).clone();
            hidden.meta.deleted_at = Some(hidden.meta.created_at);
            let text = &self.statements(hidden.meta.kind)?.insert;
            Ok(Staged { text, values: sql::encode(&hidden)? })
        });
        let links = links_apart(writes).0.into_iter();
        let links =
            links.map(|link| Ok(Staged { text: staging::LINK_PUT, values: links::encode(link) }));
        let mut all = changes.chain(rows).chain(links).peekable();
        while all.peek().is_some() {
            let ready = all.by_ref().take(CHUNK).collect::<Result<Vec<_>, SqliteFault>>()?;
            let mut ready = groups(ready);
            while !ready.is_empty() {
                let part = || {
                    let begun = Instant::now();
                    while begun.elapsed() < PART
                        && let Some(RowGroup { text, values }) = ready.pop_front()
                    {
                        execute(&self.connection, &text, &values)?;
                    }
                    Ok(())
                };
                self.transaction(part)?;
            }
        }
        Ok(edits)
    }

    /// Whether others have written, since a change, what the command has looked for in vain. (Not only of
    /// kinds that are known to have been written: that is known a moment after the commit.)
    fn has_come(&self, writes: &Writes, since: i64) -> Result<bool, SqliteFault> {
        let sought: BTreeSet<(Kind, &'static str)> =
            writes.sought.iter().map(|sought| (sought.by.kind, sought.by.column)).collect();
        for (kind, column) in sought {
            for row in query(&self.connection, &find_written(kind, column), &[Sql::Int(since)], 2)?
            {
                let value = match row.get(1) {
                    Some(Sql::Int(value)) => Key::Int(*value),
                    Some(Sql::Text(value)) => Key::from(value.as_str()),
                    _ => continue,
                };
                let by = Selector { kind, column, value };
                let account_id = sql::first_int(&row).unwrap_or_default();
                if writes.sought.contains(&Sought { account_id, by }) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Shows all that was staged, writes the rest, and takes the command for done.
    fn publish(
        &self,
        batch: &Batch,
        edits: &[Edits],
        (marks, since): (&[u64], i64),
    ) -> Result<(), SqliteFault> {
        let writes = batch.writes();
        let runs = runs(writes);
        let (staged_links, links) = links_apart(writes);
        // Kinds of which nothing was written since are as they were.
        let is_as_before =
            |kind: Kind| marks.get(kind as usize) == Some(&self.store.cache.kind(kind));
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        // Put into words before anybody waits for it.
        let is_other = |pending: &&Pending| pending.stored_version.is_none() && !is_staged(pending);
        let rows = writes.documents.values().filter(is_other);
        let rows =
            rows.map(|pending| Ok(write(self.statements(pending.document.meta.kind)?, pending)?));
        let rows = rows.collect::<Result<Vec<_>, SqliteFault>>()?;
        // All but the last moments of what others wrote is looked through while they go on.
        let newest = newest_id(&self.connection, "change")?;
        if self.has_come(writes, since)? {
            return Err(SqliteFault::Moved);
        }
        let show = || {
            if self.has_come(writes, newest)? {
                return Err(SqliteFault::Moved);
            }
            for (kind, keys) in by_kind(writes.relied_on()) {
                if !is_as_before(kind) && !links::are_there(&self.connection, kind, &keys)? {
                    return Err(SqliteFault::Moved);
                }
            }
            let mut written = Rerun::over(&self.connection);
            for (text, values) in rows {
                written.execute(text, &values)?;
            }
            for edits in edits {
                if !staging::show_edits(&self.connection, edits)? {
                    return Err(SqliteFault::Moved);
                }
            }
            for (name, first, last) in runs {
                let ids = [Sql::Int(first), Sql::Int(last)];
                let shown = execute(&self.connection, &staging::show_rows(name), &ids)?;
                if i64::try_from(shown).ok() != Some(last - first + 1) {
                    return Err(Error::internal(format!("staged rows of {name} are gone")).into());
                }
            }
            if !Protection::AllAtOnce.is_on() {
                execute(&self.connection, "COMMIT", &[])?;
                std::thread::sleep(APART_FOR);
                execute(&self.connection, "BEGIN IMMEDIATE", &[])?;
            }
            if staging::show_changes(&self.connection)? != writes.changes.len() {
                return Err(Error::internal("staged changes are gone").into());
            }
            if staging::show_links(&self.connection)? != staged_links.len() {
                return Err(Error::internal("staged links are gone").into());
            }
            links::write(&self.connection, links.into_iter())?;
            for (kind, keys) in by_kind(writes.ended()) {
                for way in Way::to(kind).filter(|way| !is_as_before(way.by)) {
                    if links::is_named(&self.connection, kind, way, &keys)? {
                        return Err(SqliteFault::Moved);
                    }
                }
            }
            for (kind, key) in writes.moved.iter().filter(|(kind, _)| !is_as_before(*kind)) {
                let text = trees::circles(*kind, trees::of(*kind)?, "= $1");
                if !query(&self.connection, &text, &[sql::key(key)], 1)?.is_empty() {
                    return Err(SqliteFault::Moved);
                }
            }
            write_beside(&self.connection, writes)?;
            staging::forget(&self.connection)
        };
        self.transaction_then(show, || self.store.cache.commit(writes))
    }

    /// Removes rows that were staged and never shown, in parts as well: to take one person out of the index
    /// of words can take milliseconds. What a crash leaves of this goes with the next.
    fn clear(&self) -> Result<(), SqliteFault> {
        let staged = query(&self.connection, staging::FIND, &[], 3)?;
        for kind in Kind::ALL.iter().rev() {
            let table = kind.table().name;
            for row in &staged {
                if let [Sql::Text(name), Sql::Int(first), Sql::Int(last)] = &**row
                    && name == table
                {
                    self.discard(table, *first, *last)?;
                }
            }
        }
        if staged.is_empty() {
            return Ok(());
        }
        self.transaction(|| staging::forget(&self.connection))
    }

    fn discard(&self, table: &str, first: i64, last: i64) -> Result<(), SqliteFault> {
        let text = staging::discard_rows(table);
        let mut next = first;
        while next <= last {
            self.transaction(|| {
                let begun = Instant::now();
                while begun.elapsed() < PART && next <= last {
                    let end = last.min(next + DISCARDED - 1);
                    execute(&self.connection, &text, &[Sql::Int(next), Sql::Int(end)])?;
                    next = end + 1;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn statements(&self, kind: Kind) -> Result<&Statements, SqliteFault> {
        let found = self.store.statements.get(&kind);
        Ok(found.ok_or_else(|| Error::internal("a kind without statements"))?)
    }
}

/// New rows whose ids were put aside are staged; all other rows are written with the last part.
fn is_staged(pending: &Pending) -> bool {
    pending.stored_version.is_none() && matches!(pending.document.meta.key, Key::Int(_))
}

/// The ids of each kind.
fn by_kind<'a>(places: impl Iterator<Item = &'a (Kind, Key)>) -> BTreeMap<Kind, Vec<&'a Key>> {
    let mut ids: BTreeMap<Kind, Vec<&Key>> = BTreeMap::new();
    for (kind, key) in places {
        ids.entry(*kind).or_default().push(key);
    }
    ids
}

/// Links of staged rows, which are staged as well, and all others.
fn links_apart(writes: &Writes) -> (Vec<&Link>, Vec<(&Link, &bool)>) {
    let is_staged = |(link, stands): &(&Link, &bool)| {
        **stands && writes.documents.get(&link.from).is_some_and(is_staged)
    };
    let (staged, rest): (Vec<_>, Vec<_>) = writes.links.iter().partition(is_staged);
    (staged.into_iter().map(|(link, _)| link).collect(), rest)
}

/// The ids of staged rows, in as few runs as there are: table, first, last.
fn runs(writes: &Writes) -> Vec<(&'static str, i64, i64)> {
    let mut runs: Vec<(&'static str, i64, i64)> = Vec::new();
    // In the order of kinds and ids.
    for pending in writes.documents.values().filter(|pending| is_staged(pending)) {
        let meta = &pending.document.meta;
        let (name, id) = (meta.kind.table().name, meta.key.as_int().unwrap_or_default());
        match runs.last_mut() {
            Some((known, _, last)) if *known == name && *last + 1 == id => *last = id,
            _ => runs.push((name, id, id)),
        }
    }
    runs
}

/// The records of a kind that were written since change `$1`: whose each is, and what it has in a column.
fn find_written(kind: Kind, column: &str) -> String {
    let name = kind.table().name;
    let id = if kind.table().key == KeyType::Int {
        "CAST(c.record_id AS INTEGER)"
    } else {
        "c.record_id"
    };
    format!(
        "SELECT t.account_id, t.{column} FROM change c CROSS JOIN {name} t ON t.id = {id} \
         WHERE c.id > $1 AND c.kind = '{name}' AND t.deleted_at IS NULL"
    )
}

/// Every statement, to be prepared by a check.
pub(super) fn statements() -> impl Iterator<Item = String> {
    let of = |kind: &'static Kind| {
        kind.table().columns.iter().map(|column| find_written(*kind, column.name))
    };
    let of_trees = trees::all().flat_map(|(kind, tree)| {
        [trees::above, trees::below, trees::circles].map(|text| text(kind, tree, "= $1"))
    });
    Kind::ALL.iter().flat_map(of).chain(of_trees)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_table_go_together_in_their_order() {
        let row = |text, n| Staged { text, values: vec![Sql::Int(n), Sql::Null] };
        let a = (0..300).map(|n| row("INSERT INTO a VALUES (?1, ?2)", n));
        let b = (300..303).map(|n| row("INSERT INTO b VALUES (?1, ?2)", n));
        let groups = groups(a.chain(b).collect());
        let sizes: Vec<usize> = groups.iter().map(|group| group.values.len() / 2).collect();
        assert_eq!(sizes, [128, 128, 32, 8, 4, 2, 1]);
        assert_eq!(groups[5].text, "INSERT INTO b VALUES (?1, ?2), (?3, ?4)");
        assert_eq!(groups[6].text, "INSERT INTO b VALUES (?1, ?2)");
        let values: Vec<Sql> = groups.into_iter().flat_map(|group| group.values).collect();
        assert!(values.iter().step_by(2).eq((0..303).map(Sql::Int).collect::<Vec<_>>().iter()));
    }
}
