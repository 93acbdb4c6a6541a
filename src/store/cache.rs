//! Records in memory, for the store that one process writes. The writer puts in what it committed
//! before it answers, so a read never shows less than what was acknowledged. What another process
//! commits (the command line, on the same file) empties the cache as soon as it is noticed.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::Weighter;

use crate::domain::facts::{Fact, Memory, Need, Selector};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};
use crate::pipeline::Writes;
use crate::sabotage::Protection;

/// Memory for records, bytes.
const RECORD_BYTES: u64 = 48 * 1024 * 1024;
/// About how many records that are, to begin with.
const RECORDS: usize = 32 * 1024;
/// Fields longer than this as JSON, bytes, are not kept: a few such records would drive out all others.
const RECORD_LENGTH_MAX: usize = 64 * 1024;
/// What a record takes beside its fields, bytes.
const RECORD_OVERHEAD: u64 = 512;
/// Selections held at the most.
const SELECTIONS_MAX: usize = 2048;
/// Things known to be absent, held at the most.
const ABSENCES_MAX: usize = 4096;
/// The longest key that is remembered as absent, bytes; real ones are shorter.
const ABSENT_KEY_MAX: usize = 64;

/// The keys of a selection, and the generation of its kind when they were found.
type Selection = (u64, Arc<[Key]>);

/// Counts the memory that a record takes: fields as their type take about twice the room of their
/// JSON.
#[derive(Clone, Copy, Debug)]
struct Bytes;

impl Weighter<(Kind, Key), Arc<Document>> for Bytes {
    fn weight(&self, _: &(Kind, Key), document: &Arc<Document>) -> u64 {
        RECORD_OVERHEAD + 2 * document.length() as u64
    }
}
/// Records of one commit that are kept.
const KEPT_OF_A_COMMIT: usize = 2048;
/// Memory counts as full from here on, bytes: it is bounded in parts, not all of which fill up evenly.
const FULL_BYTES: u64 = RECORD_BYTES / 10 * 9;
/// Of the edited records that are not in a full memory, one in so many is taken in: what is edited often
/// is in soon, and what is edited once does not cost the room of another.
const TAKEN_IN: i64 = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Cache {
    records: quick_cache::sync::Cache<(Kind, Key), Arc<Document>, Bytes>,
    selections: quick_cache::sync::Cache<Selector, Selection>,
    /// What was looked for and is not there, with the generation of its kind: or the time of an
    /// answer would tell an id that is nobody's from one that is another account's. Made-up names
    /// fill only this.
    absences: quick_cache::sync::Cache<Need, u64>,
    /// Counts commits, of records or of anything else: a row that was read before the newest commit is
    /// not taken in, and a reader's view of before it is not read again.
    generation: AtomicU64,
    /// Counts, kind by kind, commits that wrote a record of it: they may have moved it into or out
    /// of a selection.
    kinds: Vec<AtomicU64>,
    /// Counts, kind by kind, commits that made a record of it.
    births: Vec<AtomicU64>,
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
            records: quick_cache::sync::Cache::with_weighter(RECORDS, RECORD_BYTES, Bytes),
            selections: quick_cache::sync::Cache::new(SELECTIONS_MAX),
            absences: quick_cache::sync::Cache::new(ABSENCES_MAX),
            generation: AtomicU64::new(0),
            kinds: Kind::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            births: Kind::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            newest: AtomicI64::new(0),
            door: Mutex::new(()),
            is_on: AtomicBool::new(false),
        }
    }

    /// Begins to keep what is read.
    pub(super) fn turn_on(&self) {
        self.is_on.store(true, Ordering::SeqCst);
    }

    /// True when there is a writer that keeps the cache true.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// The state to name in [`Cache::take_in`], asked for before the database is read.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    pub(super) fn kind(&self, kind: Kind) -> u64 {
        self.kinds.get(kind as usize).map_or(0, |counter| counter.load(Ordering::SeqCst))
    }

    /// Moves on when what is absent may have come to be.
    fn absence(&self, need: &Need) -> Option<u64> {
        match need {
            Need::Record(kind, _) => {
                self.births.get(*kind as usize).map(|counter| counter.load(Ordering::SeqCst))
            }
            Need::Select(selector) => Some(self.kind(selector.kind)),
            _ => None,
        }
    }

    fn is_absent(&self, need: &Need) -> bool {
        if !Protection::EvenTime.is_on() {
            return false;
        }
        self.absences.get(need).is_some_and(|generation| self.absence(need) == Some(generation))
    }

    /// What is known; none when the database has to be asked.
    pub(super) fn find(&self, need: &Need) -> Option<Fact> {
        if !self.is_on() {
            return None;
        }
        match need {
            Need::Record(kind, key) => match self.records.get(&(*kind, key.clone())) {
                Some(document) => Some(Fact::Record(Some(document))),
                None => self.is_absent(need).then_some(Fact::Record(None)),
            },
            Need::Select(selector) => {
                let Some((generation, keys)) = self.selections.get(selector) else {
                    return self.is_absent(need).then(|| Fact::Select(Vec::new()));
                };
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
        if !self.is_on() {
            return;
        }
        // What does not get in now gets in another time; nobody queues for it.
        let Ok(_held) = self.door.try_lock() else { return };
        if self.generation() != generation {
            return;
        }
        match (need, fact) {
            (Need::Record(kind, key), Fact::Record(Some(document))) => {
                self.keep((*kind, key.clone()), Arc::clone(document));
            }
            (Need::Record(_, key), Fact::Record(None)) => self.miss(need, key),
            (Need::Above(kind, _), Fact::Select(documents)) => {
                for document in documents {
                    self.keep((*kind, document.meta.key.clone()), Arc::clone(document));
                }
            }
            (Need::Select(selector), Fact::Select(documents)) if documents.is_empty() => {
                self.miss(need, &selector.value);
            }
            (Need::Select(selector), Fact::Select(documents)) => {
                for document in documents {
                    let place = (selector.kind, document.meta.key.clone());
                    self.keep(place, Arc::clone(document));
                }
                let keys = documents.iter().map(|document| document.meta.key.clone()).collect();
                self.selections.insert(selector.clone(), (self.kind(selector.kind), keys));
            }
            _ => {}
        }
    }

    fn keep(&self, place: (Kind, Key), document: Arc<Document>) {
        if document.length() > RECORD_LENGTH_MAX {
            self.records.remove(&place);
        } else {
            self.records.insert(place, document);
        }
    }

    /// Remembers that there is no such thing.
    fn miss(&self, need: &Need, key: &Key) {
        let is_short = match key {
            Key::Int(_) => true,
            Key::Text(text) => text.len() <= ABSENT_KEY_MAX,
        };
        if let Some(generation) = self.absence(need).filter(|_| is_short) {
            self.absences.insert(need.clone(), generation);
        }
    }

    /// Takes in what the writer has committed.
    pub(super) fn commit(&self, writes: &Writes) {
        let _held = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::SeqCst);
        let Some(newest) = writes.changes.iter().map(|change| change.id).max() else {
            return;
        };
        // Of many, few are asked for next, and they would drive out what is.
        let keeps = writes.documents.len() <= KEPT_OF_A_COMMIT;
        let is_full = self.records.weight() >= FULL_BYTES;
        for ((kind, key), pending) in &writes.documents {
            let place = (*kind, key.clone());
            if !keeps {
                self.records.remove(&place);
            } else if !is_full
                || pending.document.meta.change_id % TAKEN_IN == 0
                || self.records.contains_key(&place)
            {
                self.keep(place, Arc::new(pending.document.slim()));
            }
            let counters = [
                self.kinds.get(*kind as usize),
                self.births.get(*kind as usize).filter(|_| pending.stored_version.is_none()),
            ];
            for counter in counters.into_iter().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.newest.fetch_max(newest, Ordering::SeqCst);
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
            for counter in self.kinds.iter().chain(&self.births) {
                counter.fetch_add(1, Ordering::SeqCst);
            }
            self.records.clear();
            self.selections.clear();
            self.absences.clear();
            self.newest.store(newest, Ordering::SeqCst);
        }
    }
}

impl Memory for Cache {
    fn recall(&self, need: &Need) -> Option<Fact> {
        self.find(need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::certificate::design::Design;
    use crate::domain::change::{Action, Change};
    use crate::domain::record::Meta;
    use crate::pipeline::{Pending, Touched};

    fn document(id: i64) -> Document {
        let meta = Meta {
            kind: Kind::Design,
            key: Key::Int(id),
            account_id: 1,
            version: 1,
            change_id: id,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            deleted_at: None,
        };
        Document::of(meta, Design::default())
    }

    #[test]
    fn what_is_asked_of_a_kept_record_does_not_change_its_weight() {
        let kept = Arc::new(document(1).slim());
        let before = Bytes.weight(&(Kind::Design, Key::Int(1)), &kept);
        assert!(kept.fields().is_ok());
        assert_eq!(Bytes.weight(&(Kind::Design, Key::Int(1)), &kept), before);
        let written = document(1);
        assert!(written.fields().is_ok());
        assert!(Bytes.weight(&(Kind::Design, Key::Int(1)), &Arc::new(written.slim())) > before);
    }

    /// A design with so many bytes of fields, as change `change_id` left it.
    fn edited(id: i64, change_id: i64, length: usize) -> Document {
        let meta = Meta { change_id, ..document(id).meta };
        Document::of_any(meta, (Arc::new(Design::default()), None), length)
    }

    fn commit(cache: &Cache, document: Document) {
        let (kind, key) = (document.meta.kind, document.meta.key.clone());
        let change = Change {
            id: document.meta.change_id,
            account_id: 1,
            kind,
            record_id: key.to_string(),
            version: 2,
            previous_id: None,
            act_id: None,
            act_end: None,
            undoes: None,
            at: jiff::Timestamp::UNIX_EPOCH,
            actor: String::new(),
            dialect: String::new(),
            request_id: String::new(),
            action: Action::Edit,
            before: None,
            after: None,
        };
        let pending = Pending {
            document: Arc::new(document),
            stored_version: Some(1),
            touched: Touched::Body,
        };
        cache.commit(&Writes {
            documents: [((kind, key), pending)].into(),
            changes: vec![Arc::new(change)],
            ..Writes::default()
        });
    }

    fn change_id(cache: &Cache, id: i64) -> Option<i64> {
        match cache.find(&Need::Record(Kind::Design, Key::Int(id))) {
            Some(Fact::Record(Some(document))) => Some(document.meta.change_id),
            _ => None,
        }
    }

    #[test]
    fn an_edited_record_comes_into_a_full_memory_now_and_then_and_is_never_old_there() {
        let cache = Cache::new();
        cache.turn_on();
        commit(&cache, edited(1, TAKEN_IN + 1, 100));
        assert_eq!(change_id(&cache, 1), Some(TAKEN_IN + 1), "there is room");
        let mut id = 1;
        while cache.records.weight() < FULL_BYTES {
            id += 1;
            commit(&cache, edited(id, id * TAKEN_IN + 1, RECORD_LENGTH_MAX));
        }
        commit(&cache, edited(id + 1, (id + 1) * TAKEN_IN + 1, 100));
        assert_eq!(change_id(&cache, id + 1), None, "it would drive another out");
        commit(&cache, edited(id + 1, (id + 2) * TAKEN_IN, 100));
        assert_eq!(change_id(&cache, id + 1), Some((id + 2) * TAKEN_IN), "one in so many");
        commit(&cache, edited(id + 1, (id + 3) * TAKEN_IN + 1, 100));
        assert_eq!(change_id(&cache, id + 1), Some((id + 3) * TAKEN_IN + 1), "it was there");
    }

    #[test]
    fn records_are_forgotten_before_they_take_more_than_their_share() {
        let records = quick_cache::sync::Cache::with_weighter(10, 10 * RECORD_OVERHEAD, Bytes);
        for id in 1..=100 {
            records.insert((Kind::Design, Key::Int(id)), Arc::new(document(id)));
        }
        assert!(records.len() <= 10 && !records.is_empty(), "{}", records.len());
    }
}
