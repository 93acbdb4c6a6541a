//! The one way in which records are removed, with what goes along.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Command, Context, Decision, Expected, end, live, permit_document};
use crate::domain::access::Right;
use crate::domain::error::Error;
use crate::domain::facts::{self, Facts, Known, Need, Stop};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key, Record};
use crate::domain::table::Gone;

/// Removes a record, and does with those that name it what their tables declare ([`Gone`]). The rows
/// stay, marked as deleted.
#[derive(Debug)]
pub struct Delete<R: Record> {
    /// Which one.
    pub key: Key,
    /// From which version.
    pub expected: Expected,
    /// Which kind.
    pub record: PhantomData<fn() -> R>,
}

impl<R: Record> Delete<R> {
    /// Removes `key`.
    pub fn new(key: impl Into<Key>, expected: Expected) -> Self {
        Self { key: key.into(), expected, record: PhantomData }
    }
}

impl<R: Record> Command for Delete<R> {
    fn needs(&self) -> Vec<Need> {
        vec![Need::Record(R::KIND, self.key.clone())]
    }

    /// Refused with [`Error::Conflict`] and the kinds of the records that are in the way.
    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let document = live(context.actor, R::KIND, &self.key, facts)?;
        permit_document(context, facts, &document, Right::Delete)?;
        self.expected.check(&document, facts)?;
        R::KIND.refuse_deletion(&document)?;
        Cascade::of(document, context, facts)?.decide(context, facts)
    }
}

type Place = (Kind, Key);

/// What goes along with a record.
#[derive(Default)]
struct Cascade {
    /// What ends: the record itself, then what names it, then what names that.
    ended: Vec<Arc<Document>>,
    /// What stays without the names of these.
    cleared: BTreeMap<Place, Vec<Place>>,
}

impl Cascade {
    fn of(document: Arc<Document>, context: &Context<'_>, facts: &Facts) -> Known<Self> {
        let mut places = HashSet::from([place(&document)]);
        let mut level = vec![place(&document)];
        let mut this = Self { ended: vec![document], ..Self::default() };
        let mut refusing = Vec::new();
        while !level.is_empty() {
            let limit = context.follow_max.saturating_add(1);
            let naming = facts.naming(&level, i64::try_from(limit).unwrap_or(i64::MAX))?;
            let mut next = BTreeSet::<Place>::new();
            for (way, named, key) in naming {
                let by = (way.by, key);
                match way.gone {
                    Gone::Refuses => refusing.push(by),
                    Gone::Clears => this.cleared.entry(by).or_default().push(named.clone()),
                    Gone::Ends if places.contains(&by) => {}
                    Gone::Ends => {
                        next.insert(by);
                    }
                }
            }
            level = next.into_iter().collect();
            places.extend(level.iter().cloned());
            let follow = places.len() - 1 + this.cleared.len();
            if follow > context.follow_max {
                return Err(Stop::Large);
            }
            facts.want(level.iter().cloned())?;
            for (kind, key) in &level {
                // Beside the batches, it may have ended since it was found.
                let is_live = |document: &Arc<Document>| document.meta.deleted_at.is_none();
                this.ended.extend(facts.document(*kind, key)?.filter(is_live));
            }
        }
        refusing.retain(|by| !places.contains(by));
        this.cleared.retain(|by, _| !places.contains(by));
        if refusing.is_empty() {
            return Ok(this);
        }
        refusing.sort_unstable();
        refusing.dedup_by_key(|(kind, _)| *kind);
        let kinds = refusing.iter().map(|(kind, _)| kind.name().to_owned());
        Err(Error::Conflict(kinds.collect()).into())
    }

    fn decide(self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        facts.want(self.cleared.keys().cloned())?;
        let checkpoint = facts.checkpoint();
        let mut decision = Decision::default();
        for document in self.ended {
            let write = end(document, context);
            facts.lay(&Arc::new(write.after.clone()));
            decision.writes.push(write);
        }
        let cleared = facts::all(self.cleared, |((kind, key), named)| {
            let document = facts.document(kind, &key)?;
            let live = document.filter(|document| document.meta.deleted_at.is_none());
            let Some(document) = live else { return Ok(None) };
            kind.decide_forget(&named, document, context, facts)
        });
        decision.writes.extend(cleared?.into_iter().flatten());
        facts.lift(checkpoint);
        Ok(decision)
    }
}

fn place(document: &Document) -> Place {
    (document.meta.kind, document.meta.key.clone())
}
