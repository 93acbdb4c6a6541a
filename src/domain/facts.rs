//! What a decision knows of the database. Asking for something that has not been loaded stops the
//! decision with [`Stop::Missing`]; the pipeline loads it and decides again. So a decision stays a
//! pure function, and nobody has to list beforehand what it will want to know.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use foldhash::HashMap;

use super::change::Change;
use super::error::Error;
use super::kind::Kind;
use super::record::{Document, Key, Record, Stored};
use super::table::{ColumnType, Way};
use crate::sabotage::Protection;

mod need;
mod tree;

pub use need::{
    Answered, Count, Fact, Header, Known, Namers, Need, Selector, Sequence, Signature, Stop,
    StoredAnswer, Token,
};

/// What a store has in memory.
pub trait Memory: fmt::Debug + Send + Sync {
    /// A record or a selection, where it is known without asking the database.
    fn recall(&self, need: &Need) -> Option<Fact>;
}

/// Asks for each of many, so that what they lack is loaded in one round.
///
/// # Errors
/// [`Stop::Missing`] with all that is lacking; otherwise the first that `f` refuses.
pub fn all<T, U>(
    items: impl IntoIterator<Item = T>,
    mut f: impl FnMut(T) -> Known<U>,
) -> Known<Vec<U>> {
    let (mut found, mut missing, mut refusal) = (Vec::new(), Vec::new(), None);
    for item in items {
        match f(item) {
            Ok(one) => found.push(one),
            Err(Stop::Missing(needs)) => missing.extend(needs),
            Err(stop) => refusal = refusal.or(Some(stop)),
        }
    }
    if missing.is_empty() { refusal.map_or(Ok(found), Err) } else { Err(Stop::Missing(missing)) }
}

/// Records by kind and id, or that there is none.
type Records = HashMap<(Kind, Key), Option<Arc<Document>>>;

/// The ids of the records with a value in a column.
type Selections = HashMap<Selector, Arc<[Key]>>;

/// Changes loaded in one round of a walk back through a record's history.
const STRIDE_MIN: i64 = 8;
/// The most of them.
const STRIDE_MAX: i64 = 10_000;

/// Who name, by which column or elsewhere, and whom.
type WayTo = (Kind, Option<&'static str>, Kind);

/// Who names whom, by the one who is named.
type NamersByKey = HashMap<Key, Vec<Key>>;

/// How many more records have these values than the database knows.
type Tally = HashMap<Vec<Key>, i64>;

/// Counts a record with its values in these columns, where it is live.
fn step(
    tally: &mut Tally,
    columns: &[&'static str],
    document: Option<&Arc<Document>>,
    by: i64,
) -> Result<(), Error> {
    let live = document.filter(|document| document.meta.deleted_at.is_none());
    let Some(document) = live else { return Ok(()) };
    let fields = document.fields()?;
    let values = columns.iter().map(|column| match *column {
        "account_id" => Some(Key::Int(document.meta.account_id)),
        column => Key::of(&fields.value(column)),
    });
    if let Some(values) = values.collect::<Option<Vec<_>>>() {
        *tally.entry(values).or_default() += by;
    }
    Ok(())
}

/// How a record is named, which one, and by whom: the id of a record of the way's kind.
pub type Named<'a> = (Way, &'a (Kind, Key), Key);

/// How a record was known before another state was laid on top.
#[derive(Debug)]
struct Laid {
    place: (Kind, Key),
    was_loaded: bool,
    record: Option<Arc<Document>>,
    is_first: bool,
}

/// Where to go back to; see [`Facts::roll_back`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Checkpoint {
    laid: usize,
    taken: usize,
}

/// Everything loaded so far, with the writes of earlier decisions of the same batch on top.
#[derive(Debug, Default)]
pub struct Facts {
    /// Looked at before a record or a selection counts as missing.
    memory: Option<Arc<dyn Memory>>,
    // What was recalled once stays the same for this decision.
    records: RefCell<Records>,
    selections: RefCell<Selections>,
    /// What earlier decisions of the batch wrote, as it was before: no selection from the database
    /// knows of it.
    written: HashMap<Kind, BTreeMap<Key, Option<Arc<Document>>>>,
    /// What was laid on top for the time being, and how things were before.
    laid: Vec<Laid>,
    // What follows from what was written and laid on top, for those who ask many questions of the same
    // form; until that changes.
    tallies: RefCell<HashMap<(Kind, Vec<&'static str>), Tally>>,
    namers: RefCell<HashMap<WayTo, NamersByKey>>,
    ids: HashMap<Sequence, VecDeque<i64>>,
    taken: Vec<(Sequence, i64)>,
    /// The changes that earlier decisions of the batch made, by id.
    made: HashMap<i64, Arc<Change>>,
    others: HashMap<Need, Arc<Fact>>,
    /// What is being worded, others wait for: see [`Facts::word`].
    is_wording: bool,
}

/// How many records an answer shows beside its own while others wait for it.
const SHOWN_MAX: usize = 200;

impl Facts {
    /// Nothing but what `memory` has.
    pub fn over(memory: Arc<dyn Memory>) -> Self {
        Self { memory: Some(memory), ..Self::default() }
    }

    /// Takes in what the store has in memory, and what none can have.
    fn recall(&self, need: Need) -> Known<()> {
        let memory = || self.memory.as_ref().and_then(|memory| memory.recall(&need));
        match need.vain().or_else(memory) {
            Some(fact) => {
                self.keep(need, fact);
                Ok(())
            }
            None => match self.loaded(&need)? {
                Some(_) => Err(Error::internal("a fact of another kind than its need").into()),
                None => Err(Stop::Missing(vec![need])),
            },
        }
    }

    /// The same for several, so that a store can load all that is missing in one round.
    fn recall_all(&self, needs: impl Iterator<Item = Need>) -> Known<()> {
        let mut missing = Vec::new();
        for need in needs {
            match self.recall(need) {
                Err(Stop::Missing(needs)) => missing.extend(needs),
                recalled => recalled?,
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(Stop::Missing(missing)) }
    }

    /// What the store answered, neither a record nor a selection.
    fn loaded(&self, need: &Need) -> Known<Option<&Arc<Fact>>> {
        match self.others.get(need) {
            Some(fact) => match &**fact {
                Fact::Unreadable(error) => Err(error.clone().into()),
                _ => Ok(Some(fact)),
            },
            None => Ok(None),
        }
    }

    /// A record of any kind, deleted ones included.
    ///
    /// # Errors
    /// [`Stop::Missing`] until it is loaded.
    pub fn document(&self, kind: Kind, key: &Key) -> Known<Option<Arc<Document>>> {
        let place = (kind, key.clone());
        if let Some(found) = self.records.borrow().get(&place) {
            return Ok(found.clone());
        }
        self.recall(Need::Record(kind, key.clone()))?;
        Ok(self.records.borrow().get(&place).cloned().flatten())
    }

    /// A live record of the account. Another account's record is as absent as a missing one.
    ///
    /// # Errors
    /// [`Stop::Missing`] until it is loaded; [`Error::Internal`] when it cannot be read.
    pub fn find<R: Record>(
        &self,
        account_id: i64,
        key: impl Into<Key>,
    ) -> Known<Option<Stored<R>>> {
        match self.document(R::KIND, &key.into())? {
            Some(document)
                if (document.meta.account_id == account_id
                    || !Protection::AccountWalls.is_on())
                    && document.meta.deleted_at.is_none() =>
            {
                Ok(Some(document.typed()?))
            }
            _ => Ok(None),
        }
    }

    /// The live records of the account among `ids`, in their order; all are asked for at once.
    ///
    /// # Errors
    /// As [`Facts::find`].
    pub fn find_all<R: Record>(&self, account_id: i64, ids: &[i64]) -> Known<Vec<Stored<R>>> {
        self.want(ids.iter().map(|id| (R::KIND, Key::Int(*id))))?;
        ids.iter().filter_map(|id| self.find(account_id, *id).transpose()).collect()
    }

    /// A live record of the account that must exist.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it does not; otherwise as [`Facts::find`].
    pub fn get<R: Record>(&self, account_id: i64, key: impl Into<Key>) -> Known<Stored<R>> {
        self.find(account_id, key)?.ok_or(Stop::Refused(Error::NotFound(R::KIND)))
    }

    /// The live records of the account with a value in a column, oldest id first.
    ///
    /// # Errors
    /// As [`Facts::find`].
    pub fn select<R: Record>(
        &self,
        account_id: i64,
        column: &'static str,
        value: impl Into<Key>,
    ) -> Known<Vec<Stored<R>>> {
        let mut found = self.select_in_all_accounts::<R>(column, value)?;
        found.retain(|stored| stored.meta.account_id == account_id);
        Ok(found)
    }

    /// The same over all accounts: for finding out who calls, and for nothing else.
    ///
    /// # Errors
    /// As [`Facts::find`].
    pub fn select_in_all_accounts<R: Record>(
        &self,
        column: &'static str,
        value: impl Into<Key>,
    ) -> Known<Vec<Stored<R>>> {
        let found = self.select_documents(R::KIND, column, value.into())?;
        found.iter().map(|document| Ok(document.typed()?)).collect()
    }

    /// Lets `f` word an answer while others wait for it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn word<T>(&mut self, f: impl FnOnce(&mut Self) -> Known<T>) -> Known<T> {
        /// Ends it however `f` ends: what panics is caught, and others are decided by the same facts.
        struct Wording<'a>(&'a mut Facts);
        impl Drop for Wording<'_> {
            fn drop(&mut self) {
                self.0.is_wording = false;
            }
        }
        self.is_wording = true;
        f(Wording(self).0)
    }

    /// To be asked before the records of a kind that name `to` in a column are shown.
    ///
    /// # Errors
    /// [`Stop::Long`] when these are too many for those who wait; [`Stop::Missing`] until that is known.
    pub(super) fn may_show(&self, by: Kind, column: &'static str, to: &Key) -> Known<()> {
        if !self.is_wording {
            return Ok(());
        }
        let selector = Selector { kind: by, column, value: to.clone() };
        let is_known = self.selections.borrow().contains_key(&selector);
        let count = if is_known || self.recall(Need::Select(selector.clone())).is_ok() {
            self.selections.borrow().get(&selector).map_or(0, |keys| keys.len())
        } else {
            let named = by.table().columns.iter().find(|known| known.name == column);
            let Some(ColumnType::Reference(kind, gone)) = named.map(|known| known.column_type)
            else {
                return Ok(());
            };
            let limit = i64::try_from(SHOWN_MAX + 1).unwrap_or(i64::MAX);
            let way = Way { by, column: Some(column), gone };
            self.naming_by(way, &(kind, to.clone()), limit)?.len()
        };
        if count > SHOWN_MAX { Err(Stop::Long) } else { Ok(()) }
    }

    /// The live records of any kind and account with a value in a column, oldest id first.
    ///
    /// # Errors
    /// [`Stop::Missing`] until they are loaded.
    pub fn select_documents(
        &self,
        kind: Kind,
        column: &'static str,
        value: Key,
    ) -> Known<Vec<Arc<Document>>> {
        let selector = Selector { kind, column, value };
        if !self.selections.borrow().contains_key(&selector) {
            self.recall(Need::Select(selector.clone()))?;
        }
        let keys = self.selections.borrow().get(&selector).cloned().unwrap_or_default();
        let mut found = Vec::with_capacity(keys.len());
        for key in &*keys {
            found.extend(
                self.document(kind, key)?.filter(|document| document.meta.deleted_at.is_none()),
            );
        }
        if let Some(written) = self.written.get(&kind) {
            found.retain(|document| !written.contains_key(&document.meta.key));
            for key in written.keys() {
                if let Some(document) = self.document(kind, key)?
                    && selector.fits(&document)?
                {
                    found.push(document);
                }
            }
            found.sort_by(|one, other| one.meta.key.cmp(&other.meta.key));
        }
        Ok(found)
    }

    /// Asks for several records at once, so that a store can load them in one round.
    ///
    /// # Errors
    /// [`Stop::Missing`] with all that are not loaded.
    pub fn want(&self, records: impl IntoIterator<Item = (Kind, Key)>) -> Known<()> {
        let unknown =
            records.into_iter().filter(|place| !self.records.borrow().contains_key(place));
        self.recall_all(unknown.map(|(kind, key)| Need::Record(kind, key)))
    }

    /// Asks for several selections at once, as [`Facts::want`] does for records.
    ///
    /// # Errors
    /// [`Stop::Missing`] with all that are not loaded.
    pub fn want_selections(&self, selectors: impl IntoIterator<Item = Selector>) -> Known<()> {
        let unknown = selectors
            .into_iter()
            .filter(|selector| !self.selections.borrow().contains_key(selector));
        self.recall_all(unknown.map(Need::Select))
    }

    /// Which of these values are taken in the database: some row has it, deleted or not.
    ///
    /// # Errors
    /// [`Stop::Missing`] with all that are not known.
    pub fn taken(&self, selectors: impl IntoIterator<Item = Selector>) -> Known<Vec<bool>> {
        let (mut taken, mut missing) = (Vec::new(), Vec::new());
        for selector in selectors {
            let need = Need::Taken(selector);
            match self.loaded(&need)? {
                Some(fact) => taken.push(matches!(**fact, Fact::Taken(true))),
                None => missing.push(need),
            }
        }
        if missing.is_empty() { Ok(taken) } else { Err(Stop::Missing(missing)) }
    }

    /// The live records that name one of `named`: how, which one, and who. More than `limit` of one
    /// way need not all be given.
    ///
    /// # Errors
    /// [`Stop::Missing`] with all that is not known.
    pub fn naming<'a>(
        &self,
        named: impl IntoIterator<Item = &'a (Kind, Key)>,
        limit: i64,
    ) -> Known<Vec<Named<'a>>> {
        let ways = named.into_iter().flat_map(|to| Way::to(to.0).map(move |way| (way, to)));
        let found = all(ways, |(way, to)| {
            let keys = self.naming_by(way, to, limit)?;
            Ok(keys.into_iter().map(move |key| (way, to, key)))
        });
        Ok(found?.into_iter().flatten().collect())
    }

    fn naming_by(&self, way: Way, to: &(Kind, Key), limit: i64) -> Known<Vec<Key>> {
        let written = self.written.get(&way.by);
        // Of those that the database knows, the batch may have changed some.
        let room = written.map_or(0, |written| written.len().next_multiple_of(512));
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        let limit = limit.saturating_add(room);
        let naming = Namers { by: way.by, column: way.column, to: to.clone(), limit };
        let fact = self.other(Need::Namers(naming))?;
        let Fact::Namers(keys) = &*fact else { return Ok(Vec::new()) };
        let Some(written) = written else { return Ok(keys.clone()) };
        let untouched = keys.iter().filter(|key| !written.contains_key(*key));
        let mut found: Vec<Key> = untouched.cloned().collect();
        let place = (way.by, way.column, to.0);
        if !self.namers.borrow().contains_key(&place) {
            let namers = self.namers(way, to.0)?;
            self.namers.borrow_mut().insert(place, namers);
        }
        let namers = self.namers.borrow();
        let named_now = namers.get(&place).and_then(|namers| namers.get(&to.1));
        found.extend(named_now.into_iter().flatten().cloned());
        Ok(found)
    }

    /// How many live records of a kind have these values in these columns.
    ///
    /// # Errors
    /// [`Stop::Missing`] until it is known.
    pub fn count(&self, count: &Count) -> Known<i64> {
        let mut counted = 0;
        if !count.is.iter().any(|(column, value)| self.is_new(count.kind, column, value)) {
            let fact = self.other(Need::Count(count.clone()))?;
            let Fact::Count(stored) = *fact else { return Ok(0) };
            counted = stored;
        }
        if self.written.get(&count.kind).is_some_and(|written| !written.is_empty()) {
            let columns: Vec<&'static str> = count.is.iter().map(|(column, _)| *column).collect();
            let place = (count.kind, columns);
            if !self.tallies.borrow().contains_key(&place) {
                let tally = self.tally(count.kind, &place.1)?;
                self.tallies.borrow_mut().insert(place.clone(), tally);
            }
            let values: Vec<Key> = count.is.iter().map(|(_, value)| value.clone()).collect();
            let tallies = self.tallies.borrow();
            counted += tallies.get(&place).and_then(|tally| tally.get(&values)).unwrap_or(&0);
        }
        Ok(counted)
    }

    /// How many more live records of a kind than the database knows have which values in these columns.
    fn tally(&self, kind: Kind, columns: &[&'static str]) -> Known<Tally> {
        let mut tally = Tally::default();
        for (key, before) in self.written.get(&kind).into_iter().flatten() {
            let now = self.document(kind, key)?;
            step(&mut tally, columns, before.as_ref(), -1)?;
            step(&mut tally, columns, now.as_ref(), 1)?;
        }
        Ok(tally)
    }

    /// Keeps what was counted up to date: for each record of many that a batch writes, others are counted.
    fn recount(&mut self, kind: Kind, from: Option<&Arc<Document>>, to: Option<&Arc<Document>>) {
        self.namers.get_mut().retain(|(by, ..), _| *by != kind);
        self.tallies.get_mut().retain(|(of, columns), tally| {
            let mut steps = || step(tally, columns, from, -1).and(step(tally, columns, to, 1));
            // One that cannot be kept up is made anew, by who can say why.
            *of != kind || steps().is_ok()
        });
    }

    /// Who among the records that the batch wrote names whom in a way.
    fn namers(&self, way: Way, to: Kind) -> Known<NamersByKey> {
        let mut namers = NamersByKey::default();
        for key in self.written.get(&way.by).into_iter().flat_map(BTreeMap::keys) {
            let document = self.document(way.by, key)?;
            let live = document.filter(|document| document.meta.deleted_at.is_none());
            let Some(document) = live else { continue };
            let named: Vec<Key> = if let Some(column) = way.column {
                Key::of(&document.fields()?.value(column)).into_iter().collect()
            } else {
                let named = way.by.named_in_body(&document)?.into_iter();
                named.filter(|(kind, _)| *kind == to).map(|(_, key)| key).collect()
            };
            for to in named {
                namers.entry(to).or_default().push(key.clone());
            }
        }
        Ok(namers)
    }

    /// True for the id, in a column, of a record that is being made: nothing stored names it. (The
    /// database is not asked about an id that may be another's the next time the decision is run.)
    fn is_new(&self, kind: Kind, column: &str, value: &Key) -> bool {
        let column = kind.table().columns.iter().find(|known| known.name == column);
        let Some(ColumnType::Reference(to, _)) = column.map(|column| column.column_type) else {
            return false;
        };
        let is_taken = |(sequence, id): &(Sequence, i64)| {
            *sequence == Sequence::Record(to) && Key::Int(*id) == *value
        };
        matches!(self.written.get(&to).and_then(|written| written.get(value)), Some(None))
            || self.taken.iter().any(is_taken)
    }

    /// Asks for so many new ids at once.
    ///
    /// # Errors
    /// [`Stop::Missing`] with those that are lacking.
    pub fn want_ids(&self, counts: &[(Sequence, usize)]) -> Known<()> {
        let mut missing = Vec::new();
        for (sequence, count) in counts {
            let known = self.ids.get(sequence).map_or(0, VecDeque::len);
            missing.extend((known..*count).map(|_| Need::Id(*sequence)));
        }
        if missing.is_empty() { Ok(()) } else { Err(Stop::Missing(missing)) }
    }

    /// A new id.
    ///
    /// # Errors
    /// [`Stop::Missing`] when none is left.
    pub fn take(&mut self, sequence: Sequence) -> Known<i64> {
        let id = self
            .ids
            .get_mut(&sequence)
            .and_then(VecDeque::pop_front)
            .ok_or_else(|| Stop::Missing(vec![Need::Id(sequence)]))?;
        self.taken.push((sequence, id));
        Ok(id)
    }

    /// Takes the ids handed out since the last call as used; returns them.
    pub fn keep_ids(&mut self) -> Vec<(Sequence, i64)> {
        std::mem::take(&mut self.taken)
    }

    /// Puts the ids handed out since the last [`Facts::keep_ids`] back, newest first.
    pub fn release_ids(&mut self) {
        self.roll_back(Checkpoint::default());
    }

    /// One change.
    ///
    /// # Errors
    /// [`Stop::Missing`] until it is loaded.
    pub fn change(&self, id: i64) -> Known<Option<Arc<Change>>> {
        if let Some(made) = self.made.get(&id) {
            return Ok(Some(Arc::clone(made)));
        }
        match &*self.other(Need::Change(id))? {
            Fact::Change(change) => Ok(change.clone()),
            _ => Ok(None),
        }
    }

    /// One change on the way back through a record's history: what is loaded for it are those
    /// before it as well.
    ///
    /// # Errors
    /// [`Stop::Missing`] until it is loaded.
    pub fn change_in_walk(&self, id: i64) -> Known<Option<Arc<Change>>> {
        if let Some(made) = self.made.get(&id) {
            return Ok(Some(Arc::clone(made)));
        }
        if let Some(fact) = self.loaded(&Need::Change(id))? {
            return Ok(match &**fact {
                Fact::Change(change) => change.clone(),
                _ => None,
            });
        }
        // The further back, the longer the strides: a long walk takes few rounds, a short one few rows.
        let walked = self.others.keys().filter(|need| matches!(need, Need::Change(_))).count();
        let stride = i64::try_from(walked).unwrap_or(i64::MAX).clamp(STRIDE_MIN, STRIDE_MAX);
        Err(Stop::Missing(vec![Need::Changes(id, stride)]))
    }

    /// The changes of an act of several, newest first; at most `limit`.
    ///
    /// # Errors
    /// [`Stop::Missing`] until they are loaded.
    pub fn act(&self, first: i64, last: i64, limit: i64) -> Known<Vec<Change>> {
        match &*self.other(Need::Act(first, last, limit))? {
            Fact::Changes(changes) => Ok(changes.clone()),
            _ => Ok(Vec::new()),
        }
    }

    /// The answer once given to an idempotency key of a credential.
    ///
    /// # Errors
    /// [`Stop::Missing`] until it is loaded.
    pub fn answer(&self, credential_id: i64, key: &str) -> Known<Option<StoredAnswer>> {
        match &*self.other(Need::Idempotency(credential_id, key.to_owned()))? {
            Fact::Idempotency(answer) => Ok(answer.clone()),
            _ => Ok(None),
        }
    }

    /// A token by the hash of its text, expired or not.
    ///
    /// # Errors
    /// [`Stop::Missing`] until it is loaded.
    pub fn token(&self, hash: &str) -> Known<Option<Token>> {
        match &*self.other(Need::Token(hash.to_owned()))? {
            Fact::Token(token) => Ok(token.clone()),
            _ => Ok(None),
        }
    }

    /// True when the signature was used before.
    ///
    /// # Errors
    /// [`Stop::Missing`] until it is loaded.
    pub fn signature_used(&self, signature: &Signature) -> Known<bool> {
        let fact = self.other(Need::Signature(signature.clone()))?;
        Ok(matches!(&*fact, Fact::Signature(true)))
    }

    fn other(&self, need: Need) -> Known<Arc<Fact>> {
        self.loaded(&need)?.cloned().ok_or_else(|| Stop::Missing(vec![need]))
    }

    /// Keeps a record or a selection, unless the batch has written it.
    fn keep(&self, need: Need, fact: Fact) {
        let mut records = self.records.borrow_mut();
        match (need, fact) {
            (Need::Record(kind, key), Fact::Record(document)) => {
                records.entry((kind, key)).or_insert(document);
            }
            (Need::Select(selector), Fact::Select(documents)) => {
                let keys = documents.iter().map(|document| document.meta.key.clone()).collect();
                for document in documents {
                    let place = (selector.kind, document.meta.key.clone());
                    records.entry(place).or_insert(Some(document));
                }
                self.selections.borrow_mut().insert(selector, keys);
            }
            (Need::Above(kind, key), Fact::Select(documents)) => {
                tree::keep_above((kind, key), documents, &mut records);
            }
            (Need::Below(kind, key), Fact::Select(documents)) => {
                let selections = &mut self.selections.borrow_mut();
                tree::keep_below((kind, key), documents, &mut records, selections);
            }
            _ => {}
        }
    }

    /// Takes in what the store found.
    pub fn supply(&mut self, need: Need, fact: Fact) {
        match (need, fact) {
            (Need::Changes(id, _), unreadable @ Fact::Unreadable(_)) => {
                self.others.insert(Need::Change(id), Arc::new(unreadable));
            }
            (need, unreadable @ Fact::Unreadable(_)) => {
                self.others.insert(need, Arc::new(unreadable));
            }
            (
                need @ (Need::Record(..) | Need::Select(_) | Need::Above(..) | Need::Below(..)),
                fact,
            ) => self.keep(need, fact),
            (Need::Id(sequence), Fact::Ids(ids)) => {
                self.ids.entry(sequence).or_default().extend(ids);
            }
            (Need::Changes(id, _), Fact::Changes(changes)) => {
                for change in changes {
                    let need = Need::Change(change.id);
                    self.others.insert(need, Arc::new(Fact::Change(Some(Arc::new(change)))));
                }
                // An answer even where there is no such change.
                self.others.entry(Need::Change(id)).or_insert_with(|| Fact::Change(None).into());
            }
            (need, fact) => {
                self.others.insert(need, Arc::new(fact));
            }
        }
    }

    /// Puts an accepted write on top, of selections too.
    pub fn overlay(&mut self, document: &Arc<Document>) {
        let (place, _, record) = self.put(document);
        self.written.entry(place.0).or_default().entry(place.1).or_insert(record);
    }

    /// Puts a write on top until [`Facts::lift`]: what a decision finds out next, it finds out as if this
    /// were written. Whoever runs a decision takes off what it left.
    pub fn lay(&mut self, document: &Arc<Document>) {
        let (place, was_loaded, record) = self.put(document);
        let of_kind = self.written.entry(place.0).or_default();
        let is_first = !of_kind.contains_key(&place.1);
        if is_first {
            of_kind.insert(place.1.clone(), record.clone());
        }
        self.laid.push(Laid { place, was_loaded, record, is_first });
    }

    /// Where the record stands, whether anything was known of it, and what.
    fn put(&mut self, document: &Arc<Document>) -> ((Kind, Key), bool, Option<Arc<Document>>) {
        let place = (document.meta.kind, document.meta.key.clone());
        let known = self.records.get_mut().insert(place.clone(), Some(Arc::clone(document)));
        let (was_loaded, record) = (known.is_some(), known.flatten());
        self.recount(place.0, record.as_ref(), Some(document));
        (place, was_loaded, record)
    }

    /// Where things stand, to go back to.
    pub const fn checkpoint(&self) -> Checkpoint {
        Checkpoint { laid: self.laid.len(), taken: self.taken.len() }
    }

    /// Takes off what was laid on top since, and puts back the ids taken since.
    pub fn roll_back(&mut self, to: Checkpoint) {
        self.lift(to);
        while self.taken.len() > to.taken
            && let Some((sequence, id)) = self.taken.pop()
        {
            self.ids.entry(sequence).or_default().push_front(id);
        }
    }

    /// Takes off what was laid on top since; the ids taken since stay taken.
    pub fn lift(&mut self, to: Checkpoint) {
        while self.laid.len() > to.laid
            && let Some(Laid { place, was_loaded, record, is_first }) = self.laid.pop()
        {
            if is_first && let Some(of_kind) = self.written.get_mut(&place.0) {
                of_kind.remove(&place.1);
            }
            let laid = self.records.get_mut().get(&place).cloned().flatten();
            self.recount(place.0, laid.as_ref(), record.as_ref());
            if was_loaded {
                self.records.get_mut().insert(place, record);
            } else {
                self.records.get_mut().remove(&place);
            }
        }
    }

    /// Remembers a change for later commands of the batch.
    pub fn remember_change(&mut self, change: Arc<Change>) {
        self.made.insert(change.id, change);
    }

    /// Remembers an answer, a token or a used signature for later commands of the batch.
    pub fn remember(&mut self, need: Need, fact: Fact) {
        self.others.insert(need, Arc::new(fact));
    }
}

#[cfg(test)]
mod tests;
