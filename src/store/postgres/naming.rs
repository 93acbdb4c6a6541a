//! Who names whom: what a commit writes of it.

use super::writer::{ROWS_MAX, WriteStep, set_based};
use crate::pipeline::{Link, Writes};
use crate::store::links::link_columns;
use crate::store::sql::Sql;

/// The links that stand from now on, and those that do not.
pub(super) fn links(writes: &Writes) -> Vec<WriteStep<'_>> {
    let (stand, fall): (Vec<_>, Vec<_>) = writes.links.iter().partition(|(_, stands)| **stands);
    let mut steps = Vec::new();
    for (links, step) in [(fall, drop as fn(_) -> _), (stand, put)] {
        steps.extend(
            links.chunks(ROWS_MAX).map(|links| step(links.iter().map(|(link, _)| *link).collect())),
        );
    }
    steps
}

fn put(links: Vec<&Link>) -> WriteStep<'_> {
    let head = concat!("INSERT INTO link (", link_columns!(), ") SELECT * FROM");
    of_links(head, " ON CONFLICT DO NOTHING", links)
}

fn drop(links: Vec<&Link>) -> WriteStep<'_> {
    let tail = concat!(
        " AS u (",
        link_columns!(),
        ") WHERE (link.to_kind, link.to_id, link.from_kind, link.from_id) \
         = (u.to_kind, u.to_id, u.from_kind, u.from_id)"
    );
    of_links("DELETE FROM link USING", tail, links)
}

/// One statement for many links, however many of them it finds as they are to be.
fn of_links<'a>(head: &str, tail: &str, links: Vec<&'a Link>) -> WriteStep<'a> {
    let rows = move || Ok(links.iter().map(|link| link.texts().map(Sql::Text).to_vec()).collect());
    let WriteStep { kind, text, values } = set_based(head, tail, "tttt".to_owned(), rows);
    WriteStep { kind, text, values: Box::new(move || Ok((values()?.0, None))) }
}

/// Every statement, to be prepared by a check.
pub(super) fn statements() -> impl Iterator<Item = String> {
    [put(Vec::new()).text, drop(Vec::new()).text].into_iter()
}
