//! What an idempotency key keeps of an answer.

use super::{Answer, Envelope, Outcome};
use crate::domain::facts::Answered;

/// The length of an answer that an idempotency key keeps in any case, bytes.
const KEPT_MAX: u64 = 64 << 10;

/// What is kept of an answer for its idempotency key, bytes.
pub(super) fn kept_length(envelope: &Envelope, outcome: &Outcome, answer: Option<&Answer>) -> u64 {
    let kept = answer.filter(|answer| may_be_kept(answer, outcome));
    match kept.filter(|_| envelope.idempotency.is_some()) {
        Some(answer) => length(answer),
        None => 0,
    }
}

fn length(answer: &Answer) -> u64 {
    u64::try_from(answer.body.len()).unwrap_or(u64::MAX)
}

/// True for an answer that an idempotency key keeps: it takes little, or no more than what was done.
fn may_be_kept(answer: &Answer, outcome: &Outcome) -> bool {
    length(answer) <= KEPT_MAX.max(outcome.bytes)
}

/// What an idempotency key keeps of an answer.
pub(super) fn answered(answer: Option<&Answer>, outcome: &Outcome) -> Answered {
    match answer.filter(|answer| may_be_kept(answer, outcome)).cloned() {
        Some(Answer { status, headers, body }) => Answered::Whole { status, headers, body },
        None => Answered::Of(outcome.subject.meta.kind, outcome.subject.meta.key.clone()),
    }
}
