//! The wire languages. A dialect only translates: it authenticates in its vendor's way, decodes
//! into commands, and words outcomes and refusals. It may refuse what its vendor's page does not take;
//! what holds for a record whoever edits it is a rule of the domain.

mod accept;
mod answer;
mod call;
mod credential;
mod file_name;
pub mod ispring;
mod json;
pub mod kolleges;
pub mod native;
pub mod ncloud;
pub mod partner;
mod password;
mod sheet;
pub mod solapi;
mod upload;

use std::future::Future;
use std::pin::Pin;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method};

use crate::budget::Held;
pub use crate::domain::actor::Dialect;
use crate::domain::error::Error;
pub use crate::pipeline::Answer;
pub use call::{Arrival, BODY_MAX, Call};

/// One served route.
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path below a root, parameters in braces.
    pub path: &'static str,
    /// What serves it.
    pub handler: Handler,
}

/// Serves a call.
pub type Handler =
    for<'a> fn(&'a Call) -> Pin<Box<dyn Future<Output = Result<Answer, Refusal>> + Send + 'a>>;

/// Why a call is not served: a refusal that the dialect words in its one place, or one that is
/// worded already.
#[derive(Debug)]
pub enum Refusal {
    /// To be worded by the dialect's [`Wire::reject`].
    Error(Error),
    /// Ready to send.
    Answer(Answer),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// What can be wrong with a request before any route sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// No route has this path.
    UnknownPath,
    /// The path's routes do not take this method.
    UnknownMethod,
    /// The body is over the limit.
    TooLarge,
    /// The body came too slowly or broke off.
    Incomplete,
    /// The head is over the limit.
    HeadTooLarge,
    /// This header is not there once, as it has to be.
    Header(&'static str),
    /// The body is compressed.
    Encoded,
    /// There is no room for it now. Nothing was done.
    Busy,
    /// The server failed while serving it.
    Failed,
}

/// What is said of a [`Malformed::Header`], after its name.
pub(crate) const ONCE: &str = "must be there once";

/// Finds out which account calls, by what proves it: not by the body, which is not read yet, and without
/// using anything up.
pub type FindCaller =
    for<'a> fn(&'a Call) -> Pin<Box<dyn Future<Output = Result<i64, Refusal>> + Send + 'a>>;

/// The longest body that any path takes, bytes.
pub const LONGEST_BODY: usize = upload::BODY_MAX;

/// A path whose bodies may be longer than [`BODY_MAX`].
pub struct LongBody {
    /// The path.
    pub path: &'static str,
    /// Bytes at the most.
    pub max: usize,
}

/// An answer that is too short to be counted, bytes: as much is around any.
const SMALL_ANSWER: usize = 4 * 1024;

/// A body, and what is taken for it.
struct Paid {
    body: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Paid {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// A dialect as the server sees it.
pub struct Wire {
    /// Which one.
    pub dialect: Dialect,
    /// The beginnings below which its routes are served, each of them all.
    pub roots: &'static [&'static str],
    /// Its routes.
    pub routes: &'static [Route],
    /// Its routes that have one path only, whatever its roots.
    pub unrooted: &'static [Route],
    /// The beginnings of the paths that are its own, served or not.
    pub prefixes: &'static [&'static str],
    /// Verbs that no page has, on paths that another route's parameter would take: what that route says
    /// of them. No document lists them.
    pub strays: &'static [Route],
    /// Its paths that take longer bodies than others.
    pub long_bodies: &'static [LongBody],
    /// Which account calls.
    pub caller: FindCaller,
    /// Words the refusal of a call. What its words depend on is in the call, or was noted there.
    pub reject: fn(&Call, &Error) -> Answer,
    /// Words a fault of the request itself, whose path and headers say how the caller wants to be
    /// answered.
    pub malformed: fn(Malformed, &str, &HeaderMap) -> Answer,
    /// What serves its routes' paths with one slash too many, where that is not simply unknown.
    pub trailing_slash: Option<Handler>,
    /// Its OpenAPI document, JSON; none where there is nothing that a program would call.
    pub openapi: Option<&'static str>,
}

/// Every dialect. The last one answers for paths that are nobody's.
pub const WIRES: &[Wire] =
    &[kolleges::WIRE, partner::WIRE, ncloud::WIRE, solapi::WIRE, ispring::WIRE, native::WIRE];

/// Lists routes.
macro_rules! routes {
    ($($method:ident $path:literal => $handler:path),+ $(,)?) => {
        &[$($crate::dialect::Route {
            method: ::http::Method::$method,
            path: $path,
            handler: |call| Box::pin($handler(call)),
        }),+]
    };
}
use routes;

impl Wire {
    /// The dialect that answers for a path.
    pub fn of(path: &str) -> &'static Self {
        let owns = |wire: &&Self| {
            wire.prefixes.iter().any(|prefix| {
                path.strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        WIRES.iter().find(owns).unwrap_or(&native::WIRE)
    }

    /// Its documented routes, each with its whole path.
    pub fn documented(&self) -> impl Iterator<Item = (String, &'static Route)> {
        let unrooted = self.unrooted.iter().map(|route| (route.path.to_owned(), route));
        self.below_roots(self.routes).chain(unrooted)
    }

    /// All that it serves, each route with its whole path.
    pub fn served(&self) -> impl Iterator<Item = (String, &'static Route)> {
        self.documented().chain(self.below_roots(self.strays))
    }

    fn below_roots(
        &self,
        routes: &'static [Route],
    ) -> impl Iterator<Item = (String, &'static Route)> {
        let below =
            move |root| routes.iter().map(move |route| (format!("{root}{}", route.path), route));
        self.roots.iter().flat_map(below)
    }

    /// Serves a call. The cause of a fault of ours is logged, since the caller is not told.
    pub async fn serve(&self, handler: Handler, call: Call) -> Response {
        let answer = self.answer(handler, &call).await;
        let mut answer = self.paid(&call, answer).await;
        let Some(rest) = call.take_rest().filter(|_| answer.status == 200) else {
            return answer.into_response();
        };
        let begin = stream::iter([Ok(std::mem::take(&mut answer.body))]);
        let mut response = answer.into_response();
        *response.body_mut() = Body::from_stream(begin.chain(rest));
        response
    }

    async fn answer(&self, handler: Handler, call: &Call) -> Answer {
        let served = handler(call).await;
        // Before anything else is told: a signature that was used before is no caller's.
        match call.use_up().await.map_err(Refusal::from).and(served) {
            Ok(answer) => call.unless_seen(answer),
            Err(Refusal::Answer(answer)) => answer,
            Err(Refusal::Error(error)) => {
                if let Error::Internal(cause) = &error {
                    tracing::error!(request_id = %call.request_id, error.cause = %cause, "internal error");
                }
                (self.reject)(call, &error)
            }
        }
    }

    /// The answer, whose memory is its payer's until it is sent. Waiting for memory is for those alone
    /// who asked for nothing to be done: what was done is told.
    async fn paid(&self, call: &Call, mut answer: Answer) -> Answer {
        let length = answer.body.len();
        // What is shared costs nothing more.
        if length <= SMALL_ANSWER || !answer.body.is_unique() {
            return answer;
        }
        let mut held = call.app.memory.answers.hold(call.payer());
        if !call.method.is_safe() && !call.is_dry_run().unwrap_or_default() {
            held.settle(length);
        } else if let Err(error) = held.wait(length).await {
            return (self.reject)(call, &error);
        }
        answer.body = Bytes::from_owner(Paid { body: answer.body, _held: held });
        answer
    }

    /// How long the body of a known caller may be on this path, bytes.
    pub fn body_max(&self, path: &str) -> usize {
        let long = self.long_bodies.iter().find(|long| long.path == path);
        long.map_or(BODY_MAX, |long| long.max)
    }
}
