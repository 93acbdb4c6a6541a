//! What a commit changes in who names whom.

use std::collections::BTreeSet;

use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};

/// That one live record names another elsewhere than in a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// Which is named.
    pub to: (Kind, Key),
    /// By which.
    pub from: (Kind, Key),
}

impl Link {
    /// Kind and id of the one, then of the other.
    pub fn texts(&self) -> [String; 4] {
        let Self { to, from } = self;
        let (to_kind, from_kind) = (to.0.name().to_owned(), from.0.name().to_owned());
        [to_kind, to.1.to_string(), from_kind, from.1.to_string()]
    }

    /// The links of a record, none of one that is deleted.
    ///
    /// # Errors
    /// [`Error::Internal`] when the record is of another type than its kind's.
    pub fn of(document: &Document) -> Result<BTreeSet<Self>, Error> {
        let kind = document.meta.kind;
        if kind.names_in_body().is_empty() || document.meta.deleted_at.is_some() {
            return Ok(BTreeSet::new());
        }
        let named = kind.named_in_body(document)?.into_iter();
        Ok(named.map(|to| Self { to, from: (kind, document.meta.key.clone()) }).collect())
    }
}

/// How one write changes what its record names.
#[derive(Debug, Default)]
pub(super) struct Naming {
    /// Links that come, and those that go.
    pub(super) links: Vec<(Link, bool)>,
}

impl Naming {
    pub(super) fn between(before: Option<&Document>, after: &Document) -> Result<Self, Error> {
        let old = before.map_or(Ok(BTreeSet::new()), Link::of)?;
        let new = Link::of(after)?;
        let gone = old.difference(&new).map(|link| (link.clone(), false));
        let come = new.difference(&old).map(|link| (link.clone(), true));
        Ok(Self { links: gone.chain(come).collect() })
    }
}
