//! Records in memory, for the store that one process writes. The writer puts in what it committed
//! before it answers, so a read never shows less than what was acknowledged. What another process
//! commits (the command line, on the same file) empties the cache as soon as it is noticed.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::facts::{Fact, Need, Selector};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};
use crate::pipeline::Writes;

/// Records held at the most; a record takes 1 to 4 KiB.
const RECORDS_MAX: usize = 8192;
/// Selections held at the most.
const SELECTIONS_MAX: usize = 2048;

/// The keys of a selection, and the generation of its kind when they were found.
type Selection = (u64, Arc<[Key]>);

/// See the module.
#[derive(Debug)]
pub(super) struct Cache {
    records: quick_cache::sync::Cache<(Kind, Key), Arc<Document>>,
    selections: quick_cache::sync::Cache<Selector, Selection>,
    /// Counts commits of any kind: a row that was read before the newest commit is not taken in.
    generation: AtomicU64,
    /// Counts, kind by kind, commits that wrote a record of it: they may have moved it into or out
    /// of a selection.
    kinds: Vec<AtomicU64>,
    /// The newest change that the cache knows of.
    newest: AtomicI64,
    /// Held while something is taken in, so that no reader puts an old row over a new one.
    door: Mutex<()>,
    /// Off until there is a writer to keep the cache true.
    is_on: AtomicBool,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            records: quick_cache::sync::Cache::new(RECORDS_MAX),
            selections: quick_cache::sync::Cache::new(SELECTIONS_MAX),
            generation: AtomicU64::new(0),
            kinds: Kind::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            newest: AtomicI64::new(0),
            door: Mutex::new(()),
            is_on: AtomicBool::new(false),
        }
    }

    /// Begins to keep what is read.
    pub(super) fn turn_on(&self) {
        self.is_on.store(true, Ordering::SeqCst);
    }

    /// The state to name in [`Cache::take_in`], asked for before the database is read.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn kind(&self, kind: Kind) -> u64 {
        self.kinds.get(kind as usize).map_or(0, |counter| counter.load(Ordering::SeqCst))
    }

    /// What is known; none when the database has to be asked.
    pub(super) fn find(&self, need: &Need) -> Option<Fact> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        match need {
            Need::Record(kind, key) => {
                let document = self.records.get(&(*kind, key.clone()))?;
                Some(Fact::Record(Some(document)))
            }
            Need::Select(selector) => {
                let (generation, keys) = self.selections.get(selector)?;
                if generation != self.kind(selector.kind) {
                    return None;
                }
                let records =
                    keys.iter().map(|key| self.records.get(&(selector.kind, key.clone())));
                Some(Fact::Select(records.collect::<Option<Vec<_>>>()?))
            }
            _ => None,
        }
    }

    /// Keeps what was read from the database, unless something was committed meanwhile.
    pub(super) fn take_in(&self, need: &Need, fact: &Fact, generation: u64) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        let _held = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        if self.generation() != generation {
            return;
        }
        match (need, fact) {
            (Need::Record(kind, key), Fact::Record(Some(document))) => {
                self.records.insert((*kind, key.clone()), Arc::clone(document));
            }
            // What is not there is not kept, or made-up names could fill the cache.
            (Need::Select(selector), Fact::Select(documents)) if !documents.is_empty() => {
                for document in documents {
                    let place = (selector.kind, document.meta.key.clone());
                    self.records.insert(place, Arc::clone(document));
                }
                let keys = documents.iter().map(|document| document.meta.key.clone()).collect();
                self.selections.insert(selector.clone(), (self.kind(selector.kind), keys));
            }
            _ => {}
        }
    }

    /// Takes in what the writer has committed.
    pub(super) fn commit(&self, writes: &Writes) {
        let Some(newest) = writes.changes.iter().map(|change| change.id).max() else {
            return;
        };
        let _held = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::SeqCst);
        for ((kind, key), pending) in &writes.documents {
            self.records.insert((*kind, key.clone()), Arc::clone(&pending.document));
            if let Some(counter) = self.kinds.get(*kind as usize) {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.newest.store(newest, Ordering::SeqCst);
    }

    /// Compares with the newest change in the database; forgets everything when another process
    /// has written.
    pub(super) fn notice(&self, newest: i64) {
        if newest == self.newest.load(Ordering::SeqCst) {
            return;
        }
        let _held = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        if newest > self.newest.load(Ordering::SeqCst) {
            self.generation.fetch_add(1, Ordering::SeqCst);
            for counter in &self.kinds {
                counter.fetch_add(1, Ordering::SeqCst);
            }
            self.records.clear();
            self.selections.clear();
            self.newest.store(newest, Ordering::SeqCst);
        }
    }
}
