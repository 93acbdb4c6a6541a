//! An OAuth 2.0 application (RFC 6749's client) of a tenant. Source of its edit: Ncloud Single
//! Sign-On, "Application 수정", and the newer "Update application".

use serde::{Deserialize, Serialize};

use super::address::{absolute_uri, is_safe_web, is_site};
use super::consent::{self, Language, Localised};
use crate::domain::command::Context;
use crate::domain::error::{FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Unique, data};

/// How long an access token lives unless the application says otherwise, seconds.
pub const ACCESS_TOKEN_VALIDITY_S: i64 = 43_200;
/// How long a refresh token lives unless the application says otherwise, seconds.
pub const REFRESH_TOKEN_VALIDITY_S: i64 = 2_592_000;
/// The shortest and the longest life of an access token, seconds.
const ACCESS_TOKEN_VALIDITY_RANGE_S: std::ops::RangeInclusive<i64> = 60..=2_592_000;
/// The longest life of a refresh token, seconds.
const REFRESH_TOKEN_VALIDITY_MAX_S: i64 = 31_536_000;
const NAME_MAX: usize = 100;
const DESCRIPTION_MAX: usize = 500;
const URIS_MAX: usize = 50;

names! {
    /// What kind of program it is.
    #[derive(Default)]
    pub enum ApplicationType {
        /// A site.
        #[default]
        Web = "web",
        /// A program on a device.
        App = "app",
    }
}

names! {
    /// Whether the main account may sign in, where the tenant leaves that to the application.
    #[derive(Default)]
    pub enum MainAccountLogin {
        /// It may.
        Allow = "ALLOW",
        /// It may not.
        #[default]
        Deny = "DENY",
    }
}

names! {
    /// Whether it can keep a secret (RFC 6749 section 2.1).
    #[derive(Default)]
    pub enum AccessType {
        /// It can.
        #[default]
        Confidential = "confidential",
        /// It cannot.
        Public = "public",
    }
}

names! {
    /// How it proves itself at the token endpoint (OIDC Core section 9).
    #[derive(Default)]
    pub enum ClientAuthMethod {
        /// Id and secret by HTTP Basic.
        #[default]
        ClientSecretBasic = "client_secret_basic",
        /// Id and secret in the form.
        ClientSecretPost = "client_secret_post",
        /// Id alone.
        None = "none",
    }
}

names! {
    /// A way to a token (RFC 6749 section 1.3).
    pub enum GrantType {
        /// Section 4.1.
        AuthorizationCode = "authorization_code",
        /// Section 6.
        RefreshToken = "refresh_token",
        /// Section 4.2.
        Implicit = "implicit",
    }
}

names! {
    /// What it may learn of a person.
    pub enum OauthScope {
        /// Who the person is.
        Profile = "profile",
        /// The same, in an ID token.
        Openid = "openid",
        /// The person's groups.
        Groups = "groups",
        /// The person's e-mail.
        Email = "email",
    }
}

/// An application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Application {
    /// The tenant that owns it.
    pub tenant_id: String,
    /// Unique within the tenant, case-sensitive.
    pub name: String,
    /// The OAuth client id, unique over all tenants; never the application's id.
    pub client_id: String,
    /// SHA-256 of the client secret, hex; none for a public application.
    pub client_secret_hash: Option<String>,
    /// See [`ApplicationType`].
    pub application_type: ApplicationType,
    /// Where people find it.
    pub application_url: Option<String>,
    /// What it is, in its owner's words.
    pub description: Option<String>,
    /// See [`MainAccountLogin`].
    pub mbr_login_allow: MainAccountLogin,
    /// Where an authorisation may be sent, compared byte for byte.
    pub redirect_uris: Vec<String>,
    /// Where a person may be sent after signing out, compared byte for byte.
    pub post_logout_redirect_uris: Vec<String>,
    /// See [`ClientAuthMethod`].
    pub client_auth_method: ClientAuthMethod,
    /// See [`AccessType`].
    pub access_type: AccessType,
    /// The ways to a token that it may go.
    pub grant_types: Vec<GrantType>,
    /// The most that it may ask for.
    pub scopes: Vec<OauthScope>,
    /// Life of an access token, seconds.
    pub access_token_validity: i64,
    /// Life of a refresh token, seconds.
    pub refresh_token_validity: i64,
    /// Consent page: who receives the data.
    pub consent_application_name: Option<Localised>,
    /// Consent page: the languages it can be read in.
    pub consent_use_languages: Vec<Language>,
    /// Consent page: the language for people who read none of the others.
    pub consent_default_language: Option<Language>,
    /// Consent page: what the data is used for.
    pub consent_use_purpose_desc: Option<Localised>,
    /// Consent page: how long it is used.
    pub consent_use_period_desc: Option<Localised>,
    /// Consent page: the data leaves the country.
    pub consent_data_transfer_abroad: bool,
    /// Consent page: the country it goes to. Kept, but not shown, when the data stays.
    pub consent_data_transfer_country: Option<Localised>,
    /// Consent page: who receives it there.
    pub consent_data_recipients: Option<Localised>,
    /// Consent page: how to reach them.
    pub consent_data_recipients_contact: Option<Localised>,
}

impl Default for Application {
    fn default() -> Self {
        Self {
            tenant_id: String::new(),
            name: String::new(),
            client_id: String::new(),
            client_secret_hash: None,
            application_type: ApplicationType::default(),
            application_url: None,
            description: None,
            mbr_login_allow: MainAccountLogin::default(),
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            client_auth_method: ClientAuthMethod::default(),
            access_type: AccessType::default(),
            grant_types: Vec::new(),
            scopes: Vec::new(),
            access_token_validity: ACCESS_TOKEN_VALIDITY_S,
            refresh_token_validity: REFRESH_TOKEN_VALIDITY_S,
            consent_application_name: None,
            consent_use_languages: Vec::new(),
            consent_default_language: None,
            consent_use_purpose_desc: None,
            consent_use_period_desc: None,
            consent_data_transfer_abroad: false,
            consent_data_transfer_country: None,
            consent_data_recipients: None,
            consent_data_recipients_contact: None,
        }
    }
}

edit! {
    /// An edit of an application; every field as in [`Application`]. Tenant and client id are fixed.
    ApplicationEdit for Application {
        name: String => keeps,
        application_type: ApplicationType => keeps,
        application_url: String => clears,
        description: String => clears,
        mbr_login_allow: MainAccountLogin => keeps,
        redirect_uris: Vec<String> => keeps,
        post_logout_redirect_uris: Vec<String> => or(Vec::new()),
        client_auth_method: ClientAuthMethod => keeps,
        access_type: AccessType => keeps,
        grant_types: Vec<GrantType> => keeps,
        scopes: Vec<OauthScope> => keeps,
        access_token_validity: i64 => or(ACCESS_TOKEN_VALIDITY_S),
        refresh_token_validity: i64 => or(REFRESH_TOKEN_VALIDITY_S),
        consent_application_name: Localised => clears,
        consent_use_languages: Vec<Language> => keeps,
        consent_default_language: Language => clears,
        consent_use_purpose_desc: Localised => clears,
        consent_use_period_desc: Localised => clears,
        consent_data_transfer_abroad: bool => or(false),
        consent_data_transfer_country: Localised => clears,
        consent_data_recipients: Localised => clears,
        consent_data_recipients_contact: Localised => clears,
    }
}

impl Application {
    /// The texts of the consent page, each with its field's name and whether it is about a transfer
    /// abroad.
    pub(super) fn consent_texts(&self) -> [(&'static str, Option<&Localised>, bool); 6] {
        [
            ("consent_application_name", self.consent_application_name.as_ref(), false),
            ("consent_use_purpose_desc", self.consent_use_purpose_desc.as_ref(), false),
            ("consent_use_period_desc", self.consent_use_period_desc.as_ref(), false),
            ("consent_data_transfer_country", self.consent_data_transfer_country.as_ref(), true),
            ("consent_data_recipients", self.consent_data_recipients.as_ref(), true),
            (
                "consent_data_recipients_contact",
                self.consent_data_recipients_contact.as_ref(),
                true,
            ),
        ]
    }

    fn validate_texts(&self, changed: &Changed, errors: &mut Vec<FieldError>) {
        let mut refuse = |field, code, detail: &str| {
            errors.push(FieldError::new(field, code, detail));
        };
        if changed.has("application_url") && !self.application_url.as_deref().is_none_or(is_site) {
            refuse("application_url", "invalid", "is a web address of at most 1000 characters");
        }
        if changed.has("redirect_uris") {
            let uris = &self.redirect_uris;
            if !(1..=URIS_MAX).contains(&uris.len()) {
                refuse("redirect_uris", "count", "has 1 to 50 addresses");
            }
            if has_duplicates(uris) {
                refuse("redirect_uris", "duplicate", "names each address once");
            }
            if !uris.iter().all(|uri| absolute_uri(uri).is_some()) {
                refuse("redirect_uris", "invalid", "are absolute addresses without a fragment");
            }
        }
        if changed.has("post_logout_redirect_uris") {
            let uris = &self.post_logout_redirect_uris;
            if uris.len() > URIS_MAX {
                refuse("post_logout_redirect_uris", "count", "has at most 50 addresses");
            }
            if has_duplicates(uris) {
                refuse("post_logout_redirect_uris", "duplicate", "names each address once");
            }
            if !uris.iter().all(|uri| absolute_uri(uri).is_some_and(|url| is_safe_web(&url))) {
                let detail =
                    "are https addresses, or http ones of this machine, without a fragment";
                refuse("post_logout_redirect_uris", "invalid", detail);
            }
        }
    }

    fn validate_oauth(&self, changed: &Changed, errors: &mut Vec<FieldError>) {
        let mut refuse = |field, code, detail: &str| {
            errors.push(FieldError::new(field, code, detail));
        };
        if changed.any(&["access_type", "client_auth_method"])
            && (self.access_type == AccessType::Public)
                != (self.client_auth_method == ClientAuthMethod::None)
        {
            let detail = "is none for a public application, and for no other";
            refuse("client_auth_method", "not_for_access_type", detail);
        }
        if changed.has("grant_types") {
            let has = |grant| self.grant_types.contains(&grant);
            if has_duplicates(&self.grant_types) {
                refuse("grant_types", "duplicate", "names each grant once");
            }
            if !has(GrantType::AuthorizationCode) && !has(GrantType::Implicit) {
                let detail = "has authorization_code or implicit";
                refuse("grant_types", "no_way_in", detail);
            }
            if has(GrantType::RefreshToken) && !has(GrantType::AuthorizationCode) {
                let detail = "refresh_token needs authorization_code";
                refuse("grant_types", "refresh_without_code", detail);
            }
        }
        if changed.has("scopes") && has_duplicates(&self.scopes) {
            refuse("scopes", "duplicate", "names each scope once");
        }
        if changed.has("access_token_validity")
            && !ACCESS_TOKEN_VALIDITY_RANGE_S.contains(&self.access_token_validity)
        {
            refuse("access_token_validity", "range", "is 60 to 2592000 seconds");
        }
        if changed.has("refresh_token_validity")
            && self.refresh_token_validity > REFRESH_TOKEN_VALIDITY_MAX_S
        {
            refuse("refresh_token_validity", "range", "is at most 31536000 seconds");
        }
        if changed.any(&["access_token_validity", "refresh_token_validity"])
            && self.refresh_token_validity < self.access_token_validity
        {
            let detail = "is not below the access token's";
            refuse("refresh_token_validity", "below_access", detail);
        }
    }
}

impl Record for Application {
    const KIND: Kind = Kind::Application;
    const TABLE: Table = Table {
        name: "application",
        key: KeyType::Text,
        columns: &[
            Column::names("tenant_id", Kind::Tenant, Gone::Refuses),
            Column::text("name"),
            Column::text("client_id"),
        ],
        unique: &[
            Unique::live(&["tenant_id", "name"], "name"),
            Unique::ever(&["client_id"], "client_id"),
        ],
        texts: &[
            Text::name("name")
                .of_length((1, NAME_MAX), "length", "has 1 to 100 characters")
                .filled("name_required"),
            Text::name("client_id"),
            Text::name("client_secret_hash"),
            Text::url("application_url"),
            Text::prose("description").of_length(
                (0, DESCRIPTION_MAX),
                "length",
                "has at most 500 characters",
            ),
            Text::url("redirect_uris").each(),
            Text::url("post_logout_redirect_uris").each(),
            Text::list("grant_types"),
            Text::list("scopes"),
            Text::list("consent_use_languages"),
            Text::line("consent_application_name.ko"),
            Text::line("consent_application_name.en"),
            Text::line("consent_application_name.ja"),
            Text::line("consent_use_purpose_desc.ko"),
            Text::line("consent_use_purpose_desc.en"),
            Text::line("consent_use_purpose_desc.ja"),
            Text::line("consent_use_period_desc.ko"),
            Text::line("consent_use_period_desc.en"),
            Text::line("consent_use_period_desc.ja"),
            Text::line("consent_data_transfer_country.ko"),
            Text::line("consent_data_transfer_country.en"),
            Text::line("consent_data_transfer_country.ja"),
            Text::line("consent_data_recipients.ko"),
            Text::line("consent_data_recipients.en"),
            Text::line("consent_data_recipients.ja"),
            Text::line("consent_data_recipients_contact.ko"),
            Text::line("consent_data_recipients_contact.en"),
            Text::line("consent_data_recipients_contact.ja"),
        ],
        data: data! {
            Free: name, description, consent_application_name, consent_use_purpose_desc,
                consent_use_period_desc, consent_data_transfer_country, consent_data_recipients,
                consent_data_recipients_contact;
            Secret: client_secret_hash;
            Plain: tenant_id, client_id, application_type, application_url, mbr_login_allow,
                redirect_uris, post_logout_redirect_uris, client_auth_method, access_type,
                grant_types, scopes, access_token_validity, refresh_token_validity,
                consent_use_languages, consent_default_language, consent_data_transfer_abroad;
        },
        ..Table::EMPTY
    };
    type Edit = ApplicationEdit;

    fn settle(
        &mut self,
        before: Option<&Self>,
        context: &mut Context<'_>,
        _: &mut Facts,
    ) -> Known<()> {
        if self.client_id.is_empty() {
            self.client_id = context.entropy.uuid();
        }
        match self.access_type {
            AccessType::Public => self.client_secret_hash = None,
            AccessType::Confidential
                if self.client_secret_hash.is_none()
                    && before.is_none_or(|before| before.access_type != self.access_type) =>
            {
                // Nobody is shown the secret before it is renewed, so it need not exist: any 256
                // random bits are the hash of one that nobody can find.
                let mut hash = [0; 32];
                context.entropy.fill(&mut hash);
                self.client_secret_hash = Some(hex::encode(hash));
            }
            AccessType::Confidential => {}
        }
        Ok(())
    }

    fn validate(&self, meta: &Meta, changed: &Changed, facts: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        self.validate_texts(changed, &mut errors);
        self.validate_oauth(changed, &mut errors);
        errors.extend(consent::validate(self, changed));
        if changed.has("name") {
            let siblings =
                facts.select::<Self>(meta.account_id, "tenant_id", self.tenant_id.as_str())?;
            if siblings
                .iter()
                .any(|other| other.meta.key != meta.key && other.record.name == self.name)
            {
                errors.push(FieldError::new("name", NAME_TAKEN, "is another application's name"));
            }
        }
        Ok(errors)
    }
}

/// The code of the error on a name that another application of the tenant has.
pub const NAME_TAKEN: &str = "taken";

/// True when an item is there twice.
pub(super) fn has_duplicates<T: PartialEq>(items: &[T]) -> bool {
    items.iter().enumerate().any(|(index, item)| items.iter().take(index).any(|o| o == item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fields::Fields;
    use crate::domain::patch::Patch;

    #[test]
    fn a_rule_is_asked_when_an_edit_touches_one_of_its_fields() {
        // As an older release may have kept it: every rule is broken.
        let broken = Application {
            client_auth_method: ClientAuthMethod::None,
            grant_types: vec![GrantType::RefreshToken],
            access_token_validity: 900,
            refresh_token_validity: 60,
            consent_data_transfer_abroad: true,
            ..Application::default()
        };
        let errors_after = |edit: &ApplicationEdit| {
            let mut edited = broken.clone();
            edited.apply(edit);
            let fields = |record| Fields::of(record).unwrap();
            let changed = Changed::between(&fields(&broken), &fields(&edited));
            assert!(!changed.is_empty());
            let mut errors = Vec::new();
            edited.validate_texts(&changed, &mut errors);
            edited.validate_oauth(&changed, &mut errors);
            errors.extend(consent::validate(&edited, &changed));
            errors.into_iter().map(|error| (error.field, error.code)).collect::<Vec<_>>()
        };
        let unrelated = ApplicationEdit {
            description: Patch::Value("x".to_owned()),
            scopes: Patch::Value(vec![OauthScope::Openid]),
            mbr_login_allow: Patch::Value(MainAccountLogin::Allow),
            ..ApplicationEdit::default()
        };
        assert_eq!(errors_after(&unrelated), []);
        let method = ApplicationEdit {
            access_type: Patch::Value(AccessType::Public),
            ..ApplicationEdit::default()
        };
        assert_eq!(errors_after(&method), [], "mends what was broken");
        let several = ApplicationEdit {
            access_token_validity: Patch::Value(120),
            consent_default_language: Patch::Value(Language::Ko),
            consent_data_recipients: Patch::Value(Localised::default()),
            ..ApplicationEdit::default()
        };
        assert_eq!(
            errors_after(&several),
            [
                ("refresh_token_validity", "below_access"),
                ("consent_use_languages", "invalid"),
                ("consent_default_language", "not_in_use"),
            ]
        );
    }

    #[test]
    fn too_many_addresses_and_one_twice_are_two_faults() {
        let uris =
            |count: usize| (0..count).map(|n| format!("https://a.example/{n}")).collect::<Vec<_>>();
        let twice = vec!["https://a.example/".to_owned(); 2];
        for (redirect, post_logout, expected) in [
            (uris(50), uris(50), vec![]),
            (
                vec![],
                uris(51),
                vec![("redirect_uris", "count"), ("post_logout_redirect_uris", "count")],
            ),
            (
                twice.clone(),
                twice,
                vec![("redirect_uris", "duplicate"), ("post_logout_redirect_uris", "duplicate")],
            ),
        ] {
            let application = Application {
                redirect_uris: redirect,
                post_logout_redirect_uris: post_logout,
                name: "portal".to_owned(),
                ..Application::default()
            };
            let fields = Fields::of(&application).unwrap();
            let mut errors = Vec::new();
            application.validate_texts(&Changed::all(&fields), &mut errors);
            let found: Vec<_> = errors.iter().map(|error| (error.field, error.code)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn duplicates_are_found_anywhere() {
        assert!(!has_duplicates::<i32>(&[]));
        assert!(!has_duplicates(&[1, 2, 3]));
        assert!(has_duplicates(&[1, 2, 1]));
        assert!(has_duplicates(&[1, 2, 2]));
    }
}
