//! What an issuing command has to know to leave a message behind: the words, and which channels
//! there are.

use jiff::civil::Time;
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
        let given = |at: Option<Instant>| at.map(|at| given_day(at, &zone)).unwrap_or_default();
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
            issued_on: day(achievement.issued_at, &zone),
            course_begin_on: given(achievement.course_begin_at),
            course_end_on: given(achievement.course_end_at),
            expires_on: given(achievement.expiration_date),
        }
    }
}

/// The day of what a client gave: a day is kept as its midnight in UTC, and is that day everywhere.
fn given_day(at: Instant, zone: &TimeZone) -> String {
    let is_bare = at.civil().time() == Time::midnight();
    if is_bare { day(at, &TimeZone::UTC) } else { day(at, zone) }
}

fn day(at: Instant, zone: &TimeZone) -> String {
    at.civil_in(zone).map(|at| at.date().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_were_given_stay_those_days() {
        let at = |text: &str| Some(text.parse::<Instant>().unwrap());
        let achievement = Achievement {
            issued_at: at("2025-04-01T00:00:00Z").unwrap(),
            course_begin_at: at("2025-04-01T00:00:00Z"),
            course_end_at: at("2025-06-30T22:00:00Z"),
            expiration_date: at("2026-04-01T00:00:00Z"),
            ..Achievement::default()
        };
        for (zone, issued_on, evening) in [
            ("America/New_York", "2025-03-31", "2025-06-30"),
            ("UTC", "2025-04-01", "2025-06-30"),
            ("Asia/Seoul", "2025-04-01", "2025-07-01"),
            ("Pacific/Kiritimati", "2025-04-01", "2025-07-01"),
        ] {
            let club = Account { time_zone: Some(zone.to_owned()), ..Account::default() };
            let occasion = Occasion {
                achievement_id: 1,
                achievement: &achievement,
                form: &Form::default(),
                club: &club,
                holder_name: "홍길동",
                channel: Channel::Email,
                recipient: "hong@example.com",
            };
            let values = occasion.values();
            assert_eq!(values.issued_on, issued_on, "{zone}");
            assert_eq!(values.course_begin_on, "2025-04-01", "{zone}");
            assert_eq!(values.course_end_on, evening, "{zone}");
            assert_eq!(values.expires_on, "2026-04-01", "{zone}");
        }
    }
}
