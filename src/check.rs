//! What is wrong in a database: records that cannot be read, history that disagrees with its record,
//! references to what is not there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;

use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};
use crate::pipeline::Link;
use crate::store::Store;

/// Records read at once.
const PAGE: i64 = 1000;
/// Records asked for at once.
const TOGETHER: usize = 1000;

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
            report.faults.extend(missing_links(store, &documents).await?);
        }
    }
    report.faults.extend(stray_links(store).await?);
    Ok(report)
}

/// The records with these ids, or that there is none; of one that cannot be read, nothing.
async fn look(
    store: &Store,
    places: HashSet<(Kind, Key)>,
) -> Result<HashMap<(Kind, Key), Option<Arc<Document>>>, Error> {
    let places: Vec<(Kind, Key)> = places.into_iter().collect();
    let mut all = HashMap::with_capacity(places.len());
    for places in places.chunks(TOGETHER) {
        let read = |(kind, key)| store.read(move |facts| facts.document(kind, key));
        let found = join_all(places.iter().map(|(kind, key)| (*kind, key)).map(read)).await;
        for (place, found) in places.iter().zip(found) {
            match found {
                Ok(found) => drop(all.insert(place.clone(), found)),
                // Said of the record itself, when its turn comes.
                Err(Error::Internal(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(all)
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
    let found = look(store, named.iter().map(|(_, to)| to.clone()).collect()).await?;
    for (document, to) in named {
        let is_there = found.get(&to).is_none_or(|found| {
            found.as_ref().is_some_and(|found| {
                found.meta.deleted_at.is_none() && found.meta.account_id == document.meta.account_id
            })
        });
        if !is_there {
            faults.push(format!(
                "orphaned reference: {} {} names {} {}, which its account does not have",
                document.meta.kind.name(),
                document.meta.key,
                to.0.name(),
                to.1
            ));
        }
    }
    Ok(faults)
}

/// What records name elsewhere than in columns, and no link says.
async fn missing_links(store: &Store, documents: &[Document]) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    for document in documents {
        all.extend(Link::of(document)?.iter().map(Link::texts));
    }
    let standing = store.standing_links(&all).await?;
    let missing = all.iter().filter(|link| !standing.contains(*link));
    Ok(missing.map(|link| format!("missing link: {}", in_words(link))).collect())
}

/// Links that say what no live record does.
async fn stray_links(store: &Store) -> Result<Vec<String>, Error> {
    let mut faults = Vec::new();
    let mut after = <[String; 4]>::default();
    loop {
        let links = store.links_after(&after, PAGE).await?;
        let Some(last) = links.last() else { return Ok(faults) };
        after.clone_from(last);
        let from = |[_, _, kind, id]: &[String; 4]| {
            let kind = Kind::parse(kind)?;
            Some((kind, Key::parse(kind.table().key, id)?))
        };
        let found = look(store, links.iter().filter_map(from).collect()).await?;
        let mut meant = HashSet::new();
        for document in found.values().flatten() {
            meant.extend(Link::of(document)?.iter().map(Link::texts));
        }
        let is_unreadable = |link| from(link).is_some_and(|place| !found.contains_key(&place));
        let stray = links.iter().filter(|link| !meant.contains(*link) && !is_unreadable(link));
        faults.extend(stray.map(|link| format!("stray link: {}", in_words(link))));
    }
}

fn in_words([to_kind, to_id, from_kind, from_id]: &[String; 4]) -> String {
    format!("{from_kind} {from_id} names {to_kind} {to_id}")
}
