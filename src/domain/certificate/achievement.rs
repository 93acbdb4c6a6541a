//! An issued certificate. Source of its edit: Kolleges, "인증서 수정 (PATCH)".

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::domain::command::Context;
use crate::domain::error::{FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::people::person::fold;
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Unique, data};
use crate::domain::time::Instant;

/// Levels are between these, -2^63 and 2^64: beyond them whole numbers would be rounded, and cannot be told
/// from decimals.
const LEVELS: (f64, f64) = (-9_223_372_036_854_775_808.0, 18_446_744_073_709_551_616.0);

names! {
    /// How a certificate reaches its holder.
    #[derive(Default)]
    pub enum IssuanceMethod {
        /// By e-mail.
        #[default]
        Email = "EMAIL",
        /// By text message.
        Phone = "PHONE",
    }
}

names! {
    /// Who set an issue off.
    #[derive(Default)]
    pub enum IssuanceRoute {
        /// A person, by hand.
        Manual = "manual",
        /// A program.
        #[default]
        Automatic = "automatic",
    }
}

names! {
    /// Whether a certificate is out.
    #[derive(Default)]
    pub enum AchievementStatus {
        /// Shown to the club alone.
        Preview = "PREVIEW",
        /// Given to its holder.
        #[default]
        Issued = "ISSUED",
    }
}

/// What proves a certificate: a link, or a file by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Its number, unique within the certificate.
    pub id: i64,
    /// What people call it; the file's name where nothing better is known.
    pub title: String,
    /// Where it is, when it was given as a link.
    #[serde(default)]
    pub link: Option<String>,
    /// The file's name, when it was given as a file.
    #[serde(default)]
    pub file_name: Option<String>,
}

/// A value of one of the club's own attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomAttribute {
    /// Which attribute: its tag in layouts.
    pub attribute_tag: String,
    /// Its value.
    pub attribute_value: String,
}

/// A certificate of a form, held by a person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Achievement {
    /// The form it was issued from.
    pub form_id: i64,
    /// Who holds it.
    pub person_id: i64,
    /// The holder's name as it was given at issue, where the person is known by another.
    pub holder_name: Option<String>,
    /// That name, folded for search.
    pub holder_key: Option<String>,
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
    /// Who set its issue off.
    pub issuance_route: IssuanceRoute,
    /// How it reaches its holder.
    pub issuance_method: IssuanceMethod,
    /// Whether it is out.
    pub status: AchievementStatus,
    /// The holder has accepted it.
    pub is_received: bool,
    /// What proves it.
    pub evidences: Vec<Evidence>,
    /// The club's own attributes.
    pub custom_attributes: Vec<CustomAttribute>,
}

edit! {
    /// An edit of a certificate. Number, form and holder are fixed.
    AchievementEdit for Achievement {
        course_begin_at: Instant => clears,
        course_end_at: Instant => clears,
        expiration_date: Instant => clears,
        issued_at: Instant => keeps,
        admin_comment: String => clears,
        level: Number => clears,
        nft_token: String => clears,
        status: AchievementStatus => keeps,
        is_received: bool => keeps,
        evidences: Vec<Evidence> => or(Vec::new()),
        custom_attributes: Vec<CustomAttribute> => or(Vec::new()),
    }
}

/// True for a number that a certificate can have as its level.
pub fn is_level(number: &Number) -> bool {
    let is_between = |level| LEVELS.0 < level && level < LEVELS.1;
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(is_between)
}

impl Record for Achievement {
    const KIND: Kind = Kind::Achievement;
    const TABLE: Table = Table {
        name: "achievement",
        key: KeyType::Int,
        columns: &[
            Column::names("form_id", Kind::Form, Gone::Refuses),
            Column::names("person_id", Kind::Person, Gone::Refuses),
            Column::text("certificate_number"),
            Column::text("holder_key"),
            Column::instant("issued_at"),
        ],
        unique: &[Unique::ever(&["certificate_number"], "certificate_number")],
        texts: &[
            Text::name("holder_name").unbroken(),
            Text::name("certificate_number"),
            Text::prose("admin_comment"),
            Text::line("nft_token"),
            Text::list("evidences"),
            Text::name("evidences.title").filled("title_required"),
            Text::url("evidences.link"),
            Text::name("evidences.file_name"),
            Text::list("custom_attributes"),
            Text::name("custom_attributes.attribute_tag").filled("attribute_tag_required"),
            Text::line("custom_attributes.attribute_value"),
        ],
        data: data! {
            Personal: holder_name;
            Free: admin_comment, evidences, custom_attributes;
            Derived: holder_key;
            Plain: form_id, person_id, certificate_number, issued_at, course_begin_at,
                course_end_at, expiration_date, level, nft_token, issuance_route, issuance_method,
                status, is_received;
        },
        ..Table::EMPTY
    };
    type Edit = AchievementEdit;

    fn settle(&mut self, _: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        self.holder_key = self.holder_name.as_deref().map(fold);
        Ok(())
    }

    fn validate(&self, meta: &Meta, changed: &Changed, _: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        // A new certificate has its form's dates, whatever they are.
        if meta.version > 0 && changed.any(&["course_begin_at", "course_end_at"]) {
            let begin = ("course_begin_at", self.course_begin_at);
            let end = ("course_end_at", self.course_end_at);
            errors.extend(FieldError::backwards(begin, end, "end_before_begin"));
        }
        if changed.has("level") && self.level.as_ref().is_some_and(|level| !is_level(level)) {
            errors.push(FieldError::new("level", "out_of_range", "is beyond 64 bits"));
        }
        if changed.has("evidences") {
            let mut ids: Vec<i64> = self.evidences.iter().map(|evidence| evidence.id).collect();
            ids.sort_unstable();
            ids.dedup();
            if ids.len() < self.evidences.len() {
                let detail = "two evidences have the same id";
                errors.push(FieldError::new("evidences", "duplicate_id", detail));
            }
        }
        Ok(errors)
    }
}
