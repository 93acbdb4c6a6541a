//! What is wrong in a database: records that are not what their history makes of them, references to what
//! is not there, tables that are not as they were made. Everything is told by the record's name, and
//! nothing that is found ends the search.
//!
//! A server may be writing meanwhile. What was read at different moments and does not fit is looked at
//! once more: it is a fault only if the record is still the same to the last byte, so that it was so all the
//! time. Changes never change, and may be read when it suits.

mod beside;
mod history;
mod names;
mod replay;
mod report;
mod rows;

use std::sync::atomic::{AtomicU64, Ordering};

pub use report::Findings;
use report::Report;

use crate::domain::error::Error;
use crate::store::{Looker, Store};
use crate::vault::Vault;

/// How to look.
#[derive(Clone, Copy, Debug, Default)]
pub struct How<'a> {
    /// Leaves out what takes long: histories, but their newest changes, and pictures.
    pub is_quick: bool,
    /// What opens sealed secrets; without it they are not looked at.
    pub vault: Option<&'a Vault>,
    /// Where to count what was looked at.
    pub progress: Option<&'a Progress>,
}

/// What was looked at so far.
#[derive(Debug, Default)]
pub struct Progress {
    /// Records.
    pub records: AtomicU64,
    /// Changes that records' histories are made of.
    pub changes: AtomicU64,
}

/// Looks at everything there is.
///
/// # Errors
/// As [`run_as`].
pub async fn run(store: &Store) -> Result<Findings, Error> {
    run_as(store, How::default()).await
}

/// Looks at everything that `how` says.
///
/// # Errors
/// [`Error::Unavailable`] when the database is away.
pub async fn run_as(store: &Store, how: How<'_>) -> Result<Findings, Error> {
    let looker = store.looker().await.map_err(Error::internal)?;
    let mut check = Check { store, looker, how, report: Report::default(), seen: <_>::default() };
    let newest = check.looker.newest_change().await?;
    check.schema().await?;
    check.pages().await?;
    check.rows().await?;
    check.links().await?;
    check.changes(newest).await?;
    check.searches().await?;
    check.beside().await?;
    Ok(check.report.close())
}

/// A check under way.
struct Check<'a> {
    store: &'a Store,
    looker: Looker,
    how: How<'a>,
    report: Report,
    /// The changes that are some record's.
    seen: history::Seen,
}

impl Check<'_> {
    fn count(&self, counter: fn(&Progress) -> &AtomicU64, count: usize) {
        if let Some(progress) = self.how.progress {
            counter(progress).fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// What cannot be looked at at all is a fault like any other, unless the database is away.
    fn go_on(&mut self, what: &str, looked: Result<(), Error>) -> Result<(), Error> {
        match looked {
            Ok(()) => Ok(()),
            Err(Error::Internal(cause)) => {
                self.report.tell("cannot be looked at", format_args!("{what}: {cause}"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
