//! Certificates as the wire shows them. The key order is the documented one.

use std::collections::HashSet;

use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

use super::date::At;
use crate::domain::credential::achievement::Achievement;
use crate::domain::credential::design::Design;
use crate::domain::credential::form::Form;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::people::account::{Account, CustomData};
use crate::domain::people::person::Person;
use crate::domain::record::{Key, Stored};

/// A certificate with all that is shown beside it.
pub struct Shown {
    achievement: Stored<Achievement>,
    holder: Stored<Person>,
    form: Stored<Form>,
    club: Stored<Account>,
    certificate_design: Option<Stored<Design>>,
    badge_design: Option<Stored<Design>>,
}

impl Shown {
    /// Finds what is shown beside a certificate.
    ///
    /// # Errors
    /// [`crate::domain::facts::Stop::Missing`] until all is loaded.
    pub fn gather(achievement: Stored<Achievement>, facts: &Facts) -> Known<Self> {
        let account_id = achievement.meta.account_id;
        facts.want([
            (Kind::Form, Key::Int(achievement.record.form_id)),
            (Kind::Person, Key::Int(achievement.record.person_id)),
            (Kind::Account, Key::Int(account_id)),
        ])?;
        let form = facts.get::<Form>(account_id, achievement.record.form_id)?;
        let designs = [form.record.certificate_design_id, form.record.badge_design_id];
        facts.want(designs.into_iter().flatten().map(|id| (Kind::Design, Key::Int(id))))?;
        let design = |id: Option<i64>| match id {
            Some(id) => facts.find::<Design>(account_id, id),
            None => Ok(None),
        };
        Ok(Self {
            holder: facts.get(account_id, achievement.record.person_id)?,
            club: facts.get(account_id, account_id)?,
            certificate_design: design(form.record.certificate_design_id)?,
            badge_design: design(form.record.badge_design_id)?,
            achievement,
            form,
        })
    }

    /// Finds the account's living certificates among `ids`, in that order, with what is shown beside
    /// each: as many as there are in as few rounds as one.
    ///
    /// # Errors
    /// As [`Shown::gather`].
    pub fn gather_all(account_id: i64, ids: &[i64], facts: &Facts) -> Known<Vec<Self>> {
        facts.want(ids.iter().map(|id| (Kind::Achievement, Key::Int(*id))))?;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(facts.find::<Achievement>(account_id, *id)?);
        }
        let beside = |stored: &Stored<Achievement>| {
            let Achievement { form_id, person_id, .. } = *stored.record;
            [(Kind::Form, Key::Int(form_id)), (Kind::Person, Key::Int(person_id))]
        };
        facts.want(found.iter().flat_map(beside).collect::<HashSet<_>>())?;
        let mut designs = HashSet::new();
        for stored in &found {
            let form = facts.get::<Form>(account_id, stored.record.form_id)?.record;
            let ids = [form.certificate_design_id, form.badge_design_id];
            designs.extend(ids.into_iter().flatten().map(|id| (Kind::Design, Key::Int(id))));
        }
        facts.want(designs)?;
        found.into_iter().map(|stored| Self::gather(stored, facts)).collect()
    }

    /// The certificate's version.
    pub fn version(&self) -> i64 {
        self.achievement.meta.version
    }

    /// The answer to a read of one.
    pub fn whole(&self) -> impl Serialize + '_ {
        let Stored { meta, record } = &self.achievement;
        WholeAnswer {
            status_code: 200,
            message: "인증서가 조회되었습니다.",
            achievement: Whole {
                id: self.achievement.id(),
                admin_comment: record.admin_comment.as_deref(),
                level: record.level.as_ref(),
                nft_token: record.nft_token.as_deref(),
                issuance_route: &record.issuance_route,
                certificate_number: &record.certificate_number,
                course_begin_at: record.course_begin_at.map(At),
                course_end_at: record.course_end_at.map(At),
                expiration_date: record.expiration_date.map(At),
                is_received: record.is_received,
                status: &record.status,
                issuance_method: &record.issuance_method,
                created_at: At(record.issued_at),
                updated_at: At::from(meta.updated_at),
                user: User(&self.holder.record),
                evidences: &record.evidences,
                achievement_form: self.form(),
                custom_attributes: &record.custom_attributes,
                achievement_form_id: record.form_id,
            },
        }
    }

    /// The certificate as an item of the list.
    pub fn item(&self) -> impl Serialize + '_ {
        let Stored { meta, record } = &self.achievement;
        Item {
            id: self.achievement.id(),
            certificate_number: &record.certificate_number,
            expiration_date: record.expiration_date.map(At),
            is_received: record.is_received,
            issuance_method: &record.issuance_method,
            created_at: At(record.issued_at),
            updated_at: At::from(meta.updated_at),
            user: User(&self.holder.record),
            achievement_form: ItemForm {
                id: self.form.id(),
                name: &self.form.record.name,
                achievement_badge_design: self.badge_design.as_ref().map(DesignShown),
            },
        }
    }

    fn form(&self) -> FormShown<'_> {
        let Stored { meta, record } = &self.form;
        FormShown {
            id: self.form.id(),
            name: &record.name,
            description: record.description.as_deref(),
            form_type: &record.form_type,
            tags: &record.tags,
            prefix: record.prefix.as_deref(),
            program_type: record.program_type.as_deref(),
            program_name: record.program_name.as_deref(),
            program_url: record.program_url.as_deref(),
            course_begin_at: record.course_begin_at.map(At),
            course_end_at: record.course_end_at.map(At),
            created_at: At::from(meta.created_at),
            updated_at: At::from(meta.updated_at),
            club: Club {
                domain: self.club.record.club_domain.as_deref(),
                custom_data: &self.club.record.club_custom_data,
            },
            club_institutions: &record.institutions,
            representative_institution: record.representative_institution.as_ref(),
            requirements: &record.requirements,
            achievement_certificate_design: self.certificate_design.as_ref().map(DesignShown),
            achievement_badge_design: self.badge_design.as_ref().map(DesignShown),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WholeAnswer<'a> {
    status_code: u16,
    message: &'static str,
    achievement: Whole<'a>,
}

#[derive(Serialize)]
struct Whole<'a> {
    id: i64,
    admin_comment: Option<&'a str>,
    level: Option<&'a Number>,
    nft_token: Option<&'a str>,
    issuance_route: &'a str,
    certificate_number: &'a str,
    course_begin_at: Option<At>,
    course_end_at: Option<At>,
    expiration_date: Option<At>,
    is_received: bool,
    status: &'a str,
    issuance_method: &'a str,
    created_at: At,
    updated_at: At,
    user: User<'a>,
    evidences: &'a [Value],
    #[serde(rename = "achievementForm")]
    achievement_form: FormShown<'a>,
    #[serde(rename = "customAttributes")]
    custom_attributes: &'a [Value],
    #[serde(rename = "achievementFormId")]
    achievement_form_id: i64,
}

#[derive(Serialize)]
struct Item<'a> {
    id: i64,
    certificate_number: &'a str,
    expiration_date: Option<At>,
    is_received: bool,
    issuance_method: &'a str,
    created_at: At,
    updated_at: At,
    user: User<'a>,
    #[serde(rename = "achievementForm")]
    achievement_form: ItemForm<'a>,
}

#[derive(Serialize)]
struct ItemForm<'a> {
    id: i64,
    name: &'a str,
    #[serde(rename = "achievementBadgeDesign")]
    achievement_badge_design: Option<DesignShown<'a>>,
}

#[derive(Serialize)]
struct FormShown<'a> {
    id: i64,
    name: &'a str,
    description: Option<&'a str>,
    #[serde(rename = "type")]
    form_type: &'a str,
    tags: &'a [String],
    prefix: Option<&'a str>,
    program_type: Option<&'a str>,
    program_name: Option<&'a str>,
    program_url: Option<&'a str>,
    course_begin_at: Option<At>,
    course_end_at: Option<At>,
    created_at: At,
    updated_at: At,
    club: Club<'a>,
    #[serde(rename = "clubInstitutions")]
    club_institutions: &'a [Value],
    #[serde(rename = "representativeInstitution")]
    representative_institution: Option<&'a Value>,
    requirements: &'a [Value],
    #[serde(rename = "achievementCertificateDesign")]
    achievement_certificate_design: Option<DesignShown<'a>>,
    #[serde(rename = "achievementBadgeDesign")]
    achievement_badge_design: Option<DesignShown<'a>>,
}

#[derive(Serialize)]
struct Club<'a> {
    domain: Option<&'a str>,
    #[serde(rename = "customData")]
    custom_data: &'a [CustomData],
}

struct User<'a>(&'a Person);

impl Serialize for User<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            email: Option<&'a str>,
            name: &'a str,
            avatar: &'a [String],
            deleted_at: Option<At>,
            image: Option<&'a str>,
            #[serde(rename = "profileImageType")]
            profile_image_type: &'static str,
        }
        let Person { name, email, avatar, image, .. } = self.0;
        Fields {
            email: email.as_deref(),
            name,
            avatar,
            deleted_at: None,
            image: image.as_deref(),
            profile_image_type: if image.is_some() { "profile" } else { "avatar" },
        }
        .serialize(serializer)
    }
}

struct DesignShown<'a>(&'a Stored<Design>);

impl Serialize for DesignShown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            id: i64,
            name: &'a str,
            main_color: Option<&'a str>,
            sub_color: Option<&'a str>,
            extra_color_1: Option<&'a str>,
            extra_color_2: Option<&'a str>,
            layout_json: &'a Value,
            created_at: At,
            updated_at: At,
            template_type: &'a str,
        }
        let Stored { meta, record } = self.0;
        Fields {
            id: self.0.id(),
            name: &record.name,
            main_color: record.main_color.as_deref(),
            sub_color: record.sub_color.as_deref(),
            extra_color_1: record.extra_color_1.as_deref(),
            extra_color_2: record.extra_color_2.as_deref(),
            layout_json: &record.layout_json,
            created_at: At::from(meta.created_at),
            updated_at: At::from(meta.updated_at),
            template_type: &record.template_type,
        }
        .serialize(serializer)
    }
}
