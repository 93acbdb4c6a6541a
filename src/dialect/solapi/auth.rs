//! `Authorization: HMAC-SHA256 apiKey=…, date=…, salt=…, signature=…`. The signature is the
//! hexadecimal HMAC, under the key's secret, of date and salt as they were sent; it is good once.

use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use md5::Md5;
use sha2::Sha256;

use super::error;
use crate::dialect::{Call, Dialect, Refusal};
use crate::domain::access::{Grant, Right};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::people::account::Account;
use crate::domain::people::credential::Credential;

/// How far the signed date may be from the server's clock; that far is too far.
const SKEW: SignedDuration = SignedDuration::from_mins(15);
/// How long after its date a signature is remembered: until it would be refused as skewed anyway,
/// and as long again as a request may be on its way from the skew test to the replay test.
const SIGNATURE_LIFE: SignedDuration = SignedDuration::from_mins(16);
/// Bytes of a salt.
const SALT_BYTES: std::ops::RangeInclusive<usize> = 12..=64;
/// The blanks of a header (RFC 9110 section 5.6.3); any other is part of a value, which is signed.
const BLANKS: [char; 2] = [' ', '\t'];
/// The roles, each of which may do everything that is served: the vendor asks for the last or higher.
pub const ROLES: [&str; 3] = ["OWNER", "DEVELOPER", "MEMBER"];

/// Finds out who calls, in the vendor's order of checks.
pub async fn authenticate(call: &Call) -> Result<Actor, Refusal> {
    let signed = sole_header(call)
        .and_then(Signed::parse)
        .filter(|signed| signed.hash == Hash::Sha256 || call.app.config.solapi.hmac_md5)
        .ok_or(Error::Unauthenticated)?;
    if !SALT_BYTES.contains(&signed.salt.len()) {
        return Err(error::invalid("salt must be 12 to 64 bytes").into());
    }
    let date = instant(signed.date)
        .ok_or_else(|| error::invalid("date must be YYYY-MM-DDTHH:mm:ss with Z or an offset"))?;

    let known = call.read(|facts| {
        let found = facts.select_in_all_accounts::<Credential>("public_id", signed.api_key)?;
        let is_good = |credential: &Credential| {
            credential.dialect == Dialect::Solapi && credential.is_live(call.at)
        };
        let Some(stored) = found.into_iter().find(|stored| is_good(&stored.record)) else {
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
    let digest = signed.signature.to_ascii_lowercase();
    let forget_at = date.checked_add(SIGNATURE_LIFE).unwrap_or(Timestamp::MAX);
    call.app.pipeline.burn_signature(credential.id(), digest, forget_at).await?;

    if !credential.record.allows(call.peer) {
        return Err(error::wrong_address(call.peer.to_canonical()).into());
    }
    let roles = &credential.record.policies;
    if !is_account_live || !roles.iter().any(|role| ROLES.contains(&role.as_str())) {
        return Err(Error::Denied.into());
    }
    Ok(Actor {
        account_id: credential.meta.account_id,
        credential_id: credential.id(),
        person_id: credential.record.person_id,
        dialect: Dialect::Solapi,
        grants: vec![Grant::account(&[Kind::Relationship], &Right::ALL)],
    })
}

/// The header, where it is sent once and is text. It may hold more than ASCII: the salt is free.
fn sole_header(call: &Call) -> Option<&str> {
    let mut values = call.headers.get_all("authorization").iter();
    match (values.next(), values.next()) {
        (Some(value), None) => std::str::from_utf8(value.as_bytes()).ok(),
        _ => None,
    }
}

/// The hash inside the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Md5,
}

/// The header's parts, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signed<'a> {
    hash: Hash,
    api_key: &'a str,
    date: &'a str,
    salt: &'a str,
    signature: &'a str,
}

impl<'a> Signed<'a> {
    /// Reads the header; nothing when the scheme is another, or one of the four parts is absent,
    /// empty or there twice. The official clients disagree on the case of names.
    fn parse(header: &'a str) -> Option<Self> {
        let (scheme, rest) = header.trim_matches(BLANKS).split_once(' ')?;
        let hash = match scheme {
            _ if scheme.eq_ignore_ascii_case("HMAC-SHA256") => Hash::Sha256,
            _ if scheme.eq_ignore_ascii_case("HMAC-MD5") => Hash::Md5,
            _ => return None,
        };
        let mut parts: [(&str, Option<&'a str>); 4] =
            [("apiKey", None), ("date", None), ("salt", None), ("signature", None)];
        for pair in rest.split(',') {
            let (name, value) = pair.trim_matches(BLANKS).split_once('=')?;
            let known = parts.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
            if let Some((_, part)) = known
                && part.replace(value).is_some()
            {
                return None;
            }
        }
        let [api_key, date, salt, signature] =
            parts.map(|(_, value)| value.filter(|value| !value.is_empty()));
        Some(Self { hash, api_key: api_key?, date: date?, salt: salt?, signature: signature? })
    }

    /// True when the signature is that of date and salt under `secret`.
    fn is_made_with(&self, secret: &str) -> bool {
        let Ok(signature) = hex::decode(self.signature) else {
            return false;
        };
        match self.hash {
            Hash::Sha256 => self.verifies::<Hmac<Sha256>>(secret, &signature),
            Hash::Md5 => self.verifies::<Hmac<Md5>>(secret, &signature),
        }
    }

    fn verifies<M: Mac + KeyInit>(&self, secret: &str, signature: &[u8]) -> bool {
        <M as KeyInit>::new_from_slice(secret.as_bytes()).is_ok_and(|mut mac| {
            mac.update(self.date.as_bytes());
            mac.update(self.salt.as_bytes());
            mac.verify_slice(signature).is_ok()
        })
    }
}

/// An ISO 8601 instant in the extended form that all official clients send: seconds, no fraction or
/// one of up to nine digits, and `Z` or an offset of hours and minutes.
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
    let is_whole =
        has_form(seconds, "0000-00-00T00:00:00") && (zone == "Z" || has_form(zone, "+00:00"));
    is_whole.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "TESTSECRET0000000000000000000001";
    const SALT: &str = "0123456789abcdef0123456789abcdef";

    fn signed(header: &str) -> Option<Signed<'_>> {
        Signed::parse(header)
    }

    #[test]
    fn reads_every_spelling_in_use() {
        let expected = Signed {
            hash: Hash::Sha256,
            api_key: "KEY",
            date: "2026-04-23T09:15:30Z",
            salt: "a=b",
            signature: "0f",
        };
        for header in [
            "HMAC-SHA256 apiKey=KEY, date=2026-04-23T09:15:30Z, salt=a=b, signature=0f",
            "HMAC-SHA256 ApiKey=KEY, Date=2026-04-23T09:15:30Z, salt=a=b, signature=0f",
            "hmac-sha256   APIKEY=KEY,DATE=2026-04-23T09:15:30Z,SALT=a=b,SIGNATURE=0f",
            "HMAC-SHA256 signature=0f, salt=a=b, date=2026-04-23T09:15:30Z, apiKey=KEY, more=1",
            "\tHMAC-SHA256 apiKey=KEY ,\tdate=2026-04-23T09:15:30Z\t, salt=a=b, signature=0f \t",
        ] {
            assert_eq!(signed(header), Some(expected), "{header}");
        }
    }

    #[test]
    fn a_value_keeps_blanks_that_are_not_the_headers() {
        for salt in ["\u{a0}salt\u{a0}", "소금\u{3000}", "salt\u{2003}", "salt\u{85}"] {
            for header in [
                format!("HMAC-SHA256 apiKey=K, date=D, salt={salt}, signature=0f"),
                format!("HMAC-SHA256 apiKey=K, date=D, signature=0f, salt={salt}"),
            ] {
                assert_eq!(signed(&header).map(|parts| parts.salt), Some(salt), "{header:?}");
            }
        }
    }

    #[test]
    fn refuses_another_scheme_and_parts_absent_empty_or_twice() {
        for header in [
            "",
            "HMAC-SHA256",
            "HMAC-SHA256 ",
            "Basic apiKey=K, date=D, salt=S, signature=F",
            "Bearer apiKey=K, date=D, salt=S, signature=F",
            "HMAC-SHA512 apiKey=K, date=D, salt=S, signature=F",
            "HMAC-SHA256 apiKey=K, date=D, signature=F",
            "HMAC-SHA256 apiKey=K, date=D, salt=, signature=F",
            "HMAC-SHA256 apiKey=K, date=D, salt=S, signature=F, Salt=S",
            "HMAC-SHA256 apiKey=K, date=D, salt=S, signature=F, salt=",
            "HMAC-SHA256 apiKey=K, date=D, salt=S, signature=F, nonsense",
        ] {
            assert_eq!(signed(header), None, "{header}");
        }
    }

    #[test]
    fn knows_the_signatures_of_both_hashes_in_either_case() {
        let date = "2026-04-23T09:15:30.123Z";
        let sha256 = "9e62125e0e8ff5224c3978e766aa4d08a8f510fd3bc4d5d9dd831f357111471e";
        let md5 = "7762daf3385317574d3c2f0d2ce2c030";
        for (hash, signature, other) in [(Hash::Sha256, sha256, md5), (Hash::Md5, md5, sha256)] {
            let made = |signature: &str| {
                Signed { hash, api_key: "K", date, salt: SALT, signature }.is_made_with(SECRET)
            };
            assert!(made(signature));
            assert!(made(&signature.to_uppercase()));
            assert!(!made(other));
            assert!(!made(&signature[2..]));
            assert!(!made("no hex"));
            assert!(!made(&signature.replace('7', "8")));
        }
    }

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
            "2026-04-23T18:15:30+0900",
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
        fn no_header_makes_it_panic(header: String, secret: String) {
            if let Some(signed) = Signed::parse(&header) {
                signed.is_made_with(&secret);
                instant(signed.date);
            }
            instant(&header);
        }
    }
}
