//! What is told where it is not known whether something was done.

use super::{Ask, Batch, Job, Reply};
use crate::domain::error::Error;

/// Where doing it again is harmless.
pub(super) const AGAIN: Error = Error::Unavailable { retry_after_s: 5 };

impl Batch {
    /// Tells everybody that nobody knows whether the commit happened: those for whom that makes a
    /// difference, in words that do not invite to try again.
    pub fn refuse_uncertain(self) {
        let mut results = self.results.into_iter();
        for job in self.jobs {
            let wrote = match results.next() {
                Some(Ok(Reply::Done(outcome, _))) => outcome.changed_count > 0,
                Some(Ok(Reply::Noted)) => true,
                _ => false,
            };
            let error = if wrote && !job.may_be_repeated() { Error::Uncertain } else { AGAIN };
            job.refuse(error);
        }
    }
}

impl Job {
    /// Whether it does no harm to do it again, where it was done.
    pub(super) fn may_be_repeated(&self) -> bool {
        match &self.ask {
            Ask::Command { envelope, .. } => envelope.is_dry_run || envelope.idempotency.is_some(),
            // Who sends it again is told that it was used before.
            Ask::Signature(_) => false,
            Ask::Token(_) | Ask::Probe => true,
        }
    }
}
