//! What a database holds beside records and their history: tables and pages, search rows, pictures, answers,
//! tokens, sequences, and what large commands left.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::Check;
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::Key;

/// People whose grams are added up at once.
const PEOPLE: usize = 1_000_000;

/// The sum of grams that each person should have, and that the person has where its row says so.
type Due = HashMap<i64, (u64, Option<u64>)>;

impl Check<'_> {
    /// Tables, indexes, triggers and constraints are as this release makes them, and its statements fit.
    pub(super) async fn schema(&mut self) -> Result<(), Error> {
        match self.looker.schema_faults().await? {
            Some(faults) => faults.iter().for_each(|fault| self.report.tell("schema", fault)),
            None => self
                .report
                .note("the tables could not be made anew here to be compared with, and were not"),
        }
        for fault in self.store.statement_faults().await? {
            self.report.tell("statement", fault);
        }
        Ok(())
    }

    /// Pages are whole, and indexes hold what their tables do.
    pub(super) async fn pages(&mut self) -> Result<(), Error> {
        for table in self.looker.tables().await? {
            let found = self.looker.damage(&table, self.how.is_quick).await;
            let looked = found.map(|found| {
                for found in found {
                    self.report.tell("integrity", format_args!("{table}: {found}"));
                }
            });
            self.go_on(&format!("pages of {table}"), looked)?;
        }
        Ok(())
    }

    /// Searches find people by what they are called, and nobody else.
    pub(super) async fn searches(&mut self) -> Result<(), Error> {
        let looked = self.grams().await;
        self.go_on("search rows", looked)
    }

    async fn grams(&mut self) -> Result<(), Error> {
        let mut first = i64::MIN;
        loop {
            let (due, last) = self.grams_due(first).await?;
            let sums = self.grams_found((first, last)).await?;
            let mut wrong = wrong_sums(&due, &sums);
            drop(sums);
            if !wrong.is_empty() {
                // People who were renamed in between are as before, or not in both.
                let (due_now, _) = self.grams_due(first).await?;
                let wrong_now = wrong_sums(&due_now, &self.grams_found((first, last)).await?);
                wrong.retain(|id| wrong_now.contains(id) && due.get(id) == due_now.get(id));
            }
            for id in wrong {
                let words = if due.contains_key(&id) {
                    "not to be found by a search, or by another text"
                } else {
                    "found by searches, and not there"
                };
                self.report.tell("search", format_args!("person {id}: {words}"));
            }
            if last == i64::MAX {
                return Ok(());
            }
            first = last + 1;
        }
    }

    /// The sums due to people from the id `first` on, and the id of the last one looked at.
    async fn grams_due(&self, first: i64) -> Result<(Due, i64), Error> {
        let (mut due, mut last) = (Due::new(), first.saturating_sub(1));
        while due.len() < PEOPLE {
            let more = self.looker.gram_sums_due(last).await?;
            let Some((id, ..)) = more.last() else { return Ok((due, i64::MAX)) };
            last = *id;
            due.extend(more.into_iter().map(|(id, due, found)| (id, (due, found))));
        }
        Ok((due, last))
    }

    async fn grams_found(&self, ids: (i64, i64)) -> Result<HashMap<i64, u64>, Error> {
        let (mut sums, mut from) = (HashMap::new(), Some(String::new()));
        while let Some(gram) = from {
            (sums, from) = self.looker.gram_sums(gram, ids, sums).await?;
        }
        Ok(sums)
    }

    /// Everything else.
    pub(super) async fn beside(&mut self) -> Result<(), Error> {
        let looked = self.answers().await;
        self.go_on("answers to idempotency keys", looked)?;
        let looked = self.left_over().await;
        self.go_on("what large commands left", looked)?;
        let looked = self.sequences().await;
        self.go_on("sequences", looked)?;
        for id in self.looker.pictures_without_content().await? {
            self.report.tell("picture", format_args!("image {id}: its bytes are not there"));
        }
        for id in self.looker.credentials_of_tokens_alone().await? {
            self.report.tell("token", format_args!("credential {id} has one, and is not there"));
        }
        if !self.how.is_quick {
            let looked = self.pictures().await;
            self.go_on("pictures", looked)?;
        }
        Ok(())
    }

    async fn answers(&mut self) -> Result<(), Error> {
        let mut after = (i64::MIN, String::new());
        loop {
            let answers = self.looker.answers_after(&after).await?;
            let Some(last) = answers.last() else { return Ok(()) };
            after = (last.credential_id, last.key.clone());
            let mut ids: Vec<i64> = answers.iter().map(|answer| answer.credential_id).collect();
            ids.dedup();
            let keys: Vec<Key> = ids.into_iter().map(Key::Int).collect();
            let credentials = self.looker.standing(Kind::Credential, &keys).await?;
            let acts: Vec<i64> = answers.iter().filter_map(|answer| answer.act_id).collect();
            let acts = self.looker.entries(&acts).await?;
            for answer in answers {
                let credential = credentials.get(&Key::Int(answer.credential_id));
                let is_of_its_act = |act_id| {
                    acts.get(&act_id).is_some_and(|act| {
                        credential.is_none_or(|credential| credential.account_id == act.account_id)
                    })
                };
                let words = match (answer.fault, credential, answer.act_id) {
                    (Some(fault), ..) => fault,
                    (None, None, _) => "the credential is not there".to_owned(),
                    (None, Some(_), Some(act_id)) if !is_of_its_act(act_id) => {
                        format!("change {act_id}, of which it tells, is not its account's")
                    }
                    _ => continue,
                };
                let words = format!(
                    "of key {:?} of credential {}: {words}",
                    answer.key, answer.credential_id
                );
                self.report.tell("stored answer", words);
            }
        }
    }

    async fn left_over(&mut self) -> Result<(), Error> {
        // A command that goes on has begun with what is put aside, and ends with it.
        let count = self.looker.staged_for_nobody().await?;
        if count > 0 && self.looker.staged_for_nobody().await? == count {
            self.report.tell(
                "staging",
                format_args!("{count} changes and links are staged for no command"),
            );
        }
        let before = self.looker.leftovers().await?;
        if !before.is_empty() {
            let tables: Vec<String> = before
                .iter()
                .map(|staged| format!("{} {} to {}", staged.table, staged.first_id, staged.last_id))
                .collect();
            self.report.note(format_args!(
                "a large command goes on, or was cut off: nobody sees {}; the next one takes away what is left",
                tables.join(", ")
            ));
        }
        Ok(())
    }

    async fn sequences(&mut self) -> Result<(), Error> {
        for sequence in self.looker.sequences().await? {
            if sequence.next <= sequence.newest {
                let words = format!(
                    "{}: {} is the newest, and the next would be {}",
                    sequence.table, sequence.newest, sequence.next
                );
                self.report.tell("sequence", words);
            }
        }
        Ok(())
    }

    async fn pictures(&mut self) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let contents = self.looker.contents_after(&after).await?;
            let Some((last, _)) = contents.last() else { return Ok(()) };
            after.clone_from(last);
            for (hash, bytes) in contents {
                if hex::encode(Sha256::digest(&bytes)) == hash {
                    continue;
                }
                let pictures = self.looker.pictures_of(&hash).await?;
                let of = if pictures.is_empty() {
                    "nobody's".to_owned()
                } else {
                    format!("image {}", pictures.join(", "))
                };
                self.report
                    .tell("picture", format_args!("{of}: its bytes are not those of {hash}"));
            }
        }
    }
}

/// Those of whom the sum is another than is due, and those who have one and are not there.
fn wrong_sums(due: &Due, sums: &HashMap<i64, u64>) -> Vec<i64> {
    let is_wrong = |(id, (due, own)): &(&i64, &(u64, Option<u64>))| {
        own.or_else(|| sums.get(*id).copied()) != Some(*due)
    };
    let wrong = due.iter().filter(is_wrong).map(|(id, _)| *id);
    let mut wrong: Vec<i64> =
        wrong.chain(sums.keys().copied().filter(|id| !due.contains_key(id))).collect();
    wrong.sort_unstable();
    wrong
}
