//! Ncloud's part of the demo account: a tenant with two applications, people who can sign in, keys
//! with all rights and with few, and another account's tenant.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ACCOUNT, Loader, OTHER_ACCOUNT};
use crate::dialect::Dialect;
use crate::domain::error::Error;
use crate::domain::people::credential::Credential;
use crate::domain::people::person::Person;
use crate::domain::sign_in::application::{
    AccessType, Application, ClientAuthMethod, GrantType, MainAccountLogin, OauthScope,
};
use crate::domain::sign_in::consent::{Language, Localised};
use crate::domain::sign_in::tenant::{MainAccountRule, Tenant};
use crate::vault::hash_token;

const ACCESS_KEY: &str = "EXAMPLEACCESSKEY0001";
const SECRET_KEY: &str = "exampleSecretKeyDoNotUse0123456789abcd";
const OTHER_ACCESS_KEY: &str = "EXAMPLEACCESSKEY0002";
const OTHER_SECRET_KEY: &str = "exampleSecretKeyDoNotUse0123456789abcd2";
const VIEWER_ACCESS_KEY: &str = "EXAMPLEACCESSKEY0003";
const VIEWER_SECRET_KEY: &str = "exampleSecretKeyDoNotUse0123456789abcd3";
const TENANT: &str = "3d1c5f0a-0000-4000-8000-000000000003";
const OTHER_TENANT: &str = "3d1c5f0a-0000-4000-8000-000000000004";
const APPLICATION: &str = "88d2009c-0000-4000-8000-59bf9afd5695";
const PUBLIC_APPLICATION: &str = "88d2009c-0000-4000-8000-59bf9afd5696";
const OTHER_APPLICATION: &str = "88d2009c-0000-4000-8000-59bf9afd5697";
const CLIENT: &str = "6c1f3a52-0000-4000-8000-0123456789ab";
const PUBLIC_CLIENT: &str = "6c1f3a52-0000-4000-8000-0123456789ac";
const OTHER_CLIENT: &str = "6c1f3a52-0000-4000-8000-0123456789ad";
const CLIENT_SECRET: &str = "demo-client-secret";
const REDIRECT_URI: &str = "http://127.0.0.1:9999/callback";
const PASSWORD: &str = "demo-password";
/// argon2id of [`PASSWORD`], made beforehand: making it takes longer than loading all the rest.
const PASSWORD_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$ZGVtby1zYWx0LTAwMDAwMQ$41P/myGi2EvM9OpThccpQGUpaaAPqEVuFbmJy01eZ08";
const USERS: [(i64, &str, &str); 2] =
    [(201, "김학사", "haksa@example.com"), (202, "Lee Demo", "demo@example.com")];

pub(super) async fn load(loader: &Loader<'_>) -> Result<(), Error> {
    for (account, id, key, secret, policy) in [
        (ACCOUNT, 21, ACCESS_KEY, SECRET_KEY, "NCP_SINGLE_SIGN_ON_MANAGER"),
        (OTHER_ACCOUNT, 22, OTHER_ACCESS_KEY, OTHER_SECRET_KEY, "NCP_SINGLE_SIGN_ON_MANAGER"),
        (ACCOUNT, 23, VIEWER_ACCESS_KEY, VIEWER_SECRET_KEY, "NCP_SINGLE_SIGN_ON_VIEWER"),
    ] {
        let mut credential = Credential::new(Dialect::Ncloud, policy);
        credential.policies = vec![policy.to_owned()];
        loader.signing_pair(account, id, credential, key, secret).await?;
    }
    for (account, id, alias) in
        [(ACCOUNT, TENANT, "demo"), (OTHER_ACCOUNT, OTHER_TENANT, "another")]
    {
        let tenant = Tenant {
            owner_id: account,
            alias: alias.to_owned(),
            mbr_login_allow: MainAccountRule::Unused,
        };
        loader.create(account, id, tenant).await?;
    }
    for (id, name, login) in USERS {
        let person = Person {
            name: name.to_owned(),
            email: Some(login.to_owned()),
            login: Some(login.to_owned()),
            password_hash: Some(PASSWORD_HASH.to_owned()),
            ..Person::default()
        };
        loader.create(ACCOUNT, id, person).await?;
    }
    loader.create(ACCOUNT, APPLICATION, portal(TENANT, CLIENT)).await?;
    let mobile = Application {
        name: "mobile".to_owned(),
        client_secret_hash: None,
        access_type: AccessType::Public,
        client_auth_method: ClientAuthMethod::None,
        ..portal(TENANT, PUBLIC_CLIENT)
    };
    loader.create(ACCOUNT, PUBLIC_APPLICATION, mobile).await?;
    loader.create(OTHER_ACCOUNT, OTHER_APPLICATION, portal(OTHER_TENANT, OTHER_CLIENT)).await
}

fn portal(tenant_id: &str, client_id: &str) -> Application {
    Application {
        tenant_id: tenant_id.to_owned(),
        name: "portal".to_owned(),
        client_id: client_id.to_owned(),
        client_secret_hash: Some(hex::encode(hash_token(CLIENT_SECRET))),
        mbr_login_allow: MainAccountLogin::Allow,
        redirect_uris: vec![REDIRECT_URI.to_owned()],
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        scopes: vec![OauthScope::Openid, OauthScope::Profile],
        consent_application_name: Some(Localised {
            ko: Some("포털".to_owned()),
            en: Some("Portal".to_owned()),
            ja: Some("ポータル".to_owned()),
        }),
        consent_use_languages: vec![Language::Ko, Language::En],
        consent_default_language: Some(Language::Ko),
        consent_use_purpose_desc: Some(text("로그인", "Sign-in")),
        consent_use_period_desc: Some(text("탈퇴 시까지", "Until withdrawal")),
        ..Application::default()
    }
}

fn text(ko: &str, en: &str) -> Localised {
    Localised { ko: Some(ko.to_owned()), en: Some(en.to_owned()), ja: None }
}

pub(super) fn summary(base_url: &str) -> Value {
    let users: Vec<_> = USERS
        .iter()
        .map(|(_, _, login)| json!({"login_id": login, "password": PASSWORD}))
        .collect();
    json!({
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "viewer_access_key": VIEWER_ACCESS_KEY,
        "viewer_secret_key": VIEWER_SECRET_KEY,
        "other_access_key": OTHER_ACCESS_KEY,
        "other_secret_key": OTHER_SECRET_KEY,
        "application_id": APPLICATION,
        "other_application_id": OTHER_APPLICATION,
        "public_application_id": PUBLIC_APPLICATION,
        "client_id": CLIENT,
        "client_secret": CLIENT_SECRET,
        "public_client_id": PUBLIC_CLIENT,
        "tenant_id": TENANT,
        "issuer": format!("{base_url}/tenants/{TENANT}"),
        "users": users,
    })
}

pub(super) fn command(base_url: &str, frozen_at: Option<Timestamp>) -> String {
    let timestamp =
        frozen_at.map_or("$(date +%s000)".to_owned(), |at| at.as_millisecond().to_string());
    format!(
        r#"target='/applications/{APPLICATION}'; timestamp={timestamp}
signature=$(printf 'PUT %s\n%s\n{ACCESS_KEY}' "$target" "$timestamp" \
  | openssl dgst -sha256 -hmac '{SECRET_KEY}' -binary | base64)
curl -X PUT "{base_url}$target" -H 'Content-Type: application/json' \
  -H "x-ncp-apigw-timestamp: $timestamp" -H 'x-ncp-iam-access-key: {ACCESS_KEY}' \
  -H "x-ncp-apigw-signature-v2: $signature" \
  -d '{{"name":"portal","description":"cURL test","consentPage":{{"defaultLanguage":"en"}}}}'"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_one_that_is_told() {
        assert!(crate::vault::is_password(PASSWORD, PASSWORD_HASH).unwrap());
    }

    #[test]
    fn the_client_secret_is_kept_as_a_hash() {
        let fields = serde_json::to_string(&portal(TENANT, CLIENT)).unwrap();
        assert!(!fields.contains(CLIENT_SECRET), "{fields}");
    }
}
