//! What a caller asks for, and how it is decided. The order inside a decision is the same for every
//! record and every dialect: visible? → permitted? → expected version? → apply → differs? → permitted
//! where the result would be? → every rule of the result. A decision is pure: it reads [`Facts`] and writes nothing.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::access::{self, Right, Verdict};
use super::actor::Actor;
use super::change::{Action, Change, MASK};
use super::error::Error;
use super::facts::{Facts, Known, Need, Stop};
use super::fields::Fields;
use super::kind::Kind;
use super::record::{Changed, Document, Key, Meta, Record, Stored};
use super::table::{Column, ColumnType, Gone};
use crate::sabotage::Protection;

/// Where new ids and secrets come from.
pub trait Entropy {
    /// Fills `bytes` with unpredictable ones.
    fn fill(&mut self, bytes: &mut [u8]);

    /// A random (version 4) UUID.
    fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// Who decides when, with which source of randomness.
pub struct Context<'a> {
    /// The caller.
    pub actor: &'a Actor,
    /// The time of the decision, whole microseconds.
    pub at: Timestamp,
    /// Where new ids and secrets come from.
    pub entropy: &'a mut dyn Entropy,
}

/// The versions that an edit may start from (`If-Match`, RFC 9110 section 13.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is stored.
    #[default]
    Any,
    /// One of these.
    Versions(Vec<i64>),
}

impl Expected {
    pub(super) fn check(&self, meta: &Meta) -> Result<(), Error> {
        match self {
            _ if !Protection::ExpectedVersion.is_on() => Ok(()),
            Self::Any => Ok(()),
            Self::Versions(versions) if versions.contains(&meta.version) => Ok(()),
            Self::Versions(_) => Err(Error::Stale),
        }
    }
}

/// One row to write, with what stood there before.
#[derive(Clone, Debug)]
pub struct Write {
    /// What happens to the record.
    pub action: Action,
    /// The row as it was; absent for a new record.
    pub before: Option<Arc<Document>>,
    /// The row as it is to be. Version, change id and update time are the pipeline's to set.
    pub after: Document,
}

/// Bytes that a record names by their hash, kept once however many name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of the bytes, hex.
    pub hash: String,
    /// The bytes.
    pub bytes: bytes::Bytes,
}

/// An accepted command.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The record that the command is about, where it is not the first one written.
    pub subject: Option<Arc<Document>>,
    /// What to write; empty when nothing differs.
    pub writes: Vec<Write>,
    /// Content that the rows written name.
    pub contents: Vec<Content>,
}

impl Decision {
    /// A decision that writes one row.
    pub fn write(action: Action, before: Option<Arc<Document>>, after: Document) -> Self {
        Self { writes: vec![Write { action, before, after }], ..Self::default() }
    }
}

/// Anything that a caller can ask the pipeline to do.
pub trait Command: Send + 'static {
    /// What the decision is sure to ask for; rows among these are locked until the commit.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// True for one that writes so many rows that others must not wait for it: it is decided beside
    /// them, and written in parts that nobody sees until the last.
    fn is_large(&self) -> bool {
        false
    }

    /// Decides.
    ///
    /// # Errors
    /// [`super::facts::Stop`] when a fact is missing or the command is refused.
    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision>;
}

/// Makes a record.
#[derive(Debug)]
pub struct Create<R: Record> {
    /// Its id, where the caller brings one (imports, fixtures).
    pub key: Option<Key>,
    /// When it was made, where that was elsewhere and earlier; now, if absent.
    pub created_at: Option<Timestamp>,
    /// Its fields.
    pub record: R,
}

impl<R: Record> Create<R> {
    /// Makes `record`, now, with an id of its kind's own.
    pub const fn new(record: R) -> Self {
        Self { key: None, created_at: None, record }
    }
}

impl<R: Record> Command for Create<R> {
    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let key = self.key.clone();
        let (meta, record) = draft(key, self.created_at, self.record.clone(), context, facts)?;
        let place = record.place(&meta, facts)?;
        permit(context.actor, Right::Create, R::KIND, &place)?;
        let document = new_document(meta, record, facts)?;
        refuse_dangling(&[], &document, facts)?;
        Ok(Decision::write(Action::Create, None, document))
    }
}

/// A new record in its normal form, and what there is to know of it.
fn draft<R: Record>(
    key: Option<Key>,
    created_at: Option<Timestamp>,
    mut record: R,
    context: &mut Context<'_>,
    facts: &mut Facts,
) -> Known<(Meta, R)> {
    record.settle(None, context, facts)?;
    let key = match key {
        Some(key) => key,
        None => R::new_key(context, facts)?,
    };
    // An account owns itself; everything else belongs to the caller's account.
    let account_id = match (R::KIND, key.as_int()) {
        (Kind::Account, Some(id)) => id,
        _ => context.actor.account_id,
    };
    let meta = Meta {
        kind: R::KIND,
        key,
        account_id,
        version: 0,
        change_id: 0,
        created_at: created_at.unwrap_or(context.at),
        updated_at: created_at.unwrap_or(context.at),
        deleted_at: None,
    };
    Ok((meta, record))
}

fn new_document<R: Record>(meta: Meta, record: R, facts: &mut Facts) -> Known<Document> {
    let document = Document::of(meta, record);
    refuse_faulty::<R>(&document, &Changed::all(document.fields()?), facts)?;
    Ok(document)
}

/// Makes a record that follows from a command about another. Whether the caller may, and that what
/// it names is there (or comes with it), is the command's to know.
///
/// # Errors
/// As [`Command::decide`].
pub fn make<R: Record>(record: R, context: &mut Context<'_>, facts: &mut Facts) -> Known<Write> {
    make_with(None, record, context, facts)
}

/// The same with a key of the command's.
///
/// # Errors
/// As [`Command::decide`].
pub fn make_with<R: Record>(
    key: Option<Key>,
    record: R,
    context: &mut Context<'_>,
    facts: &mut Facts,
) -> Known<Write> {
    let (meta, record) = draft(key, None, record, context, facts)?;
    let after = new_document(meta, record, facts)?;
    Ok(Write { action: Action::Create, before: None, after })
}

/// Changes a record to `candidate`, as follows from a command about another; none where nothing
/// differs. The rest is as with [`make`].
///
/// # Errors
/// As [`Command::decide`].
pub fn amend<R: Record>(
    before: Arc<Document>,
    mut candidate: R,
    context: &mut Context<'_>,
    facts: &mut Facts,
) -> Known<Option<Write>> {
    let current = before.typed::<R>()?;
    candidate.settle(Some(&current.record), context, facts)?;
    let after = Document::of(before.meta.clone(), candidate);
    let changed = Changed::between(before.fields()?, after.fields()?);
    if changed.is_empty() {
        return Ok(None);
    }
    refuse_faulty::<R>(&after, &changed, facts)?;
    Ok(Some(Write { action: Action::Edit, before: Some(before), after }))
}

/// The end of every record of a kind with a value in a column.
///
/// # Errors
/// [`super::facts::Stop::Missing`] until they are loaded.
pub fn ended(
    context: &Context<'_>,
    kind: Kind,
    column: &'static str,
    value: i64,
    facts: &Facts,
) -> Known<Vec<Write>> {
    let found = facts.select_documents(kind, column, Key::Int(value))?;
    let end = |before: Arc<Document>| {
        let mut after = (*before).clone();
        after.meta.deleted_at = Some(context.at);
        Write { action: Action::Delete, before: Some(before), after }
    };
    Ok(found.into_iter().map(end).collect())
}

/// Changes a record.
#[derive(Debug)]
pub struct Edit<R: Record> {
    /// Which one.
    pub key: Key,
    /// What to change.
    pub edit: R::Edit,
    /// From which version.
    pub expected: Expected,
}

impl<R: Record> Command for Edit<R> {
    fn needs(&self) -> Vec<Need> {
        let mut needs = R::edit_needs(&self.edit);
        needs.push(Need::Record(R::KIND, self.key.clone()));
        needs
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let document = live(context.actor, R::KIND, &self.key, facts)?;
        let current = document.typed::<R>()?;
        let mut candidate = R::clone(&current.record);
        candidate.apply(&self.edit);
        decide_candidate(context, facts, &document, &current, candidate, &self.expected)
    }
}

/// Removes a record. The row stays, marked as deleted.
#[derive(Debug)]
pub struct Delete<R: Record> {
    /// Which one.
    pub key: Key,
    /// From which version.
    pub expected: Expected,
    /// Which kind.
    pub record: std::marker::PhantomData<fn() -> R>,
}

impl<R: Record> Delete<R> {
    /// Removes `key` from any version.
    pub fn new(key: Key, expected: Expected) -> Self {
        Self { key, expected, record: std::marker::PhantomData }
    }
}

impl<R: Record> Command for Delete<R> {
    fn needs(&self) -> Vec<Need> {
        vec![Need::Record(R::KIND, self.key.clone())]
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        self.decide_unless(ANY, context, facts)
    }
}

/// However a record names another, it is in the way of its deletion.
const ANY: &[Gone] = &[Gone::Refuses, Gone::Clears, Gone::Ends];

impl<R: Record> Delete<R> {
    /// Decides its own part, for a command that sees to the records which are to be cleared or ended.
    ///
    /// # Errors
    /// As [`Command::decide`]; [`Error::Conflict`] with the kinds of other records that name this
    /// one, and refuse its deletion for that.
    pub fn decide_own_part(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        self.decide_unless(&[Gone::Refuses], context, facts)
    }

    fn decide_unless(
        &self,
        in_the_way: &[Gone],
        context: &mut Context<'_>,
        facts: &mut Facts,
    ) -> Known<Decision> {
        let document = live(context.actor, R::KIND, &self.key, facts)?;
        permit_document(context, facts, &document, Right::Delete)?;
        self.expected.check(&document.meta)?;
        decide_delete(in_the_way, context, facts, document)
    }
}

/// The common end of every deletion: no living record may be left naming a deleted one.
fn decide_delete(
    in_the_way: &[Gone],
    context: &Context<'_>,
    facts: &Facts,
    document: Arc<Document>,
) -> Known<Decision> {
    document.meta.kind.refuse_deletion(&document)?;
    let naming = kinds_naming(&document, in_the_way, facts)?;
    if !naming.is_empty() {
        return Err(Error::Conflict(naming).into());
    }
    let mut after = (*document).clone();
    after.meta.deleted_at = Some(context.at);
    Ok(Decision::write(Action::Delete, Some(document), after))
}

/// The kinds with living records that name this one in a way that is `in_the_way`.
fn kinds_naming(document: &Document, in_the_way: &[Gone], facts: &Facts) -> Known<Vec<String>> {
    let Meta { kind: named, key, account_id, .. } = &document.meta;
    if *named == Kind::Account {
        // Everything names its account; an account is closed, not deleted.
        return Ok(vec![named.name().to_owned()]);
    }
    let is_in_the_way = |kind, gone| kind == *named && in_the_way.contains(&gone);
    let mut naming = Vec::new();
    for kind in Kind::ALL.iter().copied() {
        let mut is_naming = false;
        for Column { name, column_type } in kind.table().columns {
            if let ColumnType::Reference(to, gone) = *column_type
                && is_in_the_way(to, gone)
            {
                is_naming |= !facts.select_documents(kind, name, key.clone())?.is_empty();
            }
        }
        if kind.names_in_body().iter().any(|(to, gone)| is_in_the_way(*to, *gone)) {
            let to = (*named, key.clone());
            for other in facts.select_documents(kind, "account_id", Key::Int(*account_id))? {
                is_naming |= kind.references(&other)?.contains(&to);
            }
        }
        if is_naming {
            naming.push(kind.name().to_owned());
        }
    }
    Ok(naming)
}

/// Takes a change back: a new change that restores what the fields were before it. Refused with the
/// fields in conflict when they have moved on since.
#[derive(Debug)]
pub struct Undo {
    /// The change to take back.
    pub change_id: i64,
    /// From which version of the record.
    pub expected: Expected,
    /// Locked from the start: the record, and those that it names, whose rules it may touch when it
    /// comes back (the places of a class).
    pub held: Vec<(Kind, Key)>,
}

impl Undo {
    /// An undo of `change`, with all that it is sure to touch.
    ///
    /// # Errors
    /// [`super::facts::Stop::Missing`] until the record is loaded.
    pub fn of(change: &Change, expected: Expected, facts: &Facts) -> Known<Self> {
        let mut held = Vec::new();
        if let Some(key) = Key::parse(change.kind.table().key, &change.record_id)
            && let Some(document) = facts.document(change.kind, &key)?
        {
            held = change.kind.references(&document)?;
            held.push((change.kind, key));
        }
        Ok(Self { change_id: change.id, expected, held })
    }
}

impl Command for Undo {
    fn needs(&self) -> Vec<Need> {
        let held = self.held.iter().map(|(kind, key)| Need::Record(*kind, key.clone()));
        held.chain([Need::Change(self.change_id)]).collect()
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let missing = || Error::Conflict(vec!["change".to_owned()]);
        let change = facts
            .change(self.change_id)?
            .filter(|change| change.account_id == context.actor.account_id)
            .ok_or_else(missing)?;
        let document = Key::parse(change.kind.table().key, &change.record_id)
            .map(|key| facts.document(change.kind, &key))
            .transpose()?
            .flatten()
            .ok_or_else(|| Error::internal("a change names a record that does not exist"))?;
        self.expected.check(&document.meta)?;
        let is_newest = document.meta.change_id == change.id;
        match change.action {
            Action::Create | Action::Restore => {
                if document.meta.deleted_at.is_some() || !is_newest {
                    return Err(Error::Conflict(vec!["record".to_owned()]).into());
                }
                permit_document(context, facts, &document, Right::Delete)?;
                decide_delete(ANY, context, facts, document)
            }
            Action::Delete => {
                if !is_newest {
                    return Err(Error::Conflict(vec!["record".to_owned()]).into());
                }
                permit_document(context, facts, &document, Right::Create)?;
                change.kind.decide_restore(facts, &document)
            }
            Action::Edit => {
                if document.meta.deleted_at.is_some() {
                    return Err(Error::Conflict(vec!["record".to_owned()]).into());
                }
                undo_edit(&change, &document, context, facts)
            }
        }
    }
}

/// Puts the fields of an edit back to what they were before it.
fn undo_edit(
    change: &Change,
    document: &Document,
    context: &mut Context<'_>,
    facts: &mut Facts,
) -> Known<Decision> {
    let touched = touched_since(change, document, facts)?;
    let mut candidate = document.fields()?.values();
    let (mut conflicts, mut masked) = (Vec::new(), Vec::new());
    let before = change.before.as_ref().map(Fields::values);
    let after = change.after.as_ref().map(Fields::values).unwrap_or_default();
    for (name, old) in before.into_iter().flatten() {
        if touched.contains(&name) {
            conflicts.push(name);
        } else if old == MASK || after.get(&name).is_some_and(|new| new == MASK) {
            masked.push(name);
        } else {
            candidate.insert(name, old);
        }
    }
    if !conflicts.is_empty() {
        return Err(Error::Conflict(conflicts).into());
    }
    let candidate = document.with(candidate)?;
    let decision = change.kind.decide_change(context, facts, document, &candidate)?;
    // A masked value cannot be put back from history. That is well where the record has derived it
    // anew from the other fields.
    for write in &decision.writes {
        let (before, after) = (document.fields()?, write.after.fields()?);
        masked.retain(|name| before.get(name) == after.get(name));
    }
    if masked.is_empty() { Ok(decision) } else { Err(Error::Conflict(masked).into()) }
}

/// The fields that later changes touched, whatever values they left.
fn touched_since(change: &Change, document: &Document, facts: &Facts) -> Known<HashSet<String>> {
    let mut touched = HashSet::new();
    let mut id = document.meta.change_id;
    while id != change.id {
        let broken = || Error::internal("a record's history does not lead to its change");
        let later = facts.change_in_walk(id)?.ok_or_else(broken)?;
        touched.extend(later.after.iter().flat_map(Fields::iter).map(|(name, _)| name.to_owned()));
        id = later.previous_id.ok_or_else(broken)?;
    }
    Ok(touched)
}

/// Refuses a record that names what is not there, or is deleted, or another account's; what it named
/// `before` is not asked again.
fn refuse_dangling(before: &[(Kind, Key)], document: &Document, facts: &Facts) -> Known<()> {
    let mut named = document.meta.kind.references(document)?;
    named.retain(|to| !before.contains(to));
    facts.want(named.iter().cloned())?;
    let mut gone: Vec<String> = Vec::new();
    for (kind, key) in named {
        // A new account owns itself.
        let is_itself = kind == document.meta.kind && key == document.meta.key;
        let is_live = facts.document(kind, &key)?.is_some_and(|named| {
            named.meta.account_id == document.meta.account_id && named.meta.deleted_at.is_none()
        });
        if !is_live && !is_itself && !gone.iter().any(|name| name == kind.name()) {
            gone.push(kind.name().to_owned());
        }
    }
    if gone.is_empty() { Ok(()) } else { Err(Error::Conflict(gone).into()) }
}

/// Decides the return of a deleted record: what it names has to be there, and every rule holds, as
/// for a new one.
pub(super) fn decide_restore<R: Record>(
    facts: &mut Facts,
    document: &Arc<Document>,
) -> Known<Decision> {
    document.look::<R>()?.refuse_restore()?;
    refuse_dangling(&[], document, facts)?;
    refuse_faulty::<R>(document, &Changed::all(document.fields()?), facts)?;
    let mut after = (**document).clone();
    after.meta.deleted_at = None;
    Ok(Decision::write(Action::Restore, Some(Arc::clone(document)), after))
}

fn permit_document(
    context: &Context<'_>,
    facts: &mut Facts,
    document: &Document,
    right: Right,
) -> Known<()> {
    let place = document.meta.kind.place_of(document, facts)?;
    permit(context.actor, right, document.meta.kind, &place)
}

/// Decides a change of `current` to the fields of `candidate`.
pub(super) fn decide_change<R: Record>(
    context: &mut Context<'_>,
    facts: &mut Facts,
    current: &Document,
    candidate: &Document,
) -> Known<Decision> {
    let typed = current.typed::<R>()?;
    let candidate = R::clone(&candidate.typed::<R>()?.record);
    let document = Arc::new(current.clone());
    decide_candidate(context, facts, &document, &typed, candidate, &Expected::Any)
}

/// Where a document is, for scopes.
pub(super) fn place_of<R: Record>(document: &Document, facts: &mut Facts) -> Known<access::Place> {
    let stored = document.typed::<R>()?;
    stored.record.place(&stored.meta, facts)
}

/// The common end of every edit: settle, compare, permit, expect, validate.
fn decide_candidate<R: Record>(
    context: &mut Context<'_>,
    facts: &mut Facts,
    document: &Arc<Document>,
    current: &Stored<R>,
    mut candidate: R,
    expected: &Expected,
) -> Known<Decision> {
    // Scope is asked of the record as it was and as it would be: an edit must not carry a record
    // out of reach, or into it.
    let place = current.record.place(&current.meta, facts)?;
    permit(context.actor, Right::Edit, R::KIND, &place)?;
    // Before the comparison: who counts up from a version that is gone would else be told that all
    // is well when another has arrived at the same number.
    expected.check(&current.meta)?;
    if candidate == *current.record {
        return Ok(Decision { subject: Some(Arc::clone(document)), ..Decision::default() });
    }
    candidate.settle(Some(&current.record), context, facts)?;
    let after = Document::of(current.meta.clone(), candidate);
    let candidate = after.typed::<R>()?.record;
    let changed = Changed::between(document.fields()?, after.fields()?);
    if changed.is_empty() {
        return Ok(Decision { subject: Some(Arc::clone(document)), ..Decision::default() });
    }
    let place = candidate.place(&current.meta, facts)?;
    permit(context.actor, Right::Edit, R::KIND, &place)?;
    refuse_faulty::<R>(&after, &changed, facts)?;
    if R::may_name_others(&changed) {
        refuse_dangling(&R::KIND.references(document)?, &after, facts)?;
    }
    Ok(Decision::write(Action::Edit, Some(Arc::clone(document)), after))
}

/// The live record of the caller's account, or not found.
fn live(actor: &Actor, kind: Kind, key: &Key, facts: &Facts) -> Known<Arc<Document>> {
    facts
        .document(kind, key)?
        .filter(|document| {
            (document.meta.account_id == actor.account_id || !Protection::AccountWalls.is_on())
                && document.meta.deleted_at.is_none()
        })
        .ok_or_else(|| Error::NotFound(kind).into())
}

/// Refuses what the rules do not allow.
///
/// # Errors
/// [`Error::Denied`], or [`Error::NotFound`] where the caller may not even know.
pub fn permit(actor: &Actor, right: Right, kind: Kind, place: &access::Place) -> Known<()> {
    Ok(permit_in(actor, right, kind, place)?)
}

/// The same for what needs no facts.
///
/// # Errors
/// As [`permit`].
pub fn permit_in(
    actor: &Actor,
    right: Right,
    kind: Kind,
    place: &access::Place,
) -> Result<(), Error> {
    match access::check(actor, right, kind, place) {
        Verdict::Allowed => Ok(()),
        Verdict::Denied => Err(Error::Denied),
        Verdict::Invisible => Err(Error::NotFound(kind)),
    }
}

/// Whether the caller may read a record that it may otherwise use.
///
/// # Errors
/// [`super::facts::Stop::Missing`] until facts are loaded.
pub fn may_read(actor: &Actor, document: &Document, facts: &mut Facts) -> Known<bool> {
    let place = document.meta.kind.place_of(document, facts)?;
    Ok(access::check(actor, Right::Read, document.meta.kind, &place) == Verdict::Allowed)
}

/// A live record that the caller may read.
///
/// # Errors
/// [`Error::NotFound`] or [`Error::Denied`]; [`super::facts::Stop::Missing`] until facts are loaded.
pub fn read<R: Record>(actor: &Actor, key: impl Into<Key>, facts: &mut Facts) -> Known<Stored<R>> {
    let stored = facts.get::<R>(actor.account_id, key)?;
    let place = stored.record.place(&stored.meta, facts)?;
    permit(actor, Right::Read, R::KIND, &place)?;
    Ok(stored)
}

/// A record of any kind, deleted ones included, on which the caller has `right`.
///
/// # Errors
/// As [`read`].
pub fn read_document(
    actor: &Actor,
    right: Right,
    kind: Kind,
    key: &Key,
    facts: &mut Facts,
) -> Known<Arc<Document>> {
    let document = facts
        .document(kind, key)?
        .filter(|document| document.meta.account_id == actor.account_id)
        .ok_or(Error::NotFound(kind))?;
    let place = kind.place_of(&document, facts)?;
    permit(actor, right, kind, &place)?;
    Ok(document)
}

/// Refuses a record over every rule that the changed fields break: its table's, and its own.
fn refuse_faulty<R: Record>(
    document: &Document,
    changed: &Changed,
    facts: &mut Facts,
) -> Known<()> {
    let fields = document.fields()?;
    let mut errors = R::TABLE.unstorable(fields, changed);
    let texts = R::TABLE.broken_texts(fields, changed);
    match document.look::<R>()?.validate(&document.meta, changed, facts) {
        // A text that nobody can have is told of before whose it is.
        Err(Stop::Refused(Error::Conflict(_))) if !texts.is_empty() => errors.extend(texts),
        others => errors.extend(texts.into_iter().chain(others?)),
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::Invalid(errors).into()) }
}
