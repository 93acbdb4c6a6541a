//! What a record type declares: how it is stored, what it names and what becomes of it when that is
//! gone, what is unique, what its texts may be, and what kind of data each of its fields is.

use serde_json::Value;

use super::error::{Error, FieldError};
use super::fields::Fields;
use super::kind::Kind;
use super::record::Changed;
use super::text::RECORD_MAX;
pub use super::text::Text;
use crate::sabotage::Protection;

/// How a record type is stored, and what is said of its fields.
#[derive(Debug)]
pub struct Table {
    /// The table's name, also the kind's name in URLs and history.
    pub name: &'static str,
    /// The type of its `id`.
    pub key: KeyType,
    /// Fields with a column of their own (ids, owners, states, dates that are filtered, counters); the
    /// rest travels in one JSON `body`.
    pub columns: &'static [Column],
    /// What no two records have in common.
    pub unique: &'static [Unique],
    /// Columns by which somebody is looked for before another is made: whoever is made has one of them
    /// that nobody else of the account had.
    pub known_by: &'static [&'static str],
    /// The rules of its texts and lists: every one of them that follows from no other field.
    pub texts: &'static [Text],
    /// Every field, by the kind of data that it is; see [`data`].
    pub data: &'static [(Data, &'static [&'static str])],
    /// How its records stand below each other, where they do.
    pub tree: Option<Tree>,
    /// Fields that stay as they are when the act that changed them is taken back: counters, and names
    /// that others may know by now.
    pub lasting: &'static [&'static str],
    /// Fields that follow from these, where one change changes both: then they stay, too.
    pub follows_lasting: &'static [&'static str],
    /// Whether a record stays, when the act that made it is taken back, because others name it by now
    /// or have changed it; else that is in the way.
    pub stays_when_named: bool,
}

/// Records that stand below others of their kind, none of them below itself.
#[derive(Debug)]
pub struct Tree {
    /// The column that names the one above.
    pub column: &'static str,
    /// How many levels there may be, that of the root included; a tree of more is broken.
    pub depth_max: usize,
}

/// Whether a table's key is an integer or text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// [`super::record::Key::Int`].
    Int,
    /// [`super::record::Key::Text`].
    Text,
}

/// A field that the database must know.
#[derive(Debug)]
pub struct Column {
    /// The field's name, also the column's.
    pub name: &'static str,
    /// How it is stored.
    pub column_type: ColumnType,
}

/// How a field is stored when the database must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// A whole number.
    Int,
    /// Yes or no, in the database 1 or 0.
    Flag,
    /// A string.
    Text,
    /// A [`super::time::Instant`], in the database microseconds since 1970.
    Instant,
    /// The id of another record, and what becomes of this one when that is deleted.
    Reference(Kind, Gone),
}

/// What becomes of a record when one that it names is deleted, by the command that deletes that kind.
/// (Taking back the making of a record is refused while anything names it.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The deletion is refused while it names the other.
    Refuses,
    /// It stays, and no longer names the other.
    Clears,
    /// It is deleted too, in the same act.
    Ends,
}

/// How records of one kind name those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The kind of those that name.
    pub by: Kind,
    /// Their column; elsewhere than in columns, if absent.
    pub column: Option<&'static str>,
    /// What becomes of them when the one that they name is deleted.
    pub gone: Gone,
}

impl Way {
    /// Every way in which a record of `kind` is named.
    pub fn to(kind: Kind) -> impl Iterator<Item = Self> {
        Kind::ALL.iter().flat_map(move |by| {
            let columns =
                by.table().columns.iter().filter_map(move |column| match column.column_type {
                    ColumnType::Reference(to, gone) if to == kind => {
                        Some(Self { by: *by, column: Some(column.name), gone })
                    }
                    _ => None,
                });
            let elsewhere = by.names_in_body().iter().filter(move |(to, _)| *to == kind);
            columns.chain(elsewhere.map(|(_, gone)| Self { by: *by, column: None, gone: *gone }))
        })
    }
}

/// Fields that no two records have in common; records that lack one of them do not count.
#[derive(Debug)]
pub struct Unique {
    /// The fields. Unless they name a record by which the account is known, within the account.
    pub fields: &'static [&'static str],
    /// Among which records.
    pub among: Among,
    /// What stands in the way, as a refusal calls it.
    pub refusal: &'static str,
    /// Whether another account can have it: then a refusal does not say that somebody has.
    pub is_of_others: bool,
}

/// The records among which fields are unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Those of one account that are not deleted.
    Live,
    /// All that ever were, of all accounts.
    Ever,
}

/// What a field holds, for whoever may show, log, or erase it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// What tells who somebody is, or reaches them.
    Personal,
    /// Words in which anybody can have written anything.
    Free,
    /// Ids, states, times, numbers, settings.
    Plain,
    /// What opens something. History never shows it.
    Secret,
    /// Follows from other fields, and is as they are.
    Derived,
}

/// Every field of a record by the kind of data that it is, under the names that it is stored by:
/// `data! { Free: title, description; Derived: search_key; Plain: status; }`.
macro_rules! data {
    ($($data:ident: $($field:ident),+;)+) => {
        &[$(($crate::domain::table::Data::$data, &[$(stringify!($field)),+])),+]
    };
}
pub(crate) use data;

impl Column {
    /// A whole number.
    pub const fn int(name: &'static str) -> Self {
        Self { name, column_type: ColumnType::Int }
    }

    /// Yes or no.
    pub const fn flag(name: &'static str) -> Self {
        Self { name, column_type: ColumnType::Flag }
    }

    /// A string.
    pub const fn text(name: &'static str) -> Self {
        Self { name, column_type: ColumnType::Text }
    }

    /// A time.
    pub const fn instant(name: &'static str) -> Self {
        Self { name, column_type: ColumnType::Instant }
    }

    /// The id of a record of `kind`.
    pub const fn names(name: &'static str, kind: Kind, gone: Gone) -> Self {
        Self { name, column_type: ColumnType::Reference(kind, gone) }
    }
}

impl ColumnType {
    /// True when the database keeps it as text, false when as a number.
    pub fn is_text(self) -> bool {
        match self {
            Self::Text => true,
            Self::Int | Self::Flag | Self::Instant => false,
            Self::Reference(kind, _) => kind.table().key == KeyType::Text,
        }
    }
}

impl Unique {
    /// Unique among the live records of an account.
    pub const fn live(fields: &'static [&'static str], refusal: &'static str) -> Self {
        Self { fields, among: Among::Live, refusal, is_of_others: false }
    }

    /// The name of the index or constraint that holds it in a database: of the table and the fields.
    pub fn name_in(&self, table: &Table) -> String {
        match self.among {
            Among::Ever => format!("{}_{}_key", table.name, self.fields.join("_")),
            Among::Live => {
                let fields =
                    self.fields.iter().map(|name| name.strip_suffix("_id").unwrap_or(name));
                format!("{}_{}_live", table.name, fields.collect::<Vec<_>>().join("_"))
            }
        }
    }

    /// Unique among all that ever were.
    pub const fn ever(fields: &'static [&'static str], refusal: &'static str) -> Self {
        Self { fields, among: Among::Ever, refusal, is_of_others: false }
    }

    /// The same, by which an account is told from others.
    pub const fn of_others(fields: &'static [&'static str], refusal: &'static str) -> Self {
        Self { is_of_others: true, ..Self::ever(fields, refusal) }
    }

    /// The refusal of a record that has it in common with another.
    pub fn taken(&self) -> Error {
        if self.is_of_others {
            return Error::invalid(self.refusal, "not_available", "is not to be had");
        }
        Error::Conflict(vec![self.refusal.to_owned()])
    }
}

impl Table {
    /// Declares nothing.
    pub const EMPTY: Self = Self {
        name: "",
        key: KeyType::Int,
        columns: &[],
        unique: &[],
        known_by: &[],
        texts: &[],
        data: &[],
        tree: None,
        lasting: &[],
        follows_lasting: &[],
        stays_when_named: false,
    };

    /// The fields that are of one kind.
    pub fn fields_of(&self, data: Data) -> &'static [&'static str] {
        self.data.iter().find(|(kind, _)| *kind == data).map_or(&[], |(_, fields)| fields)
    }

    /// The changed fields with a column whose text holds NUL, which PostgreSQL cannot keep; on both
    /// stores, so that moving from one to the other never fails.
    pub fn unstorable(&self, fields: &Fields, changed: &Changed) -> Vec<FieldError> {
        with_nul(self.columns.iter().map(|column| column.name), fields, changed).collect()
    }

    /// Every rule of [`Table::texts`] that the changed fields break; texts with NUL first.
    pub fn broken_texts(&self, fields: &Fields, changed: &Changed) -> Vec<FieldError> {
        let is_column = |text: &Text| self.columns.iter().any(|column| column.name == text.path);
        let (mut with_nul, mut errors) = (Vec::new(), Vec::new());
        let mut last: Option<(&str, Value)> = None;
        for text in self.texts.iter().filter(|text| changed.has(text.field())) {
            let (field, json) = (text.field(), fields.get(text.field()));
            if text.is_plainly_good(json) {
                continue;
            }
            let (_, value) = match last {
                Some(last) if last.0 == field => last,
                _ => (field, fields.value(field)),
            };
            let has_nul = !text.is_json() && text.texts(&value).any(|text| text.contains('\0'));
            // That of a column is told of already.
            if has_nul && !is_column(text) {
                with_nul.push(FieldError::new(text.path, "nul", "must not contain NUL"));
            }
            errors.extend(text.faults(&value));
            last = Some((field, value));
        }
        with_nul.extend(errors);
        with_nul
    }

    /// That the record is too large, of the field that makes it so.
    pub fn too_large(&self, fields: &Fields, changed: &Changed) -> Option<FieldError> {
        if fields.len() <= RECORD_MAX || !Protection::TextLimits.is_on() {
            return None;
        }
        let names = self.data.iter().flat_map(|(_, names)| *names).filter(|it| changed.has(it));
        let field = names.max_by_key(|name| fields.get(name).len())?;
        let detail = format!("makes the record larger than {} KiB", RECORD_MAX / 1024);
        Some(FieldError::new(field, "record_too_large", detail))
    }
}

fn with_nul(
    names: impl Iterator<Item = &'static str>,
    fields: &Fields,
    changed: &Changed,
) -> impl Iterator<Item = FieldError> {
    let has_nul = |name: &&str| {
        // In JSON a NUL is an escape; most texts have none of any kind.
        changed.has(name)
            && fields.get(name).contains('\\')
            && fields.value(name).as_str().is_some_and(|text| text.contains('\0'))
    };
    names.filter(has_nul).map(|name| FieldError::new(name, "nul", "must not contain NUL"))
}
