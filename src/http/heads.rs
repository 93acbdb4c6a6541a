//! Heads: how long they may be, and the names that requests go by.

use http::{HeaderMap, Uri, Version};

use crate::app::OsEntropy;
use crate::dialect::Malformed;
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

/// Headers that come in one line: of several, the next program on the way may believe another.
const SOLE: [&str; 3] = ["Authorization", "Host", "Idempotency-Key"];

/// What is wrong with a head, whatever its dialect makes of it.
pub fn fault(uri: &Uri, version: Version, headers: &HeaderMap) -> Option<Malformed> {
    if is_too_long(uri, headers) {
        return Some(Malformed::HeadTooLarge);
    }
    // RFC 9112 section 3.2.
    if version == Version::HTTP_11 && !headers.contains_key("host") {
        return Some(Malformed::Header("Host"));
    }
    let is_repeated = |name: &&str| headers.get_all(*name).iter().nth(1).is_some();
    SOLE.into_iter().find(is_repeated).map(Malformed::Header)
}

/// Whether a body is compressed, or otherwise not what its type says (RFC 9110 section 8.4).
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let lines = headers.get_all("content-encoding").iter();
    let mut codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let is_none = |coding: &[u8]| {
        let coding = coding.trim_ascii();
        coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
    };
    !codings.all(is_none)
}

/// Whether a head is longer than it may be. (More lines than 100 are not even read as a head.)
fn is_too_long(uri: &Uri, headers: &HeaderMap) -> bool {
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
