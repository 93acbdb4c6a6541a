//! Bringing messages to people: one way for each channel, and the worker that takes what is due.

pub mod gateway;
mod letter;
pub mod smtp;
pub mod worker;

use std::fmt::Write as _;

use jiff::Timestamp;
use rustls::CertificateError;

use crate::config::Config;
use crate::domain::delivery::attempt::Fate;
use crate::domain::delivery::message::{Channel, Message};
use crate::domain::delivery::outbox::Outbox;
use crate::domain::delivery::template::Template;
use gateway::Gateway;
use smtp::Smtp;

/// Longest text of a fault that is kept with a message, characters.
const FAULT_MAX: usize = 500;

/// What became of handing a message over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// For the message.
    pub outcome: Fate,
    /// The fault is not this message's: the next one would meet it too.
    pub is_channel_down: bool,
}

impl Report {
    fn of(outcome: Fate) -> Self {
        Self { outcome, is_channel_down: false }
    }

    fn down(fault: String) -> Self {
        Self { outcome: Fate::Postponed(fault), is_channel_down: true }
    }
}

/// A way to people.
#[derive(Debug)]
pub enum Sender {
    /// By e-mail.
    Smtp(Smtp),
    /// By text message.
    Gateway(Gateway),
}

impl Sender {
    /// The channel that it serves.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Smtp(_) => Channel::Email,
            Self::Gateway(_) => Channel::Phone,
        }
    }

    /// Hands one message over. Takes less than
    /// [`LEASE`](crate::domain::delivery::attempt::LEASE), whatever the other side does.
    async fn send(&self, message: &Message, at: Timestamp) -> Report {
        match self {
            Self::Smtp(smtp) => smtp.send(message, at).await,
            Self::Gateway(gateway) => gateway.send(message, at).await,
        }
    }

    /// Lets go of what is only worth keeping between messages that follow each other.
    async fn rest(&self) {
        match self {
            Self::Smtp(smtp) => smtp.rest().await,
            Self::Gateway(_) => {}
        }
    }
}

/// A configuration that leads to nobody.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {cause}")]
pub struct Unusable {
    /// The key at fault.
    pub key: &'static str,
    /// What is wrong with it. Holds no secret.
    pub cause: String,
}

impl Unusable {
    fn new(key: &'static str, cause: impl std::fmt::Display) -> Self {
        Self { key, cause: cause.to_string() }
    }
}

/// The ways that the operator has configured.
///
/// # Errors
/// [`Unusable`], naming the key.
pub fn senders(config: &Config) -> Result<Vec<Sender>, Unusable> {
    let mut senders = Vec::new();
    senders.extend(Smtp::configured(&config.mail)?.map(Sender::Smtp));
    senders.extend(Gateway::configured(&config.sms)?.map(Sender::Gateway));
    Ok(senders)
}

/// The operator's words, read from their files, and the channels that are configured.
///
/// # Errors
/// [`Unusable`], naming the key and the fault in the file.
pub fn outbox(config: &Config) -> Result<Outbox, Unusable> {
    let mut open = Vec::new();
    if config.mail.url.is_some() {
        open.push(Channel::Email);
    }
    if config.sms.url.is_some() {
        open.push(Channel::Phone);
    }
    let email = template("mail.template", config.mail.template.as_deref(), Template::email)?;
    let phone = template("sms.template", config.sms.template.as_deref(), Template::phone)?;
    Ok(Outbox::new(email, phone, open))
}

fn template<E: std::fmt::Display>(
    key: &'static str,
    path: Option<&std::path::Path>,
    read: fn(&str) -> Result<Template, E>,
) -> Result<Option<Template>, Unusable> {
    let Some(path) = path else { return Ok(None) };
    let faulty = |cause: String| Unusable::new(key, format!("{}: {cause}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|cause| faulty(cause.to_string()))?;
    read(&text).map(Some).map_err(|cause| faulty(cause.to_string()))
}

/// A fault as it is kept with a message: one line, not too long, without the given secrets, which
/// the other side may have sent back.
fn fault(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, crate::domain::change::MASK);
    }
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty())
    {
        let _ = write!(line, "{}{word}", if line.is_empty() { "" } else { " " });
    }
    match line.char_indices().nth(FAULT_MAX) {
        None => line,
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
    }
}

/// An error's text with those of its sources.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        source = error.source();
    }
    text
}

/// What is wrong with the other side's certificate, where that is what is wrong.
fn certificate_error(error: &(dyn std::error::Error + 'static)) -> Option<CertificateError> {
    let mut error = Some(error);
    while let Some(cause) = error {
        // An input's or output's fault shows its source's source.
        let within = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let fault = match within {
            Some(within) => within.downcast_ref::<rustls::Error>(),
            None => cause.downcast_ref::<rustls::Error>(),
        };
        if let Some(rustls::Error::InvalidCertificate(fault)) = fault {
            return Some(fault.clone());
        }
        error = within.map_or_else(|| cause.source(), |within| Some(within));
    }
    None
}

/// The same in an operator's words, with the setting that helps.
fn certificate_fault(
    error: &(dyn std::error::Error + 'static),
    key: &str,
    host: &str,
) -> Option<String> {
    let fault = certificate_error(error)?;
    let is_misnamed = matches!(
        fault,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    );
    let is_of_other_times = matches!(
        fault,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    );
    let advice = if is_misnamed {
        format!("{key} must name the server as its certificate does")
    } else if is_of_other_times {
        "the server needs a new one, or this machine's clock is wrong".to_owned()
    } else {
        format!(
            "nobody whom this machine trusts has signed it; name a file with it, or with its signer's, \
             in SSL_CERT_FILE, or another server in {key}"
        )
    };
    Some(format!("the certificate of {host} is refused: {advice} ({fault})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_short_line_without_secrets() {
        let text = "5.7.8\r\nbad\0 demo-password\n\n twice demo-password ";
        assert_eq!(fault(text, &["demo-password", ""]), "5.7.8 bad ••• twice •••");
        assert_eq!(fault(&"가".repeat(1000), &[]).chars().count(), FAULT_MAX + 1);
    }
}
