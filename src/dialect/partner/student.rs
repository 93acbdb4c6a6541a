//! Students of a partner: list, and `GET`, `PATCH`, `DELETE` of one.

use serde_json::{Value, json};

use super::auth::{admit, partner_id};
use super::instant;
use super::request::{body, filter, named, read_all, remove, slice, submit};
use super::validate::{BodyFields, RequestFaults, choice, text, whole};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::command::{self, Delete, Edit};
use crate::domain::patch::Patch;
use crate::domain::people::person::fold;
use crate::domain::record::{Key, Stored};
use crate::domain::teaching::student::{Student, StudentEdit, StudentStatus};
use crate::store::teaching::StudentQuery;

/// `GET /partner/{partner_id}/student`: a plain array.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let status = faults.query_value(call, "status", choice);
    let slice = slice(call, &mut faults, 200, 500);
    let (actor, slice) = faults.refuse_or(actor.zip(slice))?;
    let search = filter(call, "q")?.map(|text| fold(&text));
    let query = StudentQuery { partner_id: partner_id(&actor), status, search };
    let (ids, _) = call.app.store.students(&query, slice).await?;
    Ok(Answer::json(200, &read_all(call, actor.account_id, &ids, encode).await?))
}

/// `GET /partner/{partner_id}/student/{student_id}`.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let (actor, id, ()) = named(call, "student_id", |_| Some(())).await?;
    let student = call.read(|facts| command::read::<Student>(&actor, id, facts)).await?;
    Ok(Answer::json(200, &encode(&student)).etag(student.meta.version))
}

/// `PATCH /partner/{partner_id}/student/{student_id}`: null clears, in plain JSON too.
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    edit(call, |faults| {
        BodyFields::of(&body, true, faults).map(|mut fields| StudentEdit {
            full_name: fields.field("full_name", text),
            email: fields.field("email", text),
            status: fields.field("status", choice),
            primary_contact: fields.field("primary_contact", text),
            notes: fields.field("notes", text),
            person_id: fields.field("user_id", whole),
        })
    })
    .await
}

/// `POST /partner/{partner_id}/student/{student_id}/deactivate`.
pub async fn deactivate(call: &Call) -> Result<Answer, Refusal> {
    call.body()?;
    edit(call, |_| Some(with_status(StudentStatus::Inactive))).await
}

/// `POST /partner/{partner_id}/student/{student_id}/archive`.
pub async fn archive(call: &Call) -> Result<Answer, Refusal> {
    call.body()?;
    edit(call, |_| Some(with_status(StudentStatus::Archived))).await
}

fn with_status(status: StudentStatus) -> StudentEdit {
    StudentEdit { status: Patch::Value(status), ..StudentEdit::default() }
}

async fn edit(
    call: &Call,
    decode: impl FnOnce(&mut RequestFaults) -> Option<StudentEdit>,
) -> Result<Answer, Refusal> {
    let (actor, id, edit) = named(call, "student_id", decode).await?;
    let command = Edit::<Student> { key: Key::Int(id), edit, expected: call.expected() };
    submit(call, actor, command, 200, encode).await
}

/// `DELETE /partner/{partner_id}/student/{student_id}`.
pub async fn delete(call: &Call) -> Result<Answer, Refusal> {
    remove(call, "student_id", |id| Delete::<Student>::new(id, call.expected())).await
}

/// A student, its keys in the vendor's order.
pub fn encode(student: &Stored<Student>) -> Value {
    let Stored { meta, record } = student;
    json!({
        "id": student.id(),
        "partner_id": record.partner_id,
        "user_id": record.person_id,
        "full_name": record.full_name,
        "email": record.email,
        "status": record.status,
        "joined_at": instant::format(meta.created_at.into()),
        "primary_contact": record.primary_contact,
        "notes": record.notes,
    })
}
