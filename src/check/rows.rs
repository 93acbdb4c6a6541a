//! Each row on its own, and with what it names.

use std::collections::HashMap;

use futures_util::future::join_all;

use super::{Check, replay};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::people::credential::Credential;
use crate::domain::record::{Document, Key};
use crate::domain::standing;
use crate::store::Row;

/// How often a row that has changed is looked at again.
const LOOKS: usize = 20;

/// What does not fit, as long as the row stays as it is.
pub(super) struct Suspicion {
    /// Which row of those that are looked at.
    pub(super) place: usize,
    pub(super) sort: &'static str,
    pub(super) words: String,
}

impl Check<'_> {
    /// Every row of every kind.
    pub(super) async fn rows(&mut self) -> Result<(), Error> {
        for kind in Kind::ALL.iter().copied() {
            let looked = self.rows_of(kind).await;
            self.go_on(&format!("records of kind {}", kind.name()), looked)?;
            for unique in kind.table().unique {
                let looked = self.twins(kind, unique).await;
                self.go_on(&format!("what is unique of kind {}", kind.name()), looked)?;
            }
            let looked = self.made_twice(kind).await;
            self.go_on(&format!("who is known twice of kind {}", kind.name()), looked)?;
        }
        Ok(())
    }

    async fn rows_of(&mut self, kind: Kind) -> Result<(), Error> {
        let mut after: Option<Key> = None;
        loop {
            let rows = self.looker.rows_after(kind, after.as_ref()).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after.clone_from(&last.key);
            self.report.count_records(rows.len());
            self.count(|progress| &progress.records, rows.len());
            if after.is_none() {
                self.report
                    .tell("unreadable", format_args!("{}: its id is of no type", last.name()));
                return Ok(());
            }
            if kind.table().tree.is_some() {
                self.circles(kind, &rows).await?;
            }
            self.look_and_again(kind, rows).await?;
        }
    }

    /// Looks at rows, and once more at those that something does not fit of: those are told of that are the
    /// same as before.
    async fn look_and_again(&mut self, kind: Kind, mut rows: Vec<Row>) -> Result<(), Error> {
        for _ in 0..LOOKS {
            let suspicions = self.suspicions(&rows).await?;
            if suspicions.is_empty() {
                return Ok(());
            }
            let mut suspects: HashMap<usize, Vec<Suspicion>> = HashMap::new();
            for suspicion in suspicions {
                suspects.entry(suspicion.place).or_default().push(suspicion);
            }
            // Before the rows: those that are staged now and still the same were so all the time.
            let staged = self.looker.leftovers().await?;
            let is_staged = |row: &Row| {
                let id = row.key.as_ref().and_then(Key::as_int);
                staged.iter().any(|staged| {
                    staged.table == kind.name()
                        && id.is_some_and(|id| (staged.first_id..=staged.last_id).contains(&id))
                })
            };
            let mut places: Vec<usize> = suspects.keys().copied().collect();
            places.sort_unstable();
            let keys: Vec<&Key> =
                places.iter().filter_map(|place| rows.get(*place)?.key.as_ref()).collect();
            let now = self.looker.rows_at(kind, &keys).await?;
            let mut now: HashMap<Key, Row> =
                now.into_iter().filter_map(|row| Some((row.key.clone()?, row))).collect();
            let mut others = Vec::new();
            for place in places {
                let Some(before) = rows.get(place) else { continue };
                // What large commands take away again was never anybody's.
                let Some(row) = before.key.as_ref().and_then(|key| now.remove(key)) else {
                    continue;
                };
                if !row.is_as(before) {
                    others.push(row);
                } else if !is_staged(before) {
                    for Suspicion { sort, words, .. } in suspects.remove(&place).unwrap_or_default()
                    {
                        self.report.tell(sort, words);
                    }
                }
            }
            rows = others;
        }
        Ok(())
    }

    async fn suspicions(&mut self, rows: &[Row]) -> Result<Vec<Suspicion>, Error> {
        let mut found = Vec::new();
        let mut documents = Vec::with_capacity(rows.len());
        for (place, row) in rows.iter().enumerate() {
            match &row.document {
                Ok(document) => documents.push((place, document)),
                Err(cause) => {
                    let words = format!("{}: {cause}", row.name());
                    found.push(Suspicion { place, sort: "unreadable", words });
                }
            }
        }
        for (place, document) in &documents {
            let (place, name) = (*place, name(document));
            let row = rows.get(place).map(Row::misshapen).transpose()?.unwrap_or_default();
            if !row.is_empty() {
                let words = format!("{name}: {}", row.join(", "));
                found.push(Suspicion { place, sort: "not as it is written", words });
            }
            for field in standing::underived(document)? {
                let words = format!("{name}: {field}");
                found.push(Suspicion { place, sort: "does not follow", words });
            }
            if let Some(words) = self.secret_fault(document)? {
                let words = format!("{name}: {words}");
                found.push(Suspicion { place, sort: "secret", words });
            }
        }
        self.replay(rows, &documents, &mut found).await?;
        let named_well = self.references(&documents, &mut found).await?;
        self.missing_links(&documents, &mut found).await?;
        let live = documents.iter().filter(|(_, document)| document.meta.deleted_at.is_none());
        let live = live.filter(|(place, _)| named_well.contains(place));
        let broken = live.map(async |(place, document)| {
            let kind = document.meta.kind;
            (*place, document, self.store.read(|facts| kind.broken(document, facts)).await)
        });
        for (place, document, broken) in join_all(broken).await {
            match broken {
                Ok(errors) => found.extend(errors.into_iter().map(|error| Suspicion {
                    place,
                    sort: "breaks a rule",
                    words: format!("{}: {}: {}", name(document), error.field, error.detail),
                })),
                Err(error @ Error::Unavailable { .. }) => return Err(error),
                // Said of the one that cannot be read.
                Err(_) => {}
            }
        }
        Ok(found)
    }

    async fn replay(
        &mut self,
        rows: &[Row],
        documents: &[(usize, &Document)],
        found: &mut Vec<Suspicion>,
    ) -> Result<(), Error> {
        let mut chains: Vec<_> = documents
            .iter()
            .map(|(place, document)| replay::Chain::new(*place, document))
            .collect::<Result<_, _>>()?;
        debug_assert!(rows.len() >= chains.len());
        loop {
            let mut ids: Vec<i64> = chains.iter().filter_map(replay::Chain::next).collect();
            if ids.is_empty() {
                return Ok(());
            }
            // So many of them as are not too long.
            ids.sort_unstable();
            let (steps, asked) = self.looker.steps(&ids).await?;
            self.count(|progress| &progress.changes, steps.len());
            ids.truncate(asked);
            for chain in &mut chains {
                if let Some(id) = chain.next()
                    && ids.binary_search(&id).is_ok()
                {
                    let follows = !self.how.is_quick;
                    if chain.take(id, steps.get(&id), follows, found) {
                        self.seen.mark(id);
                    }
                }
            }
        }
    }

    /// Why a sealed secret is of no use.
    fn secret_fault(&self, document: &Document) -> Result<Option<String>, Error> {
        let Some(vault) = self.how.vault.filter(|_| document.meta.kind == Kind::Credential) else {
            return Ok(None);
        };
        let credential = document.look::<Credential>()?;
        let Some(sealed) = &credential.secret_sealed else { return Ok(None) };
        let public_id = credential.public_id.as_deref().unwrap_or_default();
        Ok(vault.open(public_id, sealed).err().map(|error| error.to_string()))
    }
}

/// How faults call a record: `form 551`.
pub(super) fn name(document: &Document) -> String {
    format!("{} {}", document.meta.kind.name(), document.meta.key)
}
