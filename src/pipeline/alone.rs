//! What each of several commits may only have alone: values that were looked for in vain, and trees.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};

use super::Writes;
use crate::domain::error::Error;
use crate::domain::facts::Selector;
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::sabotage::Protection;

/// How many latches an account has for the values that are looked for in vain: a lock for each of ten
/// thousand recipients would fill the table that all sessions of a database share.
const LATCHES: u8 = 64;
/// The latch of an account's trees.
const TREES: u8 = LATCHES;

/// What a commit has of an account's to itself, from just before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Latch {
    /// Whose.
    pub account_id: i64,
    /// Which one. Every node has to come to the same number.
    pub number: u8,
}

/// A value that no live record of an account had, so that one was made for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sought {
    /// Where it was looked for.
    pub account_id: i64,
    /// What was looked for.
    pub by: Selector,
}

impl Sought {
    /// Whoever makes a record for the same value needs the same.
    pub(super) fn latch(&self) -> Latch {
        let Selector { kind, column, value } = &self.by;
        let hash = Sha256::digest(format!("{}.{column}={value}", kind.name()));
        let number = hash.first().map_or(0, |byte| byte % LATCHES);
        Latch { account_id: self.account_id, number }
    }
}

/// A column's values that were looked for in vain: whose, which, and how many live records that are
/// written here have it.
pub type SoughtValues<'a> = Vec<(i64, &'a Key, i64)>;

impl Writes {
    /// Takes in what a job's decision has to have alone.
    pub(super) fn take_alone(
        &mut self,
        job: usize,
        sought: Vec<Sought>,
        moved: Vec<(Kind, Key)>,
        account_id: i64,
    ) {
        let sought = if Protection::NobodyTwice.is_on() { sought } else { Vec::new() };
        let trees = (!moved.is_empty()).then_some(Latch { account_id, number: TREES });
        for latch in sought.iter().map(Sought::latch).chain(trees) {
            self.latches.entry(latch).or_default().push(job);
        }
        self.sought.extend(sought);
        self.moved.extend(moved);
    }

    /// What was looked for in vain, column by column. Where nobody else made a record for the same, there
    /// are as many live ones as are written here.
    ///
    /// # Errors
    /// [`Error::Internal`] when a record cannot be read.
    pub fn sought(&self) -> Result<BTreeMap<(Kind, &'static str), SoughtValues<'_>>, Error> {
        let mut columns: BTreeMap<(Kind, &'static str), SoughtValues<'_>> = BTreeMap::new();
        for Sought { account_id, by } in &self.sought {
            columns.entry((by.kind, by.column)).or_default().push((*account_id, &by.value, 0));
        }
        for ((kind, column), values) in &mut columns {
            let mut written: HashMap<(i64, Key), i64> = HashMap::new();
            for pending in self.documents.values() {
                let meta = &pending.document.meta;
                if meta.kind == *kind
                    && meta.deleted_at.is_none()
                    && let Some(value) = Key::of(&pending.document.fields()?.value(column))
                {
                    *written.entry((meta.account_id, value)).or_default() += 1;
                }
            }
            for (account_id, value, count) in values {
                *count = written.get(&(*account_id, value.clone())).copied().unwrap_or_default();
            }
        }
        Ok(columns)
    }
}
