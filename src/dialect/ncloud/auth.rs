//! `x-ncp-apigw-signature-v2`: Base64 of the HMAC-SHA256, under the key's secret, of
//! `METHOD SP TARGET LF TIMESTAMP LF ACCESS-KEY`. The target is path and query as they were sent;
//! the body is not signed. The same request may be sent again within the window: clients' retries
//! depend on it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use crate::dialect::credential::{self, Caller};
use crate::dialect::{Call, Dialect, Refusal};
use crate::domain::access::{self, Grant, Right};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::sign_in::tenant::Tenant;

/// How far the signed time may be from the server's clock, milliseconds; that far is too far.
const SKEW_MS: u64 = 300_000;

/// Whether the account that calls has a tenant. Without one it is told so whatever else is wrong: no
/// application can be without its tenant.
#[derive(Clone, Copy, Debug)]
pub struct HasTenant(pub bool);

/// Finds out who calls, and refuses callers who have `right` on no application at all. Notes
/// [`HasTenant`].
pub async fn authenticate(call: &Call, right: Right) -> Result<Actor, Error> {
    let header = |name| call.sole_header(name).ok_or(Error::Unauthenticated);
    let timestamp = header("x-ncp-apigw-timestamp")?;
    let access_key = header("x-ncp-iam-access-key")?;
    let signature = header("x-ncp-apigw-signature-v2")?;
    if !is_current(timestamp, call.at) {
        return Err(Error::Unauthenticated);
    }
    let caller = Caller::of(Dialect::Ncloud, call);
    let credential = call
        .read(|facts| caller.public_id(access_key, facts))
        .await?
        .filter(|credential| credential.record.allows(call.peer))
        .ok_or(Error::Unauthenticated)?;
    let sealed = credential.record.secret_sealed.as_deref().ok_or(Error::Unauthenticated)?;
    let secret = call.app.vault.open(access_key, sealed).map_err(Error::internal)?;
    let signed =
        SignedText { method: call.method.as_str(), target: &call.target, timestamp, access_key };
    if !signed.is_made_with(secret.expose(), signature) {
        return Err(Error::Unauthenticated);
    }
    call.known(credential.meta.account_id);
    let grants = credential.record.policies.iter().filter_map(|policy| grant(policy)).collect();
    let actor = credential::actor(&credential, grants);
    if !access::has_anywhere(&actor, right, Kind::Application) {
        return Err(Error::Denied(Some((right, Kind::Application))));
    }
    let id = actor.account_id;
    let tenants = call.read(|facts| facts.select::<Tenant>(id, "owner_id", id)).await?;
    call.note(HasTenant(!tenants.is_empty()));
    Ok(actor)
}

/// The account that calls, with something to say.
pub async fn caller(call: &Call) -> Result<i64, Refusal> {
    Ok(authenticate(call, Right::Edit).await?.account_id)
}

/// True when `timestamp`, milliseconds since 1970 in decimal digits, is within the window.
fn is_current(timestamp: &str, now: Timestamp) -> bool {
    let is_decimal = timestamp.bytes().all(|byte| byte.is_ascii_digit());
    timestamp
        .parse::<i64>()
        .is_ok_and(|sent| is_decimal && now.as_millisecond().abs_diff(sent) < SKEW_MS)
}

/// What a signature is made of.
struct SignedText<'a> {
    method: &'a str,
    target: &'a str,
    timestamp: &'a str,
    access_key: &'a str,
}

impl SignedText<'_> {
    /// Whether `signature` is the one that `secret` makes; takes as long for any wrong one.
    fn is_made_with(&self, secret: &str, signature: &str) -> bool {
        let Self { method, target, timestamp, access_key } = self;
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
            return false;
        };
        mac.update(format!("{method} {target}\n{timestamp}\n{access_key}").as_bytes());
        STANDARD.decode(signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok())
    }
}

/// What policies permit here: the vendor's system policies by name, and the actions of a policy of
/// the customer's own. Any other gives nothing.
pub const POLICIES: &[(&str, &[Right])] = &[
    ("NCP_ADMINISTRATOR", &Right::ALL),
    ("NCP_INFRA_MANAGER", &Right::ALL),
    ("NCP_SINGLE_SIGN_ON_MANAGER", &Right::ALL),
    ("NCP_SINGLE_SIGN_ON_VIEWER", &[Right::Read]),
    ("view/getApplicationDetail", &[Right::Read]),
    ("change/updateApplication", &[Right::Edit]),
];

fn grant(policy: &str) -> Option<Grant> {
    let (_, rights) = POLICIES.iter().find(|(name, _)| *name == policy)?;
    Some(Grant::account(&[Kind::Application], rights))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "exampleSecretKeyDoNotUse0123456789abcd";

    fn signed<'a>(method: &'a str, target: &'a str) -> SignedText<'a> {
        let access_key = "EXAMPLEACCESSKEY0001";
        SignedText { method, target, timestamp: "1767225600000", access_key }
    }

    #[test]
    fn signatures_are_those_of_the_worked_example() {
        for (method, target, signature) in [
            (
                "PUT",
                "/applications/88d2009c-0000-4000-8000-59bf9afd5695",
                "e6cXHZnPOv979YOhSr+11TNKg0RGbRBvJO1b/fLmr+Y=",
            ),
            (
                "PUT",
                "/api/v1/applications/88d2009c-0000-4000-8000-59bf9afd5695",
                "nL8e4w0pzzM5k6C9npoQWnkkgAAepjgWAXEtjAetARM=",
            ),
            (
                "GET",
                "/api/v1/applications?searchColumn=applicationName&searchWord=application&page=0&size=20",
                "g2BsdUwonkwL1l3QVUn8QWLa79LqXosrnitNLqDTdfo=",
            ),
            (
                "POST",
                "/api/v1/applications/88d2009c-0000-4000-8000-59bf9afd5695/oauth2/secret-renewal",
                "q/MiMaq6Km+fIWgVSJhk35prM8GAbxLM3je1CQfKnnE=",
            ),
            ("DELETE", "/api/v1/tenant", "tzCQSP58SDBsAVmq0Mz3X+MrS1sAzcvejElNY7gAHkE="),
        ] {
            let example = signed(method, target);
            assert!(example.is_made_with(SECRET, signature), "{method} {target}");
            assert!(!example.is_made_with("another", signature), "{method} {target}");
            assert!(!signed("PATCH", target).is_made_with(SECRET, signature));
            assert!(!signed(method, "/").is_made_with(SECRET, signature));
            for broken in
                ["", "=", "e6cX", signature.trim_end_matches('='), &format!("{signature}=")]
            {
                assert!(!example.is_made_with(SECRET, broken), "{broken:?}");
            }
        }
    }

    #[test]
    fn the_window_is_open_on_both_sides_and_ends_at_five_minutes() {
        let now = Timestamp::from_millisecond(1_767_225_600_000).unwrap();
        for (timestamp, expected) in [
            ("1767225600000", true),
            ("1767225300001", true),
            ("1767225899999", true),
            ("1767225300000", false),
            ("1767225900000", false),
            ("1767225600", false),
            ("0", false),
            ("", false),
            ("+1767225600000", false),
            ("-1767225600000", false),
            (" 1767225600000", false),
            ("1767225600000.0", false),
            ("9223372036854775807", false),
            ("99999999999999999999", false),
        ] {
            assert_eq!(is_current(timestamp, now), expected, "{timestamp:?}");
        }
    }

    #[test]
    fn a_policy_gives_just_what_it_names() {
        for (policy, rights) in [
            ("NCP_ADMINISTRATOR", Some(&Right::ALL[..])),
            ("NCP_INFRA_MANAGER", Some(&Right::ALL)),
            ("NCP_SINGLE_SIGN_ON_MANAGER", Some(&Right::ALL)),
            ("NCP_SINGLE_SIGN_ON_VIEWER", Some(&[Right::Read])),
            ("view/getApplicationDetail", Some(&[Right::Read])),
            ("change/updateApplication", Some(&[Right::Edit])),
            ("view/getApplicationList", None),
            ("NCP_FINANCE_MANAGER", None),
            ("ncp_administrator", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(
                grant(policy),
                rights.map(|rights| Grant::account(&[Kind::Application], rights)),
                "{policy:?}"
            );
        }
    }
}
