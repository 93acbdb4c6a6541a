//! The record of one accepted command on one record: who, when, how, and what was different
//! before and after.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::kind::Kind;
use super::record::{Changed, Document};

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was made.
    Create,
    /// Its fields changed.
    Edit,
    /// It was removed.
    Delete,
    /// A removal was undone.
    Restore,
}

impl Action {
    /// The name in SQL and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Restore => "restore",
        }
    }

    /// The action of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Create, Self::Edit, Self::Delete, Self::Restore]
            .into_iter()
            .find(|action| action.name() == name)
    }
}

/// One entry of a record's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its id; later changes have larger ids, whatever the clock says.
    pub id: i64,
    /// The account that owns the record.
    pub account_id: i64,
    /// What was changed.
    pub kind: Kind,
    /// The record's id.
    pub record_id: String,
    /// The version that the change made.
    pub version: i64,
    /// The change of the same record before this one.
    pub previous_id: Option<i64>,
    /// When it was accepted.
    pub at: Timestamp,
    /// Who asked.
    pub actor: String,
    /// In which language.
    pub dialect: String,
    /// In which request.
    pub request_id: String,
    /// What happened.
    pub action: Action,
    /// The changed fields as they were; null for a new record.
    pub before: Value,
    /// The changed fields as they are; null for a removed record.
    pub after: Value,
}

/// Stands in history for a value that history must not show.
pub const MASK: &str = "•••";

/// The changed fields before and after, secrets masked.
pub fn diff(before: Option<&Document>, after: &Document, action: Action) -> (Value, Value) {
    let secrets = after.meta.kind.table().secrets;
    match (action, before) {
        (Action::Edit, Some(before)) => {
            let changed = Changed::between(&before.fields, &after.fields);
            let pick = |document: &Document| {
                changed
                    .names()
                    .map(|name| (name.to_owned(), shown(secrets, name, document.field(name))))
                    .collect::<Map<_, _>>()
                    .into()
            };
            (pick(before), pick(after))
        }
        (Action::Delete, _) => (whole(secrets, after), Value::Null),
        _ => (Value::Null, whole(secrets, after)),
    }
}

fn whole(secrets: &[&str], document: &Document) -> Value {
    document
        .fields
        .as_object()
        .map(|fields| {
            fields.iter().map(|(name, value)| (name.clone(), shown(secrets, name, value))).collect()
        })
        .map_or(Value::Null, Value::Object)
}

fn shown(secrets: &[&str], name: &str, value: &Value) -> Value {
    if secrets.contains(&name) && !value.is_null() { MASK.into() } else { value.clone() }
}
