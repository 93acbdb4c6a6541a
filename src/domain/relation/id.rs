//! Ids in the vendor's shape: `CRM`, two letters for the class, `1`, the UTC time of making as
//! `yyMMddHHmmssSSS`, and eleven random letters and digits. 32 characters in all.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::command::{Context, Entropy};
use crate::domain::record::Key;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SUFFIX_LENGTH: usize = 11;
/// The largest multiple of the alphabet's length in a byte: bytes from here on would favour some
/// letters.
const FAIR_BYTES: u8 = 248;

/// What an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdClass {
    /// An entity.
    Entity,
    /// A record of an entity.
    Record,
    /// A relationship type.
    RelationshipType,
    /// A relationship.
    Relationship,
}

impl IdClass {
    const fn letters(self) -> &'static str {
        match self {
            Self::Entity => "ET",
            Self::Record => "RC",
            Self::RelationshipType => "RT",
            Self::Relationship => "RL",
        }
    }
}

/// A new id. Two made in the same millisecond differ in 65 random bits.
pub fn new_key(class: IdClass, context: &mut Context<'_>) -> Key {
    Key::Text(new_id(class, context.at, context.entropy))
}

fn new_id(class: IdClass, at: Timestamp, entropy: &mut dyn Entropy) -> String {
    let time = at.to_zoned(TimeZone::UTC);
    let mut id = format!(
        "CRM{}1{}{:03}",
        class.letters(),
        time.strftime("%y%m%d%H%M%S"),
        time.millisecond()
    );
    let length = id.len() + SUFFIX_LENGTH;
    while id.len() < length {
        let mut byte = [0];
        entropy.fill(&mut byte);
        let [byte] = byte;
        if byte < FAIR_BYTES
            && let Some(letter) = ALPHABET.get(usize::from(byte) % ALPHABET.len())
        {
            id.push(char::from(*letter));
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u8);

    impl Entropy for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0;
                self.0 = self.0.wrapping_add(1);
            }
        }
    }

    #[test]
    fn has_the_vendors_shape_with_the_utc_time_of_making() {
        let at = "2026-04-23T18:15:30.123456+09:00".parse().unwrap();
        let id = new_id(IdClass::Relationship, at, &mut Counting(0));
        assert_eq!(id, "CRMRL12604230915301230123456789A");
        assert_eq!(id.len(), 32);
    }

    #[test]
    fn leaves_out_bytes_that_would_favour_a_letter() {
        let id = new_id(IdClass::Entity, Timestamp::UNIX_EPOCH, &mut Counting(246));
        assert_eq!(id, "CRMET1700101000000000yz012345678");
    }
}
