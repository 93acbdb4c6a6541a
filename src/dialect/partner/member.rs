//! Memberships, which the vendor calls enrollments: of a class, of a student, and each by itself.

use serde_json::{Value, json};

use super::instant::{self, instant};
use super::request::{body, filter, ids, named, paged, remove, slice, submit};
use super::student;
use super::validate::{BodyFields, RequestFaults, choice, whole};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::command::{self, Delete, Edit};
use crate::domain::kind::Kind;
use crate::domain::list::List;
use crate::domain::patch::Patch;
use crate::domain::record::{Key, Stored};
use crate::domain::teaching::class::Class;
use crate::domain::teaching::join::Enroll;
use crate::domain::teaching::membership::{Membership, MembershipEdit, MembershipStatus};
use crate::domain::teaching::student::Student;
use crate::domain::time::Instant;

/// The memberships of what `column` names, as far as their state is asked for.
fn list(call: &Call, account_id: i64, column: &'static str, id: i64) -> Result<List, Answer> {
    let list = List::of::<Membership>(account_id).is(column, id);
    Ok(list.is_given("status", filter(call, "status")?).newest_by(&["enrolled_at"]))
}

/// `GET /partner/{partner_id}/classes/{class_id}/enrollments`.
pub async fn of_class(call: &Call) -> Result<Answer, Refusal> {
    let (actor, class_id, slice) =
        named(call, "class_id", |faults| slice(call, faults, 50, 100)).await?;
    call.read(|facts| command::read::<Class>(&actor, class_id, facts)).await?;
    let list = list(call, actor.account_id, "class_id", class_id)?;
    let (ids, total) = ids(call, list, slice).await?;
    let items = call.read(|facts| {
        let members = facts.find_all::<Membership>(actor.account_id, &ids)?;
        let students = members.iter().map(|member| member.record.student_id);
        facts.want(students.map(|id| (Kind::Student, Key::Int(id))))?;
        let mut items = Vec::with_capacity(ids.len());
        for member in &members {
            let student = facts.find::<Student>(actor.account_id, member.record.student_id)?;
            let mut item = encode(member);
            if let Value::Object(item) = &mut item {
                item.insert("student".to_owned(), student.as_ref().map(student::encode).into());
            }
            items.push(item);
        }
        Ok(items)
    });
    Ok(Answer::json(200, &paged(&items.await?, total, slice)))
}

/// `GET /partner/{partner_id}/student/{student_id}/enrollments`: a plain array.
pub async fn of_student(call: &Call) -> Result<Answer, Refusal> {
    let (actor, student_id, slice) =
        named(call, "student_id", |faults| slice(call, faults, 200, 500)).await?;
    call.read(|facts| command::read::<Student>(&actor, student_id, facts)).await?;
    let list = list(call, actor.account_id, "student_id", student_id)?;
    let ids = call.app.store.list(&list.page(slice.limit, slice.offset)).await?;
    let found = call.read(|facts| facts.find_all(actor.account_id, &ids)).await?;
    Ok(Answer::json(200, &found.iter().map(encode).collect::<Vec<_>>()))
}

/// `POST /partner/{partner_id}/student/{student_id}/enrollments`.
pub async fn create(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let (actor, student_id, (class_id, code, status)) = named(call, "student_id", |faults| {
        let mut fields = BodyFields::of(&body, false, faults)?;
        let class_id = fields.required("class_id", whole);
        // The path's is the one that counts.
        let student_id = fields.required("student_id", whole);
        let code = fields.field("invite_code_id", whole);
        let status = fields.field("status", choice);
        // Both are read and not used.
        fields.field("enrolled_at", instant);
        fields.field("completed_at", instant);
        student_id?;
        Some((class_id?, code, status))
    })
    .await?;
    let account_id = actor.account_id;
    let class = call.read(|facts| facts.find::<Class>(account_id, class_id)).await?;
    let command = Enroll {
        student_id,
        class_id,
        invite_code_id: code.value().copied(),
        status: status.value().copied().unwrap_or_default(),
        course_id: class.and_then(|class| class.record.course_id),
    };
    submit(call, actor, command, 201, encode).await
}

/// `PATCH /partner/{partner_id}/student/enrollments/{enrollment_id}`: null clears what may be without
/// a value, in plain JSON too.
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let decode = |faults: &mut RequestFaults| {
        BodyFields::of(&body, true, faults).map(|mut fields| MembershipEdit {
            class_id: fields.field("class_id", whole),
            student_id: fields.field("student_id", whole),
            invite_code_id: fields.field("invite_code_id", whole),
            status: fields.field("status", choice),
            enrolled_at: fields.field("enrolled_at", instant),
            completed_at: fields.field("completed_at", instant),
            roster: None,
        })
    };
    edit(call, decode, |edit, _| edit).await
}

/// `POST /partner/{partner_id}/student/enrollments/{enrollment_id}/complete`: now, however often.
pub async fn complete(call: &Call) -> Result<Answer, Refusal> {
    call.body()?;
    let now = Instant::from(call.at);
    let edit_of = |(), member: &Membership| MembershipEdit {
        status: Patch::Value(MembershipStatus::Completed),
        completed_at: Patch::Value(now.max(member.enrolled_at)),
        ..MembershipEdit::default()
    };
    edit(call, |_| Some(()), edit_of).await
}

/// `POST /partner/{partner_id}/student/enrollments/{enrollment_id}/drop`.
pub async fn drop(call: &Call) -> Result<Answer, Refusal> {
    call.body()?;
    let edit_of = |(), _: &Membership| MembershipEdit {
        status: Patch::Value(MembershipStatus::Dropped),
        ..MembershipEdit::default()
    };
    edit(call, |_| Some(()), edit_of).await
}

async fn edit<T>(
    call: &Call,
    decode: impl FnOnce(&mut RequestFaults) -> Option<T>,
    edit_of: impl FnOnce(T, &Membership) -> MembershipEdit,
) -> Result<Answer, Refusal> {
    let (actor, id, wanted) = named(call, "enrollment_id", decode).await?;
    let member = call.read(|facts| command::read::<Membership>(&actor, id, facts)).await?;
    let edit = edit_of(wanted, &member.record);
    let edit = MembershipEdit { roster: Some(member.record.class_id), ..edit };
    let command = Edit::<Membership> { key: Key::Int(id), edit, expected: call.expected() };
    submit(call, actor, command, 200, encode).await
}

/// `DELETE /partner/{partner_id}/student/enrollments/{enrollment_id}`.
pub async fn delete(call: &Call) -> Result<Answer, Refusal> {
    remove(call, "enrollment_id", |id| Delete::<Membership>::new(id, call.expected())).await
}

/// A membership, its keys in the vendor's order.
pub fn encode(member: &Stored<Membership>) -> Value {
    let record = &member.record;
    json!({
        "id": member.id(),
        "class_id": record.class_id,
        "student_id": record.student_id,
        "invite_code_id": record.invite_code_id,
        "status": record.status,
        "enrolled_at": instant::format(record.enrolled_at),
        "completed_at": record.completed_at.map(instant::format),
    })
}
