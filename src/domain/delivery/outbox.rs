//! What an issuing command has to know to leave a message behind: the words, and which channels
//! there are.

use jiff::tz::TimeZone;

use super::message::{Channel, Message, MessageStatus};
use super::template::{EMAIL, PHONE, Template, Values};
use crate::domain::certificate::achievement::Achievement;
use crate::domain::certificate::form::Form;
use crate::domain::command::Context;
use crate::domain::people::account::Account;
use crate::domain::time::Instant;

/// Words and channels.
#[derive(Clone, Debug)]
pub struct Outbox {
    email: Template,
    phone: Template,
    open: Vec<Channel>,
}

/// A certificate and who is to hear of it.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The certificate's id.
    pub achievement_id: i64,
    /// The certificate.
    pub achievement: &'a Achievement,
    /// The form it was issued from.
    pub form: &'a Form,
    /// Who issues it.
    pub club: &'a Account,
    /// The holder, as the issuer writes the name.
    pub holder_name: &'a str,
    /// Which way.
    pub channel: Channel,
    /// E-mail address or phone number.
    pub recipient: &'a str,
}

impl Default for Outbox {
    /// The built-in words, and no channel.
    fn default() -> Self {
        Self::new(None, None, Vec::new())
    }
}

impl Outbox {
    /// An outbox with the operator's words, or the built-in ones, and the channels that are
    /// configured.
    pub fn new(email: Option<Template>, phone: Option<Template>, open: Vec<Channel>) -> Self {
        Self {
            email: email.unwrap_or_else(|| built_in(Channel::Email)),
            phone: phone.unwrap_or_else(|| built_in(Channel::Phone)),
            open,
        }
    }

    /// The message that tells of a certificate, due at once. Make it a row with
    /// [`crate::domain::command::make`], in the decision that makes the certificate.
    pub fn message(&self, occasion: &Occasion<'_>, context: &mut Context<'_>) -> Message {
        let Occasion { achievement_id, holder_name, channel, recipient, .. } = *occasion;
        let template = match channel {
            Channel::Email => &self.email,
            Channel::Phone => &self.phone,
        };
        let (subject, body) = template.render(&occasion.values());
        let is_open = self.open.contains(&channel);
        Message {
            achievement_id,
            channel,
            status: if is_open { MessageStatus::Waiting } else { MessageStatus::Held },
            due_at: Some(context.at.into()),
            reference: context.entropy.uuid(),
            recipient_name: holder_name.to_owned(),
            recipient: recipient.to_owned(),
            subject,
            body,
            ..Message::default()
        }
    }
}

#[expect(clippy::expect_used, reason = "a test reads them")]
fn built_in(channel: Channel) -> Template {
    let read = match channel {
        Channel::Email => Template::email(EMAIL),
        Channel::Phone => Template::phone(PHONE),
    };
    read.expect("the built-in words hold")
}

impl Occasion<'_> {
    fn values(&self) -> Values {
        let Self { achievement, form, club, .. } = *self;
        let zone = club.time_zone();
        let day = |at: Option<Instant>| at.map(|at| day(at, &zone)).unwrap_or_default();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Values {
            holder_name: self.holder_name.to_owned(),
            recipient: self.recipient.to_owned(),
            club_name: club.name.clone(),
            club_domain: text(&club.club_domain),
            form_name: form.name.clone(),
            form_description: text(&form.description),
            program_name: text(&form.program_name),
            program_url: text(&form.program_url),
            certificate_number: achievement.certificate_number.clone(),
            issued_on: day(Some(achievement.issued_at)),
            course_begin_on: day(achievement.course_begin_at),
            course_end_on: day(achievement.course_end_at),
            expires_on: day(achievement.expiration_date),
        }
    }
}

fn day(at: Instant, zone: &TimeZone) -> String {
    at.civil_in(zone).map(|at| at.date().to_string()).unwrap_or_default()
}
