//! What holds of a record for as long as it stands, for whoever checks.

use super::actor::Actor;
use super::command::{Context, Entropy, FOLLOW_MAX};
use super::error::Error;
use super::facts::{Facts, Stop};
use super::record::Document;
use super::table::Data;

/// Nothing that follows from a record is drawn at random.
struct Zeroes;

impl Entropy for Zeroes {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// The derived fields of a record that do not follow from its other fields.
///
/// # Errors
/// [`Error::Internal`] when the record has no JSON form.
pub fn underived(document: &Document) -> Result<Vec<&'static str>, Error> {
    let kind = document.meta.kind;
    let derived = kind.table().fields_of(Data::Derived);
    if derived.is_empty() {
        return Ok(Vec::new());
    }
    let actor = Actor::operator(document.meta.account_id);
    let (at, entropy) = (document.meta.updated_at, &mut Zeroes);
    let mut context = Context { actor: &actor, at, entropy, follow_max: FOLLOW_MAX };
    let due = match kind.settled(document, document, &mut context, &mut Facts::default()) {
        Ok(due) => due,
        // A rule of how records change, and not of how they are.
        Err(Stop::Refused(_) | Stop::Missing(_) | Stop::Large | Stop::Long) => {
            return Ok(Vec::new());
        }
    };
    let (is, due) = (document.fields()?, due.fields()?);
    Ok(derived.iter().copied().filter(|name| is.get(name) != due.get(name)).collect())
}
