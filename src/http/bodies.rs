//! Bodies, read whole before anybody sees them: bounded in length, in time, and in the memory that they
//! take together.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::heads;
use crate::app::App;
use crate::budget::Held;
use crate::dialect::{Arrival, BODY_MAX, Call, Malformed, Refusal, Wire};
use crate::domain::error::Error;
use crate::memory::STRANGERS_BODY;
use crate::payer::Payer;
use crate::sabotage::Protection;

/// How much of a body over the limit is read and thrown away, bytes.
const DISCARD_MAX: usize = 16 * BODY_MAX;
/// How long that may take.
const DISCARD_WITHIN: Duration = Duration::from_secs(5);
/// How fast a body has to come, bytes a second: what each byte adds to the client's time.
const RATE: f64 = 16.0 * 1024.0;
/// How often the time that a client has may be saved up.
const SAVED_MAX: u32 = 4;
/// By how much a body's memory grows, bytes.
const STEP: usize = 64 * 1024;

/// A body on its way, and who pays for the memory that it takes.
pub struct Reading<'a> {
    app: &'a App,
    wire: &'a Wire,
    parts: &'a Parts,
    arrival: &'a Arrival,
    max: usize,
    is_asked: bool,
    held: Held,
}

impl<'a> Reading<'a> {
    /// Nothing of it is read yet.
    pub fn new(app: &'a App, wire: &'a Wire, parts: &'a Parts, arrival: &'a Arrival) -> Self {
        let max = match () {
            () if !Protection::BodyLimit.is_on() => usize::MAX,
            () if !Protection::ByteBudgets.is_on() => BODY_MAX,
            () => STRANGERS_BODY,
        };
        let held = app.memory.strangers.hold(Payer::stranger(arrival.peer));
        Self { app, wire, parts, arrival, max, is_asked: false, held }
    }

    /// Reads all of it. A client has `within` to send it, and more for each byte that comes. What it
    /// takes is held until the second value is dropped.
    pub async fn whole(
        mut self,
        mut body: Incoming,
        within: Duration,
    ) -> (Result<Bytes, Malformed>, Held) {
        if hyper::body::Body::is_end_stream(&body) {
            return (Ok(Bytes::new()), self.held);
        }
        let declared = hyper::body::Body::size_hint(&body).exact();
        let declared = declared.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let permitted = match declared {
            _ if heads::is_encoded(&self.parts.headers) => Err(Malformed::Encoded),
            Some(length) => self.permit(length).await,
            None => Ok(()),
        };
        // A client that waits to be told to go on is told not to.
        let is_asking = permitted.is_err() && self.parts.headers.contains_key("expect");
        let read = match permitted {
            Ok(()) => self.collect(&mut body, declared, within).await,
            Err(fault) => Err(fault),
        };
        let is_unread =
            matches!(read, Err(Malformed::TooLarge | Malformed::Busy | Malformed::Encoded));
        if is_unread && !is_asking {
            discard(body, within);
        }
        (read, self.held)
    }

    async fn collect(
        &mut self,
        body: &mut Incoming,
        declared: Option<usize>,
        within: Duration,
    ) -> Result<Bytes, Malformed> {
        // Most bodies come in one piece. Of longer ones there is never more than one copy.
        let (mut piece, mut whole) = (None::<Bytes>, Vec::new());
        let (mut length, mut left) = (0, within);
        loop {
            let since = Instant::now();
            let frame = tokio::time::timeout(left, body.frame()).await;
            let Some(frame) = frame.map_err(|_| Malformed::Incomplete)? else { break };
            let Ok(part) = frame.map_err(|_| Malformed::Incomplete)?.into_data() else { continue };
            #[expect(clippy::cast_precision_loss, reason = "a piece of a body is no such number")]
            let earned = Duration::from_secs_f64(part.len() as f64 / RATE);
            left = (left.saturating_sub(since.elapsed()) + earned).min(within * SAVED_MAX);
            length += part.len();
            self.pay(length).await?;
            if length == part.len() {
                piece = Some(part);
                continue;
            }
            if let Some(first) = piece.take() {
                whole.reserve_exact(declared.unwrap_or_default().max(length));
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&part);
        }
        Ok(piece.unwrap_or_else(|| whole.into()))
    }

    /// Whether so many bytes may come. Who calls is asked for where a stranger may not send them.
    async fn permit(&mut self, length: usize) -> Result<(), Malformed> {
        if length > self.max {
            self.ask().await?;
        }
        if length > self.max { Err(Malformed::TooLarge) } else { Ok(()) }
    }

    /// Has memory for so many bytes, of the stranger's part or else of the account's.
    async fn pay(&mut self, length: usize) -> Result<(), Malformed> {
        self.permit(length).await?;
        let taken = if length > STEP { length.next_multiple_of(STEP) } else { length };
        if self.held.grow(taken) {
            return Ok(());
        }
        self.ask().await?;
        self.held.wait(taken).await.map_err(|_| Malformed::Busy)
    }

    /// Finds out which account calls, unless that was asked before: one that is known pays for itself.
    async fn ask(&mut self) -> Result<(), Malformed> {
        if std::mem::replace(&mut self.is_asked, true) {
            return Ok(());
        }
        let call = Call::new(self.app, self.parts.clone(), self.arrival.clone(), Ok(Bytes::new()));
        match (self.wire.caller)(&call).await {
            Ok(account_id) => {
                self.held = self.app.memory.bodies.hold(Payer::Account(account_id));
                if Protection::BodyLimit.is_on() {
                    self.max = self.wire.body_max(self.parts.uri.path());
                }
                Ok(())
            }
            Err(Refusal::Error(Error::Unavailable { .. } | Error::Internal(_))) => {
                Err(Malformed::Busy)
            }
            Err(_) => Ok(()),
        }
    }
}

/// Reads on for a while without keeping anything: a connection that is closed while its client still
/// sends takes the answer with it.
fn discard(mut body: Incoming, within: Duration) {
    tokio::spawn(tokio::time::timeout(within.min(DISCARD_WITHIN), async move {
        let mut left = DISCARD_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else {
                break;
            };
            left = less;
        }
    }));
}
