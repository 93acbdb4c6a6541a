//! Certificates, forms and designs as the wire shows them. The key order is the documented one.

use std::collections::HashSet;

use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

use super::date::At;
use crate::domain::certificate::achievement::{
    Achievement, AchievementStatus, CustomAttribute, Evidence, IssuanceMethod, IssuanceRoute,
};
use crate::domain::certificate::design::Design;
use crate::domain::certificate::form::{Form, FormType, Institution, Requirement};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::people::account::{Account, ClubImage, CustomData};
use crate::domain::people::person::Person;
use crate::domain::record::{Key, Stored};
use crate::domain::tag::View;

/// A certificate with all that is shown beside it.
pub struct Shown {
    achievement: Stored<Achievement>,
    holder: Stored<Person>,
    form: FormShown,
}

impl Shown {
    /// Finds what is shown beside a certificate.
    ///
    /// # Errors
    /// [`crate::domain::facts::Stop::Missing`] until all is loaded.
    pub fn gather(achievement: Stored<Achievement>, view: &mut View<'_>) -> Known<Self> {
        let account_id = achievement.meta.account_id;
        view.facts.want([
            (Kind::Form, Key::Int(achievement.record.form_id)),
            (Kind::Person, Key::Int(achievement.record.person_id)),
            (Kind::Account, Key::Int(account_id)),
        ])?;
        let form = view.get::<Form>(account_id, achievement.record.form_id)?;
        Ok(Self {
            holder: view.get(account_id, achievement.record.person_id)?,
            form: FormShown::gather(form, view)?,
            achievement,
        })
    }

    /// Finds the account's living certificates among `ids`, in that order, with what is shown beside
    /// each: as many as there are in as few rounds as one.
    ///
    /// # Errors
    /// As [`Shown::gather`].
    pub fn gather_all(account_id: i64, ids: &[i64], facts: &Facts) -> Known<Vec<Self>> {
        let found = facts.find_all::<Achievement>(account_id, ids)?;
        let beside = |stored: &Stored<Achievement>| {
            let Achievement { form_id, person_id, .. } = *stored.record;
            [(Kind::Form, Key::Int(form_id)), (Kind::Person, Key::Int(person_id))]
        };
        facts.want(found.iter().flat_map(beside).collect::<HashSet<_>>())?;
        let forms: HashSet<i64> = found.iter().map(|stored| stored.record.form_id).collect();
        want_designs(account_id, &forms, facts)?;
        let mut view = View::new(facts);
        found.into_iter().map(|stored| Self::gather(stored, &mut view)).collect()
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
                issuance_route: record.issuance_route,
                certificate_number: &record.certificate_number,
                course_begin_at: record.course_begin_at.map(At),
                course_end_at: record.course_end_at.map(At),
                expiration_date: record.expiration_date.map(At),
                is_received: record.is_received,
                status: record.status,
                issuance_method: record.issuance_method,
                created_at: At(record.issued_at),
                updated_at: At::from(meta.updated_at),
                user: self.user(),
                evidences: &record.evidences,
                achievement_form: self.form.whole(),
                custom_attributes: &record.custom_attributes,
                achievement_form_id: record.form_id,
            },
        }
    }

    /// The certificate as an item of the list.
    pub fn item(&self) -> impl Serialize + '_ {
        let Stored { meta, record } = &self.achievement;
        ListItem {
            id: self.achievement.id(),
            certificate_number: &record.certificate_number,
            expiration_date: record.expiration_date.map(At),
            is_received: record.is_received,
            issuance_method: record.issuance_method,
            created_at: At(record.issued_at),
            updated_at: At::from(meta.updated_at),
            user: self.user(),
            achievement_form: ItemForm {
                id: self.form.form.id(),
                name: &self.form.form.record.name,
                achievement_certificate_design: self
                    .form
                    .certificate_design
                    .as_ref()
                    .map(DesignShown::shown),
                achievement_badge_design: self.form.badge_design.as_ref().map(DesignShown::shown),
                club: IssuerShown::new(&self.form.club.record),
            },
        }
    }

    fn user(&self) -> ShownUser<'_> {
        ShownUser(&self.holder.record, self.achievement.record.holder_name.as_deref())
    }
}

/// Asks for the designs of several forms at once.
fn want_designs(account_id: i64, forms: &HashSet<i64>, facts: &Facts) -> Known<()> {
    let mut designs = HashSet::new();
    for id in forms {
        let form = facts.get::<Form>(account_id, *id)?.record;
        let ids = [form.certificate_design_id, form.badge_design_id];
        designs.extend(ids.into_iter().flatten().map(|id| (Kind::Design, Key::Int(id))));
    }
    facts.want(designs)
}

/// A form with all that is shown beside it.
pub struct FormShown {
    form: Stored<Form>,
    club: Stored<Account>,
    certificate_design: Option<DesignShown>,
    badge_design: Option<DesignShown>,
}

impl FormShown {
    /// Finds what is shown beside a form.
    ///
    /// # Errors
    /// [`crate::domain::facts::Stop::Missing`] until all is loaded.
    pub fn gather(form: Stored<Form>, view: &mut View<'_>) -> Known<Self> {
        let account_id = form.meta.account_id;
        let Form { certificate_design_id, badge_design_id, .. } = *form.record;
        let designs = [certificate_design_id, badge_design_id];
        let designs = designs.into_iter().flatten().map(|id| (Kind::Design, Key::Int(id)));
        view.facts.want(designs.chain([(Kind::Account, Key::Int(account_id))]))?;
        let mut design = |id: Option<i64>| -> Known<Option<DesignShown>> {
            let Some(id) = id else { return Ok(None) };
            Ok(view.find::<Design>(account_id, id)?.map(DesignShown::new))
        };
        Ok(Self {
            certificate_design: design(certificate_design_id)?,
            badge_design: design(badge_design_id)?,
            club: view.get(account_id, account_id)?,
            form,
        })
    }

    /// Finds the account's living forms among `ids`, in that order, with what is shown beside each.
    ///
    /// # Errors
    /// As [`FormShown::gather`].
    pub fn gather_all(account_id: i64, ids: &[i64], facts: &Facts) -> Known<Vec<Self>> {
        let club = (Kind::Account, Key::Int(account_id));
        facts.want(ids.iter().map(|id| (Kind::Form, Key::Int(*id))).chain([club]))?;
        let found = facts.find_all::<Form>(account_id, ids)?;
        want_designs(account_id, &found.iter().map(Stored::id).collect(), facts)?;
        let mut view = View::new(facts);
        found.into_iter().map(|form| Self::gather(form, &mut view)).collect()
    }

    /// The form as an item of the list.
    pub fn item(&self) -> FormItem<'_> {
        let Stored { meta, record } = &self.form;
        FormItem {
            id: self.form.id(),
            name: &record.name,
            description: record.description.as_deref(),
            form_type: record.form_type,
            tags: &record.tags,
            prefix: record.prefix.as_deref(),
            program_type: record.program_type.as_deref(),
            program_name: record.program_name.as_deref(),
            program_url: record.program_url.as_deref(),
            course_begin_at: record.course_begin_at.map(At),
            course_end_at: record.course_end_at.map(At),
            created_at: At::from(meta.created_at),
            updated_at: At::from(meta.updated_at),
            achievement_certificate_design: self
                .certificate_design
                .as_ref()
                .map(DesignShown::shown),
            achievement_badge_design: self.badge_design.as_ref().map(DesignShown::shown),
        }
    }

    /// The form as it is shown alone and in a certificate.
    pub fn whole(&self) -> WholeForm<'_> {
        let record = &self.form.record;
        WholeForm {
            item: self.item(),
            club: ClubOfForm {
                issuer: IssuerShown::new(&self.club.record),
                custom_data: &self.club.record.club_custom_data,
            },
            club_institutions: &record.institutions,
            representative_institution: record.representative_institution.as_ref(),
            requirements: record.requirements.iter().map(RequirementShown).collect(),
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
    issuance_route: IssuanceRoute,
    certificate_number: &'a str,
    course_begin_at: Option<At>,
    course_end_at: Option<At>,
    expiration_date: Option<At>,
    is_received: bool,
    status: AchievementStatus,
    issuance_method: IssuanceMethod,
    created_at: At,
    updated_at: At,
    user: ShownUser<'a>,
    evidences: &'a [Evidence],
    #[serde(rename = "achievementForm")]
    achievement_form: WholeForm<'a>,
    #[serde(rename = "customAttributes")]
    custom_attributes: &'a [CustomAttribute],
    #[serde(rename = "achievementFormId")]
    achievement_form_id: i64,
}

#[derive(Serialize)]
struct ListItem<'a> {
    id: i64,
    certificate_number: &'a str,
    expiration_date: Option<At>,
    is_received: bool,
    issuance_method: IssuanceMethod,
    created_at: At,
    updated_at: At,
    user: ShownUser<'a>,
    #[serde(rename = "achievementForm")]
    achievement_form: ItemForm<'a>,
}

#[derive(Serialize)]
struct ItemForm<'a> {
    id: i64,
    name: &'a str,
    #[serde(rename = "achievementCertificateDesign")]
    achievement_certificate_design: Option<DesignFields<'a>>,
    #[serde(rename = "achievementBadgeDesign")]
    achievement_badge_design: Option<DesignFields<'a>>,
    club: IssuerShown<'a>,
}

/// See [`FormShown::item`].
#[derive(Serialize)]
pub struct FormItem<'a> {
    id: i64,
    name: &'a str,
    description: Option<&'a str>,
    #[serde(rename = "type")]
    form_type: FormType,
    tags: &'a [String],
    prefix: Option<&'a str>,
    program_type: Option<&'a str>,
    program_name: Option<&'a str>,
    program_url: Option<&'a str>,
    course_begin_at: Option<At>,
    course_end_at: Option<At>,
    created_at: At,
    updated_at: At,
    #[serde(rename = "achievementCertificateDesign")]
    achievement_certificate_design: Option<DesignFields<'a>>,
    #[serde(rename = "achievementBadgeDesign")]
    achievement_badge_design: Option<DesignFields<'a>>,
}

/// See [`FormShown::whole`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WholeForm<'a> {
    #[serde(flatten)]
    item: FormItem<'a>,
    club: ClubOfForm<'a>,
    club_institutions: &'a [Institution],
    representative_institution: Option<&'a Institution>,
    requirements: Vec<RequirementShown<'a>>,
}

struct RequirementShown<'a>(&'a Requirement);

impl Serialize for RequirementShown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct RequirementFields<'a> {
            #[serde(rename = "type")]
            requirement_type: Option<&'a str>,
            url: Option<&'a str>,
            description: Option<&'a str>,
        }
        let Requirement { requirement_type, url, description, order: _ } = self.0;
        RequirementFields {
            requirement_type: requirement_type.as_deref(),
            url: url.as_deref(),
            description: description.as_deref(),
        }
        .serialize(serializer)
    }
}

/// A club as the issuer of certificates: what the vendor's renderer draws of it.
#[derive(Serialize)]
struct IssuerShown<'a> {
    domain: Option<&'a str>,
    name: &'a str,
    #[serde(rename = "type")]
    club_type: Option<&'a str>,
    images: &'a [ClubImage],
}

impl<'a> IssuerShown<'a> {
    fn new(account: &'a Account) -> Self {
        Self {
            domain: account.club_domain.as_deref(),
            name: &account.name,
            club_type: account.club_type.as_deref(),
            images: &account.club_images,
        }
    }
}

/// A club as a form shows it.
#[derive(Serialize)]
struct ClubOfForm<'a> {
    #[serde(flatten)]
    issuer: IssuerShown<'a>,
    #[serde(rename = "customData")]
    custom_data: &'a [CustomData],
}

/// A club as designs show it.
#[derive(Serialize)]
pub struct ClubShown<'a> {
    domain: Option<&'a str>,
    #[serde(rename = "customData")]
    custom_data: &'a [CustomData],
}

impl<'a> ClubShown<'a> {
    /// The account as a club.
    pub fn new(account: &'a Account) -> Self {
        Self { domain: account.club_domain.as_deref(), custom_data: &account.club_custom_data }
    }
}

/// A holder, under the name on the certificate where that is another.
struct ShownUser<'a>(&'a Person, Option<&'a str>);

impl Serialize for ShownUser<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct UserFields<'a> {
            email: Option<&'a str>,
            name: &'a str,
            avatar: &'a [String],
            deleted_at: Option<At>,
            image: Option<&'a str>,
            #[serde(rename = "profileImageType")]
            profile_image_type: &'static str,
        }
        let Person { name, email, avatar, image, .. } = self.0;
        UserFields {
            email: email.as_deref(),
            name: self.1.unwrap_or(name),
            avatar,
            deleted_at: None,
            image: image.as_deref(),
            profile_image_type: if image.is_some() { "profile" } else { "avatar" },
        }
        .serialize(serializer)
    }
}

/// A design.
pub struct DesignShown(Stored<Design>);

/// See [`DesignShown::shown`].
#[derive(Serialize)]
pub struct DesignFields<'a> {
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

impl DesignShown {
    /// A design to show.
    pub const fn new(design: Stored<Design>) -> Self {
        Self(design)
    }

    /// The account's living designs among `ids`, in that order.
    ///
    /// # Errors
    /// [`crate::domain::facts::Stop::Missing`] until all is loaded.
    pub fn gather_all(account_id: i64, ids: &[i64], facts: &Facts) -> Known<Vec<Self>> {
        Ok(facts.find_all(account_id, ids)?.into_iter().map(Self).collect())
    }

    /// The design as every page shows it.
    pub fn shown(&self) -> DesignFields<'_> {
        let Stored { meta, record } = &self.0;
        DesignFields {
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
    }
}
