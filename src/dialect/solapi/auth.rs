//! Who calls, by a signature ([`crate::hmac_header`]) that is good once.

use jiff::{SignedDuration, Timestamp};

use super::error;
use crate::dialect::credential;
use crate::dialect::{Call, Dialect, Refusal};
use crate::domain::access::{Grant, Right};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::facts::Signature;
use crate::domain::kind::Kind;
use crate::domain::people::account::Account;
use crate::domain::people::credential::Credential;
use crate::domain::record::Stored;
use crate::hmac_header::{Hash, Signed};

/// How far the signed date may be from the server's clock; that far is too far.
const SKEW: SignedDuration = SignedDuration::from_mins(15);
/// How long after its date a signature is remembered: until it would be refused as skewed anyway,
/// and as long again as a request may be on its way from the skew test to the replay test.
const SIGNATURE_LIFE: SignedDuration = SignedDuration::from_mins(16);
/// Bytes of a salt.
const SALT_BYTES: std::ops::RangeInclusive<usize> = 12..=64;
/// The roles, each of which may do everything that is served: the vendor asks for the last or higher.
pub const ROLES: [&str; 3] = ["OWNER", "DEVELOPER", "MEMBER"];

/// Finds out who calls, in the vendor's order of checks. From the moment that the signature proves to
/// be made with the key's secret it is the call's to use up, even where the key is good for nothing.
pub async fn authenticate(call: &Call) -> Result<Actor, Refusal> {
    let signed = call
        .sole_header("authorization")
        .and_then(Signed::parse)
        .filter(|signed| signed.hash == Hash::Sha256 || call.app.config.solapi.hmac_md5)
        .ok_or(Error::Unauthenticated)?;
    if !SALT_BYTES.contains(&signed.salt.len()) {
        return Err(error::invalid("salt must be 12 to 64 bytes").into());
    }
    let date = instant(signed.date)
        .ok_or_else(|| error::invalid("date must be YYYY-MM-DDTHH:mm:ss with Z or an offset"))?;

    let caller = credential::Caller::of(Dialect::Solapi, call);
    let known = call.read(|facts| {
        let Some(stored) = caller.public_id(signed.api_key, facts)? else {
            return Ok(None);
        };
        let account = facts.find::<Account>(stored.meta.account_id, stored.meta.account_id)?;
        Ok(Some((stored, account.is_some())))
    });
    let (credential, is_account_live) = known.await?.ok_or_else(error::invalid_api_key)?;
    let sealed = credential.record.secret_sealed.as_deref().ok_or_else(error::invalid_api_key)?;
    if call.at.duration_since(date).abs() >= SKEW {
        return Err(error::too_skewed().into());
    }
    let secret = call.app.vault.open(signed.api_key, sealed).map_err(Error::internal)?;
    if !signed.is_made_with(secret.expose()) {
        return Err(error::wrong_signature().into());
    }
    let signature = Signature {
        expires_at: date.checked_add(SIGNATURE_LIFE).unwrap_or(Timestamp::MAX),
        credential_id: credential.id(),
        digest: signed.signature.to_ascii_lowercase(),
    };
    call.signed(credential.meta.account_id, signature);
    call.known(credential.meta.account_id);
    actor(call, &credential, is_account_live)
}

/// The account that calls. The signature that proves it is noted in this call alone.
pub async fn caller(call: &Call) -> Result<i64, Refusal> {
    Ok(authenticate(call).await?.account_id)
}

fn actor(
    call: &Call,
    credential: &Stored<Credential>,
    is_account_live: bool,
) -> Result<Actor, Refusal> {
    if !credential.record.allows(call.peer) {
        return Err(error::wrong_address(call.peer.to_canonical()).into());
    }
    let roles = &credential.record.policies;
    if !is_account_live || !roles.iter().any(|role| ROLES.contains(&role.as_str())) {
        return Err(Error::Denied(None).into());
    }
    Ok(credential::actor(credential, vec![Grant::account(&[Kind::Relationship], &Right::ALL)]))
}

/// An ISO 8601 instant: in the extended form that all official clients send, seconds, no fraction or one of
/// up to nine digits, and `Z` or an offset of hours and minutes, with a colon between these or without.
///
/// No such text is the beginning of another. Date and salt are signed as one text, so were `+09` an
/// offset too, the end of `+09:30` could be moved into the salt: the same signature, half an hour
/// younger.
fn instant(text: &str) -> Option<Timestamp> {
    let has_form = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                b'+' => byte == b'+' || byte == b'-',
                _ => byte == wanted,
            })
    };
    let (seconds, rest) = text.split_at_checked("0000-00-00T00:00:00".len())?;
    let zone = match rest.strip_prefix('.') {
        None => rest,
        Some(rest) => {
            let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            (1..=9).contains(&(rest.len() - zone.len())).then_some(zone)?
        }
    };
    let is_zone = zone == "Z" || has_form(zone, "+00:00") || has_form(zone, "+0000");
    let is_whole = has_form(seconds, "0000-00-00T00:00:00") && is_zone;
    is_whole.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_dates_as_the_official_clients_write_them() {
        let at: Timestamp = "2026-04-23T09:15:30Z".parse().unwrap();
        for (text, nanoseconds) in [
            ("2026-04-23T09:15:30Z", 0),
            ("2026-04-23T09:15:30.123Z", 123_000_000),
            ("2026-04-23T18:15:30+09:00", 0),
            ("2026-04-23T18:15:30.123456+09:00", 123_456_000),
            ("2026-04-23T04:15:30.123456789-05:00", 123_456_789),
            ("2026-04-23T14:45:30.1+05:30", 100_000_000),
            ("2026-04-23T18:15:30+0900", 0),
            ("2026-04-23T04:15:30.5-0500", 500_000_000),
        ] {
            let expected = at + SignedDuration::from_nanos(nanoseconds);
            assert_eq!(instant(text), Some(expected), "{text}");
        }
        for text in [
            "2026-04-23T09:15:30",
            "2026-04-23 09:15:30Z",
            "2026-04-23",
            "2026-04-23T09:15:30Z[UTC]",
            "2026-04-23T09Z",
            "2026-04-23T09:15Z",
            "2026-04-23T0915Z",
            "2026-04-23T091530Z",
            "2026-04-23T09:15:30z",
            "2026-04-23t09:15:30Z",
            "20260423T09:15:30Z",
            "+002026-04-23T09:15:30Z",
            "2026-04-23T09:15:30.Z",
            "2026-04-23T09:15:30.1234567890Z",
            "2026-04-23T09:15:30,5Z",
            "2026-04-23T18:15:30+09",
            "2026-04-23T18:15:30+09:00[Asia/Seoul]",
            "2026-04-23T18:15:30+09:00:00",
            "2026-04-23T18:15:30+09:0",
            "2026-04-23T09:15:30 Z",
            "2026-04-23T09:15:30Z ",
            "2026-02-30T09:15:30Z",
            "2026-04-23T25:15:30Z",
            "1776935730",
            "Thu, 23 Apr 2026 09:15:30 GMT",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_date_makes_it_panic(text: String) {
            instant(&text);
        }
    }
}
