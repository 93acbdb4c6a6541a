//! What is wrong in a database: records that cannot be read, history that disagrees with its record,
//! references to what is not there.

use std::collections::HashSet;

use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};
use crate::store::Store;

/// Records read at once.
const PAGE: i64 = 1000;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Records looked at, deleted ones included.
    pub records: usize,
    /// What is wrong, a sentence each; empty when all is well.
    pub faults: Vec<String>,
}

/// Looks at everything.
///
/// # Errors
/// [`Error::Unavailable`] when the database is away, [`Error::Internal`] when rows are of no known
/// form.
pub async fn run(store: &Store) -> Result<Findings, Error> {
    let mut report = Findings { records: 0, faults: store.faults().await? };
    for kind in Kind::ALL.iter().copied() {
        let mut after: Option<Key> = None;
        loop {
            let found = store.documents_after(kind, after.as_ref(), PAGE).await?;
            let Some(last) = found.last() else { break };
            let meta = last.as_ref().map_or_else(|unreadable| &unreadable.meta, |last| &last.meta);
            after = Some(meta.key.clone());
            report.records += found.len();
            let mut documents = Vec::with_capacity(found.len());
            for one in found {
                match one {
                    Ok(document) => documents.push(document),
                    Err(unreadable) => report.faults.push(format!("unreadable: {unreadable}")),
                }
            }
            report.faults.extend(references(store, &documents).await?);
        }
    }
    Ok(report)
}

/// The faults of records of one kind on their own, and of what they name.
async fn references(store: &Store, documents: &[Document]) -> Result<Vec<String>, Error> {
    let mut faults = Vec::new();
    let mut named = Vec::new();
    for document in documents {
        // What a deleted record named may go after it.
        if document.meta.deleted_at.is_none() {
            let references = document.meta.kind.references(document)?;
            named.extend(references.into_iter().map(|to| (document, to)));
        }
    }
    let all: HashSet<&(Kind, Key)> = named.iter().map(|(_, to)| to).collect();
    let found = store
        .read(|facts| {
            facts.want(all.iter().map(|to| (*to).clone()))?;
            let mut live = HashSet::new();
            for (kind, key) in &all {
                if let Some(found) = facts.document(*kind, key)?
                    && found.meta.deleted_at.is_none()
                {
                    live.insert((found.meta.account_id, *kind, key.clone()));
                }
            }
            Ok(live)
        })
        .await?;
    for (document, (kind, key)) in named {
        let place = (document.meta.account_id, kind, key);
        if !found.contains(&place) {
            let (_, kind, key) = place;
            faults.push(format!(
                "orphaned reference: {} {} names {} {key}, which its account does not have",
                document.meta.kind.name(),
                document.meta.key,
                kind.name()
            ));
        }
    }
    Ok(faults)
}
