//! Students of a partner: list, and `GET`, `PATCH`, `DELETE` of one.

use serde_json::{Value, json};

use super::auth::{admit, partner_id};
use super::email::email;
use super::instant;
use super::request::{body, filter, named, remove, slice, submit};
use super::validate::{BodyFields, RequestFaults, choice, text, whole};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::command::{self, Delete, Edit};
use crate::domain::learning::course::search_form;
use crate::domain::list::List;
use crate::domain::patch::Patch;
use crate::domain::record::{Key, Stored};
use crate::domain::teaching::student::{Student, StudentEdit, StudentStatus};

/// `GET /partner/{partner_id}/student`: a plain array.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let slice = slice(call, &mut faults, 200, 500);
    let (actor, slice) = faults.refuse_or(actor.zip(slice))?;
    let search = filter(call, "q")?.map(|text| search_form(&text));
    let list = List::of::<Student>(actor.account_id)
        .is("partner_id", partner_id(&actor))
        .is_given("status", filter(call, "status")?)
        .found("search_key", search)
        .newest()
        .page(slice.limit, slice.offset);
    let ids = call.app.store.list(&list).await?;
    let found = call.read(|facts| facts.find_all(actor.account_id, &ids)).await?;
    Ok(Answer::json(200, &found.iter().map(encode).collect::<Vec<_>>()))
}

/// `GET /partner/{partner_id}/student/{student_id}`.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let (actor, id, ()) = named(call, "student_id", |_| Some(())).await?;
    let student = call.read(|facts| command::read::<Student>(&actor, id, facts)).await?;
    Ok(Answer::json(200, &encode(&student)).etag(student.meta.version))
}

/// Null was sent for what the vendor's database does not keep without a value, and speaks of as of
/// what another student has.
#[derive(Clone, Copy, Debug)]
pub struct NullForText;

/// `PATCH /partner/{partner_id}/student/{student_id}`: null is a value, in plain JSON too.
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    edit(call, |faults| {
        let mut fields = BodyFields::of(&body, true, faults)?;
        let mut edit = StudentEdit {
            full_name: fields.field("full_name", text),
            email: fields.field("email", email),
            status: fields.field("status", choice),
            primary_contact: fields.field("primary_contact", text),
            notes: fields.field("notes", text),
            person_id: fields.field("user_id", whole),
        };
        if edit.full_name == Patch::Null || edit.status == Patch::Null {
            // No student is without a name: refused where that comes to be asked.
            edit.full_name = Patch::Null;
            call.note(NullForText);
        }
        Some(edit)
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
        "full_name": record.full_name,
        "email": record.email,
        "status": record.status,
        "joined_at": instant::format(meta.created_at.into()),
        "primary_contact": record.primary_contact,
        "notes": record.notes,
        "user_id": record.person_id,
    })
}
