//! What each of several commits may only have alone. Near its end a commit takes its latches, in the
//! order that all nodes have; only then, in statements of their own, it looks whether things still are as
//! it was decided by. So of two that make a record because there is none, one waits for the other and
//! then sees what it made. A wrong answer is a division by zero, as in [`super::naming`].

use super::sets::ANY;
use super::writer::{ROWS_MAX, WriteStep, set_based};
use super::{Connection, PgFault, naming};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::domain::table::Tree;
use crate::pipeline::{Latch, Writes};
use crate::store::sql::{self, Sql};
use crate::store::trees;

/// The numbers of a latch as locks have them, which are others than those of idempotency keys.
macro_rules! numbers {
    () => {
        "((account_id % 2147483647)::int, number::int)"
    };
}
const LATCH: &str = concat!("SELECT pg_advisory_xact_lock", numbers!(), " FROM");
const LATCHES: &str = " AS u (account_id, number)";

/// Takes the latches of a commit.
pub(super) fn latch(writes: &Writes) -> impl Iterator<Item = WriteStep<'_>> {
    let latches: Vec<Latch> = writes.latches.keys().copied().collect();
    let chunks: Vec<Vec<Latch>> = latches.chunks(ROWS_MAX).map(<[Latch]>::to_vec).collect();
    chunks.into_iter().map(|latches| {
        let rows = move || {
            let row =
                |latch: &Latch| vec![Sql::Int(latch.account_id), Sql::Int(latch.number.into())];
            Ok(latches.iter().map(row).collect())
        };
        set_based(LATCH, LATCHES, "bb".to_owned(), rows)
    })
}

/// Those that somebody else has.
pub(super) async fn held(
    connection: &Connection,
    latches: &[Latch],
) -> Result<Vec<Latch>, PgFault> {
    let accounts: Vec<i64> = latches.iter().map(|latch| latch.account_id).collect();
    let numbers: Vec<i64> = latches.iter().map(|latch| latch.number.into()).collect();
    let found = connection.query(SKIPPED, &vec![Box::new(accounts), Box::new(numbers)], 2).await?;
    let latch = |row: &Vec<Sql>| match &**row {
        [Sql::Int(account_id), Sql::Int(number)] => {
            Some(Latch { account_id: *account_id, number: u8::try_from(*number).ok()? })
        }
        _ => None,
    };
    Ok(found.iter().filter_map(latch).collect())
}

const SKIPPED: &str = concat!(
    "SELECT account_id, number FROM unnest($1::bigint[], $2::bigint[]) AS u (account_id, number) \
     WHERE NOT pg_try_advisory_xact_lock",
    numbers!()
);

/// Looks whether nobody else has made a record for what was looked for in vain, and whether what was
/// moved in a tree does not stand below itself.
pub(super) fn look(writes: &Writes) -> Result<Vec<WriteStep<'_>>, Error> {
    let mut steps = Vec::new();
    for ((kind, column), values) in writes.sought()? {
        for values in values.chunks(ROWS_MAX) {
            let values = values.to_vec();
            let row = |(account_id, value, written): &(i64, &Key, i64)| {
                vec![Sql::Int(*account_id), sql::key(value), Sql::Int(*written)]
            };
            steps.push(found(kind, column, move || Ok(values.iter().map(row).collect())));
        }
    }
    for (kind, tree) in trees::all() {
        let moved: Vec<&Key> =
            writes.moved.iter().filter(|(of, _)| *of == kind).map(|(_, key)| key).collect();
        let text = circles(kind, tree);
        steps.extend(moved.chunks(ROWS_MAX).map(|keys| naming::step(&text, keys)));
    }
    Ok(steps)
}

fn circles(kind: Kind, tree: &Tree) -> String {
    format!("SELECT 1 / (NOT EXISTS ({}))::int", trees::circles(kind, tree, ANY))
}

/// One statement for many values.
fn found<'a>(
    kind: Kind,
    column: &str,
    rows: impl Fn() -> Result<Vec<Vec<Sql>>, PgFault> + Send + Sync + 'a,
) -> WriteStep<'a> {
    let table = kind.table();
    let is_text = table.columns.iter().any(|it| it.name == column && it.column_type.is_text());
    let tail = format!(
        ") SELECT 1 / ((SELECT sum(written) FROM u) = (SELECT count(*) FROM u JOIN {} t \
         ON t.{column} = u.value AND t.account_id = u.account_id WHERE t.deleted_at IS NULL))::int",
        table.name
    );
    let types = if is_text { "btb" } else { "bbb" };
    let head = "WITH u (account_id, value, written) AS (SELECT * FROM";
    let step = set_based(head, &tail, types.to_owned(), rows);
    let WriteStep { kind, text, values } = step;
    WriteStep { kind, text, values: Box::new(move || Ok((values()?.0, None))) }
}

/// Every statement, to be prepared by a check.
pub(super) fn statements() -> impl Iterator<Item = String> {
    let latch = set_based(LATCH, LATCHES, "bb".to_owned(), || Ok(Vec::new())).text;
    let of = |kind: &'static Kind| {
        let columns = kind.table().columns.iter();
        columns.map(|column| found(*kind, column.name, || Ok(Vec::new())).text)
    };
    let circles = trees::all().map(|(kind, tree)| circles(kind, tree));
    [latch, SKIPPED.to_owned()].into_iter().chain(Kind::ALL.iter().flat_map(of)).chain(circles)
}
