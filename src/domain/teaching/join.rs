//! How somebody comes into a class: by a code, or by the partner's hand. One command, and everything
//! that follows from it in the same commit: the student, the membership, the code's count, and what
//! the class's course asks of a learner.

use std::sync::Arc;

use super::class::{Class, ClassStatus};
use super::invite_code::{InviteCode, normalise_new};
use super::membership::{Membership, MembershipStatus, has_room, roster_needs};
use super::student::Student;
use crate::domain::access::Right;
use crate::domain::command::{self, Command, Context, Decision, Write};
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Need, Selector};
use crate::domain::kind::Kind;
use crate::domain::learning::course::Course;
use crate::domain::learning::enrollment::{DueDateType, Enrollment};
use crate::domain::people::person::{Person, fold};
use crate::domain::people::throttle::Guesser;
use crate::domain::record::{Key, Record as _, Stored};
use crate::domain::time::Instant;

/// Lets a person into a class by a code. A wrong code is counted against the guesser, so it is no
/// refusal: the outcome is about a [`Kind::Throttle`] then, and about the membership otherwise.
#[derive(Debug)]
pub struct Redeem {
    /// The code, as [`super::invite_code::normalise`] makes it.
    pub code: String,
    /// Who.
    pub person_id: i64,
    /// What the code was found to open when the request came, to be locked.
    pub expected: Option<Opens>,
    /// Against whom a wrong code is counted.
    pub guessers: Vec<Guesser>,
}

/// What a code opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opens {
    /// The code.
    pub invite_code_id: i64,
    /// Its class.
    pub class_id: i64,
    /// The class's course.
    pub course_id: Option<i64>,
}

impl Opens {
    /// What a code opens as things stand; none where there is no such code.
    ///
    /// # Errors
    /// [`crate::domain::facts::Stop::Missing`] until it is loaded.
    pub fn find(account_id: i64, code: &str, facts: &Facts) -> Known<Option<Self>> {
        let Some(code) = find_code(account_id, code, facts)? else { return Ok(None) };
        let class = facts.find::<Class>(account_id, code.record.class_id)?;
        Ok(Some(Self {
            invite_code_id: code.id(),
            class_id: code.record.class_id,
            course_id: class.and_then(|class| class.record.course_id),
        }))
    }
}

fn find_code(account_id: i64, code: &str, facts: &Facts) -> Known<Option<Stored<InviteCode>>> {
    // What cannot be a code is not asked of a database, which would choke on some of it.
    let Some(code) = normalise_new(code) else { return Ok(None) };
    Ok(facts.select::<InviteCode>(account_id, "code", code.as_str())?.pop())
}

impl Command for Redeem {
    fn needs(&self) -> Vec<Need> {
        let mut needs: Vec<Need> = self.guessers.iter().map(Guesser::need).collect();
        needs.push(Need::Record(Kind::Person, self.person_id.into()));
        let Some(Opens { invite_code_id, class_id, course_id }) = self.expected else {
            return needs;
        };
        needs.push(Need::Record(Kind::InviteCode, invite_code_id.into()));
        needs.extend(roster_needs(class_id));
        let of_person = |kind| {
            Need::Select(Selector { kind, column: "person_id", value: self.person_id.into() })
        };
        needs.push(of_person(Kind::Student));
        if let Some(course_id) = course_id {
            needs.push(Need::Record(Kind::Course, course_id.into()));
            needs.push(of_person(Kind::Enrollment));
        }
        needs
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let account_id = context.actor.account_id;
        for guesser in &self.guessers {
            guesser.refuse_tired(context.at, facts)?;
        }
        let code = find_code(account_id, &self.code, facts)?;
        let Some(code) = code.filter(|code| code.record.works(context.at)) else {
            let mut writes = Vec::with_capacity(self.guessers.len());
            for guesser in &self.guessers {
                writes.push(guesser.counted(context, facts)?);
            }
            return Ok(Decision { writes, ..Decision::default() });
        };
        let is_locked = self.expected.is_some_and(|expected| {
            expected.invite_code_id == code.id() && expected.class_id == code.record.class_id
        });
        if !is_locked {
            // It came to be since the request did.
            return Err(Error::Unavailable { retry_after_s: 1 }.into());
        }
        let class = facts.find::<Class>(account_id, code.record.class_id)?;
        let class = class.ok_or_else(|| refusal("class_not_found"))?;
        let person = facts.get::<Person>(account_id, self.person_id)?;
        if person.record.email.as_deref().is_none_or(|email| email.trim().is_empty()) {
            return Err(refusal("email_required").into());
        }
        let student = find_student(class.record.partner_id, &person, facts)?;
        let dropped = find_membership(class.id(), student.as_ref(), facts)?;
        if let Some(membership) = &dropped
            && membership.record.status != MembershipStatus::Dropped
        {
            // It is there already, and says by which code from now on, where it said by none.
            let before = document(membership, facts)?;
            let invite_code_id = membership.record.invite_code_id.or(Some(code.id()));
            let named = Membership { invite_code_id, ..Membership::clone(&membership.record) };
            let write = command::amend(Arc::clone(&before), named, context, facts)?;
            let subject = Some(before).filter(|_| write.is_none());
            return Ok(Decision { subject, writes: Vec::from_iter(write), ..Decision::default() });
        }
        if class.record.status == ClassStatus::Ended {
            return Err(refusal("class_ended").into());
        }
        let join = Join { class, code: Some(code), status: MembershipStatus::Active, dropped };
        join.decide(Joiner::Person(person, student), context, facts)
    }
}

/// Puts a student of the caller's into a class of the caller's.
#[derive(Debug)]
pub struct Enroll {
    /// The student.
    pub student_id: i64,
    /// The class.
    pub class_id: i64,
    /// The code that is to be named.
    pub invite_code_id: Option<i64>,
    /// Where the membership begins.
    pub status: MembershipStatus,
    /// The class's course when the request came, to be locked.
    pub course_id: Option<i64>,
}

impl Command for Enroll {
    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::Record(Kind::Student, self.student_id.into())];
        needs.extend(self.course_id.map(|id| Need::Record(Kind::Course, id.into())));
        needs.extend(roster_needs(self.class_id));
        needs
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let account_id = context.actor.account_id;
        let student = command::read::<Student>(context.actor, self.student_id, facts)?;
        let class = command::read::<Class>(context.actor, self.class_id, facts)?;
        for (kind, place) in [
            (Kind::Student, student.record.place(&student.meta, facts)?),
            (Kind::Membership, class.record.place(&class.meta, facts)?),
        ] {
            command::permit(context.actor, Right::Create, kind, &place)?;
        }
        if let Some(membership) = find_membership(class.id(), Some(&student), facts)? {
            let subject = facts.document(Kind::Membership, &membership.meta.key)?;
            return Ok(Decision { subject, ..Decision::default() });
        }
        let code = match self.invite_code_id {
            None => None,
            Some(id) => {
                let code = facts.find::<InviteCode>(account_id, id)?;
                let code = code.filter(|code| code.record.class_id == class.id());
                Some(code.ok_or_else(|| refusal("invite_code_not_found"))?)
            }
        };
        // Naming a code in the books is no use of it.
        let named = code.map(|code| code.id());
        let join = Join { class, code: None, status: self.status, dropped: None };
        join.decide(Joiner::Student(student, named), context, facts)
    }
}

fn refusal(code: &'static str) -> Error {
    Error::invalid("class_id", code, code)
}

/// The partner's student who is this person: by the person, else by e-mail where nobody is.
fn find_student(
    partner_id: i64,
    person: &Stored<Person>,
    facts: &Facts,
) -> Known<Option<Stored<Student>>> {
    let account_id = person.meta.account_id;
    let mut found = facts.select::<Student>(account_id, "person_id", person.meta.key.clone())?;
    found.retain(|student| student.record.partner_id == partner_id);
    if found.is_empty()
        && let Some(email) = person.record.email.as_deref().map(fold)
    {
        found = facts.select::<Student>(account_id, "email_key", email.as_str())?;
        found.retain(|student| {
            student.record.partner_id == partner_id && student.record.person_id.is_none()
        });
    }
    Ok(found.into_iter().next())
}

/// The person as a new student. An e-mail address that another student of the partner has is not
/// taken over.
fn new_student(partner_id: i64, person: &Stored<Person>, facts: &Facts) -> Known<Student> {
    let mut student = Student::of(partner_id, person.id(), &person.record);
    if let Some(email) = student.email.as_deref().map(fold) {
        let others =
            facts.select::<Student>(person.meta.account_id, "email_key", email.as_str())?;
        if others.iter().any(|other| other.record.partner_id == partner_id) {
            student.email = None;
        }
    }
    Ok(student)
}

fn find_membership(
    class_id: i64,
    student: Option<&Stored<Student>>,
    facts: &Facts,
) -> Known<Option<Stored<Membership>>> {
    let Some(student) = student else { return Ok(None) };
    let account_id = student.meta.account_id;
    let found = facts.select::<Membership>(account_id, "student_id", student.id())?;
    Ok(found.into_iter().find(|membership| membership.record.class_id == class_id))
}

/// Who joins.
enum Joiner {
    /// A person, and the student who it is, where there is one.
    Person(Stored<Person>, Option<Stored<Student>>),
    /// A student, and the code to name.
    Student(Stored<Student>, Option<i64>),
}

/// What both ways have in common.
struct Join {
    class: Stored<Class>,
    /// The code, which has one use less afterwards.
    code: Option<Stored<InviteCode>>,
    status: MembershipStatus,
    /// The membership of somebody who had dropped out.
    dropped: Option<Stored<Membership>>,
}

impl Join {
    fn decide(
        self,
        joiner: Joiner,
        context: &mut Context<'_>,
        facts: &mut Facts,
    ) -> Known<Decision> {
        // First of all: most of a crowd at the door of a full class need nothing else to be known.
        let but = self.dropped.as_ref().map_or(Key::Int(0), |old| old.meta.key.clone());
        if self.status == MembershipStatus::Active
            && !has_room(&self.class.record, self.class.id(), &but, facts)?
        {
            return Err(refusal("class_full").into());
        }
        let mut writes = Vec::new();
        let (student_id, person_id, named) = match joiner {
            Joiner::Person(person, student) => {
                let student_id = if let Some(student) = student {
                    writes.extend(linked(&student, person.id(), context, facts)?);
                    student.id()
                } else {
                    let partner_id = self.class.record.partner_id;
                    let student = new_student(partner_id, &person, facts)?;
                    let write = command::make(student, context, facts)?;
                    let id = write.after.meta.key.as_int().unwrap_or_default();
                    writes.push(write);
                    id
                };
                (student_id, Some(person.id()), self.code.as_ref().map(Stored::id))
            }
            Joiner::Student(student, named) => (student.id(), student.record.person_id, named),
        };
        let membership = self.membership(student_id, named, context, facts)?;
        // The outcome is about what is written first.
        writes.insert(0, membership);
        if let Some(code) = self.code {
            let mut used = InviteCode::clone(&code.record);
            used.count_use();
            let before = document(&code, facts)?;
            writes.extend(command::amend(before, used, context, facts)?);
        }
        if self.status == MembershipStatus::Active
            && let (Some(course_id), Some(person_id)) = (self.class.record.course_id, person_id)
        {
            writes.extend(owed(course_id, person_id, context, facts)?);
        }
        Ok(Decision { writes, ..Decision::default() })
    }

    /// The membership: a new one, or the old one of somebody who had dropped out.
    fn membership(
        &self,
        student_id: i64,
        invite_code_id: Option<i64>,
        context: &mut Context<'_>,
        facts: &mut Facts,
    ) -> Known<Write> {
        let class = &self.class;
        if let Some(old) = &self.dropped {
            let membership = Membership {
                status: self.status,
                invite_code_id,
                completed_at: None,
                ..Membership::clone(&old.record)
            };
            let before = document(old, facts)?;
            let write = command::amend(before, membership, context, facts)?;
            return write.ok_or_else(|| Error::internal("nobody came back").into());
        }
        let membership = Membership {
            partner_id: class.record.partner_id,
            class_id: class.id(),
            student_id,
            invite_code_id,
            status: self.status,
            enrolled_at: context.at.into(),
            completed_at: None,
        };
        command::make(membership, context, facts)
    }
}

/// A student found by e-mail is the person from now on.
fn linked(
    student: &Stored<Student>,
    person_id: i64,
    context: &mut Context<'_>,
    facts: &mut Facts,
) -> Known<Option<Write>> {
    if student.record.person_id.is_some() {
        return Ok(None);
    }
    let before = document(student, facts)?;
    let known = Student { person_id: Some(person_id), ..Student::clone(&student.record) };
    command::amend(before, known, context, facts)
}

/// The course is owed by the learner with the course's own due settings, unless it is already. Both
/// get the names by which learners and their courses are known.
fn owed(
    course_id: i64,
    person_id: i64,
    context: &mut Context<'_>,
    facts: &mut Facts,
) -> Known<Vec<Write>> {
    let account_id = context.actor.account_id;
    let mut writes = Vec::new();
    let (Some(course), Some(person)) = (
        facts.find::<Course>(account_id, course_id)?,
        facts.find::<Person>(account_id, person_id)?,
    ) else {
        return Ok(writes);
    };
    let enrollments = facts.select::<Enrollment>(account_id, "person_id", person_id)?;
    if enrollments.iter().any(|enrollment| enrollment.record.course_id == course_id) {
        return Ok(writes);
    }
    let enrollment = Enrollment {
        course_id,
        person_id,
        access_date: Instant::from(context.at),
        due_date_type: DueDateType::Default,
        ..Enrollment::default()
    };
    writes.push(command::make(enrollment, context, facts)?);
    if course.record.content_item_id.is_none() {
        let mut known = Course::clone(&course.record);
        known.content_item_id = Some(context.entropy.uuid());
        writes.extend(command::amend(document(&course, facts)?, known, context, facts)?);
    }
    if person.record.learner_id.is_none() {
        let mut known = Person::clone(&person.record);
        known.learner_id = Some(context.entropy.uuid());
        writes.extend(command::amend(document(&person, facts)?, known, context, facts)?);
    }
    Ok(writes)
}

fn document<R: crate::domain::record::Record>(
    stored: &Stored<R>,
    facts: &Facts,
) -> Known<Arc<crate::domain::record::Document>> {
    let document = facts.document(R::KIND, &stored.meta.key)?;
    document.ok_or_else(|| Error::NotFound(R::KIND).into())
}
