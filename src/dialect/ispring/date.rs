//! Instants at the wire: dates and date-times of several forms in, calendar dates out.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

use crate::domain::time::Instant;

/// What a date without a time of day means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOnly {
    /// Its first second.
    Begins,
    /// Its last second.
    Ends,
}

/// Reads `YYYY-MM-DD`, `YYYY-MM-DD hh:mm[:ss[.f…]]` or RFC 3339. Without an offset the time is
/// `zone`'s: one that does not exist moves forward, an ambiguous one is the earlier, and what there is of
/// the last day of the calendar after it has ended in UTC is its last second.
pub fn parse(text: &str, date_only: DateOnly, zone: &TimeZone) -> Option<Instant> {
    let (date, rest) = text.split_at_checked(10)?;
    let date = parse_date(date)?;
    if rest.is_empty() {
        let time = match date_only {
            DateOnly::Begins => Time::midnight(),
            DateOnly::Ends => Time::new(23, 59, 59, 0).ok()?,
        };
        return in_zone(DateTime::from_parts(date, time), zone);
    }
    let rest = rest.strip_prefix([' ', 'T', 't'])?;
    let (time, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let at = DateTime::from_parts(date, parse_time(time)?);
    match offset {
        "" => in_zone(at, zone),
        "Z" | "z" => Instant::at_offset(at, Offset::UTC),
        offset => Instant::at_offset(at, parse_offset(offset)?),
    }
}

fn in_zone(civil: DateTime, zone: &TimeZone) -> Option<Instant> {
    let last = civil.date() == Date::MAX;
    let end = || Instant::at_offset(Date::MAX.at(23, 59, 59, 0), Offset::UTC);
    Instant::in_zone(civil, zone).or_else(|| last.then(end)?)
}

/// The calendar date in the zone; in UTC, for the last hours of a calendar that has ended there.
pub fn format(at: Instant, zone: &TimeZone) -> String {
    at.civil_in(zone).unwrap_or_else(|| at.civil()).strftime("%Y-%m-%d").to_string()
}

/// Date, time and offset in the zone.
pub fn format_instant(at: Instant, zone: &TimeZone) -> String {
    let (civil, offset) = match at.civil_in(zone) {
        Some(civil) => (civil, at.offset_in(zone)),
        None => (at.civil(), Offset::UTC),
    };
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    format!("{}{sign}{hours:02}:{minutes:02}", civil.strftime("%Y-%m-%dT%H:%M:%S"))
}

fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let year = i16::try_from(number(year, 4)?).ok().filter(|year| *year >= 1970)?;
    Date::new(year, small(month)?, small(day)?).ok().filter(|_| parts.next().is_none())
}

fn parse_time(text: &str) -> Option<Time> {
    let (text, fraction) = match text.split_once('.') {
        Some((text, fraction)) => (text, Some(fraction)),
        None => (text, None),
    };
    let mut parts = text.split(':');
    let (hour, minute) = (small(parts.next()?)?, small(parts.next()?)?);
    let second = match (parts.next(), fraction) {
        (Some(second), _) => small(second)?,
        (None, None) => 0,
        (None, Some(_)) => return None,
    };
    let nanosecond = match fraction {
        None => 0,
        Some(fraction) if (1..=9).contains(&fraction.len()) => {
            number(&format!("{fraction:0<9}"), 9)?
        }
        Some(_) => return None,
    };
    Time::new(hour, minute, second, i32::try_from(nanosecond).ok()?)
        .ok()
        .filter(|_| parts.next().is_none())
}

fn parse_offset(text: &str) -> Option<Offset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes) = (small(hours)?, small(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60)).ok()
}

fn small(text: &str) -> Option<i8> {
    i8::try_from(number(text, 2)?).ok()
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<u32> {
    let is_plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, zone: &str) -> Option<String> {
        let zone = TimeZone::get(zone).unwrap();
        parse(text, DateOnly::Begins, &zone).map(|at| at.to_string())
    }

    #[test]
    fn every_documented_form_is_read() {
        for (text, expected) in [
            ("2019-09-26", "2019-09-26T00:00:00Z"),
            ("2019-09-26 10:30:00", "2019-09-26T10:30:00Z"),
            ("2019-09-26 10:30", "2019-09-26T10:30:00Z"),
            ("2019-09-26T10:30:00", "2019-09-26T10:30:00Z"),
            ("2026-01-10T09:00:00.000Z", "2026-01-10T09:00:00Z"),
            ("2026-01-10t09:00:00z", "2026-01-10T09:00:00Z"),
            ("2026-01-10T09:00:00.123456+03:00", "2026-01-10T06:00:00.123456Z"),
            ("2026-01-10T09:00:00-00:30", "2026-01-10T09:30:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("1970-01-01", "1970-01-01T00:00:00Z"),
            ("9999-12-31", "9999-12-31T00:00:00Z"),
            ("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(read(text, "UTC").as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "2019",
            "26.09.2019",
            "2019-13-40",
            "2019-02-29",
            "2019-9-26",
            "1969-12-31",
            "10000-01-01",
            "9999-12-31T23:59:59-00:01",
            "+2019-09-26",
            "2019-09-26 25:00:00",
            "2019-09-26 24:00:00",
            "2019-09-26 10",
            "2019-09-26 10:60",
            "2019-09-26 10:30:60",
            "2019-09-26 10:30.5",
            "2019-09-26 10:30:00.",
            "2019-09-26 10:30:00.1234567890",
            "2019-09-26 10:30:00+0300",
            "2019-09-26 10:30:00+24:00",
            "2019-09-26 10:30:00 +03:00",
            "2019-09-26Z",
            "2019-09-26  10:30:00",
            "2019-09-26\u{a0}10:30:00",
            "２019-09-26",
            "2019-09-2é",
        ] {
            assert_eq!(read(text, "UTC"), None, "{text:?}");
        }
    }

    #[test]
    fn a_time_without_offset_is_the_zones() {
        for (text, zone, expected) in [
            ("2019-09-26", "Asia/Seoul", "2019-09-25T15:00:00Z"),
            ("2019-09-26 10:30:00", "Europe/Moscow", "2019-09-26T07:30:00Z"),
            // Does not exist: forward by the length of the gap.
            ("2026-03-29 02:30:00", "Europe/Berlin", "2026-03-29T01:30:00Z"),
            // Exists twice: the earlier.
            ("2026-10-25 02:30:00", "Europe/Berlin", "2026-10-25T00:30:00Z"),
            ("2026-10-25T02:30:00+01:00", "Europe/Berlin", "2026-10-25T01:30:00Z"),
        ] {
            assert_eq!(read(text, zone).as_deref(), Some(expected), "{text} {zone}");
        }
    }

    #[test]
    fn a_day_ends_with_its_last_second() {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        let at = parse("2026-01-10", DateOnly::Ends, &zone).unwrap();
        assert_eq!(at.to_string(), "2026-01-10T14:59:59Z");
        assert_eq!(format(at, &zone), "2026-01-10");
        assert_eq!(format_instant(at, &zone), "2026-01-10T23:59:59+09:00");
        let never = parse("9999-12-31", DateOnly::Ends, &zone).unwrap();
        assert_eq!(format_instant(never, &zone), "9999-12-31T23:59:59+09:00");
        let later = parse("9999-12-31T23:00:00Z", DateOnly::Ends, &zone).unwrap();
        assert_eq!(format_instant(later, &zone), "9999-12-31T23:00:00+00:00");
        for name in ["America/Sao_Paulo", "America/New_York", "Pacific/Pago_Pago"] {
            let west = TimeZone::get(name).unwrap();
            for text in ["9999-12-31", "9999-12-31 23:59", "9999-12-31T22:00:00"] {
                let never = parse(text, DateOnly::Ends, &west).unwrap();
                assert_eq!(never.to_string(), "9999-12-31T23:59:59Z", "{name} {text}");
                assert_eq!(format(never, &west), "9999-12-31");
            }
            let morning = parse("9999-12-31", DateOnly::Begins, &west).unwrap();
            assert_eq!(format(morning, &west), "9999-12-31");
        }
        let st_johns = TimeZone::get("America/St_Johns").unwrap();
        assert_eq!(format_instant(at, &st_johns), "2026-01-10T11:29:59-03:30");
    }
}
