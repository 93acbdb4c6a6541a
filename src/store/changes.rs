//! The list of an account's changes. Their key is their only index: the list reads back along it, so
//! many ids at a time, and says where it stopped.

use super::{Store, sql};
use crate::domain::actor::Dialect;
use crate::domain::change::Change;
use crate::domain::command::{Undo, act_id};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::time::Instant;

/// How many ids one page looks through at the most.
const SCANNED: i64 = 50_000;

/// How many changes of a record are looked at in one statement on the way back, and then without a break.
const STRIDE: i64 = 250;
/// About how many bytes of them.
const STRIDE_BYTES: i64 = 4 << 20;

/// Which changes of an account are asked for.
#[derive(Clone, Debug, Default)]
pub struct ChangeQuery {
    /// Of records of these kinds.
    pub kinds: Vec<Kind>,
    /// By whom, as history names them.
    pub actor: Option<String>,
    /// In which language.
    pub dialect: Option<Dialect>,
    /// In which request.
    pub request_id: Option<String>,
    /// Of which act.
    pub act_id: Option<i64>,
    /// Accepted at or after.
    pub from: Option<Instant>,
    /// Accepted before.
    pub to: Option<Instant>,
}

/// The newest change before `$1`, whosever it is.
const NEWEST: &str = "SELECT id FROM change WHERE id < $1 ORDER BY id DESC LIMIT 1";

/// The changes of account `$3` among ids `$1` to `$2`, newest first: `$11` at the most, and as many of
/// them as take no more than `$12` bytes; the first in any case. Beside each is how many there are
/// without regard to that. An act of 0 and
/// empty texts stand for all; the kinds are one text, a space on either side of each. (Columns come
/// first in comparisons: PostgreSQL takes the types of parameters from them.)
const CHANGES: &str = concat!(
    "WITH page (here, size) AS (SELECT id, octet_length(before) + octet_length(after) \
     FROM change WHERE id BETWEEN $1 AND $2 AND account_id = $3 AND at >= $4 AND at < $5 \
     AND (COALESCE(act_id, id) = $6 OR $6 = 0) AND (actor = $7 OR $7 = '') \
     AND (dialect = $8 OR $8 = '') AND (request_id = $9 OR $9 = '') \
     AND replace($10, ' ' || kind || ' ', '') <> $10 ORDER BY id DESC LIMIT $11), \
     sized (here, size, n) AS (SELECT here, CAST(sum(size) OVER (ORDER BY here DESC) AS BIGINT), \
     row_number() OVER (ORDER BY here DESC) FROM page) SELECT ",
    sql::change_columns!(),
    ", (SELECT count(*) FROM page) FROM sized JOIN change ON id = here \
     WHERE size <= $12 OR n = 1 ORDER BY id DESC"
);

/// Every statement, to be prepared by a check.
pub(super) fn statements() -> [String; 2] {
    [NEWEST, CHANGES].map(str::to_owned)
}

impl ChangeQuery {
    fn parameters(
        &self,
        (first, last): (i64, i64),
        account_id: i64,
        (limit, bytes): (i64, i64),
    ) -> Vec<sql::Sql> {
        let text = |text: &Option<String>| sql::Sql::Text(text.clone().unwrap_or_default());
        let kinds = self.kinds.iter().flat_map(|kind| [" ", kind.name(), " "]).collect();
        vec![
            sql::Sql::Int(first),
            sql::Sql::Int(last),
            sql::Sql::Int(account_id),
            sql::Sql::Int(self.from.map_or(i64::MIN, Instant::as_microsecond)),
            sql::Sql::Int(self.to.map_or(i64::MAX, Instant::as_microsecond)),
            sql::Sql::Int(self.act_id.unwrap_or_default()),
            text(&self.actor),
            sql::Sql::Text(self.dialect.map_or("", Dialect::name).to_owned()),
            text(&self.request_id),
            sql::Sql::Text(kinds),
            sql::Sql::Int(limit),
            sql::Sql::Int(bytes),
        ]
    }
}

impl Store {
    /// Goes the ways back that an undo of `change` has to know, so that nobody waits for that at the
    /// writer.
    ///
    /// # Errors
    /// As [`Store::history`].
    pub async fn go_back(&self, change: &Change, undo: &mut Undo) -> Result<(), Error> {
        while let Some(from) = undo.way_on() {
            let changes = self.history(change.account_id, from, STRIDE, STRIDE_BYTES).await?;
            undo.go(act_id(change), &changes);
        }
        Ok(())
    }

    /// An account's changes with smaller ids than `before` that match, newest first, `limit` and about
    /// `bytes` at the most; and before which id the list goes on, if it may. That can be so though fewer were found,
    /// or none: no page looks through more than [`SCANNED`] ids.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn changes(
        &self,
        account_id: i64,
        query: &ChangeQuery,
        before: i64,
        (limit, bytes): (i64, i64),
    ) -> Result<(Vec<Change>, Option<i64>), Error> {
        let nothing = || Ok((Vec::new(), None));
        let mut texts = [&query.actor, &query.request_id].into_iter().flatten();
        // No stored text has NUL, and databases would choke on it.
        if texts.any(|text| text.contains('\0')) {
            return nothing();
        }
        // The changes of an act lie between its first and its last.
        let (oldest, before) = match query.act_id {
            None => (1, before),
            Some(act_id) => match self.whole_change(account_id, act_id).await? {
                Some(change) if change.account_id == account_id => {
                    let last = change.act_end.unwrap_or(act_id);
                    (act_id, before.min(last.saturating_add(1)))
                }
                _ => return nothing(),
            },
        };
        let newest =
            self.rows_for(account_id, NEWEST.to_owned(), vec![sql::Sql::Int(before)], 1).await?;
        let newest = newest.first().and_then(|row| sql::first_int(row));
        let Some(newest) = newest.filter(|newest| *newest >= oldest) else { return nothing() };
        let first = oldest.max(newest - SCANNED + 1);
        // One more tells whether the page ends within what was looked through.
        let parameters = query.parameters((first, newest), account_id, (limit + 1, bytes));
        let mut rows = self
            .rows_for(account_id, CHANGES.to_owned(), parameters, sql::CHANGE_WIDTH + 1)
            .await?;
        rows.truncate(usize::try_from(limit).unwrap_or_default());
        let mut count = None;
        let changes = rows.into_iter().map(|mut row| {
            count = row.pop().and_then(|count| sql::first_int(&[count]));
            sql::decode_change(row)
        });
        let found = changes.collect::<Result<Vec<_>, _>>()?;
        let next = if count
            .and_then(|count| usize::try_from(count).ok())
            .is_some_and(|count| count > found.len())
        {
            found.last().map(|last| last.id)
        } else {
            Some(first).filter(|first| *first > oldest)
        };
        Ok((found, next))
    }

    async fn whole_change(&self, account_id: i64, id: i64) -> Result<Option<Change>, Error> {
        let (text, parameters) = (sql::CHANGE_FIND.to_owned(), vec![sql::Sql::Int(id)]);
        let rows = self.rows_for(account_id, text, parameters, sql::CHANGE_WIDTH).await?;
        rows.into_iter().next().map(sql::decode_change).transpose()
    }
}
