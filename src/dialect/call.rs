//! A request in the hands of a dialect, and what every dialect's edits gain: entity tags,
//! idempotency keys, dry runs and request ids.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::RequestExt as _;
use axum::extract::{FromRequest, MatchedPath, Request};
use bytes::Bytes;
use futures_util::Stream;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{Answer, Malformed, accept, upload};
use crate::app::App;
use crate::domain::actor::Actor;
use crate::domain::command::{Command, Expected};
use crate::domain::error::Error;
use crate::domain::facts::{Answered, Facts, Known, Signature};
use crate::domain::tag::{self, tag};
use crate::payer::Payer;
use crate::pipeline::{Encode, Envelope, Idempotency, Outcome, Reply};

/// A body's length at the most, bytes, but for [`super::LongBody`].
pub const BODY_MAX: usize = 1024 * 1024;
/// Makes a command repeatable: the same key and request within 24 hours get the first answer again.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// `true`: decide, answer, write nothing.
pub const DRY_RUN: &str = "haksa-dry-run";
/// How many records a dry run would have changed.
pub const CHANGES: &str = "haksa-changes";
/// Stands for any entity tag.
const ANYTHING: &str = "*";
/// Headers that an answer keeps when the caller has the rest of it (RFC 9110 section 15.4.5).
const OF_SEEN: [&str; 3] = ["cache-control", "etag", "vary"];
/// Stands for a media type that cannot be read.
const UNREADABLE_TYPE: &str = "unreadable";
/// An idempotency key's length at the most.
const IDEMPOTENCY_KEY_MAX: usize = 255;

/// What is known of a request before it is read.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who is at the other end of the connection.
    pub peer: IpAddr,
    /// The request's id.
    pub request_id: String,
    /// When it came.
    pub at: Timestamp,
    /// What is wrong with its body: said where the dialect's order of checks has it.
    pub body_fault: Option<Malformed>,
}

impl Default for Arrival {
    fn default() -> Self {
        Self {
            peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            request_id: String::new(),
            at: Timestamp::UNIX_EPOCH,
            body_fault: None,
        }
    }
}

/// A request with its body.
pub struct Call {
    /// The server's parts.
    pub app: App,
    /// The method.
    pub method: Method,
    /// Path and query, exactly as sent.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// Who is at the other end of the connection.
    pub peer: IpAddr,
    /// The id by which logs, history and the answer name this request.
    pub request_id: String,
    /// When it came.
    pub at: Timestamp,
    body: Result<Bytes, Malformed>,
    parameters: Vec<(String, String)>,
    note: OnceLock<Box<dyn Any + Send + Sync>>,
    signature: Mutex<Option<(i64, Signature)>>,
    account_id: OnceLock<i64>,
    rest: Mutex<Option<Rest>>,
}

/// What comes after the beginning of an answer's body; a fault cuts the connection.
pub type Rest = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

impl FromRequest<App> for Call {
    type Rejection = Answer;

    async fn from_request(mut request: Request, app: &App) -> Result<Self, Answer> {
        let pattern = request.extract_parts::<MatchedPath>().await;
        let parameters = pattern
            .map(|pattern| parameters(pattern.as_str(), request.uri().path()))
            .unwrap_or_default();
        let (mut parts, body) = request.into_parts();
        let arrival = parts.extensions.remove::<Arrival>().unwrap_or_default();
        let body = match arrival.body_fault {
            Some(fault) => Err(fault),
            // Its length was bounded when it was read from the connection.
            None => axum::body::to_bytes(body, usize::MAX).await.map_err(|_| Malformed::Incomplete),
        };
        Ok(Self { parameters, ..Self::new(app, parts, arrival, body) })
    }
}

/// The segments that stand for a pattern's parameters. (The router's own are lost as soon as one of
/// them is not UTF-8.)
fn parameters(pattern: &str, path: &str) -> Vec<(String, String)> {
    let named = |(name, segment): (&str, &str)| {
        let name = name.strip_prefix('{')?.strip_suffix('}')?;
        Some((name.to_owned(), decoded(segment)))
    };
    pattern.split('/').zip(path.split('/')).filter_map(named).collect()
}

/// A path segment with its percent-encoding undone; what is not UTF-8 names nothing.
fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// A header comes in several lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeated;

/// The one line of a header; none when it is not there.
///
/// # Errors
/// [`Repeated`]: the next program on the way may believe another line.
pub(super) fn sole<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> Result<Option<&'a HeaderValue>, Repeated> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line),
        (_, Some(_)) => Err(Repeated),
    }
}

/// The entity tags that a header names, in their quotes. One that was made weak on the way counts as it
/// was sent: a proxy that compresses an answer shows what it was given.
fn entity_tags<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let is_tag = |tag: &&str| {
        *tag == ANYTHING || tag.len() > 1 && tag.starts_with('"') && tag.ends_with('"')
    };
    accept::elements(headers, name)
        .map(str::trim)
        .map(|tag| tag.strip_prefix("W/").unwrap_or(tag))
        .filter(is_tag)
}

/// See [`Call::bearer`].
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl Call {
    /// One that no route has, so that nothing in its path is a parameter.
    pub fn new(app: &App, parts: Parts, arrival: Arrival, body: Result<Bytes, Malformed>) -> Self {
        Self {
            app: app.clone(),
            method: parts.method,
            target: parts
                .uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), |target| target.as_str().to_owned()),
            headers: parts.headers,
            peer: arrival.peer,
            body,
            request_id: arrival.request_id,
            at: arrival.at,
            parameters: Vec::new(),
            note: OnceLock::new(),
            signature: Mutex::new(None),
            account_id: OnceLock::new(),
            rest: Mutex::new(None),
        }
    }

    /// Notes which account calls, as soon as that is proved: it pays for what the answer takes.
    pub(super) fn known(&self, account_id: i64) {
        self.account_id.get_or_init(|| account_id);
    }

    /// Who pays for what the call takes.
    pub fn payer(&self) -> Payer {
        self.account_id.get().map_or_else(|| Payer::stranger(self.peer), |id| Payer::Account(*id))
    }

    /// Notes what the answer's body goes on with.
    pub fn follow_with(&self, rest: Rest) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
    }

    pub(super) fn take_rest(&self) -> Option<Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The path, exactly as sent.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The query, exactly as sent; empty when there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The body, whole. Asked for where the dialect's order of checks has it: an unknown caller is
    /// one whatever the body is.
    ///
    /// # Errors
    /// The dialect's words for a body that is over the limit or did not come whole.
    pub fn body(&self) -> Result<&Bytes, Answer> {
        let malformed = super::Wire::of(self.path()).malformed;
        self.body.as_ref().map_err(|fault| malformed(*fault, self.path(), &self.headers))
    }

    /// Notes what the words of a refusal will depend on, before anything can be refused in such
    /// words. A call has one note: the first stays.
    pub fn note<T: Any + Send + Sync>(&self, note: T) {
        self.note.get_or_init(|| Box::new(note));
    }

    /// What was noted; none where it is of another type.
    pub fn noted<T: Any>(&self) -> Option<&T> {
        self.note.get()?.downcast_ref()
    }

    /// Notes the signature by which an account proves that it calls, where it is good once: whatever
    /// becomes of the call,
    /// it is used up, by the command that is submitted or, where none is, before the answer leaves.
    pub fn signed(&self, account_id: i64, signature: Signature) {
        *self.signature.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((account_id, signature));
    }

    fn take_signature(&self) -> Option<(i64, Signature)> {
        self.signature.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Uses up the signature that no command took along.
    ///
    /// # Errors
    /// [`Error::Replayed`] when it was used before.
    pub(super) async fn use_up(&self) -> Result<(), Error> {
        // Nothing was read of it, and it may be sent again.
        if matches!(self.body, Err(Malformed::Busy)) {
            return Ok(());
        }
        match self.take_signature() {
            Some((account_id, signature)) => {
                self.app.pipeline.burn_signature(account_id, signature).await
            }
            None => Ok(()),
        }
    }

    /// A query parameter, decoded; the first where it is repeated.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is not UTF-8: nothing that is stored could be meant.
    pub fn query_parameter(&self, name: &'static str) -> Result<Option<String>, Error> {
        let decoded = |text: &str| -> Vec<u8> {
            percent_encoding::percent_decode(text.replace('+', " ").as_bytes()).collect()
        };
        let mut pairs =
            self.query().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let found = pairs.find(|(found, _)| decoded(found) == name.as_bytes());
        found
            .map(|(_, value)| String::from_utf8(decoded(value)))
            .transpose()
            .map_err(|_| Error::invalid(name, "not_utf8", "must be UTF-8"))
    }

    /// A path parameter, decoded.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    /// A header that comes in one line and is text, beyond ASCII too. A gateway and a server that
    /// choose differently among several lines would see different callers.
    pub fn sole_header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(sole(&self.headers, name).ok()??.as_bytes()).ok()
    }

    /// A header that is readable text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The credentials after `Bearer` (RFC 6750 section 2.1), the scheme in any case.
    pub fn bearer(&self) -> Option<&str> {
        bearer(&self.headers)
    }

    /// The media type of the body, in lower case, without parameters; empty when none is named. A
    /// header that is no text or comes twice names a type that nobody takes.
    pub fn media_type(&self) -> String {
        let header = match sole(&self.headers, "content-type") {
            Ok(None) => "",
            Ok(Some(header)) => header.to_str().unwrap_or(UNREADABLE_TYPE),
            Err(Repeated) => UNREADABLE_TYPE,
        };
        header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The tags named by `If-Match` (RFC 9110 section 13.1.1), of a record that is shown alone.
    pub fn expected(&self) -> Expected {
        if !self.headers.contains_key("if-match") {
            return Expected::Any;
        }
        let mut tags = Vec::new();
        for tag in entity_tags(&self.headers, "if-match") {
            if tag == ANYTHING {
                return Expected::Any;
            }
            tags.push(tag::seen(tag.trim_matches('"')).to_owned());
        }
        Expected::Tags(tags, None)
    }

    /// Whether the caller has what this tag, in its quotes, is of (`If-None-Match`, RFC 9110 section
    /// 13.1.2).
    pub fn has(&self, tag: &str) -> bool {
        entity_tags(&self.headers, "if-none-match").any(|one| one == ANYTHING || one == tag)
    }

    /// The answer to a read, or only that the caller has it.
    pub(super) fn unless_seen(&self, mut answer: Answer) -> Answer {
        let tag = answer.headers.iter().find(|(name, _)| name == "etag");
        let is_read = self.method.is_safe() && answer.status == 200;
        if is_read && tag.is_some_and(|(_, tag)| self.has(tag)) {
            answer.status = 304;
            answer.body = Bytes::new();
            answer.headers.retain(|(name, _)| OF_SEEN.contains(&&**name));
        }
        answer
    }

    /// Runs a read; see [`crate::store::Store::read`].
    ///
    /// # Errors
    /// The read's refusal, or [`Error::Unavailable`].
    pub async fn read<T>(&self, f: impl FnMut(&mut Facts) -> Known<T>) -> Result<T, Error> {
        self.app.store.read(f).await
    }

    /// Runs a command for `actor` and words its outcome with `encode`. Entity tag (but where `encode`
    /// shows others with the record), idempotency key, dry run and a signature that is good once are
    /// seen to here.
    ///
    /// # Errors
    /// The command's refusal; [`Error::Invalid`] for an unusable idempotency key, or what is neither a
    /// dry run nor none.
    pub async fn submit(
        &self,
        actor: Actor,
        command: impl Command,
        encode: impl Fn(&Outcome, &mut Facts) -> Known<Answer> + Send + Sync + 'static,
    ) -> Result<Answer, Error> {
        let is_dry_run = self.is_dry_run()?;
        let seen = command.seen();
        let encode: Encode = Arc::new(move |outcome: &Outcome, facts: &mut Facts| {
            let mut answer = encode(outcome, facts)?;
            // An outcome that is worded as a refusal is about a record that is not the caller's.
            let is_tagged = answer.headers.iter().any(|(name, _)| name == "etag");
            if answer.status < 300 && !is_tagged {
                answer = match seen {
                    Some(beside) => answer.etag(tag(&outcome.subject, beside, facts)?),
                    None => answer.etag(outcome.subject.meta.version),
                };
            }
            Ok(if is_dry_run {
                answer.header(CHANGES, outcome.changed_count.to_string())
            } else {
                answer
            })
        });
        let account_id = actor.account_id;
        let envelope = Envelope {
            is_dry_run,
            idempotency: self.idempotency().await?,
            // In one commit: who waits for a signed edit waits for the disk once.
            signature: self.take_signature().map(|(_, signature)| signature),
            body_length: self.body.as_ref().map_or(0, Bytes::len),
            encode: Arc::clone(&encode),
            ..Envelope::new(actor, &self.request_id)
        };
        let store = &self.app.store;
        match self.app.pipeline.run(command, envelope).await? {
            Reply::Done(_, Some(answer)) => Ok(answer),
            Reply::Repeated(Answered::Whole { status, headers, body }) => {
                Ok(Answer { status, headers, body })
            }
            // What is shown beside the record is as it is now.
            Reply::Done(outcome, None) => {
                store.read_long(account_id, |facts| encode(&outcome, facts)).await
            }
            Reply::Repeated(Answered::Of(kind, key)) => {
                let worded = store.read_long(account_id, |facts| {
                    let subject = facts.document(kind, &key)?.ok_or(Error::NotFound(kind))?;
                    encode(&Outcome::of(subject), facts)
                });
                worded.await
            }
            Reply::Noted => Err(Error::internal("a command was only noted")),
        }
    }

    /// Whether nothing is to be written. What is neither yes nor no may have been meant as yes, so it
    /// is refused.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn is_dry_run(&self) -> Result<bool, Error> {
        match sole(&self.headers, DRY_RUN).map(|value| value.map(HeaderValue::as_bytes)) {
            Ok(None) => Ok(false),
            Ok(Some(value)) if value.eq_ignore_ascii_case(b"true") => Ok(true),
            Ok(Some(value)) if value.eq_ignore_ascii_case(b"false") => Ok(false),
            _ => Err(Error::invalid("Haksa-Dry-Run", "invalid", "Haksa-Dry-Run is true or false")),
        }
    }

    /// The idempotency key, if there is one.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that cannot be used.
    pub fn idempotency_key(&self) -> Result<Option<&str>, Error> {
        let Some(value) = self.headers.get(IDEMPOTENCY_KEY) else {
            return Ok(None);
        };
        let key = value.to_str().ok();
        let key = key.filter(|key| !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_MAX);
        key.map(Some).ok_or_else(|| {
            let detail = "an idempotency key is 1 to 255 visible ASCII characters";
            Error::invalid("Idempotency-Key", "invalid", detail)
        })
    }

    async fn idempotency(&self) -> Result<Option<Idempotency>, Error> {
        let Some(key) = self.idempotency_key()? else {
            return Ok(None);
        };
        let mut hash = Sha256::new();
        for part in [self.method.as_str().as_bytes(), self.target.as_bytes()] {
            hash.update(part);
            hash.update([0]);
        }
        // The same bytes mean something else under another type (XML, JSON, merge patch).
        hash.update(self.media_type());
        hash.update([0]);
        let body = self.body.as_ref().cloned().unwrap_or_default();
        // Whoever sends the same parts again draws another boundary to put between them.
        match upload::digest(self, body.clone()).await {
            Some(parts) => hash.update(parts),
            None => hash.update(&body),
        }
        Ok(Some(Idempotency { key: key.to_owned(), request_hash: hex::encode(hash.finalize()) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_parameters_are_decoded_once() {
        for (segment, value) in
            [("11", "11"), ("%2011", " 11"), ("%252011", "%2011"), ("%ff", "\u{fffd}")]
        {
            let found = parameters("/a/{one}/b/{two}", &format!("/a/7/b/{segment}"));
            let expected = [("one", "7"), ("two", value)];
            assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }
}
