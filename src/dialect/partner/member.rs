//! Memberships, which the vendor calls enrollments: of a class, of a student, and each by itself.

use serde_json::{Value, json};

use super::instant::{self, instant};
use super::request::{body, named, null_clears, page, paged, remove, slice, submit};
use super::student;
use super::validate::{BodyFields, RequestFaults, choice, whole};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::command::{self, Delete, Edit};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{Key, Stored};
use crate::domain::teaching::class::Class;
use crate::domain::teaching::join::Enroll;
use crate::domain::teaching::membership::{Membership, MembershipEdit, MembershipStatus};
use crate::domain::teaching::student::Student;
use crate::store::teaching::{MembershipQuery, MembershipsOf, Slice};

/// The status to filter by, alone in a list.
pub fn status(faults: &mut RequestFaults, call: &Call) -> Option<Vec<MembershipStatus>> {
    faults.query_value(call, "status", choice).map(|status| vec![status])
}

/// Which page of the memberships in which states.
fn page_of(call: &Call, faults: &mut RequestFaults) -> Option<(Vec<MembershipStatus>, Slice)> {
    let statuses = status(faults, call).unwrap_or_default();
    Some((statuses, slice(call, faults, 50, 100)?))
}

/// `GET /partner/{partner_id}/classes/{class_id}/enrollments`.
pub async fn of_class(call: &Call) -> Result<Answer, Refusal> {
    let (actor, class_id, (statuses, slice)) =
        named(call, "class_id", |faults| page_of(call, faults)).await?;
    call.read(|facts| command::read::<Class>(&actor, class_id, facts)).await?;
    let query = MembershipQuery { of: MembershipsOf::Class(class_id), statuses };
    let (ids, total) = call.app.store.memberships(&query, slice).await?;
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

/// `GET /partner/{partner_id}/student/{student_id}/enrollments`.
pub async fn of_student(call: &Call) -> Result<Answer, Refusal> {
    let (actor, student_id, (statuses, slice)) =
        named(call, "student_id", |faults| page_of(call, faults)).await?;
    call.read(|facts| command::read::<Student>(&actor, student_id, facts)).await?;
    let query = MembershipQuery { of: MembershipsOf::Student(student_id), statuses };
    let (ids, total) = call.app.store.memberships(&query, slice).await?;
    page(call, actor.account_id, &ids, total, slice, encode).await
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

/// `PATCH /partner/{partner_id}/student/enrollments/{enrollment_id}`.
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    edit(call, |faults| {
        BodyFields::of(&body, null_clears(call), faults).map(|mut fields| MembershipEdit {
            status: fields.field("status", choice),
            completed_at: fields.field("completed_at", instant),
            ..MembershipEdit::default()
        })
    })
    .await
}

/// `POST /partner/{partner_id}/student/enrollments/{enrollment_id}/complete`.
pub async fn complete(call: &Call) -> Result<Answer, Refusal> {
    call.body()?;
    edit(call, |_| Some(with_status(MembershipStatus::Completed))).await
}

/// `POST /partner/{partner_id}/student/enrollments/{enrollment_id}/drop`.
pub async fn drop(call: &Call) -> Result<Answer, Refusal> {
    call.body()?;
    edit(call, |_| Some(with_status(MembershipStatus::Dropped))).await
}

fn with_status(status: MembershipStatus) -> MembershipEdit {
    MembershipEdit { status: Patch::Value(status), ..MembershipEdit::default() }
}

async fn edit(
    call: &Call,
    decode: impl FnOnce(&mut RequestFaults) -> Option<MembershipEdit>,
) -> Result<Answer, Refusal> {
    let (actor, id, edit) = named(call, "enrollment_id", decode).await?;
    let member = call.read(|facts| command::read::<Membership>(&actor, id, facts)).await?;
    let edit = MembershipEdit { class_id: Some(member.record.class_id), ..edit };
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
