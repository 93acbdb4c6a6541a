//! One outgoing message: the news to its holder that a certificate was issued. It is made in the
//! commit that makes the certificate, once per certificate and channel, and never again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::template::BODY_MAX;
use crate::domain::command::Context;
use crate::domain::error::{Error, FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::record::{Changed, Document, Key, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Unique, data};
use crate::domain::time::Instant;

names! {
    /// The way to a person.
    #[derive(Default)]
    pub enum Channel {
        /// E-mail, by SMTP.
        #[default]
        Email = "email",
        /// A text message, by an HTTP gateway.
        Phone = "phone",
    }
}

names! {
    /// How far a message has come.
    #[derive(Default)]
    pub enum MessageStatus {
        /// To be sent when it is due.
        #[default]
        Waiting = "waiting",
        /// To be sent as soon as somebody configures its channel.
        Held = "held",
        /// In somebody's hands, until it is due: then whoever had it is gone.
        Sending = "sending",
        /// Taken over by the next server or the gateway.
        Sent = "sent",
        /// Refused for good, or too often.
        Failed = "failed",
        /// Perhaps sent: whoever sent it was cut off before it heard the answer. Not sent again unless
        /// a person says so.
        Uncertain = "uncertain",
    }
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// The certificate that it tells of.
    pub achievement_id: i64,
    /// Which way it goes.
    pub channel: Channel,
    /// How far it has come.
    pub status: MessageStatus,
    /// When somebody has to look at it next: to send it, or to find that whoever sends it is gone.
    /// Never, if absent.
    pub due_at: Option<Instant>,
    /// A random name, the same at every attempt, by which receivers can tell a repetition.
    pub reference: String,
    /// Who gets it.
    pub recipient_name: String,
    /// E-mail address or phone number, as the channel wants it.
    pub recipient: String,
    /// Subject; a text message has none.
    pub subject: Option<String>,
    /// The text.
    pub body: String,
    /// Attempts so far.
    pub attempt_count: i64,
    /// Attempts that failed since it was made, or since a person asked for another.
    pub failure_count: i64,
    /// What the last attempt met. Holds no secret.
    pub last_error: Option<String>,
    /// When it was taken over.
    pub sent_at: Option<Instant>,
    /// What the next server or the gateway calls it.
    pub provider_message_id: Option<String>,
}

impl Message {
    /// A message as it stands, deleted ones included.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the account has none of that id.
    pub(super) fn document(account_id: i64, id: i64, facts: &Facts) -> Known<Arc<Document>> {
        let found = facts.document(Kind::Message, &Key::Int(id))?;
        let found = found.filter(|document| document.meta.account_id == account_id);
        found.ok_or_else(|| Error::NotFound(Kind::Message).into())
    }
}

impl Record for Message {
    const KIND: Kind = Kind::Message;
    const TABLE: Table = Table {
        name: "message",
        key: KeyType::Int,
        columns: &[
            Column::names("achievement_id", Kind::Achievement, Gone::Ends),
            Column::text("channel"),
            Column::text("status"),
            Column::instant("due_at"),
        ],
        unique: &[Unique::ever(&["achievement_id", "channel"], "channel")],
        texts: &[
            Text::name("reference"),
            Text::name("recipient_name"),
            Text::name("recipient"),
            Text::line("subject"),
            Text::prose("body").at_most(BODY_MAX + 1, "too_long"),
            Text::prose("last_error"),
            Text::name("provider_message_id"),
        ],
        data: data! {
            Personal: recipient_name, recipient, subject, body;
            Free: last_error;
            Plain: achievement_id, channel, status, due_at, reference, attempt_count, failure_count,
                sent_at, provider_message_id;
        },
        ..Table::EMPTY
    };
    /// Nothing of a message can be edited: what it says was said, and how far it came is not for
    /// anybody to decide. See [`super::attempt`] for what can happen to it.
    type Edit = ();

    fn settle(&mut self, before: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        match before {
            None => Ok(()),
            // An attempt was made or not; taking its change back would not change the world.
            Some(_) => Err(Error::Conflict(vec!["status".to_owned()]).into()),
        }
    }

    fn refuse_deletion(&self) -> Result<(), Error> {
        match self.status {
            MessageStatus::Waiting | MessageStatus::Held => Ok(()),
            _ => Err(Error::Conflict(vec!["status".to_owned()])),
        }
    }

    fn validate(&self, _: &Meta, changed: &Changed, _: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        if changed.has("recipient")
            && (self.recipient.is_empty()
                || self.recipient.contains(|c: char| c.is_whitespace() || c.is_control()))
        {
            let detail = "must be an address without blanks";
            errors.push(FieldError::new("recipient", "not_an_address", detail));
        }
        Ok(errors)
    }
}
