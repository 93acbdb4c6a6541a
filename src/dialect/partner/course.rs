//! Courses: list, create, and `GET`, `PATCH`, `DELETE` of one.

use serde_json::{Value, json};

use super::auth::admit;
use super::error::{NUL, detail};
use super::instant::{self, date};
use super::request::{body, null_clears, query};
use super::validate::{Faults, Fields, choice, text};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::command::{self, Create, Edit};
use crate::domain::learning::course::{
    Course, CourseEdit, CourseStatus, DeleteCourse, search_form,
};
use crate::domain::record::{Key, Record as _, Stored};
use crate::store::CourseQuery;

/// Rows of a page, unless the caller says otherwise.
const LIMIT: i64 = 50;
const STATUSES: &[(&str, CourseStatus)] = &[
    ("draft", CourseStatus::Draft),
    ("active", CourseStatus::Active),
    ("archived", CourseStatus::Archived),
];

/// `GET /partner/{partner_id}/course`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let number = |faults: &mut Faults, name: &str, default, least, most| match query(call, name) {
        Some(text) => faults.query(name, &text, least, most),
        None => Some(default),
    };
    let limit = number(&mut faults, "limit", LIMIT, 1, Some(100));
    let offset = number(&mut faults, "offset", 0, 0, None);
    let (actor, (limit, offset)) = faults.refuse_or(actor.zip(limit.zip(offset)))?;
    let filter = |name| match query(call, name).filter(|text| !text.is_empty()) {
        Some(text) if text.contains('\0') => Err(detail(400, NUL)),
        text => Ok(text),
    };
    let search = filter("search")?.map(|text| search_form(&text));
    let wanted = CourseQuery { status: filter("status")?, search, offset, limit };
    let (ids, total) = call.app.store.courses(actor.account_id, &wanted).await?;
    let items = call
        .read(|facts| {
            let mut items = Vec::with_capacity(ids.len());
            for id in &ids {
                // One that went between the two reads is not shown.
                if let Some(course) = facts.find::<Course>(actor.account_id, *id)? {
                    items.push(encode(&course));
                }
            }
            Ok(items)
        })
        .await?;
    let page = (offset / limit).saturating_add(1);
    Ok(Answer::json(200, &json!({"items": items, "total": total, "page": page, "size": limit})))
}

/// `POST /partner/{partner_id}/course`.
pub async fn create(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let course = Fields::of(&body, false, &mut faults).and_then(decode_new);
    let (actor, course) = faults.refuse_or(actor.zip(course))?;
    let answered = call.submit(actor, Create::new(course), |outcome, _| {
        Ok(Answer::json(201, &encode(&outcome.subject.typed()?)))
    });
    Ok(answered.await?)
}

/// `GET /partner/{partner_id}/course/{course_id}`.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let id = faults.path("course_id", call.parameter("course_id"), Some(1));
    let (actor, id) = faults.refuse_or(actor.zip(id))?;
    let course = call.read(|facts| command::read::<Course>(&actor, id, facts)).await?;
    Ok(Answer::json(200, &encode(&course)).etag(course.meta.version))
}

/// `PATCH /partner/{partner_id}/course/{course_id}`.
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let id = faults.path("course_id", call.parameter("course_id"), Some(1));
    let edit = Fields::of(&body, null_clears(call), &mut faults).map(decode);
    let (actor, (id, edit)) = faults.refuse_or(actor.zip(id.zip(edit)))?;
    let command = Edit::<Course> { key: Key::Int(id), edit, expected: call.expected() };
    let answered = call.submit(actor, command, |outcome, _| {
        Ok(Answer::json(200, &encode(&outcome.subject.typed()?)))
    });
    Ok(answered.await?)
}

/// `DELETE /partner/{partner_id}/course/{course_id}`.
pub async fn delete(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let id = faults.path("course_id", call.parameter("course_id"), Some(1));
    let (actor, id) = faults.refuse_or(actor.zip(id))?;
    // There is nothing to say in it; but one that is too long is no request.
    call.body()?;
    let command = DeleteCourse { id, expected: call.expected() };
    Ok(call.submit(actor, command, |_, _| Ok(Answer::empty(204))).await?)
}

fn decode(mut fields: Fields<'_>) -> CourseEdit {
    CourseEdit {
        title: fields.field("title", text),
        course_key: fields.field("course_key", text),
        status: fields.field("status", |value| choice(value, STATUSES)),
        start_date: fields.field("start_date", date),
        end_date: fields.field("end_date", date),
        description: fields.field("description", text),
    }
}

fn decode_new(mut fields: Fields<'_>) -> Option<Course> {
    let title = fields.required("title", text);
    let course_key = fields.required("course_key", text);
    let edit = CourseEdit {
        status: fields.field("status", |value| choice(value, STATUSES)),
        start_date: fields.field("start_date", date),
        end_date: fields.field("end_date", date),
        description: fields.field("description", text),
        ..CourseEdit::default()
    };
    let mut course = Course { title: title?, course_key: Some(course_key?), ..Course::default() };
    course.apply(&edit);
    Some(course)
}

/// A course, its keys in the vendor's order.
fn encode(course: &Stored<Course>) -> Value {
    let Stored { meta, record } = course;
    json!({
        "title": record.title,
        "course_key": record.course_key,
        "status": record.status,
        "start_date": record.start_date,
        "end_date": record.end_date,
        "description": record.description,
        "id": course.id(),
        "created_at": instant::format(meta.created_at.into()),
        "updated_at": instant::format(meta.updated_at.into()),
    })
}
