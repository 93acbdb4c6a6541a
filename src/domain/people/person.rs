//! A human in an account, whatever the systems call them: recipient, user, student, learner,
//! member. Each system's user is a facet of one person.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;

use crate::domain::command::Context;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::record::{Key, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Unique, data};
use crate::domain::text::EMAIL_MAX;

/// Stands between the names in [`Person::name_key`]. No text in lower case has it, so nothing is found
/// across the joint.
pub const NAME_JOINT: char = 'Ω';

names! {
    /// Whether a person may sign in and act.
    #[derive(Default)]
    pub enum PersonStatus {
        /// May sign in.
        #[default]
        Active = "active",
        /// May not, for now.
        Inactive = "inactive",
        /// May not, by decision.
        Suspended = "suspended",
        /// Has left.
        Terminated = "terminated",
    }
}

/// A role and the departments in which it holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleGrant {
    /// Which role.
    pub role_id: String,
    /// Where; ignored for owners and account administrators.
    pub department_ids: Vec<String>,
}

/// A person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Person {
    /// Full name as given.
    pub name: String,
    /// Further names that certificates were made out to.
    pub other_names: Vec<String>,
    /// The names, folded for search.
    pub name_key: String,
    /// E-mail as given.
    pub email: Option<String>,
    /// The e-mail, folded for look-ups.
    pub email_key: Option<String>,
    /// Phone as given.
    pub phone: Option<String>,
    /// The phone's digits, for look-ups; see [`phone_key`].
    pub phone_key: Option<String>,
    /// Login as given.
    pub login: Option<String>,
    /// The login, folded for look-ups.
    pub login_key: Option<String>,
    /// argon2id hash of the password, PHC string.
    pub password_hash: Option<String>,
    /// Whether the person may sign in.
    pub status: PersonStatus,
    /// Kolleges: layer images of the drawn avatar.
    pub avatar: Vec<String>,
    /// Kolleges: uploaded picture.
    pub image: Option<String>,
    /// iSpring's user id.
    pub learner_id: Option<String>,
    /// iSpring: the one department the person is in.
    pub department_id: Option<String>,
    /// iSpring: roles with their departments.
    pub roles: Vec<RoleGrant>,
}

edit! {
    /// An edit of a person.
    PersonEdit for Person {
        name: String => keeps,
        email: String => clears,
        password_hash: String => clears,
        status: PersonStatus => keeps,
        department_id: String => clears,
        roles: Vec<RoleGrant> => or(Vec::new()),
    }
}

/// The form in which texts are compared without regard to case, and to whether letters come whole or
/// in parts (Unicode's NFC): Hangul from one system is written the other way by the next.
pub fn fold(text: &str) -> String {
    let text = text.trim();
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.to_lowercase().nfc().collect() }
}

/// A Korean number's digits as dialled within the country, whatever stands between them.
pub fn phone_key(phone: &str) -> String {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let is_abroad = phone.trim_start().starts_with('+');
    match digits.strip_prefix("82") {
        Some(rest) if is_abroad => format!("0{}", rest.trim_start_matches('0')),
        _ => digits,
    }
}

/// The part before the `@` at the most.
const LOCAL_PART_MAX: usize = 64;

/// True for text that has the form of an e-mail address: what HTML takes for one, with a dot in the
/// domain, and letters of any script.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let is_local = |c: char| c.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let dots = |text: &str| text.starts_with('.') || text.ends_with('.') || text.contains("..");
    text.chars().count() <= EMAIL_MAX
        && (1..=LOCAL_PART_MAX).contains(&local.len())
        && local.chars().all(is_local)
        && !dots(local)
        && domain.contains('.')
        && domain.split('.').all(is_label)
}

impl Person {
    /// What tells this password from any other, without telling anything of it: the hash of its salted
    /// hash. None for a person without one.
    pub fn password_mark(&self) -> Option<String> {
        self.password_hash.as_ref().map(|hash| hex::encode(Sha256::digest(hash)))
    }
}

impl Record for Person {
    const KIND: Kind = Kind::Person;
    const TABLE: Table = Table {
        name: "person",
        key: KeyType::Int,
        columns: &[
            Column::text("name_key"),
            Column::text("email_key"),
            Column::text("phone_key"),
            Column::text("login_key"),
            Column::text("learner_id"),
            Column::names("department_id", Kind::Department, Gone::Refuses),
        ],
        unique: &[Unique::ever(&["learner_id"], "learner_id")],
        known_by: &["email_key", "phone_key", "login_key"],
        texts: &[
            Text::name("name").filled("name_required").unbroken(),
            Text::name("other_names").each().unbroken(),
            Text::email("email").unbroken(),
            Text::name("phone").unbroken(),
            Text::name("login").unbroken(),
            Text::line("password_hash"),
            Text::url("avatar").each(),
            Text::url("image"),
            Text::name("learner_id"),
            Text::list("roles"),
            Text::name("roles.role_id"),
            Text::name("roles.department_ids").each(),
        ],
        data: data! {
            Personal: name, other_names, email, phone, login, avatar, image;
            Secret: password_hash;
            Derived: name_key, email_key, phone_key, login_key;
            Plain: status, learner_id, department_id, roles;
        },
        lasting: &["learner_id", "other_names"],
        stays_when_named: true,
        ..Table::EMPTY
    };
    const NAMES_IN_BODY: &'static [(Kind, Gone)] =
        &[(Kind::Role, Gone::Refuses), (Kind::Department, Gone::Refuses)];
    type Edit = PersonEdit;

    fn settle(&mut self, _: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        self.name_key = fold(&self.name);
        for other in &self.other_names {
            self.name_key.push(NAME_JOINT);
            self.name_key.push_str(&fold(other));
        }
        self.phone_key = self.phone.as_deref().map(phone_key).filter(|key| !key.is_empty());
        self.email_key = self.email.as_deref().map(fold);
        self.login_key = self.login.as_deref().map(fold);
        Ok(())
    }

    fn named_in_body(&self) -> Vec<(Kind, Key)> {
        let mut named = Vec::new();
        for held in &self.roles {
            named.push((Kind::Role, Key::from(held.role_id.as_str())));
            let departments = held.department_ids.iter();
            named.extend(departments.map(|id| (Kind::Department, Key::from(id.as_str()))));
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_hangul_are_one() {
        let whole = "홍길동";
        let parts: String = whole.nfd().collect();
        assert_ne!(whole, parts);
        assert_eq!(fold(whole), fold(&format!(" {parts} ")));
        assert_eq!(fold("HONG@Example.com"), "hong@example.com");
    }

    #[test]
    fn an_address_is_told_from_other_text() {
        for good in ["hong@example.com", "a.b+c@mail.example.co.kr", "홍@예시.한국"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "hong",
            "hong@",
            "@example.com",
            "hong@example",
            "a b@example.com",
            "a@b@example.com",
            "a@example..com",
            ".a@example.com",
            "a@-example.com",
            "a@example.com\n",
            "a\u{0}@example.com",
            "<a@example.com>",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn a_number_is_one_however_it_is_written() {
        for phone in ["01012345678", "010-1234-5678", "+82 10 1234 5678", "+82-010-1234-5678"] {
            assert_eq!(phone_key(phone), "01012345678", "{phone}");
        }
        assert_eq!(phone_key("82 123"), "82123");
    }
}
