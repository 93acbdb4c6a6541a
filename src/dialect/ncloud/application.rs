//! Applications: `PUT` and `GET` of one, by the rules of either edition of the vendor's page.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::auth::authenticate;
use crate::dialect::{Answer, Call, Refusal, json};
use crate::domain::access::Right;
use crate::domain::command::{self, Edit};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{Key, Stored};
use crate::domain::sign_in::application::{Application, ApplicationEdit, OauthScope};
use crate::domain::sign_in::consent::{Language, Localised};
use crate::domain::table::KeyType;

/// Below which the newer edition is served.
pub const NEWER_ROOT: &str = "/api/v1";

/// Which edition of the vendor's page a path follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edition {
    /// Only `name` is required.
    Older,
    /// Eight fields are required, and more is served.
    Newer,
}

impl Edition {
    fn of(call: &Call) -> Self {
        if call.path().starts_with(NEWER_ROOT) { Self::Newer } else { Self::Older }
    }
}

/// What the newer page requires.
const REQUIRED: [&str; 8] = [
    "name",
    "mbrLoginAllow",
    "redirectUris",
    "clientAuthMethod",
    "accessType",
    "grantTypes",
    "scopes",
    "consentPage",
];
/// What it requires within `consentPage`.
const CONSENT_REQUIRED: [&str; 6] = [
    "applicationName",
    "useLanguages",
    "defaultLanguage",
    "usePurposeDesc",
    "usePeriodDesc",
    "dataTransferAbroad",
];
/// What it requires there of a transfer abroad.
const TRANSFER_REQUIRED: [&str; 3] =
    ["dataTransferCountry", "dataRecipients", "dataRecipientsContact"];

/// `PUT /applications/{applicationId}`, "Application 수정"; of the newer page "Update application".
pub async fn put(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, Right::Edit).await?;
    let edit = decode(call, call.body()?, Edition::of(call))?;
    let command = Edit::<Application> { key: path_key(call)?, edit, expected: call.expected() };
    let answered =
        call.submit(actor, command, |_, _| Ok(Answer::json(200, &json!({"success": true}))));
    Ok(answered.await?)
}

/// `GET /applications/{applicationId}`.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, Right::Read).await?;
    let key = path_key(call)?;
    let application =
        call.read(|facts| command::read::<Application>(&actor, key.clone(), facts)).await?;
    let body = encode(&application, Edition::of(call));
    Ok(Answer::json(200, &body).etag(application.meta.version))
}

/// The application that the path names; ids are UUIDs, in either case of letters (RFC 9562
/// section 4).
fn path_key(call: &Call) -> Result<Key, Error> {
    Key::parse(KeyType::Text, &call.parameter("applicationId").to_ascii_lowercase())
        .ok_or(Error::NotFound(Kind::Application))
}

fn decode(call: &Call, body: &[u8], edition: Edition) -> Result<ApplicationEdit, Error> {
    let media_type = call.media_type();
    if !media_type.is_empty() && media_type != "application/json" {
        return Err(invalid("Content-Type"));
    }
    let fields = json::parse_object(body).ok_or_else(|| invalid("body"))?;
    decode_fields(&fields, edition)
}

fn decode_fields(fields: &Map<String, Value>, edition: Edition) -> Result<ApplicationEdit, Error> {
    let is_newer = edition == Edition::Newer;
    require(fields, if is_newer { &REQUIRED } else { &["name"] })?;
    member(fields, "protocol", |value| (value == "OAUTH2").then_some(()))?;
    let validity = |value: &Value| match value {
        Value::String(digits) if !is_newer => decimal(digits),
        value => json::whole(value),
    };
    let mut edit = ApplicationEdit {
        name: member(fields, "name", text)?,
        application_type: member(fields, "applicationType", text)?,
        application_url: member(fields, "applicationUrl", text)?,
        description: member(fields, "description", text)?,
        mbr_login_allow: member(fields, "mbrLoginAllow", text)?,
        redirect_uris: member(fields, "redirectUris", texts)?,
        client_auth_method: member(fields, "clientAuthMethod", text)?,
        access_type: member(fields, "accessType", text)?,
        grant_types: member(fields, "grantTypes", texts)?,
        scopes: member(fields, "scopes", texts)?,
        access_token_validity: member(fields, "accessTokenValidity", validity)?,
        refresh_token_validity: member(fields, "refreshTokenValidity", validity)?,
        ..ApplicationEdit::default()
    };
    if is_newer {
        edit.post_logout_redirect_uris = member(fields, "postLogoutRedirectUris", texts)?;
    }
    if let Some(consent) = fields.get("consentPage") {
        let consent = consent.as_object().ok_or_else(|| invalid("consentPage"))?;
        if is_newer {
            require(consent, &CONSENT_REQUIRED)?;
            if consent.get("dataTransferAbroad") == Some(&Value::Bool(true)) {
                require(consent, &TRANSFER_REQUIRED)?;
            }
        }
        decode_consent(consent, &mut edit)?;
    }
    check_edition(&edit, edition)?;
    Ok(edit)
}

fn decode_consent(fields: &Map<String, Value>, edit: &mut ApplicationEdit) -> Result<(), Error> {
    edit.consent_application_name = member(fields, "applicationName", localised)?;
    edit.consent_use_languages = member(fields, "useLanguages", texts)?;
    edit.consent_default_language = member(fields, "defaultLanguage", text)?;
    edit.consent_use_purpose_desc = member(fields, "usePurposeDesc", localised)?;
    edit.consent_use_period_desc = member(fields, "usePeriodDesc", localised)?;
    edit.consent_data_transfer_abroad = member(fields, "dataTransferAbroad", Value::as_bool)?;
    edit.consent_data_transfer_country = member(fields, "dataTransferCountry", localised)?;
    edit.consent_data_recipients = member(fields, "dataRecipients", localised)?;
    edit.consent_data_recipients_contact = member(fields, "dataRecipientsContact", localised)?;
    Ok(())
}

/// What one edition asks of the sent values beyond the rules that hold for both.
fn check_edition(edit: &ApplicationEdit, edition: Edition) -> Result<(), Error> {
    let has = |scope| edit.scopes.value().is_some_and(|scopes| scopes.contains(&scope));
    match edition {
        Edition::Older if has(OauthScope::Email) => Err(invalid("scopes")),
        Edition::Older => Ok(()),
        Edition::Newer if !edit.name.value().is_some_and(|name| is_identifier(name)) => {
            Err(invalid("name"))
        }
        Edition::Newer if !has(OauthScope::Profile) && !has(OauthScope::Openid) => {
            Err(invalid("scopes"))
        }
        Edition::Newer => {
            let all = [Language::Ko, Language::En, Language::Ja];
            let is_named =
                edit.consent_application_name.value().is_some_and(|name| name.covers(&all));
            if is_named { Ok(()) } else { Err(invalid("consentPage")) }
        }
    }
}

/// The newer page's form of a name: `^[A-Za-z][A-Za-z0-9_.-]*$`, at least two characters.
fn is_identifier(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// The vendor's one answer to anything wrong with a request names no field, so this one is for logs
/// and debuggers.
fn invalid(field: &'static str) -> Error {
    Error::invalid(field, "invalid", "is not as documented")
}

fn require(fields: &Map<String, Value>, names: &[&'static str]) -> Result<(), Error> {
    match names.iter().find(|name| !fields.contains_key(**name)) {
        Some(name) => Err(invalid(name)),
        None => Ok(()),
    }
}

/// A member as `read` understands it; nothing clears a field, so null is as wrong as any other type.
fn member<T>(
    fields: &Map<String, Value>,
    name: &'static str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Patch<T>, Error> {
    match fields.get(name) {
        None => Ok(Patch::Absent),
        Some(value) => read(value).map(Patch::Value).ok_or_else(|| invalid(name)),
    }
}

/// A string: any text, or one of the names of a closed set.
fn text<T: DeserializeOwned>(value: &Value) -> Option<T> {
    // An object with such a name as its only key would read as one too.
    value.is_string().then(|| T::deserialize(value).ok())?
}

fn texts<T: DeserializeOwned>(value: &Value) -> Option<Vec<T>> {
    value.as_array()?.iter().map(text).collect()
}

fn localised(value: &Value) -> Option<Localised> {
    let given = value.as_object()?;
    let read = |language| match given.get(language) {
        None => Some(None),
        Some(value) => text(value).map(Some),
    };
    Some(Localised { ko: read("ko")?, en: read("en")?, ja: read("ja")? })
}

/// Digits of a number in a text at the most, zeros in front included.
const DIGITS_MAX: usize = 20;

fn decimal(digits: &str) -> Option<i64> {
    let is_number = digits.len() <= DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// An application as it is read. What was never set is left out, here and in the consent page: an
/// edit refuses null, and what was read can be sent back.
fn encode(application: &Stored<Application>, edition: Edition) -> Value {
    let Stored { meta, record } = application;
    let mut body = json!({
        "applicationId": meta.key.to_string(),
        "applicationUrl": record.application_url,
        "name": record.name,
        "description": record.description,
        "applicationType": record.application_type,
        "mbrLoginAllow": record.mbr_login_allow,
        "protocol": "OAUTH2",
        "clientId": record.client_id,
        "clientAuthMethod": record.client_auth_method,
        "accessType": record.access_type,
        "redirectUris": record.redirect_uris,
        "grantTypes": record.grant_types,
        "scopes": record.scopes,
        "accessTokenValidity": record.access_token_validity,
        "refreshTokenValidity": record.refresh_token_validity,
        "createdAt": format(meta.created_at),
        "updatedAt": format(meta.updated_at),
        "consentPage": encode_consent(record),
    });
    if let (Edition::Newer, Some(body)) = (edition, body.as_object_mut()) {
        body.insert("postLogoutRedirectUris".to_owned(), json!(record.post_logout_redirect_uris));
    }
    without_nulls(body)
}

fn encode_consent(record: &Application) -> Value {
    without_nulls(json!({
        "applicationName": encode_localised(record.consent_application_name.as_ref()),
        "useLanguages": record.consent_use_languages,
        "defaultLanguage": record.consent_default_language,
        "usePurposeDesc": encode_localised(record.consent_use_purpose_desc.as_ref()),
        "usePeriodDesc": encode_localised(record.consent_use_period_desc.as_ref()),
        "dataTransferAbroad": record.consent_data_transfer_abroad,
        "dataTransferCountry": encode_localised(record.consent_data_transfer_country.as_ref()),
        "dataRecipients": encode_localised(record.consent_data_recipients.as_ref()),
        "dataRecipientsContact": encode_localised(record.consent_data_recipients_contact.as_ref()),
    }))
}

fn encode_localised(text: Option<&Localised>) -> Value {
    text.map_or(Value::Null, |text| without_nulls(json!(text)))
}

/// An object without its members that are null.
fn without_nulls(mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    object
}

/// ISO 8601 in UTC, whole seconds.
fn format(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sign_in::application::{AccessType, GrantType};

    fn read(body: &Value, edition: Edition) -> Option<ApplicationEdit> {
        decode_fields(body.as_object().unwrap(), edition).ok()
    }

    #[test]
    fn what_is_not_sent_stays_absent() {
        let edit = read(&json!({"name": "portal", "anything": null}), Edition::Older).unwrap();
        let name = Patch::Value("portal".to_owned());
        assert_eq!(edit, ApplicationEdit { name, ..ApplicationEdit::default() });
        let edit = read(&json!({"name": "p", "consentPage": {}}), Edition::Older).unwrap();
        let name = Patch::Value("p".to_owned());
        assert_eq!(edit, ApplicationEdit { name, ..ApplicationEdit::default() });
    }

    #[test]
    fn names_of_closed_sets_are_strings() {
        assert_eq!(text(&json!("public")), Some(AccessType::Public));
        for value in [json!("Public"), json!({"public": null}), json!(["public"]), json!(null)] {
            assert_eq!(text::<AccessType>(&value), None, "{value}");
        }
        assert_eq!(texts(&json!(["implicit"])), Some(vec![GrantType::Implicit]));
        for value in [json!("implicit"), json!(["implicit", null]), json!({"0": "implicit"})] {
            assert_eq!(texts::<GrantType>(&value), None, "{value}");
        }
    }

    #[test]
    fn a_localised_text_holds_strings_only() {
        let text = localised(&json!({"ko": "포털", "fr": 7})).unwrap();
        assert_eq!(text.get(Language::Ko), Some("포털"));
        assert_eq!(text.get(Language::En), None);
        for value in [json!("포털"), json!(null), json!({"ko": null}), json!({"ko": 1}), json!([])]
        {
            assert_eq!(localised(&value), None, "{value}");
        }
    }

    #[test]
    fn decimal_text_is_digits_only() {
        assert_eq!(decimal("3600"), Some(3600));
        for text in ["", "-1", "+1", "1.0", "1e3", " 1", "99999999999999999999", "３６００"] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_newer_page_wants_identifiers() {
        for name in ["ab", "Portal_1.x-y"] {
            assert!(is_identifier(name), "{name}");
        }
        for name in ["", "a", "2portal", "_portal", "por tal", "포털", "portal\n"] {
            assert!(!is_identifier(name), "{name:?}");
        }
    }
}
