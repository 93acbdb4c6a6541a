//! What requests of this dialect have in common: ids in paths, pages, days, bodies.

use serde_json::{Map, Number, Value};

use super::date;
use super::error::{Detail, bad_request, refusal};
use crate::config::UnknownFields;
use crate::dialect::{Call, Refusal, json};
use crate::domain::certificate::achievement::is_level;
use crate::domain::error::{Error, FieldErrors};
use crate::domain::patch::Patch;
use crate::domain::time::Instant;

/// Items of a page where the caller does not say.
const PAGE_SIZE: i64 = 15;
/// The largest page; a larger one that is asked for is as long as this.
const PAGE_SIZE_MAX: i64 = 100_000;
/// Members of a body that are found at fault before the rest is left unread.
const DETAILS_MAX: usize = 100;

/// Which page of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    size: i64,
    /// Rows to pass over.
    pub offset: i64,
}

impl Page {
    /// The page that the query names.
    pub fn of(call: &Call) -> Result<Self, Refusal> {
        let page = whole(call, "page", 1, "Page")?;
        let size = whole(call, "pageSize", PAGE_SIZE, "PageSize")?.min(PAGE_SIZE_MAX);
        Ok(Self { size, offset: (page - 1).saturating_mul(size) })
    }

    /// Rows at the most.
    pub const fn limit(self) -> i64 {
        self.size
    }

    /// How many pages of this size so many rows fill.
    pub fn pages(self, total: i64) -> i64 {
        total / self.size + i64::from(total % self.size != 0)
    }
}

fn whole(call: &Call, name: &'static str, default: i64, label: &str) -> Result<i64, Refusal> {
    let Some(text) = call.query_parameter(name)? else {
        return Ok(default);
    };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number beyond 64 bits is a page far past the end.
    let value = if is_number { text.parse().unwrap_or(i64::MAX) } else { 0 };
    if value < 1 {
        let message = format!("{label} must not be less than 1, {label} must be a positive number");
        return Err(refusal(400, "BadRequest", &message).into());
    }
    Ok(value)
}

/// A date of the query.
pub fn day(call: &Call, name: &'static str) -> Result<Option<date::Given>, Refusal> {
    match call.query_parameter(name)? {
        None => Ok(None),
        Some(text) => date::parse(&text)
            .map(Some)
            .ok_or_else(|| at_fault(call, name, "must be an ISO 8601 date")),
    }
}

/// The id in the path; none when nothing can have it.
///
/// # Errors
/// 400 when it is no decimal number.
pub fn path_id(call: &Call, name: &str) -> Result<Option<i64>, Refusal> {
    let text = call.parameter(name);
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(at_fault(call, name, "must be a whole number"));
    }
    Ok(text.parse().ok().filter(|id| *id > 0))
}

/// The members of a JSON body; none of them when there is no body.
///
/// # Errors
/// 400 for a body that is too long, broke off or is no JSON object.
pub fn members(call: &Call) -> Result<Map<String, Value>, Refusal> {
    let body = call.body()?;
    if body.is_empty() {
        return Ok(Map::new());
    }
    let media_type = call.media_type();
    if !media_type.is_empty() && media_type != "application/json" {
        return Err(at_fault(call, "Content-Type", "must be application/json"));
    }
    json::parse_object(body).ok_or_else(|| at_fault(call, "body", "must be a JSON object"))
}

/// Of two refusals the one that is due: what is wrong with the body comes before that what it is about is
/// not there. The decision judges a body when it has found that.
pub fn body_first(error: Error, broken: impl FnOnce() -> Result<FieldErrors, Refusal>) -> Refusal {
    if !matches!(error, Error::NotFound(_)) {
        return error.into();
    }
    match broken() {
        Ok(errors) if errors.is_empty() => error.into(),
        Ok(errors) => Error::Invalid(errors).into(),
        Err(refusal) => refusal,
    }
}

/// Refuses a call for one thing.
pub fn at_fault(call: &Call, field: &str, reason: &str) -> Refusal {
    bad_request(call, &[Detail::new(field, reason)]).into()
}

/// Finds what is wrong with a body, all of it together.
#[derive(Debug)]
pub struct BodyFaults {
    details: Vec<Detail>,
    refuses_unknown: bool,
}

impl BodyFaults {
    /// Nothing found yet.
    pub fn new(call: &Call) -> Self {
        let refuses_unknown =
            matches!(call.app.config.kolleges.unknown_fields, UnknownFields::Refuse);
        Self { details: Vec::new(), refuses_unknown }
    }

    /// Goes on with `value` when nothing was found.
    ///
    /// # Errors
    /// 400 with all that was found.
    pub fn refuse_or<T>(&self, call: &Call, value: T) -> Result<T, Refusal> {
        if self.details.is_empty() {
            Ok(value)
        } else {
            Err(bad_request(call, &self.details).into())
        }
    }

    /// True when the rest is left unread.
    pub const fn is_full(&self) -> bool {
        self.details.len() >= DETAILS_MAX
    }

    /// Notes a fault.
    pub fn refuse(&mut self, field: impl Into<String>, reason: &str) {
        if !self.is_full() {
            self.details.push(Detail::new(field, reason));
        }
    }

    /// Notes a member that the request does not have.
    pub fn unknown(&mut self, field: impl Into<String>) {
        if self.refuses_unknown {
            self.refuse(field, "is not a field of this request");
        }
    }

    /// Notes a member that has to be there.
    pub fn missing(&mut self, field: impl Into<String>) {
        self.refuse(field, "is required");
    }

    /// A string.
    pub fn text(&mut self, field: &str, value: Value) -> Option<String> {
        if let Value::String(text) = value {
            return Some(text);
        }
        self.refuse(field, "must be a string");
        None
    }

    /// A whole number.
    pub fn integer(&mut self, field: &str, value: &Value) -> Option<i64> {
        let number = json::whole(value);
        if number.is_none() {
            self.refuse(field, "must be an integer");
        }
        number
    }

    /// A number that a certificate can have as its level.
    pub fn level(&mut self, field: &str, value: Value) -> Option<Number> {
        let Value::Number(level) = value else {
            self.refuse(field, "must be a number");
            return None;
        };
        if !is_level(&level) {
            self.refuse(field, "is beyond 64 bits");
        }
        Some(level)
    }

    /// An array.
    pub fn array(&mut self, field: &str, value: Value) -> Option<Vec<Value>> {
        if let Value::Array(items) = value {
            return Some(items);
        }
        self.refuse(field, "must be an array");
        None
    }

    /// An object.
    pub fn object(&mut self, field: &str, value: Value) -> Option<Map<String, Value>> {
        if let Value::Object(members) = value {
            return Some(members);
        }
        self.refuse(field, "must be an object");
        None
    }

    /// A text with a column of its own, which no database keeps with NUL in it, and which says something.
    pub fn name(&mut self, field: &str, value: Value) -> Option<String> {
        let text = self.text(field, value)?;
        if text.trim().is_empty() {
            self.refuse(field, "must not be blank");
        } else if text.contains('\0') {
            self.refuse(field, "must not contain NUL");
        }
        Some(text)
    }

    /// A date; null clears where the page says so.
    pub fn instant(&mut self, field: &str, value: &Value, is_nullable: bool) -> Patch<Instant> {
        match value {
            Value::Null if is_nullable => return Patch::Null,
            Value::String(text) => {
                if let Some(given) = date::parse(text) {
                    return Patch::Value(given.start());
                }
            }
            _ => {}
        }
        let more = if is_nullable { " or null" } else { "" };
        self.refuse(field, &format!("must be an ISO 8601 date{more}"));
        Patch::Absent
    }
}

/// What was found, as an edit has it: what is at fault is noted already.
pub fn patch<T>(found: Option<T>) -> Patch<T> {
    found.map_or(Patch::Absent, Patch::Value)
}
