//! A course that a learner owes, with its schedule. Source of its edit: iSpring Learn, "Editing an
//! enrollment".

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::course::Course;
use crate::domain::access::Place;
use crate::domain::command::Context;
use crate::domain::error::{FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::people::department;
use crate::domain::people::person::Person;
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, data};
use crate::domain::time::Instant;

/// The longest due period: 100 years of hours.
pub const DUE_PERIOD_MAX_H: i64 = 876_000;

names! {
    /// How the due date is found.
    #[derive(Default)]
    pub enum DueDateType {
        /// There is none.
        #[default]
        Unlimited = "unlimited",
        /// By the course's own rule, as it stands when asked.
        Default = "default",
        /// It is named.
        DueDate = "due_date",
        /// So many hours after access begins.
        DuePeriod = "due_period",
    }
}

/// A certificate that the learner got for the course.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// Its id, a UUID.
    pub id: String,
    /// When it was issued.
    pub issued_at: Instant,
    /// When it expires; never, if absent.
    #[serde(default)]
    pub expires_at: Option<Instant>,
}

/// An enrollment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Enrollment {
    /// The course.
    pub course_id: i64,
    /// The learner.
    pub person_id: i64,
    /// When access begins.
    pub access_date: Instant,
    /// How the due date is found.
    pub due_date_type: DueDateType,
    /// The due date, with [`DueDateType::DueDate`] only.
    pub due_date: Option<Instant>,
    /// Hours from the beginning of access, with [`DueDateType::DuePeriod`] only.
    pub due_period_h: Option<i64>,
    /// Access ends with the due date. False unless the enrollment has a due date of its own.
    pub lock_after_due_date: bool,
    /// The learner chose it from the catalogue; otherwise an administrator assigned it.
    pub is_from_catalog: bool,
    /// What the learner got for it.
    pub certificate: Option<IssuedCertificate>,
}

edit! {
    /// An edit of an enrollment: its schedule. Course, learner and certificate are fixed.
    EnrollmentEdit for Enrollment {
        access_date: Instant => keeps,
        due_date_type: DueDateType => or(DueDateType::Unlimited),
        due_date: Instant => clears,
        due_period_h: i64 => clears,
        lock_after_due_date: bool => or(false),
    }
}

/// A due date in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub at: Instant,
    /// Access ends then.
    pub is_locked_after: bool,
}

impl Enrollment {
    /// The due date in force, given the course as it stands now; none when there is no limit.
    pub fn due(&self, course: Option<&Course>) -> Option<Due> {
        match self.due_date_type {
            DueDateType::Unlimited => None,
            DueDateType::DueDate => {
                Some(Due { at: self.due_date?, is_locked_after: self.lock_after_due_date })
            }
            DueDateType::DuePeriod => {
                let at = self.after_access(self.due_period_h?)?;
                Some(Due { at, is_locked_after: self.lock_after_due_date })
            }
            DueDateType::Default => {
                let course = course?;
                let at = match course.default_due_type? {
                    DueDateType::DueDate => course.default_due_date?,
                    DueDateType::DuePeriod => self.after_access(course.default_due_period_h?)?,
                    // A course is at the end of the line: it has no default to fall back on.
                    DueDateType::Unlimited | DueDateType::Default => return None,
                };
                Some(Due { at, is_locked_after: course.default_lock_after_due })
            }
        }
    }

    /// So many absolute hours after access begins; none beyond the calendar.
    fn after_access(&self, hours: i64) -> Option<Instant> {
        let seconds = hours.checked_mul(3600)?;
        self.access_date.checked_add(SignedDuration::from_secs(seconds))
    }
}

impl Record for Enrollment {
    const KIND: Kind = Kind::Enrollment;
    const TABLE: Table = Table {
        name: "enrollment",
        key: KeyType::Text,
        columns: &[
            Column::names("course_id", Kind::Course, Gone::Refuses),
            Column::names("person_id", Kind::Person, Gone::Refuses),
        ],
        texts: &[Text::name("certificate.id")],
        data: data! {
            Plain: course_id, person_id, access_date, due_date_type, due_date, due_period_h,
                lock_after_due_date, is_from_catalog, certificate;
        },
        ..Table::EMPTY
    };
    type Edit = EnrollmentEdit;

    /// Drops what the type of due date does not use, so that it cannot come back to life.
    fn settle(&mut self, _: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        if self.due_date_type != DueDateType::DueDate {
            self.due_date = None;
        }
        if self.due_date_type != DueDateType::DuePeriod {
            self.due_period_h = None;
        }
        if matches!(self.due_date_type, DueDateType::Unlimited | DueDateType::Default) {
            self.lock_after_due_date = false;
        }
        Ok(())
    }

    /// The learner's department and all above it, as the tree stands now; a learner without one is
    /// in nobody's scope but the account's.
    fn place(&self, meta: &Meta, facts: &mut Facts) -> Known<Place> {
        let person = facts.find::<Person>(meta.account_id, self.person_id)?;
        let path = match person.as_ref().and_then(|person| person.record.department_id.as_deref()) {
            Some(id) => department::path(meta.account_id, id, facts)?,
            None => Vec::new(),
        };
        Ok(Place::Department(path))
    }

    fn validate(&self, meta: &Meta, changed: &Changed, facts: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        if changed.has("course_id")
            && facts.find::<Course>(meta.account_id, self.course_id)?.is_none()
        {
            errors.push(FieldError::new("course_id", "unknown", "no such course"));
        }
        if changed.has("person_id")
            && facts.find::<Person>(meta.account_id, self.person_id)?.is_none()
        {
            errors.push(FieldError::new("person_id", "unknown", "no such learner"));
        }
        if changed.any(&["access_date", "due_date_type", "due_date", "due_period_h"]) {
            errors.extend(self.schedule_error());
        }
        Ok(errors)
    }
}

impl Enrollment {
    fn schedule_error(&self) -> Option<FieldError> {
        match (self.due_date_type, self.due_date, self.due_period_h) {
            (DueDateType::DueDate, None, _) => {
                Some(FieldError::new("due_date", "required", "a due date is needed"))
            }
            (DueDateType::DueDate, Some(due), _) if due < self.access_date => Some(
                FieldError::new("due_date", "due_before_access", "due_date is before access_date"),
            ),
            (DueDateType::DuePeriod, _, None) => {
                Some(FieldError::new("due_period_h", "required", "a due period is needed"))
            }
            (DueDateType::DuePeriod, _, Some(hours))
                if !(1..=DUE_PERIOD_MAX_H).contains(&hours)
                    || self.after_access(hours).is_none() =>
            {
                Some(FieldError::new(
                    "due_period_h",
                    "out_of_range",
                    "due_period_h is 1 to 876000 hours and ends before the year 10000",
                ))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    fn enrollment(due_date_type: DueDateType) -> Enrollment {
        Enrollment {
            access_date: at("2026-01-10T00:00:00Z"),
            due_date_type,
            ..Enrollment::default()
        }
    }

    fn course(due_type: DueDateType) -> Course {
        Course {
            default_due_type: Some(due_type),
            default_due_date: Some(at("2026-03-01T00:00:00Z")),
            default_due_period_h: Some(48),
            default_lock_after_due: true,
            ..Course::default()
        }
    }

    #[test]
    fn due_date_types_have_the_names_that_are_stored() {
        for (name, expected) in [
            ("unlimited", Some(DueDateType::Unlimited)),
            ("default", Some(DueDateType::Default)),
            ("due_date", Some(DueDateType::DueDate)),
            ("due_period", Some(DueDateType::DuePeriod)),
            ("Unlimited", None),
            ("DueDate", None),
            ("weekly", None),
            ("", None),
        ] {
            assert_eq!(DueDateType::parse(name), expected, "{name}");
        }
    }

    #[test]
    fn a_course_of_an_unknown_rule_is_unreadable() {
        let read = |due_type: &str| {
            serde_json::from_value::<Course>(serde_json::json!({"default_due_type": due_type}))
        };
        assert!(read("weekly").is_err());
        assert_eq!(read("due_period").unwrap().default_due_type, Some(DueDateType::DuePeriod));
    }

    #[test]
    fn the_default_due_date_is_the_courses() {
        let enrollment = enrollment(DueDateType::Default);
        let due = |course: Option<&Course>| enrollment.due(course).map(|due| due.at);
        assert_eq!(due(Some(&course(DueDateType::DuePeriod))), Some(at("2026-01-12T00:00:00Z")));
        assert_eq!(due(Some(&course(DueDateType::DueDate))), Some(at("2026-03-01T00:00:00Z")));
        assert_eq!(due(Some(&course(DueDateType::Unlimited))), None);
        assert_eq!(due(Some(&course(DueDateType::Default))), None);
        assert_eq!(due(Some(&Course::default())), None);
        assert_eq!(due(None), None);
        assert!(enrollment.due(Some(&course(DueDateType::DuePeriod))).unwrap().is_locked_after);
    }

    #[test]
    fn an_enrollments_own_due_date_ignores_the_course() {
        let mut own = enrollment(DueDateType::DuePeriod);
        own.due_period_h = Some(72);
        let due = own.due(Some(&course(DueDateType::DueDate))).unwrap();
        assert_eq!(due, Due { at: at("2026-01-13T00:00:00Z"), is_locked_after: false });
        own.due_date_type = DueDateType::Unlimited;
        assert_eq!(own.due(Some(&course(DueDateType::DueDate))), None);
    }

    struct NoEntropy;

    impl crate::domain::command::Entropy for NoEntropy {
        fn fill(&mut self, _bytes: &mut [u8]) {}
    }

    #[test]
    fn what_the_type_does_not_use_is_dropped() {
        let actor = crate::domain::actor::Actor::operator(1);
        let mut context = Context {
            actor: &actor,
            at: jiff::Timestamp::UNIX_EPOCH,
            entropy: &mut NoEntropy,
            follow_max: 0,
        };
        for (due_date_type, has_date, has_period, is_locked) in [
            (DueDateType::Unlimited, false, false, false),
            (DueDateType::Default, false, false, false),
            (DueDateType::DueDate, true, false, true),
            (DueDateType::DuePeriod, false, true, true),
        ] {
            let mut settled = enrollment(due_date_type);
            settled.due_date = Some(settled.access_date);
            settled.due_period_h = Some(1);
            settled.lock_after_due_date = true;
            settled.settle(None, &mut context, &mut Facts::default()).unwrap();
            assert_eq!(settled.due_date.is_some(), has_date, "{due_date_type:?}");
            assert_eq!(settled.due_period_h.is_some(), has_period, "{due_date_type:?}");
            assert_eq!(settled.lock_after_due_date, is_locked, "{due_date_type:?}");
        }
    }

    #[test]
    fn a_schedule_must_be_whole_and_in_order() {
        let code = |enrollment: &Enrollment| enrollment.schedule_error().map(|e| e.code);
        let mut dated = enrollment(DueDateType::DueDate);
        assert_eq!(code(&dated), Some("required"));
        dated.due_date = Some(at("2026-01-09T23:59:59Z"));
        assert_eq!(code(&dated), Some("due_before_access"));
        dated.due_date = Some(dated.access_date);
        assert_eq!(code(&dated), None);

        let mut period = enrollment(DueDateType::DuePeriod);
        assert_eq!(code(&period), Some("required"));
        for (hours, expected) in [
            (0, Some("out_of_range")),
            (-1, Some("out_of_range")),
            (1, None),
            (DUE_PERIOD_MAX_H, None),
            (DUE_PERIOD_MAX_H + 1, Some("out_of_range")),
            (i64::MAX, Some("out_of_range")),
        ] {
            period.due_period_h = Some(hours);
            assert_eq!(code(&period), expected, "{hours}");
        }
        period.access_date = at("9999-12-01T00:00:00Z");
        period.due_period_h = Some(DUE_PERIOD_MAX_H);
        assert_eq!(code(&period), Some("out_of_range"));
    }
}
