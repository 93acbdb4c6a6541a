//! One customer: Kolleges' club, the partner API's org, Ncloud's account, SOLAPI's account and
//! iSpring's account in one. Its id is the org id that the partner API shows.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::command::Context;
use crate::domain::error::{Error, FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::edit;
use crate::domain::people::person::fold;
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, KeyType, Table, Text, Unique, data};

/// Digits of SOLAPI's account id.
const SOLAPI_ACCOUNT_DIGITS: usize = 14;

/// A customer, under the names that each system knows it by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// What people call it.
    pub name: String,
    /// Kolleges' club domain.
    pub club_domain: Option<String>,
    /// The domain, folded: upper and lower case are no two clubs.
    pub club_domain_key: Option<String>,
    /// Kolleges' club type, e.g. `community` or `school`.
    pub club_type: Option<String>,
    /// Attributes that the club puts on its certificates.
    pub club_custom_data: Vec<CustomData>,
    /// Pictures that stand for the club on its certificates.
    pub club_images: Vec<ClubImage>,
    /// Ncloud's account number.
    pub ncloud_account_no: Option<String>,
    /// SOLAPI's account id, 14 digits.
    pub solapi_account_id: Option<String>,
    /// iSpring's portal, in the form of [`portal_url`].
    pub portal_url: Option<String>,
    /// IANA time zone in which dates without one are read and written for iSpring; UTC if absent.
    pub time_zone: Option<String>,
}

/// An attribute that a club defines for its certificates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomData {
    /// Its name for people.
    pub attribute_name: String,
    /// Its tag in layouts.
    pub attribute_tag: String,
}

/// A picture of a club, or of an institution beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClubImage {
    /// Its URL.
    pub path: String,
    /// `club_logo`, `club_cover`, `club_symbol`, `sign_image`; an open set.
    #[serde(rename = "type")]
    pub image_type: String,
}

edit! {
    /// An edit of an account.
    AccountEdit for Account {
        name: String => keeps,
        club_domain: String => clears,
        club_type: String => clears,
        club_custom_data: Vec<CustomData> => or(Vec::new()),
        club_images: Vec<ClubImage> => or(Vec::new()),
    }
}

impl Account {
    /// The account's time zone; UTC when none is set.
    pub fn time_zone(&self) -> jiff::tz::TimeZone {
        self.time_zone
            .as_deref()
            .and_then(|name| jiff::tz::TimeZone::get(name).ok())
            .unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

/// A portal's address in the one form in which addresses are compared: `https`, lower case, without
/// a slash at the end. Clients write all of these differently.
pub fn portal_url(given: &str) -> String {
    let given = given.trim().to_ascii_lowercase();
    let host = given.strip_prefix("https://").or_else(|| given.strip_prefix("http://"));
    format!("https://{}", host.unwrap_or(&given).trim_end_matches('/'))
}

/// True for an address of [`portal_url`]'s form that names a host, and perhaps a path, and no more.
fn is_portal(text: &str) -> bool {
    let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    is_plain
        && Url::parse(text).is_ok_and(|url| {
            url.scheme() == "https"
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        })
}

/// True for a name without blanks, as the systems give their customers.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn is_solapi_account(text: &str) -> bool {
    text.len() == SOLAPI_ACCOUNT_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Record for Account {
    const KIND: Kind = Kind::Account;
    const TABLE: Table = Table {
        name: "account",
        key: KeyType::Int,
        columns: &[
            Column::text("club_domain_key"),
            Column::text("ncloud_account_no"),
            Column::text("solapi_account_id"),
            Column::text("portal_url"),
        ],
        unique: &[
            Unique::of_others(&["club_domain_key"], "club_domain"),
            Unique::of_others(&["ncloud_account_no"], "ncloud_account_no"),
            Unique::of_others(&["solapi_account_id"], "solapi_account_id"),
            Unique::of_others(&["portal_url"], "portal_url"),
        ],
        texts: &[
            Text::name("name").filled("name_required").unbroken(),
            Text::name("club_domain"),
            Text::name("club_type"),
            Text::list("club_custom_data"),
            Text::name("club_custom_data.attribute_name").filled("attribute_name_required"),
            Text::name("club_custom_data.attribute_tag").filled("attribute_tag_required"),
            Text::list("club_images"),
            Text::url("club_images.path").filled("path_required"),
            Text::name("club_images.type").filled("type_required"),
            Text::name("ncloud_account_no"),
            Text::name("solapi_account_id"),
            Text::name("portal_url"),
            Text::name("time_zone"),
        ],
        data: data! {
            Free: name, club_custom_data, club_images;
            Derived: club_domain_key;
            Plain: club_domain, club_type, ncloud_account_no, solapi_account_id, portal_url,
                time_zone;
        },
        ..Table::EMPTY
    };
    type Edit = AccountEdit;

    /// Everything names its account; an account is closed, not deleted.
    fn refuse_deletion(&self) -> Result<(), Error> {
        Err(Error::Conflict(vec![Self::TABLE.name.to_owned()]))
    }

    fn settle(&mut self, _: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        // A bare word would become an address here; it is left for the rules to refuse.
        let has_scheme = |url: &&mut String| {
            let start = url.trim_start().to_ascii_lowercase();
            start.starts_with("https://") || start.starts_with("http://")
        };
        if let Some(url) = self.portal_url.as_mut().filter(has_scheme) {
            *url = portal_url(url);
        }
        self.club_domain_key = self.club_domain.as_deref().map(fold);
        Ok(())
    }

    fn validate(&self, _: &Meta, changed: &Changed, _: &mut Facts) -> Known<FieldErrors> {
        let is_broken = |field: &str, value: &Option<String>, is_good: fn(&str) -> bool| {
            changed.has(field) && value.as_deref().is_some_and(|text| !is_good(text))
        };
        let mut errors = Vec::new();
        let word = "must be one word";
        if is_broken("club_domain", &self.club_domain, is_word) {
            errors.push(FieldError::new("club_domain", "not_a_word", word));
        }
        if is_broken("ncloud_account_no", &self.ncloud_account_no, is_word) {
            errors.push(FieldError::new("ncloud_account_no", "not_a_word", word));
        }
        if is_broken("solapi_account_id", &self.solapi_account_id, is_solapi_account) {
            let detail = "must be 14 digits";
            errors.push(FieldError::new("solapi_account_id", "not_an_account_id", detail));
        }
        if is_broken("portal_url", &self.portal_url, is_portal) {
            let detail = "must be an address like https://acme.example";
            errors.push(FieldError::new("portal_url", "not_a_portal", detail));
        }
        let is_zone = |name: &str| jiff::tz::TimeZone::get(name).is_ok();
        if is_broken("time_zone", &self.time_zone, is_zone) {
            let detail = "must be an IANA time zone like Asia/Seoul";
            errors.push(FieldError::new("time_zone", "not_a_time_zone", detail));
        }
        Ok(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portals_address_is_compared_in_one_form() {
        for given in [
            "https://acme.example",
            "https://acme.example/",
            "http://acme.example",
            "HTTPS://Acme.Example//",
            " acme.example ",
        ] {
            assert_eq!(portal_url(given), "https://acme.example", "{given}");
        }
    }

    #[test]
    fn a_portal_is_a_host_and_a_path_at_the_most() {
        for good in ["https://acme.example", "https://lms", "https://acme.example:8443/learn"] {
            assert!(is_portal(good), "{good}");
        }
        for bad in [
            "",
            "acme.example",
            "https://",
            "http://acme.example",
            "https://acme example",
            "https://user@acme.example",
            "https://acme.example?x",
            "https://acme.example#x",
        ] {
            assert!(!is_portal(bad), "{bad}");
        }
    }
}
