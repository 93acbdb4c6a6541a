//! Instants in the range that vendors write: the years 0 to 9999, to the last microsecond. (The
//! library's own timestamps end a day earlier, and `9999-12-31` is how many say "never".)

use std::fmt;
use std::str::FromStr;

use jiff::civil::{DateTime, date};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// An instant, whole microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

impl Instant {
    /// The first instant of the year 0.
    pub const MIN: Self = Self(-62_167_219_200_000_000);
    /// The last microsecond of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The instant of so many microseconds since 1970, where it is in the range.
    pub fn from_microsecond(micros: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since 1970.
    pub const fn as_microsecond(self) -> i64 {
        self.0
    }

    /// The instant at which a clock `offset` ahead of UTC shows `civil`; parts of a microsecond are
    /// cut.
    pub fn at_offset(civil: DateTime, offset: Offset) -> Option<Self> {
        let since =
            civil.duration_since(EPOCH) - SignedDuration::from_secs(offset.seconds().into());
        let nanos = since.as_nanos();
        Self::from_microsecond(i64::try_from(nanos.div_euclid(1000)).ok()?)
    }

    /// The instant at which a clock of `zone` shows `civil`: of a time that does not exist, after the
    /// gap; of one that comes twice, the earlier.
    pub fn in_zone(civil: DateTime, zone: &TimeZone) -> Option<Self> {
        match zone.to_timestamp(civil) {
            Ok(at) => Self::from_microsecond(at.as_microsecond()),
            // Beyond the library's range no zone has a rule of its own.
            Err(_) => Self::at_offset(civil, zone.to_offset(Timestamp::MAX)),
        }
    }

    /// What a clock of UTC shows.
    pub fn civil(self) -> DateTime {
        EPOCH.saturating_add(SignedDuration::from_micros(self.0))
    }

    /// How far the clocks of `zone` are ahead of UTC.
    pub fn offset_in(self, zone: &TimeZone) -> Offset {
        zone.to_offset(Timestamp::try_from(self).unwrap_or(Timestamp::MAX))
    }

    /// What a clock of `zone` shows; none after its calendar has ended.
    pub fn civil_in(self, zone: &TimeZone) -> Option<DateTime> {
        let ahead = SignedDuration::from_secs(self.offset_in(zone).seconds().into());
        self.civil().checked_add(ahead).ok()
    }

    /// RFC 3339, in UTC, with so many digits of a fraction, six at the most; the rest is cut.
    pub fn to_rfc3339(self, digits: u32) -> String {
        let civil = self.civil();
        let mut text = String::with_capacity("2000-01-01T00:00:00.000000Z".len());
        let mut put = |before: &str, number: i32, width: u32| {
            text.push_str(before);
            // The general way to write numbers costs more than all else that an answer takes.
            for place in (0..width).rev() {
                let digit = number.unsigned_abs() / 10_u32.pow(place) % 10;
                text.push(char::from_digit(digit, 10).unwrap_or('0'));
            }
        };
        put("", civil.year().into(), 4);
        put("-", civil.month().into(), 2);
        put("-", civil.day().into(), 2);
        put("T", civil.hour().into(), 2);
        put(":", civil.minute().into(), 2);
        put(":", civil.second().into(), 2);
        if digits > 0 {
            let digits = digits.min(6);
            put(".", civil.subsec_nanosecond() / 10_i32.pow(9 - digits), digits);
        }
        text.push('Z');
        text
    }

    /// RFC 3339, in UTC, with as many digits of a fraction as it takes.
    fn exact(self) -> String {
        if self.0 % 1_000_000 == 0 {
            return self.to_rfc3339(0);
        }
        let mut text = self.to_rfc3339(6);
        text.truncate(text.trim_end_matches('Z').trim_end_matches('0').len());
        text.push('Z');
        text
    }

    /// So much later, where that is in the range.
    pub fn checked_add(self, duration: SignedDuration) -> Option<Self> {
        let micros = i64::try_from(duration.as_micros()).ok()?;
        Self::from_microsecond(self.0.checked_add(micros)?)
    }
}

/// What is before the year 0 becomes its first instant.
impl From<Timestamp> for Instant {
    fn from(at: Timestamp) -> Self {
        Self::from_microsecond(at.as_microsecond()).unwrap_or(Self::MIN)
    }
}

impl TryFrom<Instant> for Timestamp {
    type Error = OutOfRange;

    fn try_from(at: Instant) -> Result<Self, OutOfRange> {
        Self::from_microsecond(at.0).map_err(|_| OutOfRange)
    }
}

/// An instant outside the range of the type that it should become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the instant is out of range")]
pub struct OutOfRange;

/// RFC 3339, in UTC, with as many digits of a fraction as it takes.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.exact())
    }
}

/// Reads what is displayed.
impl FromStr for Instant {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let civil = text.strip_suffix('Z').and_then(|civil| civil.parse().ok());
        civil.and_then(|civil| Self::at_offset(civil, Offset::UTC)).ok_or(OutOfRange)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.exact())
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl de::Visitor<'_> for Read {
            type Value = Instant;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an instant")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Instant, E> {
                text.parse().map_err(E::custom)
            }

            /// As a column holds it.
            fn visit_i64<E: de::Error>(self, micros: i64) -> Result<Instant, E> {
                Instant::from_microsecond(micros).ok_or_else(|| E::custom(OutOfRange))
            }

            fn visit_u64<E: de::Error>(self, micros: u64) -> Result<Instant, E> {
                self.visit_i64(i64::try_from(micros).map_err(E::custom)?)
            }
        }

        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    #[test]
    fn the_range_is_that_of_the_calendar() {
        for text in [
            "0000-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999Z",
            "2026-04-23T09:15:30.5Z",
            "9999-12-31T23:59:59.999999Z",
        ] {
            assert_eq!(at(text).to_string(), text);
        }
        let last = at("9999-12-31T23:59:59.999999Z");
        assert_eq!(last.checked_add(SignedDuration::from_micros(1)), None);
        let first = at("0000-01-01T00:00:00Z");
        assert_eq!((first, last), (Instant::MIN, Instant::MAX));
        assert_eq!(first.checked_add(SignedDuration::from_micros(-1)), None);
        for micros in [i64::MIN, i64::MAX, first.as_microsecond() - 1, last.as_microsecond() + 1] {
            assert_eq!(Instant::from_microsecond(micros), None, "{micros}");
        }
        for text in ["", "Z", "-000001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-04-23"] {
            assert_eq!(text.parse::<Instant>(), Err(OutOfRange), "{text}");
        }
    }

    #[test]
    fn zones_reach_the_end_of_the_calendar() {
        let never = date(9999, 12, 31).at(23, 59, 59, 0);
        for (name, expected) in [
            ("UTC", Some("9999-12-31T23:59:59Z")),
            ("Asia/Seoul", Some("9999-12-31T14:59:59Z")),
            ("America/Sao_Paulo", None),
        ] {
            let zone = TimeZone::get(name).unwrap();
            let found = Instant::in_zone(never, &zone);
            assert_eq!(found, expected.map(at), "{name}");
            assert_eq!(found.and_then(|found| found.civil_in(&zone)), expected.map(|_| never));
        }
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        assert_eq!(at("9999-12-31T15:00:00Z").civil_in(&seoul), None);
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_library_where_both_reach(micros in -62_167_219_200_000_000..=253_402_207_200_000_000_i64) {
            let (ours, theirs) =
                (Instant::from_microsecond(micros).unwrap(), Timestamp::from_microsecond(micros).unwrap());
            prop_assert_eq!(ours.to_string(), theirs.to_string());
            prop_assert_eq!(ours.to_string().parse(), Ok(ours));
            prop_assert_eq!(Timestamp::try_from(ours), Ok(theirs));
            let zone = TimeZone::get("America/New_York").unwrap();
            prop_assert_eq!(ours.civil_in(&zone), Some(zone.to_datetime(theirs)));
        }
    }
}
