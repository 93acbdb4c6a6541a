//! Enrollments: `POST` and `GET` of one.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::auth::authenticate;
use super::body;
use super::date::{self, DateOnly};
use super::error::{malformed, unread};
use super::format::Format;
use super::tree::{Tree, misspelt, wrong};
use crate::dialect::{Answer, Call, Malformed, Refusal};
use crate::domain::access::{self, Right};
use crate::domain::actor::Actor;
use crate::domain::command::{self, Edit};
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::learning::course::Course;
use crate::domain::learning::enrollment::{DueDateType, Enrollment, EnrollmentEdit};
use crate::domain::patch::Patch;
use crate::domain::people::account::Account;
use crate::domain::people::person::Person;
use crate::domain::record::{Key, Meta, Record as _, Stored};
use crate::domain::tag::{self, View, shown_as, tagged};
use crate::domain::time::Instant;

const FIELDS: &[&str] = &["accessDate", "dueDateType", "dueDate", "duePeriod", "lockAfterDueDate"];
const UUID_LENGTH: usize = 36;
const BESIDE: tag::Beside = |one, view| beside(&one.typed()?, view).map(drop);

/// `POST /enrollment/{enrollment_id}`, "Editing an enrollment": replaces the whole schedule.
pub async fn edit(call: &Call) -> Result<Answer, Refusal> {
    // The vendor has a route of this name; it is not an enrollment's id.
    if call.parameter("enrollment_id") == "delete" {
        return Err(malformed(Malformed::UnknownPath, call.path(), &call.headers).into());
    }
    let actor = authenticate(call).await?;
    let key = key(call, &actor, Right::Edit)?;
    // Who may not edit this one learns that before anything of the body is judged.
    let zone = call
        .read(|facts| {
            let enrollment = facts.get::<Enrollment>(actor.account_id, key.clone())?;
            let place = enrollment.record.place(&enrollment.meta, facts)?;
            command::permit(&actor, Right::Edit, Kind::Enrollment, &place)?;
            time_zone(actor.account_id, facts)
        })
        .await?;
    let body = body::decode(&call.headers, call.body()?).map_err(|fault| unread(call, fault))?;
    let edit = decode(&body, call.at, &zone)?;
    let command = Edit::<Enrollment> { key, edit, expected: call.expected().with(BESIDE) };
    Ok(call.submit(actor, command, |_, _| Ok(Answer::empty(200))).await?)
}

/// `GET /enrollment/{enrollment_id}`.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let key = key(call, &actor, Right::Read)?;
    let read = call.read(|facts| {
        let enrollment = command::read::<Enrollment>(&actor, key.clone(), facts)?;
        tagged(&enrollment.meta, facts, |view| encode(&enrollment, view))
    });
    let (tag, body) = read.await?;
    let format = Format::of(call);
    let tag = if format == Format::Json { shown_as(&tag, "json") } else { tag };
    Ok(format.answer(200, &["enrollment"], &body).etag(tag).header("vary", "Accept"))
}

/// The id in the path, for a caller who has `right` somewhere. A malformed id is an unknown one.
fn key(call: &Call, actor: &Actor, right: Right) -> Result<Key, Error> {
    if !access::has_anywhere(actor, right, Kind::Enrollment) {
        return Err(Error::Denied(Some((right, Kind::Enrollment))));
    }
    let id = call.parameter("enrollment_id");
    // Without the length, UUIDs in braces or without hyphens would pass too.
    match uuid::Uuid::try_parse(id) {
        Ok(id_read) if id.len() == UUID_LENGTH => Ok(Key::Text(id_read.to_string())),
        _ => Err(Error::NotFound(Kind::Enrollment)),
    }
}

fn time_zone(account_id: i64, facts: &Facts) -> Known<TimeZone> {
    Ok(facts.get::<Account>(account_id, account_id)?.record.time_zone())
}

/// Reads a schedule. Fields that its type of due date does not use are not looked at: the documented
/// samples send leftovers in them.
fn decode(body: &Tree, now: Timestamp, zone: &TimeZone) -> Result<EnrollmentEdit, Error> {
    body.refuse_repeated(FIELDS)?;
    let access_date = match body.text("accessDate")? {
        Some(text) => date::parse(text, DateOnly::Begins, zone),
        None => Instant::from_microsecond(now.as_second() * 1_000_000),
    };
    let due_date_type = read(body, "dueDateType", DueDateType::parse)?;
    let mut edit = EnrollmentEdit {
        access_date: Patch::Value(access_date.ok_or_else(|| wrong("accessDate"))?),
        due_date_type: Patch::Value(due_date_type),
        due_date: Patch::Null,
        due_period_h: Patch::Null,
        lock_after_due_date: Patch::Null,
    };
    match due_date_type {
        DueDateType::Unlimited | DueDateType::Default => return Ok(edit),
        DueDateType::DueDate => {
            let date = |text: &str| date::parse(text, DateOnly::Ends, zone);
            edit.due_date = Patch::Value(read(body, "dueDate", date)?);
        }
        DueDateType::DuePeriod => {
            let period = read(body, "duePeriod", whole_number);
            let words = "must be a whole number, without a fraction";
            edit.due_period_h = Patch::Value(nearly(body, "duePeriod", is_decimal, words, period)?);
        }
    }
    let is_near = |text: &str| boolean(&text.to_ascii_lowercase()).is_some();
    let words = "must be true, false, 1 or 0, in lower case";
    let lock = read(body, "lockAfterDueDate", boolean);
    edit.lock_after_due_date =
        Patch::Value(nearly(body, "lockAfterDueDate", is_near, words, lock)?);
    Ok(edit)
}

/// A field that has to be there.
fn read<T>(
    body: &Tree,
    name: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Error> {
    body.text(name)?.and_then(parse).ok_or_else(|| wrong(name))
}

/// What was read, or for a value that `is_near` to being one the words that say so: Python writes `True` and
/// `24.0`, which its author sees nothing wrong with.
fn nearly<T>(
    body: &Tree,
    name: &'static str,
    is_near: impl FnOnce(&str) -> bool,
    words: &str,
    read: Result<T, Error>,
) -> Result<T, Error> {
    read.or_else(|error| match body.text(name)? {
        Some(text) if is_near(text) => Err(misspelt(name, words)),
        _ => Err(error),
    })
}

/// Digits of a number at the most, zeros in front included.
const DIGITS_MAX: usize = 20;

fn whole_number(text: &str) -> Option<i64> {
    let is_number = text.len() <= DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn is_decimal(text: &str) -> bool {
    text.split_once('.').is_some_and(|(whole, fraction)| {
        whole_number(whole).is_some() && fraction.bytes().all(|byte| byte == b'0')
    })
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// What is shown beside an enrollment. (The account's time zone counts for no tag: it stays as it is.)
type Beside = (Option<Stored<Course>>, Option<Stored<Person>>);

fn beside(enrollment: &Stored<Enrollment>, view: &mut View<'_>) -> Known<Beside> {
    let Stored { meta: Meta { account_id, .. }, record } = enrollment;
    let (course, person) = (Key::Int(record.course_id), Key::Int(record.person_id));
    view.facts.want([(Kind::Course, course.clone()), (Kind::Person, person.clone())])?;
    Ok((view.find(*account_id, course)?, view.find(*account_id, person)?))
}

fn encode(enrollment: &Stored<Enrollment>, view: &mut View<'_>) -> Known<Value> {
    let Stored { meta, record } = enrollment;
    let zone = time_zone(meta.account_id, view.facts)?;
    let (course, person) = beside(enrollment, view)?;
    let course = course.map(|course| course.record);
    let due = record.due(course.as_deref());
    let is_locked_after = due.is_some_and(|due| due.is_locked_after);

    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    let day = |at: Instant| Value::String(date::format(at, &zone));
    put("enrollmentId", Some(meta.key.to_string().into()));
    put("courseId", course.and_then(|course| course.content_item_id.clone()).map(Value::String));
    put("learnerId", person.and_then(|person| person.record.learner_id.clone()).map(Value::String));
    put("accessDate", Some(day(record.access_date)));
    put("dueDate", due.map(|due| day(due.at)));
    put("expirationDate", due.filter(|due| due.is_locked_after).map(|due| day(due.at)));
    put("enrollmentTypeGroup", Some(i32::from(record.is_from_catalog).into()));
    put("shouldLockAfterDueDate", Some(is_locked_after.into()));
    put(
        "certificate",
        record.certificate.as_ref().map(|certificate| {
            let at = |at: Instant| Value::String(date::format_instant(at, &zone));
            let fields = [
                ("issuedCertificateId", Some(Value::String(certificate.id.clone()))),
                ("issueDate", Some(at(certificate.issued_at))),
                ("expiryDate", certificate.expires_at.map(at)),
            ];
            let sent = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
            sent.map(|(name, value)| (name.to_owned(), value)).collect()
        }),
    );
    Ok(Value::Object(body))
}
