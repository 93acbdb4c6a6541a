//! E-mail, by SMTP (RFC 5321). The dialogue is led here step by step, because what a broken
//! connection means depends on the step: before the text nothing was sent, after it perhaps all.

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::{Error, response::Response};
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::{Host, Url};

use super::letter::{Letter, in_ascii};
use super::{Report, Unusable, causes, certificate_error, certificate_fault, fault};
use crate::config::MailConfig;
use crate::domain::delivery::attempt::Fate;
use crate::domain::delivery::message::Message;
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
        let mailbox = from.parse::<Mailbox>().ok().and_then(|from| {
            let email = in_ascii(&from.email)?;
            Some(Mailbox { email, ..from })
        });
        let from = mailbox
            .ok_or_else(|| Unusable::new("mail.from", "must be ADDRESS or NAME <ADDRESS>"))?;
        let smtp = Self { server, from, tls: OnceLock::new(), idle: Mutex::default() };
        if matches!(smtp.server.tls, Tls::Implicit | Tls::Required) {
            // What is wrong with the certificates of this machine is better known now.
            smtp.tls().map_err(|cause| Unusable::new("mail.url", causes(&cause)))?;
        }
        Ok(Some(smtp))
    }

    /// Sends one message.
    pub async fn send(&self, message: &Message, at: Timestamp) -> Report {
        let letter = match Letter::write(&self.from, message, at) {
            Ok(letter) => letter,
            Err(cause) => return Report::of(Fate::Refused(cause)),
        };
        let mut connection = match timeout(PREPARE_WITHIN, self.connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Report::down(self.fault(&error)),
            Err(_) => {
                return Report::down("the mail server took too long to answer".to_owned());
            }
        };
        let envelope = (&self.from.email, &letter.to);
        let is_international = !is_ascii(envelope);
        if is_international && !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            self.idle.lock().await.push(connection);
            let fault = "the mail server takes no letters beyond ASCII before the @ of an address";
            return Report::of(Fate::Refused(fault.to_owned()));
        }
        let prepared = prepare(&mut connection, envelope, is_international);
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
        match timeout(ACCEPT_WITHIN, connection.message(&letter.text)).await {
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

    /// One that is open and answers, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Error> {
        loop {
            let idle = self.idle.lock().await.pop();
            let Some(mut connection) = idle else { break };
            if connection.test_connected().await {
                return Ok(connection);
            }
        }
        let user = &self.server.user;
        let mut connection = match self.connect(|| self.tls()).await {
            Err(error) if is_own_authority(&error) => self.connect_named(error).await?,
            connected => connected?,
        };
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

    /// A new one, encrypted as the address says.
    async fn connect(
        &self,
        parameters: impl Fn() -> Result<TlsParameters, Error>,
    ) -> Result<AsyncSmtpConnection, Error> {
        let Server { host, port, tls, .. } = &self.server;
        let hello = ClientId::Domain(self.from.email.domain().to_owned());
        let implicit = if *tls == Tls::Implicit { Some(parameters()?) } else { None };
        let place = (host.trim_matches(['[', ']']), *port);
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            place,
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
            connection.starttls(parameters()?, &hello).await?;
        }
        Ok(connection)
    }

    /// A new one to a server whose certificate was refused for being an authority's, and for nothing
    /// else: such are many that sign themselves. Where the operator has named that very certificate in
    /// `SSL_CERT_FILE`, it is as good as one that an authority there has signed.
    async fn connect_named(&self, refused: Error) -> Result<AsyncSmtpConnection, Error> {
        let named = named_certificates();
        if named.is_empty() {
            return Err(refused);
        }
        let host = self.server.host.trim_matches(['[', ']']).to_owned();
        // The server still has to hold the certificate's key, and to go by its name.
        let any =
            TlsParameters::builder(host).dangerous_accept_invalid_certs(true).build_rustls()?;
        let connection = self.connect(|| Ok(any.clone())).await?;
        let shown = connection.peer_certificate();
        if !shown.is_ok_and(|shown| named.iter().any(|named| named.as_ref() == shown)) {
            close(connection).await;
            return Err(refused);
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
        let text = certificate_fault(error, "mail.url", &self.server.host);
        fault(&text.unwrap_or_else(|| causes(error)), &self.secrets())
    }

    fn said(&self, response: &Response) -> Option<String> {
        let text = response.message().collect::<Vec<_>>().join(" ");
        Some(fault(&text, &self.secrets())).filter(|text| !text.is_empty())
    }

    fn secrets(&self) -> Vec<&str> {
        self.server.user.iter().map(|(_, password)| password.expose().as_str()).collect()
    }
}

/// True where a certificate was refused because it may sign others, which is looked at after its dates.
fn is_own_authority(error: &Error) -> bool {
    let fault = certificate_error(error);
    matches!(fault, Some(CertificateError::Other(cause)) if cause.to_string() == "CaUsedAsEndEntity")
}

/// The certificates that the operator has named.
fn named_certificates() -> Vec<CertificateDer<'static>> {
    #[expect(clippy::disallowed_methods, reason = "the variable is not ours but everybody's")]
    let Some(file) = std::env::var_os("SSL_CERT_FILE") else { return Vec::new() };
    CertificateDer::pem_file_iter(file)
        .map(|all| all.filter_map(Result::ok).collect())
        .unwrap_or_default()
}

/// Sender and recipient.
type Envelope<'a> = (&'a Address, &'a Address);

fn is_ascii((from, to): Envelope<'_>) -> bool {
    [from, to].iter().all(|address| address.user().is_ascii())
}

/// Where a dialogue broke off.
enum Step {
    Sender,
    Recipient,
}

/// All that comes before the text. When it fails, nothing was sent.
async fn prepare(
    connection: &mut AsyncSmtpConnection,
    (from, to): Envelope<'_>,
    is_international: bool,
) -> Result<(), (Step, Error)> {
    let options = if is_international { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
    let sender = MailFrom::new(Some(from.clone()), options);
    connection.command(sender).await.map_err(|error| (Step::Sender, error))?;
    let of_recipient = |error| (Step::Recipient, error);
    connection.command(Rcpt::new(to.clone(), Vec::new())).await.map_err(of_recipient)?;
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
        // Beyond ASCII it is encoded here like a part of a path.
        let host = Host::parse(host).map_err(|_| faulty(form))?.to_string();
        let host = host.as_str();
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
        assert_eq!(server("smtp://메일.한국").host, "xn--h32bq4v.xn--3e0b707e");
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
}
