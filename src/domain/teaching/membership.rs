//! A student's membership of a class. (The partner API calls it enrollment; that word is taken by
//! what a learner owes, [`crate::domain::learning::enrollment`].)

use serde::{Deserialize, Serialize};

use super::class::Class;
use super::invite_code::InviteCode;
use super::student::Student;
use crate::domain::access::Place;
use crate::domain::command::{self, Command, Context, Decision, Expected};
use crate::domain::error::{Error, FieldError, FieldErrors};
use crate::domain::facts::{Count, Facts, Known, Need};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::record::{Changed, Key, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Unique, data};
use crate::domain::time::Instant;

names! {
    /// Where a membership is in its life.
    #[derive(Default)]
    pub enum MembershipStatus {
        /// Takes part, and takes a place.
        #[default]
        Active = "active",
        /// Pauses.
        Inactive = "inactive",
        /// Has finished.
        Completed = "completed",
        /// Has dropped out.
        Dropped = "dropped",
    }
}

/// A membership.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Membership {
    /// Whose class.
    pub partner_id: i64,
    /// The class.
    pub class_id: i64,
    /// The student.
    pub student_id: i64,
    /// The code that let the student in.
    pub invite_code_id: Option<i64>,
    /// Where it is in its life.
    pub status: MembershipStatus,
    /// Since when.
    pub enrolled_at: Instant,
    /// When it was finished.
    pub completed_at: Option<Instant>,
}

edit! {
    /// An edit of a membership. Whose it is is fixed.
    MembershipEdit for Membership {
        class_id: i64 => keeps,
        student_id: i64 => keeps,
        invite_code_id: i64 => clears,
        status: MembershipStatus => keeps,
        enrolled_at: Instant => keeps,
        completed_at: Instant => clears,
    } beside {
        /// The class as it was, for the edit to have its members to itself.
        roster: Option<i64>,
    }
}

/// The code of a class that the partner does not have.
pub const UNKNOWN_CLASS: &str = "unknown_class";
/// The code of a student that the partner does not have.
pub const UNKNOWN_STUDENT: &str = "unknown_student";

fn active_in(class_id: i64) -> Count {
    let is = vec![("class_id", class_id.into()), ("status", Key::from("active"))];
    Count { kind: Kind::Membership, is }
}

/// What has to be known to judge whether a class has room, locked until the commit.
pub fn roster_needs(class_id: i64) -> [Need; 2] {
    [Need::Record(Kind::Class, class_id.into()), Need::Count(active_in(class_id))]
}

/// True when another active member has room in the class.
///
/// # Errors
/// [`crate::domain::facts::Stop::Missing`] until its members are loaded.
pub fn has_room(class: &Class, class_id: i64, but: &Key, facts: &Facts) -> Known<bool> {
    let Some(capacity) = class.capacity else { return Ok(true) };
    let active = facts.count(&active_in(class_id))?;
    let itself = match facts.document(Kind::Membership, but)? {
        Some(member) if member.meta.deleted_at.is_none() => {
            let Membership { class_id: of, status, .. } = member.look()?;
            i64::from(*of == class_id && *status == MembershipStatus::Active)
        }
        _ => 0,
    };
    Ok(active - itself < capacity)
}

impl Record for Membership {
    const KIND: Kind = Kind::Membership;
    const TABLE: Table = Table {
        name: "membership",
        key: KeyType::Int,
        columns: &[
            Column::names("partner_id", Kind::Partner, Gone::Refuses),
            Column::names("class_id", Kind::Class, Gone::Ends),
            Column::names("student_id", Kind::Student, Gone::Ends),
            Column::names("invite_code_id", Kind::InviteCode, Gone::Clears),
            Column::text("status"),
            Column::instant("enrolled_at"),
        ],
        unique: &[Unique::live(&["class_id", "student_id"], "student_id")],
        data: data! {
            Plain: partner_id, class_id, student_id, invite_code_id, status, enrolled_at,
                completed_at;
        },
        ..Table::EMPTY
    };
    type Edit = MembershipEdit;

    fn edit_needs(edit: &MembershipEdit) -> Vec<Need> {
        let class_id = edit.class_id.value().copied().or(edit.roster);
        class_id.map(roster_needs).into_iter().flatten().collect()
    }

    fn place(&self, _: &Meta, _: &mut Facts) -> Known<Place> {
        Ok(Place::Partner(self.partner_id))
    }

    /// Class, student and code are the partner's own; and however a membership comes to be active in a
    /// class, there has to be room.
    fn validate(&self, meta: &Meta, changed: &Changed, facts: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        let account_id = meta.account_id;
        // A new one comes from a command that has seen to that.
        let is_moved = |field| meta.version > 0 && changed.has(field);
        if is_moved("class_id")
            && facts
                .find::<Class>(account_id, self.class_id)?
                .is_none_or(|class| class.record.partner_id != self.partner_id)
        {
            errors.push(FieldError::new(
                "class_id",
                UNKNOWN_CLASS,
                "the partner has no such class",
            ));
        }
        if is_moved("student_id")
            && facts
                .find::<Student>(account_id, self.student_id)?
                .is_none_or(|student| student.record.partner_id != self.partner_id)
        {
            let detail = "the partner has no such student";
            errors.push(FieldError::new("student_id", UNKNOWN_STUDENT, detail));
        }
        if is_moved("invite_code_id")
            && let Some(id) = self.invite_code_id
            && facts
                .find::<InviteCode>(account_id, id)?
                .is_none_or(|code| code.record.partner_id != self.partner_id)
        {
            let detail = "the partner has no such code";
            errors.push(FieldError::new("invite_code_id", "invite_code_not_found", detail));
        }
        if changed.any(&["completed_at", "enrolled_at"]) {
            let enrolled = ("enrolled_at", Some(self.enrolled_at));
            let completed = ("completed_at", self.completed_at);
            let code = "completed_at_before_enrolled_at";
            errors.extend(FieldError::backwards(enrolled, completed, code));
        }
        if changed.any(&["status", "class_id"])
            && self.status == MembershipStatus::Active
            && let Some(class) = facts.find::<Class>(account_id, self.class_id)?
            && !has_room(&class.record, self.class_id, &meta.key, facts)?
        {
            errors.push(FieldError::new("class_id", "class_full", "the class is full"));
        }
        Ok(errors)
    }
}

/// Takes a person out of a class. What was learned stays.
#[derive(Debug)]
pub struct Leave {
    /// The membership.
    pub id: i64,
    /// Whose it must be.
    pub person_id: i64,
    /// From what.
    pub expected: Expected,
}

impl Command for Leave {
    fn needs(&self) -> Vec<Need> {
        vec![Need::Record(Kind::Membership, Key::Int(self.id))]
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let account_id = context.actor.account_id;
        let membership = facts.get::<Membership>(account_id, self.id)?;
        let student = facts.find::<Student>(account_id, membership.record.student_id)?;
        if student.is_none_or(|student| student.record.person_id != Some(self.person_id)) {
            return Err(Error::NotFound(Kind::Membership).into());
        }
        let before = facts.document(Kind::Membership, &membership.meta.key)?;
        let before = before.ok_or(Error::NotFound(Kind::Membership))?;
        self.expected.check(&before, facts)?;
        Ok(Decision { writes: vec![command::end(before, context)], ..Decision::default() })
    }
}
