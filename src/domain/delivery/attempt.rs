//! What can happen to a message on its way: somebody takes it, learns what became of it, holds it
//! back, or is asked to try again. An attempt is on record before it is made, so that nobody makes
//! it a second time without knowing.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::message::{Message, MessageStatus};
use crate::domain::access::Right;
use crate::domain::change::Action;
use crate::domain::command::{self, Command, Context, Decision, Expected};
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Need};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};

/// How long whoever took a message may have it. An attempt is over well before.
pub const LEASE: SignedDuration = SignedDuration::from_mins(5);
/// The pause after the first failed attempt; each next one is twice as long.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// The longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(4);
/// Attempts before a message is given up: with these pauses after four days, as long as mail servers
/// keep trying (RFC 5321 section 4.5.4.1).
pub const FAILURES_MAX: i64 = 32;

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Taken over.
    Sent {
        /// What the next server or the gateway calls it.
        provider_message_id: Option<String>,
    },
    /// Surely not sent, and worth another attempt.
    Postponed(String),
    /// Surely not sent, and never will be.
    Refused(String),
    /// Perhaps sent.
    Unknown(String),
}

/// Takes a message that is due, to send it. The outcome's record tells what was found: a message in
/// the caller's hands, or one that was in the hands of somebody who is gone.
#[derive(Debug)]
pub struct Claim {
    /// Which message.
    pub message_id: i64,
}

impl Command for Claim {
    fn needs(&self) -> Vec<Need> {
        vec![need(self.message_id)]
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let document = live(self.message_id, context, facts)?;
        let mut message = Message::clone(&document.typed::<Message>()?.record);
        if message.due_at.is_none_or(|due| due > context.at.into()) {
            return Err(in_the_way());
        }
        match message.status {
            MessageStatus::Waiting | MessageStatus::Held => {
                message.status = MessageStatus::Sending;
                message.attempt_count += 1;
                message.due_at = Some(after(context.at, LEASE).into());
            }
            MessageStatus::Sending => give_up_on_sender(&mut message),
            MessageStatus::Sent | MessageStatus::Failed | MessageStatus::Uncertain => {
                return Err(in_the_way());
            }
        }
        Ok(edit(document, message))
    }
}

/// Records what became of an attempt, even when the message was deleted meanwhile.
#[derive(Debug)]
pub struct Settle {
    /// Which message.
    pub message_id: i64,
    /// Which attempt: its [`Message::attempt_count`].
    pub attempt: i64,
    /// What became of it.
    pub outcome: Fate,
}

impl Command for Settle {
    fn needs(&self) -> Vec<Need> {
        vec![need(self.message_id)]
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let document = Message::document(context.actor.account_id, self.message_id, facts)?;
        let mut message = Message::clone(&document.typed::<Message>()?.record);
        // Whoever was taken for gone may still come back with the answer.
        let is_open = matches!(message.status, MessageStatus::Sending | MessageStatus::Uncertain);
        if !is_open || message.attempt_count != self.attempt {
            return Err(in_the_way());
        }
        message.due_at = None;
        match &self.outcome {
            Fate::Sent { provider_message_id } => {
                message.status = MessageStatus::Sent;
                message.sent_at = Some(context.at.into());
                message.provider_message_id.clone_from(provider_message_id);
                message.last_error = None;
            }
            Fate::Postponed(error) => {
                message.failure_count += 1;
                message.last_error = Some(error.clone());
                if message.failure_count >= FAILURES_MAX {
                    message.status = MessageStatus::Failed;
                } else {
                    message.status = MessageStatus::Waiting;
                    let mut random = [0; 8];
                    context.entropy.fill(&mut random);
                    let pause = pause(message.failure_count, u64::from_le_bytes(random));
                    message.due_at = Some(after(context.at, pause).into());
                }
            }
            Fate::Refused(error) => {
                message.failure_count += 1;
                message.last_error = Some(error.clone());
                message.status = MessageStatus::Failed;
            }
            Fate::Unknown(error) => {
                message.last_error = Some(error.clone());
                message.status = MessageStatus::Uncertain;
            }
        }
        Ok(edit(document, message))
    }
}

/// Marks a message that is due as waiting for its channel to be configured.
#[derive(Debug)]
pub struct HoldBack {
    /// Which message.
    pub message_id: i64,
}

impl Command for HoldBack {
    fn needs(&self) -> Vec<Need> {
        vec![need(self.message_id)]
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let document = live(self.message_id, context, facts)?;
        let mut message = Message::clone(&document.typed::<Message>()?.record);
        if message.due_at.is_none_or(|due| due > context.at.into()) {
            return Err(in_the_way());
        }
        match message.status {
            MessageStatus::Waiting => message.status = MessageStatus::Held,
            MessageStatus::Sending => give_up_on_sender(&mut message),
            _ => return Err(in_the_way()),
        }
        Ok(edit(document, message))
    }
}

/// Asks for another attempt, at once.
#[derive(Debug)]
pub struct Retry {
    /// Which message.
    pub message_id: i64,
    /// From which version.
    pub expected: Expected,
}

impl Command for Retry {
    fn needs(&self) -> Vec<Need> {
        vec![need(self.message_id)]
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let document = live(self.message_id, context, facts)?;
        let place = Kind::Message.place_of(&document, facts)?;
        command::permit(context.actor, Right::Edit, Kind::Message, &place)?;
        self.expected.check(&document, facts)?;
        let mut message = Message::clone(&document.typed::<Message>()?.record);
        match message.status {
            MessageStatus::Waiting | MessageStatus::Failed | MessageStatus::Uncertain => {
                message.status = MessageStatus::Waiting;
                message.failure_count = 0;
                message.due_at = Some(context.at.into());
            }
            // It is held because there is nothing to try it with; the worker knows when there is.
            MessageStatus::Held | MessageStatus::Sending | MessageStatus::Sent => {
                return Err(in_the_way());
            }
        }
        Ok(edit(document, message))
    }
}

fn need(message_id: i64) -> Need {
    Need::Record(Kind::Message, Key::Int(message_id))
}

fn live(message_id: i64, context: &Context<'_>, facts: &Facts) -> Known<Arc<Document>> {
    let document = Message::document(context.actor.account_id, message_id, facts)?;
    match document.meta.deleted_at {
        None => Ok(document),
        Some(_) => Err(Error::NotFound(Kind::Message).into()),
    }
}

fn in_the_way() -> crate::domain::facts::Stop {
    Error::Conflict(vec!["status".to_owned()]).into()
}

fn give_up_on_sender(message: &mut Message) {
    message.status = MessageStatus::Uncertain;
    message.due_at = None;
    message.last_error = Some("the attempt was cut off before its outcome was recorded".to_owned());
}

fn edit(document: Arc<Document>, message: Message) -> Decision {
    let after = Document::of(document.meta.clone(), message);
    Decision::write(Action::Edit, Some(document), after)
}

fn after(at: Timestamp, pause: SignedDuration) -> Timestamp {
    at.checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// The pause after so many failures in a row: twice the last one, up to a limit, and of that between
/// half and all, so that messages which failed together do not come back together.
fn pause(failure_count: i64, random: u64) -> SignedDuration {
    let doublings = u32::try_from(failure_count.saturating_sub(1)).unwrap_or_default().min(30);
    let whole =
        FIRST_PAUSE.as_millis().saturating_mul(1 << doublings).min(LONGEST_PAUSE.as_millis());
    let half = whole / 2;
    let jitter = i128::from(random) % (whole - half + 1);
    SignedDuration::from_millis(i64::try_from(half + jitter).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let longest =
            |failures| pause(failures, u64::MAX).as_secs().max(pause(failures, 0).as_secs());
        assert!((15..=30).contains(&longest(1)));
        assert!((30..=60).contains(&longest(2)));
        assert!((7200..=14_400).contains(&longest(FAILURES_MAX)));
    }

    proptest! {
        #[test]
        fn a_pause_is_never_shorter_than_half(failures in 1_i64..1000, random: u64) {
            let whole = SignedDuration::from_secs(30 << (failures - 1).min(20)).min(LONGEST_PAUSE);
            let found = pause(failures, random);
            prop_assert!(found <= whole && found >= whole / 2, "{found:?} of {whole:?}");
        }
    }
}
