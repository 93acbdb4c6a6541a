//! What anybody who has signed in may do: redeem a code, see one's classes, leave one.

use serde_json::json;

use super::auth::{User, signed_in};
use super::error::{NUL, detail};
use super::request::{Slice, body, ids, paged, slice};
use super::validate::{BodyFields, RequestFaults, choice, text};
use super::{instant, member};
use crate::dialect::call::DRY_RUN;
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::learning::course::Course;
use crate::domain::list::List;
use crate::domain::people::account::Account;
use crate::domain::people::person::Person;
use crate::domain::people::throttle::Guesser;
use crate::domain::record::{Key, Stored};
use crate::domain::teaching::class::Class;
use crate::domain::teaching::invite_code::normalise;
use crate::domain::teaching::join::{Opens, Redeem};
use crate::domain::teaching::membership::MembershipStatus::{Active, Completed};
use crate::domain::teaching::membership::{Leave, Membership};
use crate::domain::teaching::partner::Partner;
use crate::domain::teaching::student::Student;

/// `POST /user/class/invites/redeem`.
pub async fn redeem(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let user = signed_in(call).await?;
    let mut faults = RequestFaults::default();
    let code = BodyFields::of(&body, false, &mut faults).and_then(|mut f| f.required("code", text));
    let code = faults.refuse_or(code)?;
    // A guess that leaves no trace would be one that nobody counts.
    if call.headers.contains_key(DRY_RUN) && call.is_dry_run()? {
        return Err(detail(400, "dry_run_not_supported").into());
    }
    let code = normalise(&code).ok_or_else(|| detail(400, "invalid_code_format"))?;
    if code.contains('\0') {
        return Err(detail(400, NUL).into());
    }
    let actor = user.actor();
    let account_id = actor.account_id;
    let command = Redeem {
        expected: call.read(|facts| Opens::find(account_id, &code, facts)).await?,
        code,
        person_id: user.person.id(),
        guessers: vec![
            Guesser::person(account_id, "code", user.person.id()),
            Guesser::address(account_id, "code", call.peer),
        ],
    };
    let answered = call.submit(actor, command, |outcome, _| {
        Ok(if outcome.subject.meta.kind == Kind::Throttle {
            detail(400, "invalid_or_expired_code")
        } else {
            Answer::json(201, &member::encode(&outcome.subject.typed()?))
        })
    });
    Ok(answered.await?)
}

/// `GET /user/classes`: those that run and those that are done, where nothing else is asked for.
pub async fn classes(call: &Call) -> Result<Answer, Refusal> {
    let User { person, .. } = signed_in(call).await?;
    let mut faults = RequestFaults::default();
    let status = faults.query_value(call, "status", choice);
    let slice = slice(call, &mut faults, 50, 100);
    let slice = faults.refuse_or(slice)?;
    let account_id = person.meta.account_id;
    let list = List::of::<Membership>(account_id)
        .through("student_id", "person_id", person.id())
        .among("status", status.as_ref().map_or(&[Active, Completed], std::slice::from_ref))
        .newest_by(&["enrolled_at"]);
    let (ids, total) = ids(call, list, slice).await?;
    let is_student = call.read(|facts| {
        Ok(!facts.select::<Student>(account_id, "person_id", person.id())?.is_empty())
    });
    // To the vendor, nobody's student has one page.
    let page = if is_student.await? { slice.page } else { 1 };
    let slice = Slice { page, ..slice };
    let views = call.read(|facts| views(account_id, &ids, facts)).await?;
    let items: Vec<_> = views.iter().map(View::encode).collect();
    Ok(Answer::json(200, &paged(&items, total, slice)))
}

/// A membership as the student sees it.
struct View {
    member: Stored<Membership>,
    class: Stored<Class>,
    course_title: Option<String>,
    org_name: Option<String>,
    teacher_name: Option<String>,
}

/// The views of memberships, loaded kind by kind.
fn views(account_id: i64, ids: &[i64], facts: &Facts) -> Known<Vec<View>> {
    let account = facts.find::<Account>(account_id, account_id)?;
    let members = facts.find_all::<Membership>(account_id, ids)?;
    let named = members.iter().flat_map(|member| {
        let Membership { class_id, partner_id, .. } = *member.record;
        [(Kind::Class, Key::Int(class_id)), (Kind::Partner, Key::Int(partner_id))]
    });
    facts.want(named)?;
    let mut classes = Vec::with_capacity(members.len());
    for member in members {
        let class = facts.find::<Class>(account_id, member.record.class_id)?;
        classes.extend(class.map(|class| (member, class)));
    }
    let courses = classes.iter().filter_map(|(_, class)| class.record.course_id);
    facts.want(courses.map(|id| (Kind::Course, Key::Int(id))))?;
    let mut views = Vec::with_capacity(classes.len());
    for (member, class) in classes {
        let course = match class.record.course_id {
            Some(id) => facts.find::<Course>(account_id, id)?,
            None => None,
        };
        // The organisation is the course's: a class without a course has none.
        let org_name = course.as_ref().and(account.as_ref());
        views.push(View {
            org_name: org_name.map(|account| account.record.name.clone()),
            course_title: course.map(|course| course.record.title.clone()),
            teacher_name: teacher_name(account_id, member.record.partner_id, facts)?,
            member,
            class,
        });
    }
    Ok(views)
}

/// The partner's name, or else the e-mail address.
fn teacher_name(account_id: i64, partner_id: i64, facts: &Facts) -> Known<Option<String>> {
    let Some(partner) = facts.find::<Partner>(account_id, partner_id)? else { return Ok(None) };
    if !partner.record.full_name.trim().is_empty() {
        return Ok(Some(partner.record.full_name.clone()));
    }
    let person = facts.find::<Person>(account_id, partner.record.person_id)?;
    Ok(person.and_then(|person| person.record.email.clone()))
}

impl View {
    /// Its keys in the vendor's order.
    fn encode(&self) -> serde_json::Value {
        let Self { member, class, course_title, org_name, teacher_name } = self;
        let (membership, class) = (&member.record, &class.record);
        json!({
            "enrollment_id": member.id(),
            "class_id": membership.class_id,
            "class_title": class.name,
            "primary_model_id": class.primary_model_id,
            "allowed_model_ids": class.allowed_model_ids,
            "course_title": course_title,
            "org_name": org_name,
            "teacher_name": teacher_name,
            "class_start_at": class.start_at.map(instant::format),
            "class_end_at": class.end_at.map(instant::format),
            "enrollment_status": membership.status,
            "enrolled_at": instant::format(membership.enrolled_at),
            "completed_at": membership.completed_at.map(instant::format),
            "last_activity_at": null,
        })
    }
}

/// `DELETE /user/class/enrollments/{enrollment_id}`.
pub async fn leave(call: &Call) -> Result<Answer, Refusal> {
    let user = signed_in(call).await?;
    let mut faults = RequestFaults::default();
    let id = faults.path("enrollment_id", call.parameter("enrollment_id"), None);
    let id = faults.refuse_or(id)?;
    // There is nothing to say in it; but one that is too long is no request.
    call.body()?;
    let command = Leave { id, person_id: user.person.id(), expected: call.expected() };
    Ok(call.submit(user.actor(), command, |_, _| Ok(Answer::empty(204))).await?)
}
