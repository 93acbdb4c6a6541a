//! `POST /api/v3/token`: an API key (client id and secret) for an access token.

use jiff::SignedDuration;
use serde_json::json;

use super::body::content_type;
use super::error::unread;
use super::format::Format;
use super::tree::wrong;
use crate::app::OsEntropy;
use crate::dialect::call::DRY_RUN;
use crate::dialect::credential::owner;
use crate::dialect::{Answer, Call, Dialect, Refusal};
use crate::domain::command::Entropy as _;
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Token};
use crate::domain::people::credential::Credential;
use crate::vault::{hash_token, is_equal_constant_time, random_token};

/// How long a token lives, seconds.
const LIFE_S: i64 = 1800;

/// Issues a token. Without preference the answer is JSON here.
pub async fn issue(call: &Call) -> Result<Answer, Refusal> {
    let request = decode(call)?;
    let (account_id, credential_id) = call.read(|facts| credential(&request, call, facts)).await?;
    let token = random_token(|bytes| OsEntropy.fill(bytes));
    let expires_at =
        call.at.checked_add(SignedDuration::from_secs(LIFE_S)).map_err(Error::internal)?;
    let hash = hex::encode(hash_token(token.expose()));
    let kept = Token { hash, credential_id, expires_at };
    call.app.pipeline.keep_token(account_id, kept).await?;
    let body = json!({
        "access_token": token.expose(),
        "expires_in": LIFE_S,
        "token_type": "bearer",
    });
    Ok(Format::of(call).answer(200, &[], &body).header("cache-control", "no-store"))
}

struct Request {
    client_id: String,
    secret_hash: String,
}

fn decode(call: &Call) -> Result<Request, Refusal> {
    let body = call.body()?;
    let content_type = content_type(&call.headers).map_err(|fault| unread(call, fault))?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(wrong("Content-Type").into());
    }
    // Only who gets a token can see whether it would be given: there is nothing to try out.
    let is_dry_run = |value: &http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"false");
    if call.headers.get_all(DRY_RUN).iter().any(is_dry_run) {
        return Err(wrong("Haksa-Dry-Run").into());
    }
    let one = |name: &'static str| {
        let mut values =
            form_urlencoded::parse(body).filter(|(key, _)| key == name).map(|(_, v)| v);
        match (values.next(), values.next()) {
            (Some(value), None) if !value.is_empty() => Ok(value),
            _ => Err(wrong(name)),
        }
    };
    let (client_id, client_secret) = (one("client_id")?, one("client_secret")?);
    if one("grant_type")? != "client_credentials" {
        return Err(wrong("grant_type").into());
    }
    Ok(Request {
        client_id: client_id.to_ascii_lowercase(),
        secret_hash: hex::encode(hash_token(&client_secret)),
    })
}

/// The account and the API key behind a request. One answer for an unknown id and a wrong secret; only who has the
/// secret learns that the key is disabled, or not good from where the caller is.
fn credential(request: &Request, call: &Call, facts: &mut Facts) -> Known<(i64, i64)> {
    let found =
        facts.select_in_all_accounts::<Credential>("public_id", request.client_id.as_str())?;
    let credential = found
        .into_iter()
        .find(|stored| stored.record.dialect == Dialect::Ispring)
        .filter(|stored| {
            stored.record.secret_hash.as_ref().is_some_and(|hash| {
                is_equal_constant_time(hash.as_bytes(), request.secret_hash.as_bytes())
            })
        })
        .ok_or(Error::Unauthenticated)?;
    if !credential.record.is_live(call.at)
        || !credential.record.allows(call.peer)
        || owner(&credential, facts)?.is_none()
    {
        return Err(Error::Denied(None).into());
    }
    Ok((credential.meta.account_id, credential.id()))
}
