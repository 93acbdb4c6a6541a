//! The pages of lists: `limit` and `cursor`.

use crate::dialect::Call;
use crate::domain::error::{Error, FieldErrors};
use crate::domain::list::List;
use crate::domain::record::parse_id;

const LIMIT: i64 = 50;
const LIMIT_MAX: i64 = 100;
/// Bytes of changes on a page at the most, unless a single one has more.
pub const BYTES_MAX: i64 = 1024 * 1024;

/// Which page of a list is asked for.
pub struct Page {
    limit: i64,
    cursor: Option<i64>,
}

impl Page {
    /// The one that the query names.
    pub fn of(call: &Call) -> Result<Self, Error> {
        Ok(Self { limit: limit(call)?, cursor: cursor(call)? })
    }

    /// Its ids in a list that is in their order, and where the next one begins, if anything is left
    /// over.
    pub async fn ids(&self, call: &Call, list: List) -> Result<(Vec<i64>, Option<String>), Error> {
        // One more tells whether there is another page.
        let mut ids =
            call.app.store.list(&list.beyond(self.cursor).page(self.limit + 1, 0)).await?;
        let length = usize::try_from(self.limit).unwrap_or_default();
        let has_more = ids.len() > length;
        ids.truncate(length);
        let next = ids.last().filter(|_| has_more).map(ToString::to_string);
        Ok((ids, next))
    }
}

/// A parameter of the query, if it is there; what is wrong with it is noted.
pub fn parameter(call: &Call, name: &'static str, errors: &mut FieldErrors) -> Option<String> {
    call.query_parameter(name).unwrap_or_else(|error| {
        if let Error::Invalid(found) = error {
            errors.extend(found);
        }
        None
    })
}

/// How many items a page has at the most.
pub fn limit(call: &Call) -> Result<i64, Error> {
    match call.query_parameter("limit")? {
        None => Ok(LIMIT),
        Some(text) => parse_id(&text)
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| Error::invalid("limit", "out_of_range", "must be 1 to 100")),
    }
}

/// Where the page begins.
pub fn cursor(call: &Call) -> Result<Option<i64>, Error> {
    let given = call.query_parameter("cursor")?;
    given.map(|text| parse_id(&text).ok_or_else(invalid_cursor)).transpose()
}

/// Refuses a cursor.
pub fn invalid_cursor() -> Error {
    Error::invalid("cursor", "invalid", "not a cursor of this list")
}
