//! The `Authorization` header of SOLAPI's API, read and written: `HMAC-SHA256 apiKey=…, date=…,
//! salt=…, signature=…`. The signature is the hexadecimal HMAC, under the key's secret, of date and
//! salt as they are sent.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::Sha256;

/// The blanks of a header (RFC 9110 section 5.6.3); any other is part of a value, which is signed.
const BLANKS: [char; 2] = [' ', '\t'];

/// The header of a request of ours, signed with HMAC-SHA256.
pub fn sign(api_key: &str, secret: &str, date: &str, salt: &str) -> String {
    let signature = mac::<Hmac<Sha256>>(secret, date, salt)
        .map(|mac| hex::encode(mac.finalize().into_bytes()))
        .unwrap_or_default();
    format!("HMAC-SHA256 apiKey={api_key}, date={date}, salt={salt}, signature={signature}")
}

/// The HMAC of date and salt; none only for a hash that cannot take the secret, which both here can.
fn mac<M: Mac + KeyInit>(secret: &str, date: &str, salt: &str) -> Option<M> {
    let mut mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(date.as_bytes());
    mac.update(salt.as_bytes());
    Some(mac)
}

/// The hash inside the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// The one that clients use.
    Sha256,
    /// An old one.
    Md5,
}

/// The header's parts, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The hash inside the HMAC.
    pub hash: Hash,
    /// Whose secret it is made with.
    pub api_key: &'a str,
    /// When it was made.
    pub date: &'a str,
    /// Any text, another one each time.
    pub salt: &'a str,
    /// The HMAC, hexadecimal.
    pub signature: &'a str,
}

impl<'a> Signed<'a> {
    /// Reads the header; nothing when the scheme is another, or one of the four parts is absent,
    /// empty or there twice. The official clients disagree on the case of names.
    pub fn parse(header: &'a str) -> Option<Self> {
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
    pub fn is_made_with(&self, secret: &str) -> bool {
        let Ok(signature) = hex::decode(self.signature) else {
            return false;
        };
        match self.hash {
            Hash::Sha256 => self.verifies::<Hmac<Sha256>>(secret, &signature),
            Hash::Md5 => self.verifies::<Hmac<Md5>>(secret, &signature),
        }
    }

    fn verifies<M: Mac + KeyInit>(&self, secret: &str, signature: &[u8]) -> bool {
        mac::<M>(secret, self.date, self.salt)
            .is_some_and(|mac| mac.verify_slice(signature).is_ok())
    }
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

    proptest! {
        #[test]
        fn what_is_signed_here_is_known_here(secret: String, salt in "[0-9a-f]{12,64}") {
            let header = sign("KEY", &secret, "2026-04-23T09:15:30Z", &salt);
            let signed = Signed::parse(&header).unwrap();
            prop_assert_eq!(signed.hash, Hash::Sha256);
            prop_assert_eq!((signed.api_key, signed.salt), ("KEY", salt.as_str()));
            prop_assert!(signed.is_made_with(&secret));
            let other = secret + "x";
            prop_assert!(!signed.is_made_with(&other));
        }

        #[test]
        fn no_header_makes_it_panic(header: String, secret: String) {
            if let Some(signed) = Signed::parse(&header) {
                signed.is_made_with(&secret);
            }
        }
    }
}
