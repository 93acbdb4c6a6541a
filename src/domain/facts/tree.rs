//! What is above a record of a tree, and what is below it: known from then on as if each record had been
//! asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Facts, Known, Need, Records, Selections, Selector, Stop};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};

impl Facts {
    /// Asks for a record of a tree with all above it, where it is not known.
    ///
    /// # Errors
    /// [`Stop::Missing`] until they are loaded.
    pub fn want_above(&self, kind: Kind, key: &Key) -> Known<()> {
        match self.document(kind, key) {
            Err(Stop::Missing(_)) => self.recall(Need::Above(kind, key.clone())),
            known => known.map(|_| ()),
        }
    }

    /// Asks for what stands right below a record of a tree with all below that, where it is not known.
    ///
    /// # Errors
    /// [`Stop::Missing`] until they are loaded.
    pub fn want_below(&self, kind: Kind, key: &Key) -> Known<()> {
        let Some(tree) = &kind.table().tree else {
            return Err(Error::internal(format!("{}: no tree", kind.name())).into());
        };
        let selector = Selector { kind, column: tree.column, value: key.clone() };
        match self.want_selections([selector]) {
            Err(Stop::Missing(_)) => self.recall(Need::Below(kind, key.clone())),
            known => known,
        }
    }
}

/// Takes in a record and those above it.
pub(super) fn keep_above(start: (Kind, Key), documents: Vec<Arc<Document>>, records: &mut Records) {
    for document in documents {
        records.entry((start.0, document.meta.key.clone())).or_insert(Some(document));
    }
    records.entry(start).or_insert(None);
}

/// Takes in all that is below a record.
pub(super) fn keep_below(
    (kind, key): (Kind, Key),
    documents: Vec<Arc<Document>>,
    records: &mut Records,
    selections: &mut Selections,
) {
    let Some(tree) = &kind.table().tree else { return };
    let mut below = BTreeMap::from([(key, Vec::new())]);
    for document in documents {
        let key = document.meta.key.clone();
        below.entry(key.clone()).or_default();
        let above = document.fields().ok().and_then(|fields| Key::of(&fields.value(tree.column)));
        if let Some(above) = above {
            below.entry(above).or_default().push(key.clone());
        }
        records.entry((kind, key)).or_insert(Some(document));
    }
    for (value, keys) in below {
        let selector = Selector { kind, column: tree.column, value };
        selections.entry(selector).or_insert_with(|| keys.into());
    }
}
