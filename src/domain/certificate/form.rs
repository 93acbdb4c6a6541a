//! The template of an award: what certificates of a form have in common. Source: Kolleges, "인증서 양식
//! 생성", "인증서 양식 수정".

use serde::{Deserialize, Serialize};

use super::design::{Design, DesignType};
use crate::domain::command::Context;
use crate::domain::error::{FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::people::account::ClubImage;
use crate::domain::people::person::fold;
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, data};
use crate::domain::time::Instant;

/// Letters of a prefix at the most.
const PREFIX_MAX: usize = 5;
/// The code of the rule that a design has to be there, of the kind that is asked for.
pub const DESIGN_NOT_FOUND: &str = "design_not_found";

names! {
    /// What a form is for.
    #[derive(Default)]
    pub enum FormType {
        /// A course was completed.
        #[default]
        Completion = "completion",
        /// An activity was taken part in.
        Activity = "activity",
        /// A licence was earned.
        License = "license",
        /// Work was done.
        Career = "career",
        /// A prize was won.
        Award = "award",
        /// Somebody is recommended.
        Recommendation = "recommendation",
        /// Somebody is a member.
        Membership = "membership",
        /// A degree was taken.
        Degree = "degree",
        /// Something is warranted.
        Warranty = "warranty",
    }
}

/// What holders had to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Requirement {
    /// The kind of task, e.g. `read`; an open set.
    #[serde(rename = "type")]
    pub requirement_type: Option<String>,
    /// Where it is described.
    pub url: Option<String>,
    /// What it asks.
    pub description: Option<String>,
    /// Its place among the others, from 0.
    pub order: Option<u64>,
}

/// A body that stands behind an award.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Institution {
    /// What it is called.
    pub name: String,
    /// The kind of body.
    #[serde(rename = "type")]
    pub institution_type: String,
    /// Its site.
    #[serde(default)]
    pub website_url: Option<String>,
    /// Its pictures.
    #[serde(default)]
    pub images: Vec<ClubImage>,
}

/// A form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Form {
    /// What people call it.
    pub name: String,
    /// The name, folded for search.
    pub name_key: String,
    /// What it says.
    pub description: Option<String>,
    /// What it is for.
    #[serde(rename = "type")]
    pub form_type: FormType,
    /// Free words.
    pub tags: Vec<String>,
    /// First part of the certificate numbers, at most five letters.
    pub prefix: Option<String>,
    /// The programme it is given for.
    pub program_name: Option<String>,
    /// The kind of programme.
    pub program_type: Option<String>,
    /// Where the programme is described.
    pub program_url: Option<String>,
    /// When the course begins.
    pub course_begin_at: Option<Instant>,
    /// When the course ends.
    pub course_end_at: Option<Instant>,
    /// The certificate's design.
    pub certificate_design_id: Option<i64>,
    /// The badge's design.
    pub badge_design_id: Option<i64>,
    /// What holders had to do, in order.
    pub requirements: Vec<Requirement>,
    /// Bodies that stand behind the award.
    pub institutions: Vec<Institution>,
    /// The first among them.
    pub representative_institution: Option<Institution>,
}

edit! {
    /// An edit of a form.
    FormEdit for Form {
        name: String => keeps,
        description: String => clears,
        form_type: FormType => keeps,
        tags: Vec<String> => or(Vec::new()),
        prefix: String => clears,
        program_name: String => clears,
        program_type: String => clears,
        program_url: String => clears,
        course_begin_at: Instant => clears,
        course_end_at: Instant => clears,
        certificate_design_id: i64 => clears,
        badge_design_id: i64 => clears,
        requirements: Vec<Requirement> => or(Vec::new()),
        institutions: Vec<Institution> => or(Vec::new()),
        representative_institution: Institution => clears,
    }
}

impl Record for Form {
    const KIND: Kind = Kind::Form;
    const TABLE: Table = Table {
        name: "form",
        key: KeyType::Int,
        columns: &[
            Column::text("name_key"),
            Column::names("certificate_design_id", Kind::Design, Gone::Refuses),
            Column::names("badge_design_id", Kind::Design, Gone::Refuses),
        ],
        texts: &[
            Text::name("name").filled("name_required"),
            Text::prose("description"),
            Text::name("tags").each(),
            Text::name("prefix"),
            Text::name("program_name"),
            Text::name("program_type"),
            Text::url("program_url"),
            Text::list("requirements"),
            Text::name("requirements.type"),
            Text::url("requirements.url"),
            Text::prose("requirements.description"),
            Text::list("institutions"),
            Text::name("institutions.name").filled("name_required"),
            Text::name("institutions.type").filled("type_required"),
            Text::url("institutions.website_url"),
            Text::list("institutions.images"),
            Text::url("institutions.images.path").filled("path_required"),
            Text::name("institutions.images.type").filled("type_required"),
            Text::name("representative_institution.name").filled("name_required"),
            Text::name("representative_institution.type").filled("type_required"),
            Text::url("representative_institution.website_url"),
            Text::list("representative_institution.images"),
            Text::url("representative_institution.images.path").filled("path_required"),
            Text::name("representative_institution.images.type").filled("type_required"),
        ],
        data: data! {
            Free: name, description, tags, program_name, requirements, institutions,
                representative_institution;
            Derived: name_key;
            Plain: type, prefix, program_type, program_url, course_begin_at, course_end_at,
                certificate_design_id, badge_design_id;
        },
        ..Table::EMPTY
    };
    type Edit = FormEdit;

    fn settle(&mut self, _: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        self.name_key = fold(&self.name);
        // In the order that they name, and then in which they came.
        self.requirements.sort_by_key(|requirement| requirement.order.unwrap_or(u64::MAX));
        Ok(())
    }

    fn validate(&self, meta: &Meta, changed: &Changed, facts: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        let is_prefix = |text: &str| {
            (1..=PREFIX_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphabetic())
        };
        if changed.has("prefix") && self.prefix.as_deref().is_some_and(|text| !is_prefix(text)) {
            errors.push(FieldError::new("prefix", "not_a_prefix", "must be one to five letters"));
        }
        // The vendor's own sample moves the beginning alone, past the end.
        if changed.has("course_end_at") {
            let begin = ("course_begin_at", self.course_begin_at);
            let end = ("course_end_at", self.course_end_at);
            errors.extend(FieldError::backwards(begin, end, "end_before_begin"));
        }
        errors.extend(self.wrong_designs(|field| changed.has(field), meta, facts)?);
        Ok(errors)
    }

    fn broken(&self, meta: &Meta, facts: &mut Facts) -> Known<FieldErrors> {
        self.wrong_designs(|_| true, meta, facts)
    }
}

impl Form {
    fn wrong_designs(
        &self,
        is_asked: impl Fn(&str) -> bool,
        meta: &Meta,
        facts: &Facts,
    ) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        for (field, id, design_type) in [
            ("certificate_design_id", self.certificate_design_id, DesignType::Certificate),
            ("badge_design_id", self.badge_design_id, DesignType::Badge),
        ] {
            if let (true, Some(id)) = (is_asked(field), id) {
                let design = facts.find::<Design>(meta.account_id, id)?;
                if design.is_none_or(|design| design.record.design_type != design_type) {
                    let detail = format!("there is no such {} design", design_type.name());
                    errors.push(FieldError::new(field, DESIGN_NOT_FOUND, detail));
                }
            }
        }
        Ok(errors)
    }
}
