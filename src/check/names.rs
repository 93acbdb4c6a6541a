//! Who names whom, and who is what others are.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Check;
use super::rows::{Suspicion, name};
use crate::domain::change::Action;
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};
use crate::domain::table::Unique;
use crate::pipeline::Link;
use crate::store::{Row, Standing};

/// Links read at once.
const PAGE: i64 = 200;

impl Check<'_> {
    /// What records name and their account does not have. Gives those of which all that they name is
    /// there.
    pub(super) async fn references(
        &self,
        documents: &[(usize, &Document)],
        found: &mut Vec<Suspicion>,
    ) -> Result<HashSet<usize>, Error> {
        let mut named: Vec<(usize, &Document, (Kind, Key))> = Vec::new();
        let mut asked: BTreeMap<Kind, HashSet<Key>> = BTreeMap::new();
        for (place, document) in documents {
            let meta = &document.meta;
            let account = (Kind::Account, Key::Int(meta.account_id));
            for (kind, key) in meta.kind.references(document)?.into_iter().chain([account]) {
                asked.entry(kind).or_default().insert(key.clone());
                named.push((*place, document, (kind, key)));
            }
        }
        let mut standing: HashMap<Kind, HashMap<Key, Standing>> = HashMap::new();
        for (kind, keys) in asked {
            let keys: Vec<Key> = keys.into_iter().collect();
            standing.insert(kind, self.looker.standing(kind, &keys).await?);
        }
        let mut are_well: HashSet<usize> = documents.iter().map(|(place, _)| *place).collect();
        for (place, document, (kind, key)) in named {
            let meta = &document.meta;
            let is_there = standing.get(&kind).and_then(|all| all.get(&key)).is_some_and(|named| {
                // What a deleted record named may go after it; what belongs to an account stays when
                // that is closed.
                let may_be_gone = meta.deleted_at.is_some() || kind == Kind::Account;
                named.account_id == meta.account_id && (named.is_live || may_be_gone)
            });
            if !is_there {
                are_well.remove(&place);
                let words = format!(
                    "{} names {} {key}, which its account does not have",
                    name(document),
                    kind.name()
                );
                found.push(Suspicion { place, sort: "orphaned reference", words });
            }
        }
        Ok(are_well)
    }

    /// What records name elsewhere than in columns, and no link says.
    pub(super) async fn missing_links(
        &self,
        documents: &[(usize, &Document)],
        found: &mut Vec<Suspicion>,
    ) -> Result<(), Error> {
        let mut all = Vec::new();
        for (place, document) in documents {
            all.extend(Link::of(document)?.iter().map(|link| (*place, link.texts())));
        }
        let texts: Vec<_> = all.iter().map(|(_, link)| link.clone()).collect();
        let standing = self.store.standing_links(&texts).await?;
        let missing = all.into_iter().filter(|(_, link)| !standing.contains(link));
        found.extend(missing.map(|(place, link)| Suspicion {
            place,
            sort: "missing link",
            words: in_words(&link),
        }));
        Ok(())
    }

    /// Links that say what no live record does.
    pub(super) async fn links(&mut self) -> Result<(), Error> {
        let looked = self.stray_links().await;
        self.go_on("who names whom", looked)
    }

    async fn stray_links(&mut self) -> Result<(), Error> {
        let mut after = <[String; 4]>::default();
        loop {
            let links = self.store.links_after(&after, PAGE).await?;
            let Some(last) = links.last() else { return Ok(()) };
            after.clone_from(last);
            let (stray, before) = self.not_meant(links).await?;
            if stray.is_empty() {
                continue;
            }
            // They stood before and after the record was looked at, which is the same still.
            let standing = self.store.standing_links(&stray).await?;
            let (stray, now) = self.not_meant(stray).await?;
            for link in stray.into_iter().filter(|link| standing.contains(link)) {
                let is_same = match (before.get(&link[2..]), now.get(&link[2..])) {
                    (Some(before), Some(now)) => now.is_as(before),
                    (None, None) => true,
                    _ => false,
                };
                if is_same {
                    self.report.tell("stray link", in_words(&link));
                }
            }
        }
    }

    /// Those of the links that their records do not mean, and these records, by kind and id.
    async fn not_meant(
        &self,
        links: Vec<[String; 4]>,
    ) -> Result<(Vec<[String; 4]>, HashMap<Vec<String>, Row>), Error> {
        let mut asked: BTreeMap<Kind, HashSet<Key>> = BTreeMap::new();
        for [_, _, kind, id] in &links {
            if let Some(kind) = Kind::parse(kind)
                && let Some(key) = Key::parse(kind.table().key, id)
            {
                asked.entry(kind).or_default().insert(key);
            }
        }
        let (mut meant, mut records) = (HashSet::new(), HashMap::new());
        for (kind, keys) in asked {
            let keys: Vec<&Key> = keys.iter().collect();
            for row in self.looker.rows_at(kind, &keys).await? {
                if let Ok(document) = &row.document {
                    meant.extend(Link::of(document)?.iter().map(Link::texts));
                }
                let id = row.key.as_ref().map_or_else(String::new, Key::to_string);
                records.insert(vec![kind.name().to_owned(), id], row);
            }
        }
        // What an unreadable record means is not known, and told of it.
        let is_readable =
            |link: &[String; 4]| records.get(&link[2..]).is_none_or(|row| row.document.is_ok());
        let stray = links.into_iter().filter(|link| !meant.contains(link) && is_readable(link));
        Ok((stray.collect(), records))
    }

    /// Those of these records of a tree that stand below themselves.
    pub(super) async fn circles(&mut self, kind: Kind, rows: &[Row]) -> Result<(), Error> {
        let keys: Vec<Key> = rows.iter().filter_map(|row| row.key.clone()).collect();
        for id in self.looker.circles(kind, &keys).await? {
            self.report.tell("circle", format_args!("{} {id} stands below itself", kind.name()));
        }
        Ok(())
    }

    /// Records that have in common what each should have alone.
    pub(super) async fn twins(&mut self, kind: Kind, unique: &Unique) -> Result<(), Error> {
        for [one, other] in self.looker.twins(kind, unique).await? {
            let (kind, fields) = (kind.name(), unique.fields.join(", "));
            let words = format!("{kind} {one} and {kind} {other} have the same {fields}");
            self.report.tell("not unique", words);
        }
        Ok(())
    }

    /// Those who were made because nobody was known by what they are known by, when somebody was.
    pub(super) async fn made_twice(&mut self, kind: Kind) -> Result<(), Error> {
        let known_by = kind.table().known_by;
        // Whom somebody else is as by each of these, by id.
        let mut made: BTreeMap<Key, Made> = BTreeMap::new();
        for column in known_by {
            let mut after = (i64::MIN, String::new());
            loop {
                let shared = self.looker.shared(kind, column, &after).await?;
                let Some(last) = shared.last() else { break };
                after.clone_from(last);
                for value in &shared {
                    let rows = self.looker.with_value(kind, column, value).await?;
                    self.made_as_others(kind, column, &rows, &mut made).await?;
                }
            }
        }
        for (key, one) in made {
            let is_known = known_by
                .iter()
                .all(|column| one.others.contains_key(column) || !one.has.contains(column));
            if let (true, Some(other)) = (is_known, one.others.values().next()) {
                let kind = kind.name();
                let words =
                    format!("{kind} {key} was made when {kind} {other} was known by the same");
                self.report.tell("made twice", words);
            }
        }
        Ok(())
    }

    /// Notes of live records with one value in a column who had it from their making, and whoever was made
    /// later: only these are sure to have been made although somebody was known by it. (An edit may give
    /// somebody what another is known by.)
    async fn made_as_others(
        &self,
        kind: Kind,
        column: &'static str,
        rows: &[Row],
        made: &mut BTreeMap<Key, Made>,
    ) -> Result<(), Error> {
        let mut first: Option<Key> = None;
        let mut from_making = Vec::new();
        for row in rows {
            let (Some(key), Ok(document)) = (&row.key, &row.document) else { continue };
            if let Some((change, has)) = self.making(kind, column, document).await? {
                from_making.push((change, key.clone(), has));
            }
        }
        from_making.sort();
        for (_, key, has) in from_making {
            match &first {
                Some(other) => {
                    let one = made.entry(key).or_default();
                    one.has.extend(has);
                    one.others.insert(column, other.clone());
                }
                None => first = Some(key),
            }
        }
        Ok(())
    }

    /// The change that made a record with the value that it has in a column still, never without, and in
    /// which of the columns by which its kind is known it had any; none where the value came later.
    async fn making(
        &self,
        kind: Kind,
        column: &str,
        document: &Document,
    ) -> Result<Option<(i64, Vec<&'static str>)>, Error> {
        let mut id = document.meta.change_id;
        for _ in 0..document.meta.version {
            let (steps, _) = self.looker.steps(&[id]).await?;
            let Some(Some(step)) = steps.into_values().next() else { return Ok(None) };
            let after: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&step.after).unwrap_or_default();
            match (step.action, step.previous_id) {
                (Some(Action::Create), _) => {
                    let is_given =
                        |name: &&str| after.get(*name).is_some_and(|value| !value.is_null());
                    return Ok(after.contains_key(column).then(|| {
                        (id, kind.table().known_by.iter().copied().filter(is_given).collect())
                    }));
                }
                (Some(Action::Edit), Some(previous)) if !after.contains_key(column) => {
                    id = previous;
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Who was made.
#[derive(Default)]
struct Made {
    /// The columns by which it is known from its making.
    has: HashSet<&'static str>,
    /// Who was known by the same before, by column.
    others: BTreeMap<&'static str, Key>,
}

fn in_words([to_kind, to_id, from_kind, from_id]: &[String; 4]) -> String {
    format!("{from_kind} {from_id} names {to_kind} {to_id}")
}
