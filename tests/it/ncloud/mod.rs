//! The Ncloud dialect: the contract's vectors, every field in every state, signatures, permissions,
//! and what every edit gains.

mod access;
mod additions;
mod fields;
mod page;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use haksa::app::OsEntropy;
use haksa::dialect::Dialect;
use haksa::domain::actor::Actor;
use haksa::domain::command::{Create, Entropy as _};
use haksa::domain::people::account::Account;
use haksa::domain::people::credential::Credential;
use haksa::domain::record::{Key, Record};
use haksa::domain::sign_in::application::{Application, GrantType};
use haksa::domain::sign_in::consent::Language;
use haksa::pipeline::Envelope;
use haksa::vault::NONCE_BYTES;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Reply, Request, Server, on_both_stores};

const KEY: &str = "EXAMPLEACCESSKEY0001";
const SECRET: &str = "exampleSecretKeyDoNotUse0123456789abcd";
const OTHER: (&str, &str) = ("EXAMPLEACCESSKEY0002", "exampleSecretKeyDoNotUse0123456789abcd2");
const VIEWER: (&str, &str) = ("EXAMPLEACCESSKEY0003", "exampleSecretKeyDoNotUse0123456789abcd3");
const ONE: &str = "/applications/88d2009c-0000-4000-8000-59bf9afd5695";
const V1: &str = "/api/v1/applications/88d2009c-0000-4000-8000-59bf9afd5695";
const PUBLIC: &str = "/applications/88d2009c-0000-4000-8000-59bf9afd5696";
const OTHERS: &str = "/applications/88d2009c-0000-4000-8000-59bf9afd5697";
const NOBODYS: &str = "/applications/00000000-0000-4000-8000-000000000000";

const BAD: &str = r#"{"errorCode":400,"message":"잘못된 요청"}"#;
const NO_APPLICATION: &str = r#"{"errorCode":9016,"message":"존재하지 않는 Application"}"#;
const NO_TENANT: &str = r#"{"errorCode":9014,"message":"Tenant not created"}"#;
const UNAUTHENTICATED: &str = r#"{"error":{"errorCode":"200","message":"Authentication Failed","details":"Invalid authentication information."}}"#;
const DENIED: &str = r#"{"error":{"errorCode":"210","message":"Permission Denied"}}"#;
const NO_ROUTE: &str =
    r#"{"error":{"errorCode":"300","message":"Not Found Exception","details":"URL not found."}}"#;

fn sign(message: &str, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// A request signed by `key` with the server's time.
fn signed_by(server: &Server, key: (&str, &str), method: &str, target: &str) -> Request {
    let (access_key, secret) = key;
    let timestamp = server.clock.now().as_millisecond();
    let signature = sign(&format!("{method} {target}\n{timestamp}\n{access_key}"), secret);
    server
        .request(method, target)
        .header("x-ncp-apigw-timestamp", timestamp.to_string())
        .header("x-ncp-iam-access-key", access_key)
        .header("x-ncp-apigw-signature-v2", signature)
}

pub(crate) fn signed(server: &Server, method: &str, target: &str) -> Request {
    signed_by(server, (KEY, SECRET), method, target)
}

fn put(server: &Server, target: &str, body: &Value) -> Request {
    signed(server, "PUT", target).json(body)
}

async fn read(server: &Server, target: &str) -> Value {
    let reply = signed(server, "GET", target).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn assert_reply(reply: &Reply, status: u16, body: &str, about: &str) {
    assert_eq!((reply.status, reply.text().as_str()), (status, body), "{about}");
    assert_eq!(reply.header("content-type"), "application/json", "{about}");
}

fn assert_ok(reply: &Reply, about: &str) {
    assert_reply(reply, 200, r#"{"success":true}"#, about);
}

/// The contract's full body.
fn full() -> Value {
    json!({
        "name": "portal", "applicationType": "web", "mbrLoginAllow": "ALLOW", "protocol": "OAUTH2",
        "redirectUris": ["https://app.example.com/cb"], "clientAuthMethod": "client_secret_basic",
        "accessType": "confidential", "grantTypes": ["authorization_code", "refresh_token"],
        "scopes": ["openid", "profile"],
        "consentPage": {
            "applicationName": {"ko": "포털", "en": "Portal", "ja": "ポータル"},
            "useLanguages": ["ko", "en"], "defaultLanguage": "ko",
            "usePurposeDesc": {"ko": "로그인", "en": "Sign-in"},
            "usePeriodDesc": {"ko": "탈퇴 시까지", "en": "Until withdrawal"},
            "dataTransferAbroad": false,
        },
    })
}

fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

fn without(mut body: Value, parent: &str, name: &str) -> Value {
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    body
}

/// Makes a record behind the dialect's back.
async fn create<R: Record>(server: &Server, account_id: i64, key: impl Into<Key>, record: R) {
    let command = Create { key: Some(key.into()), created_at: None, record };
    let envelope = Envelope::new(Actor::operator(account_id), "test");
    server.app.pipeline.run(command, envelope).await.unwrap();
}

/// Makes a key with `policies` and gives it with its secret.
async fn new_key(server: &Server, account_id: i64, id: i64, policies: &[&str]) -> (String, String) {
    let (access_key, secret) = (format!("EXAMPLEACCESSKEY{id}"), format!("exampleSecret{id}"));
    let mut nonce = [0; NONCE_BYTES];
    OsEntropy.fill(&mut nonce);
    let mut credential = Credential::new(Dialect::Ncloud, "a key of a test");
    credential.public_id = Some(access_key.clone());
    credential.secret_sealed = Some(server.app.vault.seal(&access_key, &secret, nonce).unwrap());
    credential.policies = policies.iter().map(ToString::to_string).collect();
    create(server, account_id, id, credential).await;
    (access_key, secret)
}

async fn stored(server: &Server, target: &str) -> Application {
    let id = target.rsplit('/').next().unwrap();
    let found = server.app.store.read(|facts| facts.get::<Application>(3, id)).await.unwrap();
    Application::clone(&found.record)
}
