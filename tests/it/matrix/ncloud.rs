//! Applications, by the older and the newer rules.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::Outcome::{Becomes, Kept, Refused};
use super::{Edit, Field, Outcome, run};
use crate::support::{Request, Server, on_both_stores};

on_both_stores!(applications, applications_v1);

pub(super) fn signed(
    server: &Server,
    (key, secret): (&str, &str),
    target: &str,
    body: &Value,
) -> Request {
    let timestamp = server.clock.now().as_millisecond();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("PUT {target}\n{timestamp}\n{key}").as_bytes());
    server
        .request("PUT", target)
        .header("x-ncp-apigw-timestamp", timestamp.to_string())
        .header("x-ncp-iam-access-key", key)
        .header("x-ncp-apigw-signature-v2", STANDARD.encode(mac.finalize().into_bytes()))
        .json(body)
}

pub(super) const MANAGER: (&str, &str) =
    ("EXAMPLEACCESSKEY0001", "exampleSecretKeyDoNotUse0123456789abcd");
const OTHER: (&str, &str) = ("EXAMPLEACCESSKEY0002", "exampleSecretKeyDoNotUse0123456789abcd2");
const VIEWER: (&str, &str) = ("EXAMPLEACCESSKEY0003", "exampleSecretKeyDoNotUse0123456789abcd3");
const IMPOSTOR: (&str, &str) = ("EXAMPLEACCESSKEY0001", "exampleSecretKeyDoNotUse0123456789abcX");

/// `required`: what becomes of an edit without a field that the newer page requires.
fn application_fields(required: &Outcome) -> Vec<Field> {
    let same = |value: Value| (value.clone(), Becomes(value));
    let absent = required.clone();
    vec![
        Field::new("/name", "name", Refused, Refused, same(json!("Other-1")), json!("")),
        Field::new(
            "/applicationType",
            "application_type",
            Kept,
            Refused,
            same(json!("app")),
            json!("tv"),
        ),
        Field::new(
            "/applicationUrl",
            "application_url",
            Kept,
            Refused,
            same(json!("https://b.example/")),
            json!("b"),
        ),
        Field::new("/description", "description", Kept, Refused, same(json!("다른")), json!(7)),
        Field::new(
            "/mbrLoginAllow",
            "mbr_login_allow",
            absent.clone(),
            Refused,
            same(json!("DENY")),
            json!("allow"),
        ),
        Field::new("/protocol", "protocol", Kept, Refused, (json!("OAUTH2"), Kept), json!("SAML")),
        Field::new(
            "/redirectUris",
            "redirect_uris",
            absent.clone(),
            Refused,
            same(json!(["https://b.example/cb"])),
            json!([]),
        ),
        Field::new(
            "/clientAuthMethod",
            "client_auth_method",
            absent.clone(),
            Refused,
            same(json!("client_secret_post")),
            json!("none"),
        ),
        Field::new(
            "/accessType",
            "access_type",
            absent.clone(),
            Refused,
            same(json!("public")),
            json!("open"),
        )
        .beside(json!({"clientAuthMethod": "none"}))
        .along(&["client_auth_method", "client_secret_hash"]),
        Field::new(
            "/grantTypes",
            "grant_types",
            absent.clone(),
            Refused,
            same(json!(["implicit"])),
            json!(["refresh_token"]),
        ),
        Field::new(
            "/scopes",
            "scopes",
            absent.clone(),
            Refused,
            same(json!(["profile"])),
            json!(["phone"]),
        ),
        Field::new(
            "/accessTokenValidity",
            "access_token_validity",
            Kept,
            Refused,
            same(json!(60)),
            json!(59),
        ),
        Field::new(
            "/refreshTokenValidity",
            "refresh_token_validity",
            Kept,
            Refused,
            same(json!(86_400)),
            json!(-1),
        ),
    ]
}

/// The same for the members of the consent page.
fn consent_fields(required: &Outcome) -> Vec<Field> {
    let texts = || {
        let stored = json!({"ko": "다른 글", "en": "another", "ja": null});
        (json!({"ko": "다른 글", "en": "another"}), Becomes(stored))
    };
    let same = |value: Value| (value.clone(), Becomes(value));
    let absent = required.clone();
    vec![
        Field::new(
            "/consentPage/applicationName",
            "consent_application_name",
            absent.clone(),
            Refused,
            (
                json!({"ko": "나", "en": "b", "ja": "い"}),
                Becomes(json!({"ko": "나", "en": "b", "ja": "い"})),
            ),
            json!({"ko": "나"}),
        ),
        Field::new(
            "/consentPage/useLanguages",
            "consent_use_languages",
            absent.clone(),
            Refused,
            same(json!(["ko"])),
            json!(["en"]),
        ),
        Field::new(
            "/consentPage/defaultLanguage",
            "consent_default_language",
            absent.clone(),
            Refused,
            same(json!("en")),
            json!("ja"),
        ),
        Field::new(
            "/consentPage/usePurposeDesc",
            "consent_use_purpose_desc",
            absent.clone(),
            Refused,
            texts(),
            json!("글"),
        ),
        Field::new(
            "/consentPage/usePeriodDesc",
            "consent_use_period_desc",
            absent.clone(),
            Refused,
            texts(),
            json!([]),
        ),
        Field::new(
            "/consentPage/dataTransferAbroad",
            "consent_data_transfer_abroad",
            absent.clone(),
            Refused,
            same(json!(false)),
            json!("true"),
        ),
        Field::new(
            "/consentPage/dataTransferCountry",
            "consent_data_transfer_country",
            absent.clone(),
            Refused,
            texts(),
            json!({"ko": "가", "en": ""}),
        ),
        Field::new(
            "/consentPage/dataRecipients",
            "consent_data_recipients",
            absent.clone(),
            Refused,
            texts(),
            json!(7),
        ),
        Field::new(
            "/consentPage/dataRecipientsContact",
            "consent_data_recipients_contact",
            absent.clone(),
            Refused,
            texts(),
            json!({"ko": null}),
        ),
    ]
}

pub(super) fn application_base() -> Value {
    json!({
        "name": "portal", "applicationType": "web", "applicationUrl": "https://a.example/",
        "description": "처음", "mbrLoginAllow": "ALLOW", "protocol": "OAUTH2",
        "redirectUris": ["https://app.example.com/cb"], "clientAuthMethod": "client_secret_basic",
        "accessType": "confidential", "grantTypes": ["authorization_code", "refresh_token"],
        "scopes": ["openid", "profile"], "accessTokenValidity": 3600,
        "refreshTokenValidity": 7200,
        "consentPage": {
            "applicationName": {"ko": "포털", "en": "Portal", "ja": "ポータル"},
            "useLanguages": ["ko", "en"], "defaultLanguage": "ko",
            "usePurposeDesc": {"ko": "로그인", "en": "Sign-in"},
            "usePeriodDesc": {"ko": "탈퇴 시까지", "en": "Until withdrawal"},
            "dataTransferAbroad": true,
            "dataTransferCountry": {"ko": "일본", "en": "Japan"},
            "dataRecipients": {"ko": "받는 이", "en": "Recipient"},
            "dataRecipientsContact": {"ko": "a@example.com", "en": "a@example.com"},
        },
    })
}

async fn applications(server: Server) {
    const TARGET: &str = "/applications/88d2009c-0000-4000-8000-59bf9afd5695";
    let edit = Edit {
        dialect: "ncloud",
        record: "application/88d2009c-0000-4000-8000-59bf9afd5695",
        base: application_base(),
        allowed: |server, body| signed(server, MANAGER, TARGET, body),
        denied: vec![
            ("a viewer", 401, |server, body| signed(server, VIEWER, TARGET, body)),
            ("another account", 400, |server, body| signed(server, OTHER, TARGET, body)),
            ("an impostor", 401, |server, body| signed(server, IMPOSTOR, TARGET, body)),
        ],
        fields: [application_fields(&Kept), consent_fields(&Kept)].into_iter().flatten().collect(),
    };
    run(&server, edit).await;
}

async fn applications_v1(server: Server) {
    const TARGET: &str = "/api/v1/applications/88d2009c-0000-4000-8000-59bf9afd5695";
    let edit = Edit {
        dialect: "ncloud (v1)",
        record: "application/88d2009c-0000-4000-8000-59bf9afd5695",
        base: application_base(),
        allowed: |server, body| signed(server, MANAGER, TARGET, body),
        denied: vec![
            ("a viewer", 401, |server, body| signed(server, VIEWER, TARGET, body)),
            ("another account", 400, |server, body| signed(server, OTHER, TARGET, body)),
            ("an impostor", 401, |server, body| signed(server, IMPOSTOR, TARGET, body)),
        ],
        fields: [application_fields(&Refused), consent_fields(&Refused)]
            .into_iter()
            .flatten()
            .collect(),
    };
    run(&server, edit).await;
}
