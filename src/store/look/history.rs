//! Changes, as they stand.

use std::collections::HashMap;

use super::{ASKED, Looker, Sql, int, padded, places, text};
use crate::domain::change::Action;
use crate::domain::error::Error;
use crate::store::sql;

/// Changes read at once, where only short columns of them are.
const PAGE: usize = 5_000;

/// What a change did.
#[derive(Debug)]
pub struct Step {
    /// Its id.
    pub id: i64,
    /// Whose record it changed.
    pub account_id: i64,
    /// Of which kind.
    pub kind: String,
    /// The record's id.
    pub record_id: String,
    /// The version that it made.
    pub version: i64,
    /// The change of the record before it.
    pub previous_id: Option<i64>,
    /// When, microseconds since 1970.
    pub at: i64,
    /// What; none of a word that is none.
    pub action: Option<Action>,
    /// The changed fields as they were, JSON.
    pub before: String,
    /// The changed fields as they became, JSON.
    pub after: String,
}

/// Who made a change, when, and with which others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The change's id.
    pub id: i64,
    /// Whose record it changed.
    pub account_id: i64,
    /// Of which kind.
    pub kind: String,
    /// The record's id.
    pub record_id: String,
    /// The first change of its act, where that has several.
    pub act_id: Option<i64>,
    /// The last one, where it is the first.
    pub act_end: Option<i64>,
    /// The act that its own took back.
    pub undoes: Option<i64>,
    /// When, microseconds since 1970.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// In which language.
    pub dialect: String,
    /// In which request.
    pub request_id: String,
}

/// The columns of a [`Step`].
macro_rules! step_columns {
    () => {
        "id, account_id, kind, record_id, version, previous_id, at, action, before, after"
    };
}

/// The columns of an [`Entry`].
macro_rules! entry_columns {
    () => {
        "id, account_id, kind, record_id, act_id, act_end, undoes, at, actor, dialect, request_id"
    };
}

/// So many changes after `$1`, in order.
const ENTRIES: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM change WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3"
);
const NEWEST: &str = "SELECT coalesce(max(id), 0) FROM change";

fn find_steps() -> String {
    format!("SELECT {} FROM change WHERE id IN {}", step_columns!(), places(1))
}

fn find_entries() -> String {
    format!("SELECT {} FROM change WHERE id IN {}", entry_columns!(), places(1))
}

impl Step {
    fn of(row: Vec<Sql>) -> Option<Self> {
        let [
            Sql::Int(id),
            Sql::Int(account_id),
            Sql::Text(kind),
            Sql::Text(record_id),
            Sql::Int(version),
            previous_id,
            Sql::Int(at),
            Sql::Text(action),
            Sql::Text(before),
            Sql::Text(after),
        ] = <[Sql; 10]>::try_from(row).ok()?
        else {
            return None;
        };
        let (previous_id, action) = (int(&previous_id), Action::parse(&action));
        Some(Self {
            id,
            account_id,
            kind,
            record_id,
            version,
            previous_id,
            at,
            action,
            before,
            after,
        })
    }
}

impl Entry {
    /// What cannot be read of it is absent, empty, or zero.
    fn of(row: Vec<Sql>) -> Option<Self> {
        let [
            id,
            account_id,
            kind,
            record_id,
            act_id,
            act_end,
            undoes,
            at,
            actor,
            dialect,
            request_id,
        ] = <[Sql; 11]>::try_from(row).ok()?;
        let text = |value| text(Some(value)).unwrap_or_default();
        Some(Self {
            id: int(&id)?,
            account_id: int(&account_id).unwrap_or_default(),
            kind: text(kind),
            record_id: text(record_id),
            act_id: int(&act_id),
            act_end: int(&act_end),
            undoes: int(&undoes),
            at: int(&at).unwrap_or(i64::MIN),
            actor: text(actor),
            dialect: text(dialect),
            request_id: text(request_id),
        })
    }

    /// How faults call what it changed: `change 7 of form 551`.
    pub fn name(&self) -> String {
        format!("change {} of {} {}", self.id, self.kind, self.record_id)
    }

    /// True when it was made at a time that is one.
    pub fn has_time(&self) -> bool {
        sql::instant(self.at).is_ok()
    }
}

impl Looker {
    /// The id of the newest change; 0, if there is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn newest_change(&self) -> Result<i64, Error> {
        let rows = self.all(NEWEST, Vec::new(), 1).await?;
        Ok(rows.first().and_then(|row| sql::first_int(row)).unwrap_or_default())
    }

    /// What the first of these changes did, by their ids, and how many that is: many, but where they are
    /// very long. Those that are not there are counted, too; what is of no form is told as none.
    ///
    /// # Errors
    /// As [`Looker::newest_change`].
    pub async fn steps(&self, ids: &[i64]) -> Result<(HashMap<i64, Option<Step>>, usize), Error> {
        let text = find_steps();
        let by_id = |row: Vec<Sql>| Some((sql::first_int(&row)?, Step::of(row)));
        let mut asked = ids.len().min(ASKED);
        loop {
            let parameters = padded(ids.iter().take(asked).map(|id| Sql::Int(*id)));
            let (rows, is_all) = self.found(&text, parameters, 10).await?;
            let all: HashMap<i64, Option<Step>> = rows.into_iter().filter_map(by_id).collect();
            if is_all || asked <= 1 {
                return Ok((all, asked));
            }
            let found = ids.iter().take(asked).take_while(|id| all.contains_key(id)).count();
            if found > 0 {
                return Ok((all, found));
            }
            // The first may not be there at all: asked for alone, it tells.
            asked = 1;
        }
    }

    /// Who made changes with larger ids than `after`, up to `last`, in order; none when there are no more.
    ///
    /// # Errors
    /// As [`Looker::newest_change`].
    pub async fn entries_after(&self, after: i64, last: i64) -> Result<Vec<Entry>, Error> {
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let parameters = [after, last, limit].map(Sql::Int).to_vec();
        let rows = self.found(ENTRIES, parameters, 11).await?.0;
        Ok(rows.into_iter().filter_map(Entry::of).collect())
    }

    /// Who made changes, by their ids; those that are there.
    ///
    /// # Errors
    /// As [`Looker::newest_change`].
    pub async fn entries(&self, ids: &[i64]) -> Result<HashMap<i64, Entry>, Error> {
        let (text, mut all) = (find_entries(), HashMap::with_capacity(ids.len()));
        for ids in ids.chunks(ASKED) {
            let parameters = padded(ids.iter().map(|id| Sql::Int(*id)));
            for row in self.all(&text, parameters, 11).await? {
                all.extend(Entry::of(row).map(|entry| (entry.id, entry)));
            }
        }
        Ok(all)
    }
}
