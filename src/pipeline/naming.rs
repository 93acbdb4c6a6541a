//! What a commit changes in who names whom.

use std::collections::BTreeSet;

use super::{Pending, Writes};
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

/// How writes change what their records name.
#[derive(Debug, Default)]
pub(super) struct Naming {
    /// Links that come, and those that go.
    pub(super) links: Vec<(Link, bool)>,
    /// What they name that they did not name before.
    pub(super) newly: Vec<(Kind, Key)>,
    /// What stands below another than before.
    pub(super) moved: Vec<(Kind, Key)>,
}

impl Naming {
    /// Takes in one write, which may change only what has no column.
    pub(super) fn note(
        &mut self,
        before: Option<&Document>,
        after: &Document,
        is_body_only: bool,
    ) -> Result<(), Error> {
        let old = before.map_or(Ok(BTreeSet::new()), Link::of)?;
        let new = Link::of(after)?;
        self.newly.extend(new.difference(&old).map(|link| link.to.clone()));
        self.links.extend(new.difference(&old).map(|link| (link.clone(), true)));
        self.links.extend(old.difference(&new).map(|link| (link.clone(), false)));
        if !is_body_only && after.meta.deleted_at.is_none() {
            let before = before.filter(|before| before.meta.deleted_at.is_none());
            let old = before.map(Document::named_in_columns).transpose()?;
            let old: Vec<(Kind, Key)> = old.into_iter().flatten().collect();
            if let (Some(tree), Some(before)) = (&after.meta.kind.table().tree, before) {
                let above = |document: &Document| {
                    Ok::<_, Error>(Key::of(&document.fields()?.value(tree.column)))
                };
                let above_now = above(after)?;
                if above_now.is_some() && above_now != above(before)? {
                    self.moved.push((after.meta.kind, after.meta.key.clone()));
                }
            }
            self.newly.extend(after.named_in_columns()?.filter(|to| !old.contains(to)));
        }
        Ok(())
    }
}

impl Writes {
    /// Returns what was moved in a tree.
    pub(super) fn take_in(&mut self, naming: Naming) -> Vec<(Kind, Key)> {
        self.links.extend(naming.links);
        self.named.extend(naming.newly);
        naming.moved
    }

    /// What records name from now on and is not written here: somebody else may end it.
    pub fn relied_on(&self) -> impl Iterator<Item = &(Kind, Key)> {
        self.named.iter().filter(|place| !self.documents.contains_key(*place))
    }

    /// The stored records that end here and that nothing may name then: others may begin to. (What
    /// belongs to an account stays as it is when that is closed.)
    pub fn ended(&self) -> impl Iterator<Item = &(Kind, Key)> {
        let is_ended = |pending: &Pending| {
            let meta = &pending.document.meta;
            pending.stored_version.is_some()
                && meta.deleted_at.is_some()
                && meta.kind != Kind::Account
        };
        let ended = self.documents.iter().filter(move |(_, pending)| is_ended(pending));
        ended.map(|(place, _)| place)
    }
}
