//! Courses: list, create, and `GET`, `PATCH`, `DELETE` of one.

use serde_json::{Value, json};

use super::auth::{admit, public_account};
use super::instant::{self, date};
use super::request::{Slice, body, filter, named, null_clears, page, remove, slice, submit};
use super::validate::{BodyFields, RequestFaults, choice, text};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::command::{self, Create, Delete, Edit};
use crate::domain::learning::course::{Course, CourseEdit, search_form};
use crate::domain::list::List;
use crate::domain::record::{Key, Record as _, Stored};

/// `GET /partner/{partner_id}/course`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let slice = slice(call, &mut faults, 50, 100);
    let (actor, slice) = faults.refuse_or(actor.zip(slice))?;
    list_of(call, actor.account_id, slice).await
}

async fn list_of(call: &Call, account_id: i64, slice: Slice) -> Result<Answer, Refusal> {
    let search = filter(call, "search")?.map(|text| search_form(&text));
    let list = List::of::<Course>(account_id)
        .set("course_key")
        .is_given("status", filter(call, "status")?)
        .found("search_key", search)
        .newest();
    page(call, account_id, list, slice, encode).await
}

/// `GET /course`: what anybody may see of the courses.
pub async fn list_public(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = RequestFaults::default();
    let slice = slice(call, &mut faults, 50, 100);
    let slice = faults.refuse_or(slice)?;
    list_of(call, public_account(call).await?, slice).await
}

/// `POST /partner/{partner_id}/course`.
pub async fn create(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let edit = BodyFields::of(&body, false, &mut faults)
        .map(|new| decode(new.of_new(&["title", "course_key"])));
    let (actor, edit) = faults.refuse_or(actor.zip(edit))?;
    let mut course = Course::default();
    course.apply(&edit);
    submit(call, actor, Create::new(course), 201, encode).await
}

/// `GET /partner/{partner_id}/course/{course_id}`.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let (actor, id, ()) = named(call, "course_id", |_| Some(())).await?;
    let course = call.read(|facts| command::read::<Course>(&actor, id, facts)).await?;
    Ok(Answer::json(200, &encode(&course)).etag(course.meta.version))
}

/// `PATCH /partner/{partner_id}/course/{course_id}`.
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let (actor, id, edit) = named(call, "course_id", |faults| {
        BodyFields::of(&body, null_clears(call), faults).map(decode)
    })
    .await?;
    let command = Edit::<Course> { key: Key::Int(id), edit, expected: call.expected() };
    submit(call, actor, command, 200, encode).await
}

/// `DELETE /partner/{partner_id}/course/{course_id}`.
pub async fn delete(call: &Call) -> Result<Answer, Refusal> {
    remove(call, "course_id", |id| Delete::<Course>::new(id, call.expected())).await
}

fn decode(mut fields: BodyFields<'_>) -> CourseEdit {
    CourseEdit {
        title: fields.field("title", text),
        course_key: fields.field("course_key", text),
        status: fields.field("status", choice),
        start_date: fields.field("start_date", date),
        end_date: fields.field("end_date", date),
        description: fields.field("description", text),
    }
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
