//! An issued certificate. Source of its edit: Kolleges, "인증서 수정 (PATCH)".

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::domain::error::FieldError;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{Changed, ColumnType, KeyType, Meta, Record, Table};
use crate::domain::time::Instant;

/// Levels are below this, 2^64: beyond it whole numbers would be rounded.
const LEVEL_LIMIT: f64 = 18_446_744_073_709_551_616.0;

/// A certificate of a form, held by a person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Achievement {
    /// The form it was issued from.
    pub form_id: i64,
    /// Who holds it.
    pub person_id: i64,
    /// `<prefix>-<YYYYMM of issue>-<6 of [a-z0-9]>`, unique, fixed at issue.
    pub certificate_number: String,
    /// When it was issued (Kolleges' `created_at`).
    pub issued_at: Instant,
    /// When the course behind it began.
    pub course_begin_at: Option<Instant>,
    /// When the course behind it ended.
    pub course_end_at: Option<Instant>,
    /// When it expires; never, if absent.
    pub expiration_date: Option<Instant>,
    /// The administrator's note.
    pub admin_comment: Option<String>,
    /// A number that the club gives meaning to.
    pub level: Option<Number>,
    /// Set when it was minted as a token.
    pub nft_token: Option<String>,
    /// `manual` or `automatic`.
    pub issuance_route: String,
    /// `EMAIL` or `PHONE`.
    pub issuance_method: String,
    /// `PREVIEW` or `ISSUED`.
    pub status: String,
    /// The holder has accepted it.
    pub is_received: bool,
    /// What proves it.
    pub evidences: Vec<Value>,
    /// The club's own attributes.
    pub custom_attributes: Vec<Value>,
}

/// An edit of a certificate. Number, form, holder and status are fixed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AchievementEdit {
    /// See [`Achievement::course_begin_at`].
    pub course_begin_at: Patch<Instant>,
    /// See [`Achievement::course_end_at`].
    pub course_end_at: Patch<Instant>,
    /// See [`Achievement::expiration_date`].
    pub expiration_date: Patch<Instant>,
    /// See [`Achievement::issued_at`].
    pub issued_at: Patch<Instant>,
    /// See [`Achievement::admin_comment`].
    pub admin_comment: Patch<String>,
    /// See [`Achievement::level`].
    pub level: Patch<Number>,
}

impl Record for Achievement {
    const KIND: Kind = Kind::Achievement;
    const TABLE: Table = Table {
        name: "achievement",
        key: KeyType::Int,
        columns: &[
            ("form_id", ColumnType::Reference(Kind::Form)),
            ("person_id", ColumnType::Reference(Kind::Person)),
            ("certificate_number", ColumnType::Text),
            ("issued_at", ColumnType::Instant),
        ],
        secrets: &[],
    };
    type Edit = AchievementEdit;

    fn apply(&mut self, edit: &AchievementEdit) {
        let AchievementEdit {
            course_begin_at,
            course_end_at,
            expiration_date,
            issued_at,
            admin_comment,
            level,
        } = edit;
        course_begin_at.apply(&mut self.course_begin_at);
        course_end_at.apply(&mut self.course_end_at);
        expiration_date.apply(&mut self.expiration_date);
        issued_at.apply_required(&mut self.issued_at);
        admin_comment.apply(&mut self.admin_comment);
        level.apply(&mut self.level);
    }

    fn validate(
        &self,
        _meta: &Meta,
        changed: &Changed,
        _facts: &mut Facts,
    ) -> Known<Vec<FieldError>> {
        let mut errors = Vec::new();
        if changed.any(&["course_begin_at", "course_end_at"])
            && let (Some(begin), Some(end)) = (self.course_begin_at, self.course_end_at)
            && end < begin
        {
            errors.push(FieldError::new(
                "course_end_at",
                "end_before_begin",
                "course_end_at is before course_begin_at",
            ));
        }
        if changed.has("level")
            && self
                .level
                .as_ref()
                .and_then(Number::as_f64)
                .is_some_and(|level| level.abs() >= LEVEL_LIMIT)
        {
            errors.push(FieldError::new("level", "out_of_range", "is beyond 64 bits"));
        }
        Ok(errors)
    }
}
