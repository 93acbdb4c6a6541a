//! What every record is: identity, owner, version, times, and fields. A record type is a plain
//! serde struct with a [`Table`]; the pipeline, the stores and history treat all types alike.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::access::Place;
use super::command::Context;
use super::error::{Error, FieldErrors};
use super::facts::{Facts, Known, Need, Sequence};
use super::fields::{Fields, Unknown};
use super::kind::Kind;
use super::patch::EditOf;
use super::table::{ColumnType, Gone, KeyType, Table};

/// A record's primary key: the id that its home dialect shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A positive integer from the kind's sequence.
    Int(i64),
    /// A UUID or vendor-shaped id.
    Text(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(id) => id.fmt(f),
            Self::Text(id) => id.fmt(f),
        }
    }
}

impl From<i64> for Key {
    fn from(id: i64) -> Self {
        Self::Int(id)
    }
}

impl From<String> for Key {
    fn from(id: String) -> Self {
        Self::Text(id)
    }
}

impl From<&str> for Key {
    fn from(id: &str) -> Self {
        Self::Text(id.to_owned())
    }
}

impl Key {
    /// The key that `text` spells; none where it cannot be one.
    pub fn parse(key_type: KeyType, text: &str) -> Option<Self> {
        match key_type {
            KeyType::Int => parse_id(text).map(Self::Int),
            // No database keeps NUL in a text column.
            KeyType::Text => (!text.contains('\0')).then(|| Self::from(text)),
        }
    }

    /// The key that a JSON value is.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(id) => id.as_i64().map(Self::Int),
            Value::String(id) => Some(Self::from(id.as_str())),
            _ => None,
        }
    }

    /// The integer, where it is one.
    pub const fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(id) => Some(*id),
            Self::Text(_) => None,
        }
    }
}

/// A positive number in the one way to write it: digits alone, the first of them not zero.
pub fn parse_id(text: &str) -> Option<i64> {
    let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_canonical)
}

/// Everything about a record but its fields. None of it can be edited by a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub key: Key,
    /// The account that owns it.
    pub account_id: i64,
    /// Counts accepted changes, from 1.
    pub version: i64,
    /// Its newest change.
    pub change_id: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its newest change was accepted.
    pub updated_at: Timestamp,
    /// When it was deleted; the row stays, so that the deletion can be undone.
    pub deleted_at: Option<Timestamp>,
}

/// A record of any type.
#[derive(Clone)]
pub struct Document {
    /// Identity, owner, version and times.
    pub meta: Meta,
    record: Arc<dyn AnyRecord>,
    /// The length of the fields as JSON, bytes, as far as it is known.
    length: usize,
    /// Written when they are first asked for.
    fields: OnceLock<Fields>,
    unknown: Unknown,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl Document {
    /// A record of a known type.
    pub fn of<R: Record>(meta: Meta, record: R) -> Self {
        Self::of_any(meta, (Arc::new(record), None), 0)
    }

    /// A record whose type is that of its kind, read from JSON of `length` bytes.
    pub(crate) fn of_any(
        meta: Meta,
        (record, unknown): (Arc<dyn AnyRecord>, Unknown),
        length: usize,
    ) -> Self {
        Self { meta, record, length, fields: OnceLock::new(), unknown }
    }

    /// Members of its body that this release does not know, as they stand there: a newer one's. They are
    /// no fields, and kept.
    pub fn unknown(&self) -> Option<&str> {
        self.unknown.as_deref()
    }

    /// Takes over what `before`, the same record, had of these.
    pub fn keep_unknown(&mut self, before: &Self) {
        self.unknown.clone_from(&before.unknown);
    }

    /// The same record with other fields.
    ///
    /// # Errors
    /// [`Error::Internal`] when they are not those of its type.
    pub fn with(&self, fields: Map<String, Value>) -> Result<Self, Error> {
        Self::read(self.meta.clone(), fields)
    }

    /// A record of these fields, whose type is that of its kind.
    ///
    /// # Errors
    /// [`Error::Internal`] when they are not those of its type.
    pub fn read(meta: Meta, fields: Map<String, Value>) -> Result<Self, Error> {
        let body = Value::Object(fields).to_string();
        let record = meta.kind.read(Vec::new(), &body).map_err(Error::internal)?;
        Ok(Self::of_any(meta, record, body.len()))
    }

    /// The same without what can be written anew, to be kept.
    #[must_use]
    pub fn slim(&self) -> Self {
        let unknown = self.unknown.clone();
        let beside = unknown.as_ref().map_or(0, |unknown| unknown.len());
        let length = self.fields.get().map_or(self.length, |fields| fields.len() + beside);
        Self::of_any(self.meta.clone(), (Arc::clone(&self.record), unknown), length)
    }

    /// About the length of the fields as JSON, bytes, where the record was read or is kept: a measure
    /// of the memory that it takes, the same for as long as it lives.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The fields as their type.
    ///
    /// # Errors
    /// [`Error::Internal`] when the record is of another type.
    pub fn typed<R: Record>(&self) -> Result<Stored<R>, Error> {
        let record: Arc<dyn Any + Send + Sync> = Arc::clone(&self.record) as _;
        let record = record.downcast().map_err(|_| {
            Error::internal(format!("a {} is no {}", self.meta.kind.name(), R::TABLE.name))
        })?;
        Ok(Stored { meta: self.meta.clone(), record })
    }

    /// The same where they stand, for whoever looks at many.
    ///
    /// # Errors
    /// As [`Document::typed`].
    pub fn look<R: Record>(&self) -> Result<&R, Error> {
        let record: &dyn Any = &*self.record;
        record.downcast_ref().ok_or_else(|| {
            Error::internal(format!("a {} is no {}", self.meta.kind.name(), R::TABLE.name))
        })
    }

    /// The fields as JSON.
    ///
    /// # Errors
    /// [`Error::Internal`] when they have no JSON form.
    pub fn fields(&self) -> Result<&Fields, Error> {
        if let Some(fields) = self.fields.get() {
            return Ok(fields);
        }
        let fields = self.record.fields()?;
        Ok(self.fields.get_or_init(|| fields))
    }

    /// The records that it names in columns.
    ///
    /// # Errors
    /// As [`Document::fields`].
    pub fn named_in_columns(&self) -> Result<impl Iterator<Item = (Kind, Key)>, Error> {
        let fields = self.fields()?;
        Ok(self.meta.kind.table().columns.iter().filter_map(|column| {
            let ColumnType::Reference(kind, _) = column.column_type else { return None };
            Some((kind, Key::of(&fields.value(column.name))?))
        }))
    }
}

/// A record of whatever type.
pub trait AnyRecord: Any + Send + Sync {
    /// The fields as JSON.
    ///
    /// # Errors
    /// [`Error::Internal`] when they have no JSON form.
    fn fields(&self) -> Result<Fields, Error>;
}

impl<R: Record> AnyRecord for R {
    fn fields(&self) -> Result<Fields, Error> {
        Fields::of(self)
    }
}

/// A record of a known type as it stands in the database.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<R> {
    /// Identity, owner, version and times.
    pub meta: Meta,
    /// Its fields.
    pub record: Arc<R>,
}

impl<R> Stored<R> {
    /// The integer id; 0 for a record with a text id.
    pub fn id(&self) -> i64 {
        self.meta.key.as_int().unwrap_or_default()
    }
}

/// The fields that a command changes.
#[derive(Clone, Debug, Default)]
pub struct Changed(String);

/// Ends each name in [`Changed`].
const NAME_END: char = ',';

impl Changed {
    /// Names every field of a new record.
    pub fn all(fields: &Fields) -> Self {
        Self::of(fields.iter().map(|(name, _)| name))
    }

    /// Names the fields in which two records differ.
    pub fn between(before: &Fields, after: &Fields) -> Self {
        Self::of(after.changes(before).map(|(name, _, _)| name))
    }

    fn of<'a>(fields: impl Iterator<Item = &'a str>) -> Self {
        let mut names = String::new();
        for name in fields {
            names.push_str(name);
            names.push(NAME_END);
        }
        Self(names)
    }

    /// True when `field` changes.
    pub fn has(&self, field: &str) -> bool {
        self.names().any(|name| name == field)
    }

    /// True when one of `fields` changes: when to check an invariant over them.
    pub fn any(&self, fields: &[&str]) -> bool {
        fields.iter().any(|field| self.has(field))
    }

    /// True when nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(NAME_END)
    }
}

/// A record type. Its rules live in its own file; everything else is shared.
pub trait Record: Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync + 'static {
    /// Which kind it is.
    const KIND: Kind;
    /// How it is stored.
    const TABLE: Table;
    /// The kinds of the records in [`Record::named_in_body`], and what becomes of this one when such a
    /// record is deleted.
    const NAMES_IN_BODY: &'static [(Kind, Gone)] = &[];
    /// A [`super::patch::Patch`] for every field that an edit may name; see [`super::patch::edit`].
    type Edit: EditOf<Self>;

    /// Puts the edit's values into the record, without judging them.
    fn apply(&mut self, edit: &Self::Edit) {
        edit.apply_to(self);
    }

    /// Notes when what an edit tells of has happened, where the edit itself does not say so. Times are
    /// set by who acts alone: nothing of this is asked when fields go back to what they were.
    fn note_edit(&mut self, _before: &Self, _at: Timestamp) {}

    /// Records that an edit has to have to itself beside its own, from the start, because its rules count
    /// on nobody changing them meanwhile. (What it begins to name stays without that.)
    fn edit_needs(_edit: &Self::Edit) -> Vec<Need> {
        Vec::new()
    }

    /// Derives what follows from a change: normal forms, counters, dropped secrets. `before` is
    /// absent for a new record.
    ///
    /// # Errors
    /// [`super::facts::Stop`] when a fact is missing or the change is refused.
    fn settle(&mut self, _: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        Ok(())
    }

    /// Where the record is, for scopes.
    ///
    /// # Errors
    /// [`super::facts::Stop::Missing`] when a fact is missing.
    fn place(&self, _: &Meta, _: &mut Facts) -> Known<Place> {
        Ok(Place::Account)
    }

    /// Every rule that the record breaks, among those that `changed` touches.
    ///
    /// # Errors
    /// [`super::facts::Stop::Missing`] when a fact is missing.
    fn validate(&self, _: &Meta, _: &Changed, _: &mut Facts) -> Known<FieldErrors> {
        Ok(Vec::new())
    }

    /// Every rule that holds of it for as long as it stands, whatever was changed when, and is broken: for
    /// checks.
    ///
    /// # Errors
    /// [`super::facts::Stop::Missing`] when a fact is missing.
    fn broken(&self, _: &Meta, _: &mut Facts) -> Known<FieldErrors> {
        Ok(Vec::new())
    }

    /// Why it cannot be deleted (nor its making undone), where that is so by itself.
    ///
    /// # Errors
    /// [`Error::Conflict`] with the fields that stand in the way.
    fn refuse_deletion(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Why it cannot come back once it was deleted, where that is so by itself.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::Conflict`] with what is wrong with that.
    fn refuse_restore(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The records that it names elsewhere than in columns of type [`ColumnType::Reference`]; each
    /// has to be there, live, in the same account.
    fn named_in_body(&self) -> Vec<(Kind, Key)> {
        Vec::new()
    }

    /// The same without its names of a record that is gone: by default, columns become null.
    ///
    /// # Errors
    /// [`Error::Internal`] when it has no JSON form.
    fn without(self, (kind, key): &(Kind, Key)) -> Result<Self, Error> {
        let mut fields = Fields::of(&self)?.values();
        for column in Self::TABLE.columns {
            if let ColumnType::Reference(to, Gone::Clears) = column.column_type
                && to == *kind
                && let Some(value) = fields.get_mut(column.name)
                && Key::of(value).as_ref() == Some(key)
            {
                *value = Value::Null;
            }
        }
        serde_json::from_value(fields.into()).map_err(Error::internal)
    }

    /// True when a change of these fields can make it name other records than before.
    fn may_name_others(changed: &Changed) -> bool {
        !Self::NAMES_IN_BODY.is_empty()
            || Self::TABLE.columns.iter().any(|column| {
                matches!(column.column_type, ColumnType::Reference(..)) && changed.has(column.name)
            })
    }

    /// The id of a new record: the next of its kind's, or a random UUID.
    ///
    /// # Errors
    /// [`super::facts::Stop::Missing`] when the sequence has to be asked.
    fn new_key(context: &mut Context<'_>, facts: &mut Facts) -> Known<Key> {
        match Self::TABLE.key {
            KeyType::Int => facts.take(Sequence::Record(Self::KIND)).map(Key::Int),
            KeyType::Text => Ok(Key::Text(context.entropy.uuid())),
        }
    }
}
