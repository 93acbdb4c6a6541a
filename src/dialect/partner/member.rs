//! Memberships, which the vendor calls enrollments: of a class, of a student, and each by itself.

use serde_json::{Value, json};

use super::auth::admit;
use super::instant::{self, instant};
use super::request::{body, null_clears, page, paged, slice};
use super::validate::{Faults, Fields, choice, whole};
use super::{json::Json, student};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::command::{self, Delete, Edit};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{Key, Stored};
use crate::domain::teaching::class::Class;
use crate::domain::teaching::join::Enroll;
use crate::domain::teaching::membership::{Membership, MembershipEdit, MembershipStatus};
use crate::domain::teaching::student::Student;
use crate::store::teaching::{Members, MembershipQuery};

const STATUSES: &[(&str, MembershipStatus)] = &[
    ("active", MembershipStatus::Active),
    ("inactive", MembershipStatus::Inactive),
    ("completed", MembershipStatus::Completed),
    ("dropped", MembershipStatus::Dropped),
];

/// A status to filter by, as lists of one name.
pub fn status(faults: &mut Faults, call: &Call) -> Option<&'static [&'static str]> {
    const NAMES: &[(&str, &[&str])] = &[
        ("active", &["active"]),
        ("inactive", &["inactive"]),
        ("completed", &["completed"]),
        ("dropped", &["dropped"]),
    ];
    faults.query_value(call, "status", |value: &Json| choice(value, NAMES))
}

/// `GET /partner/{partner_id}/classes/{class_id}/enrollments`.
pub async fn of_class(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let class_id = faults.path("class_id", call.parameter("class_id"), Some(1));
    let statuses = status(&mut faults, call).unwrap_or_default();
    let slice = slice(call, &mut faults, 50, 100);
    let (actor, (class_id, slice)) = faults.refuse_or(actor.zip(class_id.zip(slice)))?;
    call.read(|facts| command::read::<Class>(&actor, class_id, facts)).await?;
    let query = MembershipQuery { of: Members::Class(class_id), statuses };
    let (ids, total) = call.app.store.memberships(&query, slice).await?;
    let items = call.read(|facts| {
        facts.want(ids.iter().map(|id| (Kind::Membership, Key::Int(*id))))?;
        let mut members = Vec::with_capacity(ids.len());
        for id in &ids {
            members.extend(facts.find::<Membership>(actor.account_id, *id)?);
        }
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
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let student_id = faults.path("student_id", call.parameter("student_id"), Some(1));
    let statuses = status(&mut faults, call).unwrap_or_default();
    let slice = slice(call, &mut faults, 50, 100);
    let (actor, (student_id, slice)) = faults.refuse_or(actor.zip(student_id.zip(slice)))?;
    call.read(|facts| command::read::<Student>(&actor, student_id, facts)).await?;
    let query = MembershipQuery { of: Members::Student(student_id), statuses };
    let (ids, total) = call.app.store.memberships(&query, slice).await?;
    page(call, actor.account_id, &ids, total, slice, encode).await
}

/// `POST /partner/{partner_id}/student/{student_id}/enrollments`.
pub async fn create(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let student_id = faults.path("student_id", call.parameter("student_id"), Some(1));
    let wanted = Fields::of(&body, false, &mut faults).and_then(|mut fields| {
        let class_id = fields.required("class_id", whole);
        // The path's is the one that counts.
        let student_id = fields.required("student_id", whole);
        let code = fields.field("invite_code_id", whole);
        let status = fields.field("status", |value| choice(value, STATUSES));
        student_id?;
        Some((class_id?, code, status))
    });
    let (actor, (student_id, wanted)) = faults.refuse_or(actor.zip(student_id.zip(wanted)))?;
    let (class_id, code, status) = wanted;
    let account_id = actor.account_id;
    let class = call.read(|facts| facts.find::<Class>(account_id, class_id)).await?;
    let command = Enroll {
        student_id,
        class_id,
        invite_code_id: code.value().copied(),
        status: status.value().copied().unwrap_or_default(),
        course_id: class.and_then(|class| class.record.course_id),
    };
    let answered = call.submit(actor, command, |outcome, _| {
        Ok(Answer::json(201, &encode(&outcome.subject.typed()?)))
    });
    Ok(answered.await?)
}

/// `PATCH /partner/{partner_id}/student/enrollments/{enrollment_id}`.
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    edit(call, |faults| {
        Fields::of(&body, null_clears(call), faults).map(|mut fields| MembershipEdit {
            status: fields.field("status", |value| choice(value, STATUSES)),
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
    decode: impl FnOnce(&mut Faults) -> Option<MembershipEdit>,
) -> Result<Answer, Refusal> {
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let id = faults.path("enrollment_id", call.parameter("enrollment_id"), Some(1));
    let edit = decode(&mut faults);
    let (actor, (id, edit)) = faults.refuse_or(actor.zip(id.zip(edit)))?;
    let member = call.read(|facts| command::read::<Membership>(&actor, id, facts)).await?;
    let edit = MembershipEdit { class_id: Some(member.record.class_id), ..edit };
    let command = Edit::<Membership> { key: Key::Int(id), edit, expected: call.expected() };
    let answered = call.submit(actor, command, |outcome, _| {
        Ok(Answer::json(200, &encode(&outcome.subject.typed()?)))
    });
    Ok(answered.await?)
}

/// `DELETE /partner/{partner_id}/student/enrollments/{enrollment_id}`.
pub async fn delete(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let id = faults.path("enrollment_id", call.parameter("enrollment_id"), Some(1));
    let (actor, id) = faults.refuse_or(actor.zip(id))?;
    // There is nothing to say in it; but one that is too long is no request.
    call.body()?;
    let command = Delete::<Membership>::new(Key::Int(id), call.expected());
    Ok(call.submit(actor, command, |_, _| Ok(Answer::empty(204))).await?)
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
