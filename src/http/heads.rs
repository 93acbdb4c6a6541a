//! Heads: how long they may be, and the names that requests go by.

use http::{HeaderMap, Uri};

use crate::app::OsEntropy;
use crate::domain::command::Entropy as _;
use crate::sabotage::Protection;

/// A head's length at the most, bytes.
const LENGTH_MAX: usize = 32 * 1024;
/// What is read of a head before it is given up without a word in its dialect's form, bytes: from a
/// longer one its path is not known yet.
pub const BUFFER_MAX: usize = LENGTH_MAX + 8 * 1024;
/// A request id's length at the most.
const REQUEST_ID_MAX: usize = 128;
/// What stands around a header's name and its value.
const AROUND: usize = ": \r\n".len();

/// Whether a head is longer than it may be. (More lines than 100 are not even read as a head.)
pub fn is_too_long(uri: &Uri, headers: &HeaderMap) -> bool {
    let length = |text: Option<&str>| text.map_or(0, str::len);
    let target = uri.path().len()
        + length(uri.query())
        + length(uri.authority().map(http::uri::Authority::as_str));
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + AROUND);
    target + lines.sum::<usize>() > LENGTH_MAX && Protection::ByteBudgets.is_on()
}

/// The caller's id for the request where it is a plain word, else a new one.
pub fn request_id(headers: &HeaderMap) -> String {
    headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=REQUEST_ID_MAX).contains(&id.len()))
        .filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)))
        .map_or_else(|| OsEntropy.uuid(), str::to_owned)
}
