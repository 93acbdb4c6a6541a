//! What a caller asks for, and how it is decided. The order inside a decision is the same for every
//! record and every dialect: visible? → permitted? → expected tag? → apply → differs? → permitted
//! where the result would be? → every rule of the result. A decision is pure: it reads [`Facts`] and writes nothing.

use std::sync::Arc;

use jiff::Timestamp;

use super::access::{self, Right, Verdict};
use super::actor::Actor;
use super::change::Action;
use super::error::{Error, FieldErrors};
use super::facts::{Count, Facts, Known, Need, Selector, Stop};
use super::fields::Fields;
use super::kind::Kind;
use super::record::{Changed, Document, Key, Meta, Record, Stored};
use super::table::Among;
use super::tag::{self, Beside};
use crate::sabotage::Protection;

mod all;
mod delete;
mod undo;

pub use all::{All, Policy, RefusedItem};
pub use delete::Delete;
pub use undo::{Trail, Undo, act_id};

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
    /// How many records may follow the one that the command is about, before that takes longer than
    /// others may have to wait: beyond it, [`Stop::Large`].
    pub follow_max: usize,
}

/// How many records may follow in a batch.
pub const FOLLOW_MAX: usize = 50;

/// What a caller may have seen for the edit to be made (`If-Match`, RFC 9110 section 13.1.1).
#[derive(Clone, Debug, Default)]
pub enum Expected {
    /// Whatever is stored.
    #[default]
    Any,
    /// What has one of these [tags](tag), and what is shown beside the record, if anything ever is.
    Tags(Vec<String>, Option<Beside>),
}

impl Expected {
    /// The same of a record that is shown with what `beside` finds.
    #[must_use]
    pub fn with(self, beside: Beside) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::Tags(tags, _) => Self::Tags(tags, Some(beside)),
        }
    }

    /// What was seen beside the record, where that is part of what is expected.
    fn seen(&self) -> Option<Beside> {
        match self {
            Self::Tags(tags, beside) if tags.iter().any(|tag| tag.contains('-')) => *beside,
            _ => None,
        }
    }

    pub(super) fn check(&self, document: &Document, facts: &Facts) -> Known<()> {
        let Self::Tags(tags, beside) = self else { return Ok(()) };
        let version = document.meta.version.to_string();
        // A bare version speaks of the record alone, whatever is shown beside it.
        let mut is_so = tags.contains(&version) || !Protection::ExpectedVersion.is_on();
        let is_of_version = |tag: &String| tag.split('-').next() == Some(&*version);
        if let (false, Some(beside)) = (is_so, beside)
            && tags.iter().any(is_of_version)
        {
            is_so = tags.contains(&tag::tag(document, *beside, facts)?);
        }
        if is_so { Ok(()) } else { Err(Error::Stale { version: document.meta.version }.into()) }
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
    /// What no live record of the account has, so that one is made here. Should somebody make another
    /// at the same time, whoever comes second is decided again, and finds that one.
    pub sought: Vec<Selector>,
    /// The act that it takes back, by its first change.
    pub undoes: Option<i64>,
    /// What stays of that act.
    pub kept: Vec<Kept>,
    /// Which of several commands are not done.
    pub refused: Vec<RefusedItem>,
}

/// What stays when an act is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The record's kind.
    pub kind: Kind,
    /// Its id.
    pub key: Key,
    /// A field that stays as the act made it; the record itself, if absent.
    pub field: Option<String>,
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

    /// What is shown beside its record, where it is done only as long as that is so.
    fn seen(&self) -> Option<Beside> {
        None
    }

    /// Decides.
    ///
    /// # Errors
    /// [`super::facts::Stop`] when a fact is missing or the command is refused.
    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision>;
}

impl Command for Box<dyn Command> {
    fn needs(&self) -> Vec<Need> {
        (**self).needs()
    }

    fn is_large(&self) -> bool {
        (**self).is_large()
    }

    fn seen(&self) -> Option<Beside> {
        (**self).seen()
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        (**self).decide(context, facts)
    }
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

/// The end of a record, as a row to write.
pub fn end(before: Arc<Document>, context: &Context<'_>) -> Write {
    let mut after = (*before).clone();
    after.meta.deleted_at = Some(context.at);
    Write { action: Action::Delete, before: Some(before), after }
}

/// A record without the names of these, which are gone; none where it did not name them.
pub(super) fn decide_forget<R: Record>(
    named: &[(Kind, Key)],
    before: Arc<Document>,
    context: &mut Context<'_>,
    facts: &mut Facts,
) -> Known<Option<Write>> {
    let mut candidate = R::clone(&before.typed::<R>()?.record);
    for named in named {
        candidate = candidate.without(named)?;
    }
    amend(before, candidate, context, facts)
}

/// Changes a record.
#[derive(Debug)]
pub struct Edit<R: Record> {
    /// Which one.
    pub key: Key,
    /// What to change.
    pub edit: R::Edit,
    /// From what.
    pub expected: Expected,
}

impl<R: Record> Command for Edit<R> {
    fn needs(&self) -> Vec<Need> {
        let mut needs = R::edit_needs(&self.edit);
        needs.push(Need::Record(R::KIND, self.key.clone()));
        needs
    }

    fn seen(&self) -> Option<Beside> {
        self.expected.seen()
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let document = live(context.actor, R::KIND, &self.key, facts)?;
        let current = document.typed::<R>()?;
        let mut candidate = R::clone(&current.record);
        candidate.apply(&self.edit);
        candidate.note_edit(&current.record, context.at);
        decide_candidate(context, facts, &document, &current, candidate, &self.expected)
    }
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

fn permit_document(
    context: &Context<'_>,
    facts: &mut Facts,
    document: &Document,
    right: Right,
) -> Known<()> {
    let place = document.meta.kind.place_of(document, facts)?;
    permit(context.actor, right, document.meta.kind, &place)
}

/// A record with the fields of `candidate`, and what follows from these.
pub(super) fn settled<R: Record>(
    current: &Document,
    candidate: &Document,
    context: &mut Context<'_>,
    facts: &mut Facts,
) -> Known<Document> {
    let mut record = R::clone(&candidate.typed::<R>()?.record);
    record.settle(Some(current.look::<R>()?), context, facts)?;
    Ok(Document::of(current.meta.clone(), record))
}

/// Refuses a record that comes back, or goes back to what it was, over every rule that an edit or a new
/// record would be refused over.
pub(super) fn judge<R: Record>(
    before: &Document,
    after: &Document,
    facts: &mut Facts,
) -> Known<()> {
    let is_back = before.meta.deleted_at.is_some();
    let changed = if is_back {
        after.look::<R>()?.refuse_restore()?;
        Changed::all(after.fields()?)
    } else {
        Changed::between(before.fields()?, after.fields()?)
    };
    let known = if is_back { Vec::new() } else { R::KIND.references(before)? };
    // What is not there is told of first of what comes back.
    if is_back {
        refuse_dangling(&known, after, facts)?;
    }
    refuse_faulty::<R>(after, &changed, facts)?;
    refuse_dangling(&known, after, facts)
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
    expected.check(document, facts)?;
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
        Verdict::Denied => Err(Error::Denied(Some((right, kind)))),
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

/// The rules that a record's fields break by themselves, whatever else there is: for whoever judges a
/// request before what it is about is looked for. Of one that is edited, what differs is asked.
///
/// # Errors
/// [`Error::Internal`] when it has no JSON form.
pub fn broken_alone<R: Record>(before: Option<&R>, record: &R) -> Result<FieldErrors, Error> {
    let meta = Meta {
        kind: R::KIND,
        key: Key::Int(0),
        account_id: 0,
        version: before.is_some().into(),
        change_id: 0,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        deleted_at: None,
    };
    let fields = Fields::of(record)?;
    let changed = match before {
        Some(before) => Changed::between(&Fields::of(before)?, &fields),
        None => Changed::all(&fields),
    };
    let mut errors = R::TABLE.unstorable(&fields, &changed);
    errors.extend(R::TABLE.broken_texts(&fields, &changed));
    // What asks for others is not asked.
    errors.extend(record.validate(&meta, &changed, &mut Facts::default()).unwrap_or_default());
    Ok(errors)
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
    if errors.is_empty() {
        errors.extend(R::TABLE.too_large(fields, changed));
    }
    if !errors.is_empty() {
        return Err(Error::Invalid(errors).into());
    }
    refuse_taken(document, changed, facts)
}

/// Refuses a record that has in common with another what each must have alone. (What no two may ever
/// have had, deleted ones too, is the database's to find out.)
fn refuse_taken(document: &Document, changed: &Changed, facts: &Facts) -> Known<()> {
    let Meta { kind, key, account_id, version, .. } = &document.meta;
    let fields = document.fields()?;
    for unique in kind.table().unique.iter().filter(|unique| unique.among == Among::Live) {
        if !changed.any(unique.fields) {
            continue;
        }
        let values = unique.fields.iter().map(|name| Some((*name, Key::of(&fields.value(name))?)));
        // Records that lack one of the fields do not count.
        let Some(mut is) = values.collect::<Option<Vec<_>>>() else { continue };
        is.push(("account_id", Key::Int(*account_id)));
        let count = Count { kind: *kind, is };
        let counted = facts.count(&count)?;
        let itself = if *version == 0 { None } else { facts.document(*kind, key)? };
        let itself = itself.filter(|itself| itself.meta.deleted_at.is_none());
        let was = itself.as_ref().map(|itself| itself.fields()).transpose()?;
        let is_same = |name: &&str| was.is_some_and(|was| was.get(name) == fields.get(name));
        if counted > i64::from(unique.fields.iter().all(is_same)) {
            return Err(unique.taken().into());
        }
    }
    Ok(())
}
