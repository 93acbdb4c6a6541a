//! Changes on their own: who made them and when, with which others, and whether they are any record's.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

use super::Check;
use crate::domain::actor::{Asker, Dialect};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::store::{Entry, Row};

const MALFORMED: &str = "malformed";
const ACT: &str = "an act that is not whole";

/// Records looked at once more at once.
const AGAIN: usize = 200;

/// Numbers that were seen, a bit each.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<i64, Box<[u64; Seen::WORDS]>>);

impl Seen {
    /// Words of a block, and bits: numbers that follow each other stand together.
    const WORDS: usize = 512;
    const BITS: i64 = 64 * 512;

    const fn place(number: i64) -> (i64, usize, u64) {
        let within = number.rem_euclid(Self::BITS);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "less than a block"
        )]
        (number.div_euclid(Self::BITS), (within / 64) as usize, 1 << (within % 64))
    }

    pub(super) fn mark(&mut self, number: i64) {
        let (block, word, bit) = Self::place(number);
        let block = self.0.entry(block).or_insert_with(|| Box::new([0; Self::WORDS]));
        if let Some(word) = block.get_mut(word) {
            *word |= bit;
        }
    }

    fn has(&self, number: i64) -> bool {
        let (block, word, bit) = Self::place(number);
        self.0.get(&block).and_then(|block| block.get(word)).is_some_and(|word| word & bit != 0)
    }
}

impl Check<'_> {
    /// Every change there was when the check began.
    pub(super) async fn changes(&mut self, newest: i64) -> Result<(), Error> {
        let looked = self.entries(newest).await;
        self.go_on("changes", looked)
    }

    async fn entries(&mut self, newest: i64) -> Result<(), Error> {
        let mut after = i64::MIN;
        loop {
            let entries = self.looker.entries_after(after, newest).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            after = last.id;
            for entry in &entries {
                if let Some(words) = malformed(entry) {
                    self.report.tell(MALFORMED, format_args!("{}: {words}", entry.name()));
                }
            }
            self.askers(&entries).await?;
            self.acts(&entries).await?;
            if !self.how.is_quick {
                self.of_nobody(&entries).await?;
            }
        }
    }

    /// Whoever is named as having asked has to be there, in the same account.
    async fn askers(&mut self, entries: &[Entry]) -> Result<(), Error> {
        let asker = |entry: &Entry| match Asker::parse(&entry.actor)? {
            Asker::Operator | Asker::Worker => None,
            Asker::Credential(id) => Some((Kind::Credential, Key::Int(id))),
            Asker::Person(id) => Some((Kind::Person, Key::Int(id))),
        };
        let wanted: BTreeSet<(Kind, Key)> = entries.iter().filter_map(asker).collect();
        let mut standing = HashMap::new();
        for kind in [Kind::Credential, Kind::Person] {
            let keys = wanted.iter().filter(|(of, _)| *of == kind).map(|(_, key)| key.clone());
            standing.insert(kind, self.looker.standing(kind, &keys.collect::<Vec<_>>()).await?);
        }
        for entry in entries {
            if let Some((kind, key)) = asker(entry)
                && standing
                    .get(&kind)
                    .and_then(|all| all.get(&key))
                    .is_none_or(|standing| standing.account_id != entry.account_id)
            {
                let words = format_args!(
                    "{}: {} {key}, who made it, is not in its account",
                    entry.name(),
                    kind.name()
                );
                self.report.tell(MALFORMED, words);
            }
        }
        Ok(())
    }

    /// The changes of an act say so of each other, and what took back an act says which.
    async fn acts(&mut self, entries: &[Entry]) -> Result<(), Error> {
        let here: HashMap<i64, &Entry> = entries.iter().map(|entry| (entry.id, entry)).collect();
        let named = entries.iter().flat_map(|entry| [entry.act_id, entry.act_end, entry.undoes]);
        let elsewhere: BTreeSet<i64> =
            named.flatten().filter(|id| !here.contains_key(id)).collect();
        let elsewhere = self.looker.entries(&elsewhere.into_iter().collect::<Vec<_>>()).await?;
        let find = |id: i64| here.get(&id).copied().or_else(|| elsewhere.get(&id));
        for entry in entries {
            let words = match (entry.act_id, entry.act_end) {
                (None, None) => None,
                (None, Some(_)) => Some("it ends an act that it does not begin".to_owned()),
                (Some(act_id), end) => match find(act_id) {
                    Some(first) => unlike(entry, first, end.map(|end| (end, find(end)))),
                    None => Some(format!("change {act_id}, the first of its act, is not there")),
                },
            };
            if let Some(words) = words {
                self.report.tell(ACT, format_args!("{}: {words}", entry.name()));
            }
            if let Some(undone) = entry.undoes {
                let is_act = find(undone).is_some_and(|first| {
                    first.account_id == entry.account_id
                        && first.id < entry.id
                        && first.act_id.is_none_or(|act_id| act_id == undone)
                });
                if !is_act {
                    let words =
                        format_args!("{}: it takes back {undone}, which is no act", entry.name());
                    self.report.tell(ACT, words);
                }
            }
        }
        Ok(())
    }

    /// Changes that no record's history leads to.
    async fn of_nobody(&mut self, entries: &[Entry]) -> Result<(), Error> {
        let mut unseen: BTreeMap<Kind, HashMap<Key, Vec<&Entry>>> = BTreeMap::new();
        for entry in entries {
            if self.seen.has(entry.id) {
                continue;
            }
            let kind = Kind::parse(&entry.kind);
            match kind
                .and_then(|kind| Some((kind, Key::parse(kind.table().key, &entry.record_id)?)))
            {
                Some((kind, key)) => {
                    unseen.entry(kind).or_default().entry(key).or_default().push(entry);
                }
                None => self.tell_of_nobody(entry, 0),
            }
        }
        for (kind, entries) in unseen {
            let keys: Vec<&Key> = entries.keys().collect();
            for keys in keys.chunks(AGAIN) {
                for row in self.looker.rows_at(kind, keys).await? {
                    // It may have been changed since it was looked at, or be one that cannot be read.
                    self.walk(&row).await?;
                }
            }
            for of_one in entries.into_values() {
                let mut of_nobody = of_one.into_iter().filter(|entry| !self.seen.has(entry.id));
                if let Some(first) = of_nobody.next() {
                    let others = of_nobody.count();
                    self.tell_of_nobody(first, others);
                }
            }
        }
        Ok(())
    }

    fn tell_of_nobody(&mut self, entry: &Entry, others: usize) {
        let mut words = format!("{}: the record's history does not lead to it", entry.name());
        if others > 0 {
            let _ = write!(words, ", nor to {others} later ones");
        }
        self.report.tell("belongs to nothing", words);
    }

    /// Marks the changes of a record, as far as its chain leads.
    async fn walk(&mut self, row: &Row) -> Result<(), Error> {
        let Some(mut id) = row.change_id() else { return Ok(()) };
        let (kind, key) = (row.kind.name(), row.key.as_ref().map(Key::to_string));
        let mut walked = HashSet::new();
        while walked.insert(id) {
            let step = self.looker.steps(&[id]).await?.0.into_values().next().flatten();
            let Some(step) =
                step.filter(|step| step.kind == kind && Some(&step.record_id) == key.as_ref())
            else {
                return Ok(());
            };
            self.seen.mark(id);
            let Some(previous) = step.previous_id else { return Ok(()) };
            id = previous;
        }
        Ok(())
    }
}

/// What of a change was never written so.
fn malformed(entry: &Entry) -> Option<&'static str> {
    let is_word = |text: &str| !text.is_empty() && !text.contains(char::is_control);
    if !entry.has_time() {
        Some("its time is none")
    } else if Asker::parse(&entry.actor).is_none() {
        Some("who made it is nobody")
    } else if Dialect::parse(&entry.dialect).is_none() {
        Some("its language is none")
    } else if !is_word(&entry.request_id) {
        Some("its request has no id")
    } else {
        None
    }
}

/// In what a change differs from the first of its act, and an act's last from what the first says of it.
fn unlike(entry: &Entry, first: &Entry, end: Option<(i64, Option<&Entry>)>) -> Option<String> {
    let how = |entry: &Entry| {
        (
            entry.at,
            entry.undoes,
            entry.actor.clone(),
            entry.dialect.clone(),
            entry.request_id.clone(),
        )
    };
    let last = first.act_end.unwrap_or_default();
    if first.act_id != Some(first.id) || !(first.id..=last).contains(&entry.id) {
        return Some(format!("change {} does not begin its act", first.id));
    }
    if how(entry) != how(first) {
        return Some(format!("it was not made as change {}, the first of its act", first.id));
    }
    match end {
        Some(_) if entry.id != first.id => Some("it ends an act that it does not begin".to_owned()),
        Some((end, last)) if last.is_none_or(|last| last.act_id != Some(entry.id)) => {
            Some(format!("change {end}, the last of its act, is not there"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_is_seen_and_nothing_else() {
        let mut seen = Seen::default();
        let marked = [i64::MIN, -1, 0, 1, 63, 64, 32_767, 32_768, 5_000_000, i64::MAX];
        for number in marked {
            assert!(!seen.has(number), "{number}");
            seen.mark(number);
            assert!(seen.has(number), "{number}");
        }
        for number in [-2, 2, 62, 65, 32_766, 32_769, 4_999_999] {
            assert!(!seen.has(number), "{number}");
        }
    }
}
