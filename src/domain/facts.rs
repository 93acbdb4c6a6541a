//! What a decision knows of the database. Asking for something that has not been loaded stops the
//! decision with [`Stop::Missing`]; the pipeline loads it and decides again. So a decision stays a
//! pure function, and nobody has to list beforehand what it will want to know.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use foldhash::HashMap;
use jiff::Timestamp;

use super::change::Change;
use super::error::Error;
use super::kind::Kind;
use super::record::{Document, Key, Record, Stored};
use crate::sabotage::Protection;

/// Something that a decision needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// One record, or that there is none.
    Record(Kind, Key),
    /// The records of a kind with a value in a column.
    Select(Selector),
    /// Whether any row of the kind, deleted ones too, has a value in a column.
    Taken(Selector),
    /// A new id.
    Id(Sequence),
    /// One change.
    Change(i64),
    /// A change and those before it on the same record, so many at the most.
    Changes(i64, i64),
    /// A stored answer to an idempotency key.
    Idempotency(i64, String),
    /// A live access token, by the hash of its text.
    Token(String),
    /// Whether a signature has been used.
    Signature(Signature),
}

/// The records of a kind whose `column` equals `value`, oldest id first, deleted ones left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// Which kind.
    pub kind: Kind,
    /// A typed column of its table.
    pub column: &'static str,
    /// The value it must have.
    pub value: Key,
}

impl Selector {
    /// True for a live record with the value.
    ///
    /// # Errors
    /// As [`Document::fields`].
    pub fn fits(&self, document: &Document) -> Result<bool, Error> {
        if document.meta.deleted_at.is_some() {
            return Ok(false);
        }
        Ok(match (self.column, &self.value) {
            // The one column that is no field.
            ("account_id", Key::Int(id)) => document.meta.account_id == *id,
            (column, Key::Int(id)) => document.fields()?.value(column).as_i64() == Some(*id),
            (column, Key::Text(text)) => {
                document.fields()?.value(column).as_str() == Some(text.as_str())
            }
        })
    }
}

impl Need {
    /// The answer, where there can be no other: no database keeps NUL in a text column.
    fn vain(&self) -> Option<Fact> {
        let has_nul = |key: &Key| matches!(key, Key::Text(text) if text.contains('\0'));
        match self {
            Self::Record(_, key) if has_nul(key) => Some(Fact::Record(None)),
            Self::Select(selector) if has_nul(&selector.value) => Some(Fact::Select(Vec::new())),
            _ => None,
        }
    }
}

/// A source of new ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sequence {
    /// Changes.
    Change,
    /// Records of a kind with integer ids.
    Record(Kind),
}

/// A header of an answer: its name in lower case, and its value.
pub type Header = (Cow<'static, str>, Cow<'static, str>);

/// A stored answer to an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// SHA-256 of what was asked.
    pub request_hash: String,
    /// HTTP status.
    pub status: u16,
    /// Headers that were part of the answer.
    pub headers: Vec<Header>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// When it was given.
    pub at: Timestamp,
    /// The first change of what was done; none where nothing was.
    pub act_id: Option<i64>,
}

/// A signature that is good once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// From when on its date alone refuses it.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub credential_id: i64,
    /// The signature itself, or its hash.
    pub digest: String,
}

/// An access token: whose it is and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The hash of its text.
    pub hash: String,
    /// The credential it was given for.
    pub credential_id: i64,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Why a decision stopped.
#[derive(Debug)]
pub enum Stop {
    /// Load these and decide again.
    Missing(Vec<Need>),
    /// The command is refused.
    Refused(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// A result that may need another fact first.
pub type Known<T> = Result<T, Stop>;

/// An answer from the store to a [`Need`].
#[derive(Clone, Debug)]
pub enum Fact {
    /// To [`Need::Record`].
    Record(Option<Arc<Document>>),
    /// To [`Need::Select`].
    Select(Vec<Arc<Document>>),
    /// To [`Need::Taken`].
    Taken(bool),
    /// To [`Need::Id`].
    Ids(Vec<i64>),
    /// To [`Need::Change`].
    Change(Option<Arc<Change>>),
    /// To [`Need::Changes`].
    Changes(Vec<Change>),
    /// To [`Need::Idempotency`].
    Idempotency(Option<StoredAnswer>),
    /// To [`Need::Token`].
    Token(Option<Token>),
    /// To [`Need::Signature`].
    Signature(bool),
    /// To any of them: it is there, and cannot be read. Only who asks for it is refused, with this.
    Unreadable(Error),
}

/// What a store has in memory.
pub trait Memory: fmt::Debug + Send + Sync {
    /// A record or a selection, where it is known without asking the database.
    fn recall(&self, need: &Need) -> Option<Fact>;
}

/// Records by kind and id, or that there is none.
type Records = HashMap<(Kind, Key), Option<Arc<Document>>>;

/// Changes loaded in one round of a walk back through a record's history.
const STRIDE_MIN: i64 = 100;
/// The most of them.
const STRIDE_MAX: i64 = 10_000;

/// Everything loaded so far, with the writes of earlier decisions of the same batch on top.
#[derive(Debug, Default)]
pub struct Facts {
    /// Looked at before a record or a selection counts as missing.
    memory: Option<Arc<dyn Memory>>,
    // What was recalled once stays the same for this decision.
    records: RefCell<Records>,
    selections: RefCell<HashMap<Selector, Arc<[Key]>>>,
    /// What earlier decisions of the batch wrote: no selection from the database knows of it.
    written: HashMap<Kind, BTreeSet<Key>>,
    ids: HashMap<Sequence, VecDeque<i64>>,
    taken: Vec<(Sequence, i64)>,
    others: HashMap<Need, Arc<Fact>>,
}

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
            found.retain(|document| !written.contains(&document.meta.key));
            for key in written {
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
        while let Some((sequence, id)) = self.taken.pop() {
            self.ids.entry(sequence).or_default().push_front(id);
        }
    }

    /// One change.
    ///
    /// # Errors
    /// [`Stop::Missing`] until it is loaded.
    pub fn change(&self, id: i64) -> Known<Option<Arc<Change>>> {
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
            (need @ (Need::Record(..) | Need::Select(_)), fact) => self.keep(need, fact),
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
    pub fn overlay(&mut self, document: Arc<Document>) {
        let (kind, key) = (document.meta.kind, document.meta.key.clone());
        self.written.entry(kind).or_default().insert(key.clone());
        self.records.get_mut().insert((kind, key), Some(document));
    }

    /// Remembers an answer, a token or a used signature for later commands of the batch.
    pub fn remember(&mut self, need: Need, fact: Fact) {
        self.others.insert(need, Arc::new(fact));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::domain::learning::course::CourseStatus::{Active, Draft};
    use crate::domain::learning::course::{Course, CourseStatus};
    use crate::domain::record::Meta;

    fn course(id: i64, status: CourseStatus, is_deleted: bool) -> Arc<Document> {
        let at = Timestamp::UNIX_EPOCH;
        let meta = Meta {
            kind: Kind::Course,
            key: id.into(),
            account_id: 3,
            version: 1,
            change_id: 1,
            created_at: at,
            updated_at: at,
            deleted_at: is_deleted.then_some(at),
        };
        Arc::new(Document::of(meta, Course { status, ..Course::default() }))
    }

    #[test]
    fn a_selection_knows_what_the_batch_has_written() {
        let mut facts = Facts::default();
        let value = Key::from("active");
        let select = |facts: &Facts| {
            let found = facts.select_documents(Kind::Course, "status", value.clone()).unwrap();
            found.iter().map(|document| document.meta.key.as_int().unwrap()).collect::<Vec<_>>()
        };
        facts.overlay(course(5, Active, false));
        facts.overlay(course(2, Draft, false));
        let selector = Selector { kind: Kind::Course, column: "status", value: value.clone() };
        let stored = [1, 2, 3].map(|id| course(id, Active, false));
        facts.supply(Need::Select(selector), Fact::Select(stored.to_vec()));
        assert_eq!(select(&facts), [1, 3, 5]);
        facts.overlay(course(4, Active, false));
        facts.overlay(course(2, Active, false));
        facts.overlay(course(1, Active, true));
        assert_eq!(select(&facts), [2, 3, 4, 5]);
    }

    #[derive(Debug)]
    struct Kept(Mutex<Arc<Document>>);

    impl Memory for Kept {
        fn recall(&self, need: &Need) -> Option<Fact> {
            let kept = self.0.lock().unwrap();
            let place = Need::Record(kept.meta.kind, kept.meta.key.clone());
            (*need == place).then(|| Fact::Record(Some(Arc::clone(&kept))))
        }
    }

    #[test]
    fn memory_is_asked_once_and_never_about_what_the_batch_has_written() {
        let status = |facts: &Facts| {
            let found = facts.get::<Course>(3, 1).unwrap();
            found.record.status
        };
        let kept = Arc::new(Kept(Mutex::new(course(1, Draft, false))));
        let facts = Facts::over(kept.clone());
        assert_eq!(status(&facts), Draft);
        *kept.0.lock().unwrap() = course(1, Active, false);
        assert_eq!(status(&facts), Draft, "what a decision saw stays");
        assert_eq!(status(&Facts::over(kept.clone())), Active);
        let mut facts = Facts::over(kept);
        facts.overlay(course(1, Draft, false));
        assert_eq!(status(&facts), Draft);
        assert!(
            matches!(facts.find::<Course>(3, 2), Err(Stop::Missing(needs)) if needs.len() == 1)
        );
    }
}
