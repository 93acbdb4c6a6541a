//! The pages of lists: `limit` and `cursor`.

use crate::dialect::Call;
use crate::domain::error::Error;
use crate::domain::record::parse_id;

const LIMIT: i64 = 50;
const LIMIT_MAX: i64 = 100;

/// How many items a page has at the most.
pub fn limit(call: &Call) -> Result<i64, Error> {
    match call.query_parameter("limit") {
        None => Ok(LIMIT),
        Some(text) => parse_id(&text)
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| Error::invalid("limit", "out_of_range", "must be 1 to 100")),
    }
}

/// Where the page begins.
pub fn cursor(call: &Call) -> Result<Option<i64>, Error> {
    let given = call.query_parameter("cursor");
    given.map(|text| parse_id(&text).ok_or_else(invalid_cursor)).transpose()
}

/// Cuts what was found to a page; where the next one begins, if anything was left over.
pub fn cut<T>(found: &mut Vec<T>, limit: i64, id: impl Fn(&T) -> i64) -> Option<String> {
    let length = usize::try_from(limit).unwrap_or_default();
    let has_more = found.len() > length;
    found.truncate(length);
    found.last().filter(|_| has_more).map(|last| id(last).to_string())
}

/// Refuses a cursor.
pub fn invalid_cursor() -> Error {
    Error::invalid("cursor", "invalid", "not a cursor of this list")
}
