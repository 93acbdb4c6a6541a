//! What waits to be done, and whom to tell.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Envelope, Latch, Meter, Reply};
use crate::domain::command::{Command, FOLLOW_MAX};
use crate::domain::error::Error;
use crate::domain::facts::{Need, Signature, Token};
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::payer::Payer;

/// What a job weighs beside its request's body, bytes.
const JOB_WEIGHT: usize = 1 << 10;
/// What is asked for.
pub(super) enum Ask {
    Command {
        command: Box<dyn Command>,
        envelope: Box<Envelope>,
    },
    /// A signature by itself, and why what it signed is refused, where it is known.
    Signature(Box<(Signature, Option<Error>)>),
    Token(Token),
    /// Nothing at all.
    Probe,
}

/// One thing to do, and whom to tell.
pub struct Job {
    pub(super) ask: Ask,
    /// Who pays for it.
    pub(super) payer: Payer,
    pub(super) reply: oneshot::Sender<Result<Reply, Error>>,
    /// Since when it waits to be begun.
    pub(super) since: Instant,
    /// It is decided beside the batches, and may write as much as it likes.
    pub(super) is_large: bool,
    /// Since when somebody else holds what it needs.
    pub(super) held_since: Option<Instant>,
    /// Who meters what it writes.
    pub(super) meter: Option<Arc<Meter>>,
}

/// What a job has to have to itself for its commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hold {
    /// A record that it changes.
    Record(Kind, Key),
    /// A record that it ends.
    Ended(Kind, Key),
    /// A record that what it writes names.
    Named(Kind, Key),
    /// An idempotency key, and the credential it belongs to.
    Answer(i64, String),
    /// What no two commits may have at once.
    Latch(Latch),
}

/// Without what a caller sent.
impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("payer", &self.payer).finish_non_exhaustive()
    }
}

impl Job {
    /// What it is sure to need to itself, before anything of it is decided.
    pub fn holds(&self) -> Vec<Hold> {
        let Ask::Command { command, envelope } = &self.ask else {
            return Vec::new();
        };
        let records = command.needs().into_iter().filter_map(|need| match need {
            Need::Record(kind, key) => Some(Hold::Record(kind, key)),
            _ => None,
        });
        let credential_id = envelope.actor.credential_id;
        let keyed = envelope.idempotency.iter().flat_map(|idempotency| {
            let answer = Hold::Answer(credential_id, idempotency.key.clone());
            [answer, Hold::Named(Kind::Credential, credential_id.into())]
        });
        records.chain(keyed).collect()
    }

    /// What it weighs, bytes.
    pub(super) fn weight(&self) -> usize {
        match &self.ask {
            Ask::Command { envelope, .. } => JOB_WEIGHT + envelope.body_length,
            Ask::Signature(_) | Ask::Token(_) | Ask::Probe => JOB_WEIGHT,
        }
    }

    /// True when its caller has gone, or it has waited for longer.
    pub(super) fn is_over(&self, now: Instant, longest: Duration) -> bool {
        self.reply.is_closed() || now.saturating_duration_since(self.since) > longest
    }

    /// True for what the server, or the operator, does by itself.
    pub(super) fn is_of_the_house(&self) -> bool {
        matches!(&self.ask, Ask::Command { envelope, .. } if envelope.actor.is_of_the_house())
    }

    /// Who pays for it.
    pub const fn payer(&self) -> Payer {
        self.payer
    }

    /// Since when somebody else holds what it needs: since `now`, unless that was so before.
    pub fn held_since(&mut self, now: Instant) -> Instant {
        *self.held_since.get_or_insert(now)
    }

    pub(super) fn follow_max(&self) -> usize {
        if self.is_large { usize::MAX } else { FOLLOW_MAX }
    }

    /// Refuses it with `error`.
    pub fn refuse(self, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}
