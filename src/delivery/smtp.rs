//! E-mail, by SMTP (RFC 5321). The dialogue is led here step by step, because what a broken
//! connection means depends on the step: before the text nothing was sent, after it perhaps all.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::{Error, response::Response};
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::{Host, Url};

use super::{Report, Unusable, causes, fault};
use crate::config::MailConfig;
use crate::domain::delivery::attempt::Fate;
use crate::domain::delivery::message::Message;
use crate::domain::delivery::template::one_line;
use crate::vault::Secret;

/// How long all may take that comes before the text: finding the server, TLS, signing in, addresses.
const PREPARE_WITHIN: Duration = Duration::from_mins(1);
/// How long the server may take to take the text and say so. Longer than that it would have to be
/// ten minutes (RFC 5321 section 4.5.3.2.6); few servers think as long about a letter this short.
const ACCEPT_WITHIN: Duration = Duration::from_mins(2);
/// How long to be polite at the end of a connection.
const QUIT_WITHIN: Duration = Duration::from_secs(2);
/// The reply of a server that is going down (RFC 5321 section 3.8).
const SHUTTING_DOWN: u16 = 421;

/// A mail server.
pub struct Smtp {
    server: Server,
    from: Mailbox,
    tls: OnceLock<TlsParameters>,
    /// Open connections that nobody uses.
    idle: Mutex<Vec<AsyncSmtpConnection>>,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Where it is and how to talk to it.
#[derive(Debug)]
struct Server {
    host: String,
    port: u16,
    tls: Tls,
    user: Option<(String, Secret<String>)>,
}

/// When the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    /// From the first byte (`smtps`).
    Implicit,
    /// Before anything is said, or nothing is said.
    Required,
    /// Where the server offers it.
    Offered,
    /// Not at all.
    Never,
}

/// Tells other programs not to answer (RFC 3834 section 5).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Smtp {
    /// The server that the operator has configured.
    ///
    /// # Errors
    /// [`Unusable`] for an address that is none, or without a sender.
    pub fn configured(config: &MailConfig) -> Result<Option<Self>, Unusable> {
        let Some(url) = &config.url else { return Ok(None) };
        let server = Server::parse(url.expose())?;
        let from = config.from.as_deref().ok_or_else(|| {
            Unusable::new("mail.from", "mail.url needs it: who sends, NAME <ADDRESS>")
        })?;
        let from: Mailbox = from
            .parse()
            .map_err(|_| Unusable::new("mail.from", "must be ADDRESS or NAME <ADDRESS>"))?;
        let smtp = Self { server, from, tls: OnceLock::new(), idle: Mutex::default() };
        if matches!(smtp.server.tls, Tls::Implicit | Tls::Required) {
            // What is wrong with the certificates of this machine is better known now.
            smtp.tls().map_err(|cause| Unusable::new("mail.url", causes(&cause)))?;
        }
        Ok(Some(smtp))
    }

    /// Sends one message.
    pub async fn send(&self, message: &Message, at: Timestamp) -> Report {
        let mail = match self.mail(message, at) {
            Ok(mail) => mail,
            Err(cause) => return Report::of(Fate::Refused(cause)),
        };
        let mut connection = match timeout(PREPARE_WITHIN, self.connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Report::down(self.fault(&error)),
            Err(_) => {
                return Report::down("the mail server took too long to answer".to_owned());
            }
        };
        let is_international = !is_ascii(mail.envelope());
        if is_international && !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            self.idle.lock().await.push(connection);
            let fault = "the mail server takes ASCII addresses only";
            return Report::of(Fate::Refused(fault.to_owned()));
        }
        let prepared = prepare(&mut connection, mail.envelope(), is_international);
        match timeout(PREPARE_WITHIN, prepared).await {
            Ok(Ok(())) => {}
            Ok(Err((step, error))) => {
                close(connection).await;
                return match step {
                    // Who may not send may send nothing.
                    Step::Sender => Report::down(self.fault(&error)),
                    Step::Recipient => self.refusal(&error, Fate::Postponed),
                };
            }
            Err(_) => {
                let fault = "the mail server took too long to answer".to_owned();
                return Report::of(Fate::Postponed(fault));
            }
        }
        match timeout(ACCEPT_WITHIN, connection.message(&mail.formatted())).await {
            Ok(Ok(response)) => {
                self.idle.lock().await.push(connection);
                Report::of(Fate::Sent { provider_message_id: self.said(&response) })
            }
            Ok(Err(error)) => {
                close(connection).await;
                self.refusal(&error, Fate::Unknown)
            }
            Err(_) => {
                let fault = "the mail server took the text and did not say what became of it";
                Report::of(Fate::Unknown(fault.to_owned()))
            }
        }
    }

    /// Closes the connections that nobody uses.
    pub async fn rest(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().await);
        for connection in idle {
            close(connection).await;
        }
    }

    fn mail(&self, message: &Message, at: Timestamp) -> Result<Mail, String> {
        let address = message.recipient.parse().map_err(|_| "not an e-mail address".to_owned())?;
        let name = Some(one_line(&message.recipient_name)).filter(|name| !name.is_empty());
        let id = format!("<{}@{}>", message.reference, self.from.email.domain());
        let date = SystemTime::UNIX_EPOCH
            + Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default());
        Mail::builder()
            .from(self.from.clone())
            .to(Mailbox::new(name, address))
            .subject(one_line(message.subject.as_deref().unwrap_or_default()))
            .message_id(Some(id))
            .date(date)
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN)
            .body(message.body.clone())
            .map_err(|cause| causes(&cause))
    }

    /// One that is open and answers, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Error> {
        loop {
            let idle = self.idle.lock().await.pop();
            let Some(mut connection) = idle else { break };
            if connection.test_connected().await {
                return Ok(connection);
            }
        }
        let Server { host, port, tls, user } = &self.server;
        let hello = ClientId::Domain(self.from.email.domain().to_owned());
        let implicit = if *tls == Tls::Implicit { Some(self.tls()?) } else { None };
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            (host.trim_matches(['[', ']']), *port),
            Some(PREPARE_WITHIN),
            &hello,
            implicit,
            None,
        )
        .await?;
        let is_upgraded = match tls {
            Tls::Implicit | Tls::Never => false,
            Tls::Required => true,
            Tls::Offered => connection.can_starttls(),
        };
        if is_upgraded {
            // What TLS leaves of a connection that it refuses cannot even be closed politely.
            connection.starttls(self.tls()?, &hello).await?;
        }
        if let Some((name, password)) = user {
            let credentials = Credentials::new(name.clone(), password.expose().clone());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            if let Err(error) = connection.auth(&mechanisms, &credentials).await {
                close(connection).await;
                return Err(error);
            }
        }
        Ok(connection)
    }

    fn tls(&self) -> Result<TlsParameters, Error> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls.clone());
        }
        let host = self.server.host.trim_matches(['[', ']']).to_owned();
        let tls = TlsParameters::new_rustls(host)?;
        Ok(self.tls.get_or_init(|| tls).clone())
    }

    /// What an answer means: a number is a clear word, anything else is as good as none.
    fn refusal(&self, error: &Error, without_answer: fn(String) -> Fate) -> Report {
        let text = self.fault(error);
        if error.is_permanent() {
            return Report::of(Fate::Refused(text));
        }
        let is_channel_down = error.status().is_some_and(|code| u16::from(code) == SHUTTING_DOWN);
        if error.is_transient() {
            return Report { outcome: Fate::Postponed(text), is_channel_down };
        }
        Report::of(without_answer(text))
    }

    fn fault(&self, error: &Error) -> String {
        fault(&causes(error), &self.secrets())
    }

    fn said(&self, response: &Response) -> Option<String> {
        let text = response.message().collect::<Vec<_>>().join(" ");
        Some(fault(&text, &self.secrets())).filter(|text| !text.is_empty())
    }

    fn secrets(&self) -> Vec<&str> {
        self.server.user.iter().map(|(_, password)| password.expose().as_str()).collect()
    }
}

fn is_ascii(envelope: &Envelope) -> bool {
    envelope.from().into_iter().chain(envelope.to()).all(|address| {
        let address: &str = address.as_ref();
        address.is_ascii()
    })
}

/// Where a dialogue broke off.
enum Step {
    Sender,
    Recipient,
}

/// All that comes before the text. When it fails, nothing was sent.
async fn prepare(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    is_international: bool,
) -> Result<(), (Step, Error)> {
    let options = if is_international { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
    let sender = MailFrom::new(envelope.from().cloned(), options);
    connection.command(sender).await.map_err(|error| (Step::Sender, error))?;
    let of_recipient = |error| (Step::Recipient, error);
    for recipient in envelope.to() {
        connection.command(Rcpt::new(recipient.clone(), Vec::new())).await.map_err(of_recipient)?;
    }
    connection.command(Data).await.map_err(of_recipient)?;
    Ok(())
}

async fn close(mut connection: AsyncSmtpConnection) {
    let _ = timeout(QUIT_WITHIN, connection.abort()).await;
}

impl Server {
    /// Reads `smtp://[USER:PASSWORD@]HOST[:PORT][?tls=required|never]` or `smtps://…`.
    fn parse(text: &str) -> Result<Self, Unusable> {
        // The address is not shown: it may hold a password.
        let faulty = |cause: &str| Unusable::new("mail.url", cause);
        let form = "must be smtp://[USER:PASSWORD@]HOST[:PORT] or smtps://…";
        let url = Url::parse(text).map_err(|_| faulty(form))?;
        let is_implicit = match url.scheme() {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(faulty(form)),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| faulty(form))?;
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(faulty(form));
        }
        let decoded = |text: &str| {
            let text = percent_encoding::percent_decode_str(text).decode_utf8();
            text.map(std::borrow::Cow::into_owned)
                .map_err(|_| faulty("user and password are UTF-8"))
        };
        let user = match (url.username(), url.password()) {
            ("", None) => None,
            (_, None) | ("", Some(_)) => return Err(faulty("needs both a user and a password")),
            (name, Some(password)) => Some((decoded(name)?, Secret::new(decoded(password)?))),
        };
        // A password is not shouted across a network; on this machine there is nobody to hear it, and
        // certificates are seldom good.
        let tls = match (is_implicit, url.query()) {
            (true, None) => Tls::Implicit,
            (false, None) if is_loopback(host) => Tls::Never,
            (false, None) if user.is_some() => Tls::Required,
            (false, None) => Tls::Offered,
            (false, Some("tls=required")) => Tls::Required,
            (false, Some("tls=never")) if user.is_none() || is_loopback(host) => Tls::Never,
            (false, Some("tls=never")) => {
                return Err(faulty("a password would cross the network in the clear"));
            }
            _ => return Err(faulty("after smtp://… there can be ?tls=required or ?tls=never")),
        };
        let default_port = match (is_implicit, &user) {
            (true, _) => 465,
            (false, Some(_)) => 587,
            (false, None) => 25,
        };
        Ok(Self { host: host.to_owned(), port: url.port().unwrap_or(default_port), tls, user })
    }
}

fn is_loopback(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Domain(name)) => name == "localhost",
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        Server::parse(url).unwrap()
    }

    #[test]
    fn an_address_says_how_to_talk() {
        let plain = server("smtp://mail.example");
        assert_eq!(
            (plain.host.as_str(), plain.port, plain.tls),
            ("mail.example", 25, Tls::Offered)
        );
        assert!(plain.user.is_none());
        let user = server("smtp://us%40er:p%2Fw@mail.example");
        assert_eq!((user.port, user.tls), (587, Tls::Required));
        let (name, password) = user.user.unwrap();
        assert_eq!((name.as_str(), password.expose().as_str()), ("us@er", "p/w"));
        let implicit = server("smtps://u:p@mail.example");
        assert_eq!((implicit.port, implicit.tls), (465, Tls::Implicit));
        for (url, tls) in [
            ("smtp://localhost", Tls::Never),
            ("smtp://u:p@127.0.0.1:2525", Tls::Never),
            ("smtp://u:p@[::1]:2525", Tls::Never),
            ("smtp://127.0.0.1:2525?tls=required", Tls::Required),
            ("smtp://mail.example?tls=required", Tls::Required),
            ("smtp://mail.example?tls=never", Tls::Never),
        ] {
            assert_eq!(server(url).tls, tls, "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for url in [
            "",
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://u:demo-password@mail.example/path",
            "smtp://u:demo-password@mail.example?tls=none",
            "smtp://u:demo-password@mail.example?tls=never",
            "smtps://u:demo-password@mail.example?tls=required",
            "smtp://u@mail.example",
            "smtp://:demo-password@mail.example",
            "smtp://u:demo-password@mail.example:99999",
        ] {
            let error = Server::parse(url).unwrap_err().to_string();
            assert!(error.starts_with("mail.url: "), "{error}");
            assert!(!error.contains("demo-password"), "{error}");
        }
    }

    #[test]
    fn no_name_makes_a_header() {
        let config = MailConfig {
            url: Some(Secret::new("smtp://mail.example".to_owned())),
            from: Some("학사 <cert@example.com>".to_owned()),
            template: None,
        };
        let smtp = Smtp::configured(&config).unwrap().unwrap();
        for name in ["a\r\nBcc: x@example.com", "\"a\" <x@example.com>,", "홍\n\n길동", "\u{2028}"]
        {
            let message = Message {
                recipient: "hong@example.com".to_owned(),
                recipient_name: name.to_owned(),
                subject: Some(format!("{name}\r\nX: y")),
                body: "본문".to_owned(),
                reference: "r".to_owned(),
                ..Message::default()
            };
            let mail = smtp.mail(&message, Timestamp::UNIX_EPOCH).unwrap();
            let text = String::from_utf8(mail.formatted()).unwrap();
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            let names: Vec<_> = head
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .filter_map(|line| line.split_once(':'))
                .map(|(name, _)| name)
                .collect();
            let expected = [
                "From",
                "To",
                "Subject",
                "Message-ID",
                "Date",
                "Auto-Submitted",
                "Content-Type",
                "Content-Transfer-Encoding",
            ];
            for name in &names {
                assert!(expected.contains(name) || *name == "MIME-Version", "{name} in {head}");
            }
            assert_eq!(mail.envelope().to().len(), 1);
            assert!(head.is_ascii());
        }
    }
}
