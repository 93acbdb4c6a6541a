//! The wire languages. A dialect only translates: it authenticates in its vendor's way, decodes
//! into commands, and words outcomes and refusals. It may refuse what its vendor's page does not take;
//! what holds for a record whoever edits it is a rule of the domain.

mod answer;
mod call;
pub mod ispring;
mod json;
pub mod kolleges;
pub mod native;
pub mod ncloud;
pub mod partner;
mod password;
pub mod solapi;
mod upload;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use http::{HeaderMap, Method};
use jiff::Timestamp;

use crate::app::App;

pub use crate::domain::actor::Dialect;
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known};
use crate::domain::people::credential::Credential;
use crate::domain::record::Stored;
pub use crate::pipeline::Answer;
pub use call::{Arrival, BODY_MAX, Call};

/// One served route.
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, parameters in braces.
    pub path: &'static str,
    /// What serves it.
    pub handler: Handler,
}

/// Serves a call.
pub type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

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
    /// The server failed while serving it.
    Failed,
}

/// A path whose bodies may be longer than [`BODY_MAX`].
pub struct LongBody {
    /// The path.
    pub path: &'static str,
    /// Bytes at the most.
    pub max: usize,
}

/// A dialect as the server sees it.
pub struct Wire {
    /// Which one.
    pub dialect: Dialect,
    /// Its routes.
    pub routes: &'static [Route],
    /// The beginnings of the paths that are its own, served or not.
    pub prefixes: &'static [&'static str],
    /// Verbs that no page has, on paths that another route's parameter would take: what that route says
    /// of them. No document lists them.
    pub strays: &'static [Route],
    /// Its paths that take longer bodies than others.
    pub long_bodies: &'static [LongBody],
    /// Words a refusal.
    pub reject: fn(&Error) -> Answer,
    /// Words a fault of the request itself, whose headers say how the caller wants to be answered.
    pub malformed: fn(Malformed, &HeaderMap) -> Answer,
    /// What serves its routes' paths with one slash too many, where that is not simply unknown.
    pub trailing_slash: Option<Handler>,
    /// Its OpenAPI document, JSON.
    pub openapi: &'static str,
}

/// Every dialect. The last one answers for paths that are nobody's.
pub const WIRES: &[Wire] =
    &[kolleges::WIRE, partner::WIRE, ncloud::WIRE, solapi::WIRE, ispring::WIRE, native::WIRE];

/// Parts of dialects that word faults of the request otherwise than the rest.
const ENDPOINTS: &[Wire] = &[ispring::TOKEN];

impl Wire {
    /// The dialect that answers for a path.
    pub fn of(path: &str) -> &'static Self {
        let owns = |wire: &&Self| {
            wire.prefixes.iter().any(|prefix| {
                path.strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        ENDPOINTS.iter().chain(WIRES).find(owns).unwrap_or(&native::WIRE)
    }
}

/// Lists routes: refusals of their handlers are worded by `$reject`, or by the one in brackets behind
/// the handler.
macro_rules! routes {
    (@word $reject:path) => { $reject };
    (@word $reject:path, $own:path) => { $own };
    ($reject:path; $($method:ident $path:literal => $handler:path $([$own:path])?),+ $(,)?) => {
        &[$($crate::dialect::Route {
            method: ::http::Method::$method,
            path: $path,
            handler: |call| Box::pin(async move {
                match $handler(&call).await {
                    Ok(answer) => answer,
                    Err($crate::dialect::Refusal::Answer(answer)) => answer,
                    Err($crate::dialect::Refusal::Error(error)) => {
                        $crate::dialect::log_refusal(&call, &error);
                        routes!(@word $reject $(, $own)?)(&error)
                    }
                }
            }),
        }),+]
    };
}
use routes;

/// Logs what the caller is not told: the cause of a fault of ours.
fn log_refusal(call: &Call, error: &Error) {
    if let Error::Internal(cause) = error {
        tracing::error!(request_id = %call.request_id, error.cause = %cause, "internal error");
    }
}

/// The live credential of a dialect whose bearer key is `key`, where it may be used by this caller.
///
/// # Errors
/// [`crate::domain::facts::Stop::Missing`] until it is loaded.
pub fn credential_by_key(
    dialect: Dialect,
    key: &str,
    call: &Call,
    facts: &Facts,
) -> Known<Option<Stored<Credential>>> {
    credential_from(dialect, key, call.peer, call.at, facts)
}

fn credential_from(
    dialect: Dialect,
    key: &str,
    peer: IpAddr,
    at: Timestamp,
    facts: &Facts,
) -> Known<Option<Stored<Credential>>> {
    let hash = hex::encode(crate::vault::hash_token(key));
    let found = facts.select_in_all_accounts::<Credential>("secret_hash", hash.as_str())?;
    Ok(found.into_iter().find(|stored| {
        let credential = &stored.record;
        credential.dialect == dialect && credential.is_live(at) && credential.allows(peer)
    }))
}

impl Wire {
    /// How long a body on this path may be, bytes: longer than [`BODY_MAX`] only where the path takes
    /// such bodies and the caller has a key, so that strangers cannot fill the memory.
    pub async fn body_max(
        &self,
        app: &App,
        path: &str,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> usize {
        let Some(long) = self.long_bodies.iter().find(|long| long.path == path) else {
            return BODY_MAX;
        };
        let Some(key) = call::bearer(headers) else {
            return BODY_MAX;
        };
        let find =
            |facts: &mut Facts| credential_from(self.dialect, key, arrival.peer, arrival.at, facts);
        // When the database is away, the route says so.
        let known = app.store.read(find).await;
        if matches!(known, Ok(Some(_))) { long.max } else { BODY_MAX }
    }
}
