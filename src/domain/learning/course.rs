//! A course. Partners hang classes under it (partner API, "course"); learners owe it (iSpring's
//! content items).

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::enrollment::DueDateType;
use crate::domain::access::Place;
use crate::domain::command::Context;
use crate::domain::error::{Error, FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, KeyType, Table, Text, Unique, data};
use crate::domain::text::NAME_MAX;
use crate::domain::time::Instant;

/// Stands between title and key in [`Course::search_key`]. No text in lower case has it, so nothing
/// is found across the joint. (It is no ASCII letter, because `SQLite` takes those for alike.)
const JOINT: char = 'Ω';

/// The form in which courses are searched: lower case, character by character, so that a part of a
/// text stays a part of it.
pub fn search_form(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

names! {
    /// Where a course is in its life. Set by hand, in any direction.
    #[derive(Default)]
    pub enum CourseStatus {
        /// Being made.
        #[default]
        Draft = "draft",
        /// Running.
        Active = "active",
        /// Over.
        Archived = "archived",
    }
}

/// A course.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Course {
    /// What people call it.
    pub title: String,
    /// The partner API's key of it, unique in the account; absent for one that iSpring made.
    pub course_key: Option<String>,
    /// Title and key, see [`search_form`].
    pub search_key: String,
    /// Where it is in its life.
    pub status: CourseStatus,
    /// Its first day.
    pub start_date: Option<Date>,
    /// Its last day.
    pub end_date: Option<Date>,
    /// What it is about.
    pub description: Option<String>,
    /// iSpring's id of it, a UUID; absent for one that has no learners there.
    pub content_item_id: Option<String>,
    /// When its learners owe it unless their enrollment says otherwise; unlimited, if absent.
    pub default_due_type: Option<DueDateType>,
    /// The date, with [`DueDateType::DueDate`].
    pub default_due_date: Option<Instant>,
    /// Hours from the beginning of access, with [`DueDateType::DuePeriod`].
    pub default_due_period_h: Option<i64>,
    /// Access ends with the due date.
    pub default_lock_after_due: bool,
}

edit! {
    /// An edit of a course.
    CourseEdit for Course {
        title: String => or(String::new()),
        course_key: String => clears,
        status: CourseStatus => or(CourseStatus::Draft),
        start_date: Date => clears,
        end_date: Date => clears,
        description: String => clears,
    }
}

impl Record for Course {
    const KIND: Kind = Kind::Course;
    const TABLE: Table = Table {
        name: "course",
        key: KeyType::Int,
        columns: &[
            Column::text("course_key"),
            Column::text("search_key"),
            Column::text("status"),
            Column::text("content_item_id"),
        ],
        unique: &[
            Unique::live(&["course_key"], "course_key"),
            Unique::ever(&["content_item_id"], "content_item_id"),
        ],
        texts: &[
            Text::prose("description"),
            Text::name("title").filled("title_required"),
            Text::name("course_key")
                .filled("course_key_required")
                .at_most(NAME_MAX, "course_key_too_long"),
            Text::name("content_item_id"),
        ],
        data: data! {
            Free: title, description;
            Derived: search_key;
            Plain: course_key, status, start_date, end_date, content_item_id, default_due_type,
                default_due_date, default_due_period_h, default_lock_after_due;
        },
        lasting: &["content_item_id"],
        ..Table::EMPTY
    };
    type Edit = CourseEdit;

    fn settle(&mut self, before: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        if self.course_key.is_none() && before.is_some_and(|before| before.course_key.is_some()) {
            // A key that was given cannot be taken away; the rule for blank ones says so.
            self.course_key = Some(String::new());
        }
        let key = self.course_key.as_deref().unwrap_or_default();
        self.search_key = format!("{}{JOINT}{}", search_form(&self.title), search_form(key));
        Ok(())
    }

    /// Learners can owe it.
    fn refuse_deletion(&self) -> Result<(), Error> {
        match self.content_item_id {
            Some(_) => Err(Error::Conflict(vec!["content_item_id".to_owned()])),
            None => Ok(()),
        }
    }

    /// Partners share the courses that have a key; one without is known to learners only.
    fn place(&self, _: &Meta, _: &mut Facts) -> Known<Place> {
        let is_shared = self.course_key.is_some();
        Ok(if is_shared { Place::Account } else { Place::Department(Vec::new()) })
    }

    fn validate(&self, _: &Meta, changed: &Changed, _: &mut Facts) -> Known<FieldErrors> {
        let span = (("start_date", self.start_date), ("end_date", self.end_date));
        let error = FieldError::backwards(span.0, span.1, "end_date_before_start_date");
        Ok(error.filter(|_| changed.any(&["start_date", "end_date"])).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_lower_case_has_the_joint() {
        for c in '\0'..=char::MAX {
            assert!(!c.to_lowercase().any(|lower| lower == JOINT), "{c}");
        }
    }

    #[test]
    fn a_part_of_a_text_is_found_in_it() {
        let text = search_form("ΑΣ İstanbul ẞ");
        for part in ["Σ", "ΑΣ", "İ", "ẞ", " "] {
            assert!(text.contains(&search_form(part)), "{part}");
        }
    }
}
