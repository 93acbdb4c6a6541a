//! Instants at the wire: ISO 8601 in, `YYYY-MM-DDTHH:mm:ss.sssZ` out.

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use crate::domain::time::Instant;

/// Bytes of a date at the most, the zone's name among them.
const LENGTH_MAX: usize = 80;

/// How precise an instant was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// A whole day.
    Day(Instant),
    /// A moment.
    Moment(Instant),
}

impl Given {
    /// The moment, or the beginning of the day.
    pub const fn start(self) -> Instant {
        match self {
            Self::Day(at) | Self::Moment(at) => at,
        }
    }

    /// The first moment after what was given: the next day, or the next millisecond.
    pub fn end(self) -> Instant {
        match self {
            Self::Day(at) => at.checked_add(SignedDuration::from_hours(24)).unwrap_or(Instant::MAX),
            Self::Moment(at) => {
                at.checked_add(SignedDuration::from_millis(1)).unwrap_or(Instant::MAX)
            }
        }
    }
}

/// Reads `YYYY-MM-DD` (midnight UTC) or `YYYY-MM-DDTHH:MM[:SS[.f…]]` with `Z`, `±HH:MM`, `±HHMM`, `±HH`
/// or nothing (UTC). A fraction is cut to milliseconds. The name of a zone behind an offset, as Java
/// writes it (RFC 9557), says nothing more.
pub fn parse(text: &str) -> Option<Given> {
    let (date, rest) = text.split_at_checked(10).filter(|_| text.len() <= LENGTH_MAX)?;
    let bytes = date.as_bytes();
    let date = Date::new(
        i16::try_from(digits(bytes.get(..4)?)?).ok()?,
        two(bytes.get(5..7)?)?,
        two(bytes.get(8..10)?)?,
    )
    .ok()
    .filter(|_| bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-'))?;
    if rest.is_empty() {
        return utc(date.at(0, 0, 0, 0)).map(Given::Day);
    }
    let rest = without_zone_name(rest.strip_prefix('T')?)?;
    let (time, offset) = match rest.find(['Z', '+', '-']) {
        Some(at) => rest.split_at(at),
        None => (rest, "Z"),
    };
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (time, None),
    };
    let mut parts = time.split(':');
    let hour = two(parts.next()?.as_bytes())?;
    let minute = two(parts.next()?.as_bytes())?;
    let second = parts.next().map(|text| two(text.as_bytes()));
    let millisecond = match (second, fraction) {
        (_, None) => 0,
        (None, Some(_)) => return None,
        (Some(_), Some(fraction)) => milliseconds(fraction)?,
    };
    let second = second.map_or(Some(0), |second| second)?;
    if parts.next().is_some() {
        return None;
    }
    let time = jiff::civil::Time::new(hour, minute, second, millisecond * 1_000_000).ok()?;
    let civil = date.to_datetime(time);
    match offset {
        "Z" => utc(civil).map(Given::Moment),
        offset => {
            let (sign, rest) = offset.split_at_checked(1)?;
            let (hours, minutes) = match (rest.len(), rest.split_once(':')) {
                (_, Some(parts)) => parts,
                (2, None) => (rest, "00"),
                _ => rest.split_at_checked(2)?,
            };
            let hours = two(hours.as_bytes()).filter(|hours| *hours < 24)?;
            let minutes = two(minutes.as_bytes()).filter(|minutes| *minutes < 60)?;
            let seconds = i32::from(hours) * 3600 + i32::from(minutes) * 60;
            let offset = Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok()?;
            Instant::at_offset(civil, offset).map(Given::Moment)
        }
    }
}

/// A time and its offset without the zone's name in brackets behind them; none for brackets that hold no
/// name, or stand behind no offset.
fn without_zone_name(text: &str) -> Option<&str> {
    let Some((text, name)) = text.split_once('[') else { return Some(text) };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_./+-".contains(&byte);
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_letter);
    (name.strip_suffix(']').is_some_and(is_name) && text.contains(['Z', '+', '-'])).then_some(text)
}

fn utc(civil: DateTime) -> Option<Instant> {
    Instant::at_offset(civil, Offset::UTC)
}

fn digits(bytes: &[u8]) -> Option<i32> {
    bytes.iter().try_fold(0, |value: i32, byte| {
        byte.is_ascii_digit().then(|| value * 10 + i32::from(byte - b'0'))
    })
}

fn two(bytes: &[u8]) -> Option<i8> {
    if bytes.len() == 2 { i8::try_from(digits(bytes)?).ok() } else { None }
}

fn milliseconds(fraction: &str) -> Option<i32> {
    let bytes = fraction.as_bytes();
    digits(bytes.get(..bytes.len().min(9))?).filter(|_| (1..=9).contains(&bytes.len()))?;
    let mut kept = [b'0'; 3];
    for (to, from) in kept.iter_mut().zip(bytes) {
        *to = *from;
    }
    digits(&kept)
}

/// An instant as the wire shows it.
#[derive(Clone, Copy, Debug)]
pub struct At(pub Instant);

impl From<Timestamp> for At {
    fn from(at: Timestamp) -> Self {
        Self(at.into())
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_rfc3339(3))
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339(3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_the_documented_forms() {
        for (text, expected) in [
            ("2025-04-01", "2025-04-01T00:00:00.000Z"),
            ("2025-04-01T00:00:00Z", "2025-04-01T00:00:00.000Z"),
            ("2025-04-03T00:00:00.000Z", "2025-04-03T00:00:00.000Z"),
            ("2025-04-02T09:30:00+09:00", "2025-04-02T00:30:00.000Z"),
            ("2025-04-02T09:30:00-01:30", "2025-04-02T11:00:00.000Z"),
            ("2025-04-02T09:30:00+0900", "2025-04-02T00:30:00.000Z"),
            ("2025-04-02T09:30:00.5-0130", "2025-04-02T11:00:00.500Z"),
            ("2025-04-02T09:30:00+09", "2025-04-02T00:30:00.000Z"),
            ("2025-04-02T09:30+09:00[Asia/Seoul]", "2025-04-02T00:30:00.000Z"),
            ("2025-04-02T00:30:00Z[Etc/GMT+1]", "2025-04-02T00:30:00.000Z"),
            ("2025-04-02T09:30:00", "2025-04-02T09:30:00.000Z"),
            ("2025-04-02T09:30", "2025-04-02T09:30:00.000Z"),
            ("2025-04-02T09:30:00.123456789Z", "2025-04-02T09:30:00.123Z"),
            ("2025-04-02T09:30:00.5Z", "2025-04-02T09:30:00.500Z"),
            ("2024-02-29", "2024-02-29T00:00:00.000Z"),
            ("9999-12-31", "9999-12-31T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
            ("0000-01-01", "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(
                parse(text).map(|given| At(given.start()).to_string()).as_deref(),
                Some(expected)
            );
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "2025/04/01",
            "2025-02-30",
            "2025-02-29",
            "2025-13-01",
            "2025-4-1",
            "20250401",
            "2025-04-01T",
            "2025-04-01 00:00:00",
            "2025-04-01T24:00:00Z",
            "2025-04-01T00:60:00Z",
            "2025-04-01T00:00:60Z",
            "2025-04-01T00:00:00.Z",
            "2025-04-01T00:00:00.1234567890Z",
            "2025-04-01T00:00.5Z",
            "2025-04-01T00:00:00+090",
            "2025-04-01T00:00:00+09000",
            "2025-04-01T00:00:00+2400",
            "2025-04-01T00:00:00[Asia/Seoul]",
            "2025-04-01T00:00:00+09:00[]",
            "2025-04-01T00:00:00+09:00[Asia/Seoul",
            "2025-04-01T00:00:00+09:00[a]x]",
            "2025-04-01T00:00:00+09:00 [a]",
            "2025-04-01[Asia/Seoul]",
            &format!("2025-04-01T00:00:00Z[{}]", "a".repeat(LENGTH_MAX)),
            "2025-04-01T00:00:00+24:00",
            "2025-04-01T00:00:00z",
            "2025-04-01Z",
            "1743465600",
            "이천이십오년사월일일입니다",
            "2025-04-01T00:00:00:00Z",
            "+002025-04-01",
            "0000-01-01T00:00:00+09:00",
            "9999-12-31T23:59:59-09:00",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_day_ends_with_the_next_one() {
        let end = parse("2025-04-01").map(Given::end);
        assert_eq!(end.map(|end| At(end).to_string()).as_deref(), Some("2025-04-02T00:00:00.000Z"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn reads_what_it_writes(ms in Instant::MIN.as_microsecond() / 1000..=Instant::MAX.as_microsecond() / 1000) {
            let at = Instant::from_microsecond(ms * 1000).unwrap();
            prop_assert_eq!(parse(&At(at).to_string()).map(Given::start), Some(at));
        }
    }
}
