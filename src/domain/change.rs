//! The record of one accepted command on one record: who, when, how, and what was different
//! before and after.

use jiff::Timestamp;

use super::error::Error;
use super::fields::Fields;
use super::kind::Kind;
use super::names::names;
use super::record::Document;
use super::table::Data;

names! {
    /// What happened to a record.
    pub enum Action {
        /// It was made.
        Create = "create",
        /// Its fields changed.
        Edit = "edit",
        /// It was removed.
        Delete = "delete",
        /// A removal was undone.
        Restore = "restore",
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
    /// Where its command made several changes, the first of them.
    pub act_id: Option<i64>,
    /// Where it is the first of several, the last of them.
    pub act_end: Option<i64>,
    /// The act that its command took back, by that act's first change.
    pub undoes: Option<i64>,
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
    /// The changed fields as they were; none for a new record.
    pub before: Option<Fields>,
    /// The changed fields as they are; none for a removed record.
    pub after: Option<Fields>,
}

/// Stands in history for a value that history must not show.
pub const MASK: &str = "•••";
/// The same as JSON.
pub const MASK_TEXT: &str = "\"•••\"";

/// The changed fields before and after, secrets masked.
///
/// # Errors
/// [`Error::Internal`] when fields have no JSON form.
pub fn diff(
    before: Option<&Document>,
    after: &Document,
    action: Action,
) -> Result<(Option<Fields>, Option<Fields>), Error> {
    let secrets = after.meta.kind.table().fields_of(Data::Secret);
    let after = after.fields()?;
    Ok(match (action, before) {
        (Action::Edit, Some(before)) => {
            let before = before.fields()?;
            let (mut was, mut is) = (room(), room());
            for (name, old, new) in after.changes(before) {
                was.add(name, shown(secrets, name, old));
                is.add(name, shown(secrets, name, new));
            }
            (Some(was), Some(is))
        }
        (Action::Delete, _) => (Some(whole(secrets, after)), None),
        _ => (None, Some(whole(secrets, after))),
    })
}

/// For the few fields that most edits change.
fn room() -> Fields {
    Fields::with_room(256, 8)
}

fn whole(secrets: &[&str], fields: &Fields) -> Fields {
    if secrets.is_empty() {
        return fields.clone();
    }
    Fields::collect(fields.iter().map(|(name, text)| (name, shown(secrets, name, text))))
}

fn shown<'a>(secrets: &[&str], name: &str, text: &'a str) -> &'a str {
    if secrets.contains(&name) && text != "null" { MASK_TEXT } else { text }
}
