//! Instants and dates at the wire: read as leniently as the vendor's framework reads them (ISO 8601
//! in many spellings, Unix seconds and milliseconds), written in UTC with `Z`.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

use super::json::Json;
use super::validate::ValueFault;
use crate::domain::time::Instant;

const TOO_SHORT: &str = "input is too short";
const EXTRA: &str = "unexpected extra characters at the end of the input";
const AFTER_9999: &str = "dates after 9999 are not supported as unix timestamps";
const BEFORE_0: &str = "dates before 0000 are not supported as unix timestamps";
const YEAR_0: &str = "year 0 is out of range";
/// Larger numbers are milliseconds.
const SECONDS_MAX: i64 = 20_000_000_000;
/// The same.
const SECONDS_MAX_FLOAT: f64 = 20_000_000_000.0;
/// 0000-01-01T00:00:00Z.
const FIRST_SECOND: i64 = -62_167_219_200;
/// 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

/// What was written: a date and a time of day, and how far from UTC.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Written {
    at: DateTime,
    offset: Offset,
}

/// Reads a point in time. Without an offset it is UTC; it is cut to microseconds.
pub fn instant(value: &Json) -> Result<Instant, ValueFault> {
    let parsing = |error| {
        ValueFault::because("datetime_parsing", "Input should be a valid datetime, ", error)
    };
    let written = match value {
        Json::Text(text) => match date_time(text).or_else(|_| day(text).map(midnight)) {
            Ok(written) => written,
            Err(error) => {
                let message = "Input should be a valid datetime or date, ";
                return Err(ValueFault::because("datetime_from_date_parsing", message, error));
            }
        },
        _ => match number(value) {
            Some(written) => written.map_err(parsing)?,
            None => {
                return Err(ValueFault::new("datetime_type", "Input should be a valid datetime"));
            }
        },
    };
    if written.at.year() == 0 {
        return Err(parsing(YEAR_0));
    }
    // An offset can carry the instant out of the years that can be kept, at either end.
    let is_early = written.at.year() == 1;
    match Instant::at_offset(written.at, written.offset) {
        Some(at) if at.civil().year() >= 1 => Ok(at),
        _ if is_early => Err(parsing(YEAR_0)),
        _ => Err(parsing(AFTER_9999)),
    }
}

/// Reads a date; a point in time is one when it is midnight where it was written.
pub fn date(value: &Json) -> Result<Date, ValueFault> {
    let written = match value {
        Json::Text(text) => day(text).map(midnight).or_else(|_| date_time(text)),
        _ => match number(value) {
            Some(written) => written,
            None => return Err(ValueFault::new("date_type", "Input should be a valid date")),
        },
    };
    let written = written.map_err(|error| {
        let message = "Input should be a valid date or datetime, ";
        ValueFault::because("date_from_datetime_parsing", message, error)
    })?;
    if written.at.time() != Time::midnight() {
        return Err(ValueFault::new(
            "date_from_datetime_inexact",
            "Datetimes provided to dates should have zero time - e.g. be exact dates",
        ));
    }
    if written.at.year() == 0 {
        let message = "Input should be a valid date in the format YYYY-MM-DD, ";
        return Err(ValueFault::because("date_parsing", message, YEAR_0));
    }
    Ok(written.at.date())
}

/// Writes a point in time: UTC, no fraction or six digits of it.
pub fn format(at: Instant) -> String {
    let at = at.civil();
    let micros = at.subsec_nanosecond() / 1000;
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}Z",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

fn midnight(date: Date) -> Written {
    Written { at: date.at(0, 0, 0, 0), offset: Offset::UTC }
}

/// A Unix time; none for what is no number.
fn number(value: &Json) -> Option<Result<Written, &'static str>> {
    match value {
        Json::Int(number) => Some(unix(*number)),
        Json::BigInt(digits) => {
            // What has no floating-point form is no number to the framework.
            let number = digits.parse::<f64>().ok().filter(|number| number.is_finite())?;
            Some(Err(if number < 0.0 { BEFORE_0 } else { AFTER_9999 }))
        }
        Json::Float(number) => Some(unix_float(*number)),
        _ => None,
    }
}

/// `number` seconds, or milliseconds when it is large.
fn unix(number: i64) -> Result<Written, &'static str> {
    let is_large = number.unsigned_abs() > SECONDS_MAX.unsigned_abs();
    moment(i128::from(number) * if is_large { 1000 } else { 1_000_000 })
}

/// So many microseconds after 1970 began.
fn moment(micros: i128) -> Result<Written, &'static str> {
    let second = micros.div_euclid(1_000_000);
    if second > i128::from(LAST_SECOND) {
        return Err(AFTER_9999);
    }
    if second < i128::from(FIRST_SECOND) {
        return Err(BEFORE_0);
    }
    let since = SignedDuration::from_micros(i64::try_from(micros).map_err(|_| AFTER_9999)?);
    let epoch = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let at = epoch.checked_add(since).map_err(|_| AFTER_9999)?;
    Ok(Written { at, offset: Offset::UTC })
}

/// A number with a fraction: rounded to microseconds.
#[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
fn unix_float(number: f64) -> Result<Written, &'static str> {
    if number.is_nan() {
        return Err("NaN values not permitted");
    }
    let unit = if number.abs() > SECONDS_MAX_FLOAT { 1000 } else { 1_000_000 };
    let whole = number.floor();
    let part = ((number - whole) * f64::from(unit)).round();
    moment(i128::from(whole as i64) * i128::from(unit) + part as i128)
}

/// The same from a text, which the framework first makes seconds of; the last digits of a fraction
/// of milliseconds come out another way.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "casts of floats saturate, and the difference tells whether they did"
)]
fn unix_float_text(number: f64) -> Result<Written, &'static str> {
    let seconds = if number.abs() > SECONDS_MAX_FLOAT { number / 1000.0 } else { number };
    let whole = seconds.floor() as i64;
    let part = ((seconds - whole as f64) * 1_000_000.0).round();
    if part > f64::from(u32::MAX) {
        return Err("numeric times may not exceed 86,399 seconds");
    }
    moment(i128::from(whole) * 1_000_000 + i128::from(part as u32))
}

/// `YYYY-MM-DD` and nothing else; a Unix time that is out of range is refused for that.
fn day(text: &str) -> Result<Date, &'static str> {
    let date = date_part(text.as_bytes());
    match date {
        Ok(date) if text.len() == 10 => Ok(date),
        Ok(_) => Err(EXTRA),
        Err(error) => Err(whole(text).and_then(|number| unix(number).err()).unwrap_or(error)),
    }
}

fn date_time(text: &str) -> Result<Written, &'static str> {
    iso(text.as_bytes()).or_else(|error| numeric(text).unwrap_or(Err(error)))
}

/// The Unix time that a text spells.
fn numeric(text: &str) -> Option<Result<Written, &'static str>> {
    if let Some(number) = whole(text) {
        return Some(unix(number));
    }
    // Only a point makes it a number with a fraction, and what stands before the point has to fit
    // in 64 bits.
    let (before, _) = text.split_once('.')?;
    let has_whole = matches!(before, "" | "+" | "-") || whole(before).is_some();
    text.parse().ok().filter(|_| has_whole).map(unix_float_text)
}

/// A whole number of 64 bits. Longer ones are read as (failed) dates.
fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number = digits.parse::<i64>().ok().filter(|_| !digits.starts_with(['+', '-']))?;
    Some(if text.starts_with('-') { -number } else { number })
}

fn two(bytes: &[u8], at: usize) -> Option<i8> {
    match (bytes.get(at)?, bytes.get(at + 1)?) {
        (tens @ b'0'..=b'9', ones @ b'0'..=b'9') => {
            i8::try_from((tens - b'0') * 10 + (ones - b'0')).ok()
        }
        _ => None,
    }
}

fn date_part(bytes: &[u8]) -> Result<Date, &'static str> {
    const SEPARATOR: &str = "invalid date separator, expected `-`";
    if bytes.len() < 10 {
        return Err(TOO_SHORT);
    }
    let century = two(bytes, 0).ok_or("invalid character in year")?;
    let year = two(bytes, 2).ok_or("invalid character in year")?;
    if bytes.get(4) != Some(&b'-') {
        return Err(SEPARATOR);
    }
    let month = two(bytes, 5).ok_or("invalid character in month")?;
    if bytes.get(7) != Some(&b'-') {
        return Err(SEPARATOR);
    }
    let day = two(bytes, 8).ok_or("invalid character in day")?;
    if !(1..=12).contains(&month) {
        return Err("month value is outside expected range of 1-12");
    }
    Date::new(i16::from(century) * 100 + i16::from(year), month, day)
        .map_err(|_| "day value is outside expected range")
}

fn iso(bytes: &[u8]) -> Result<Written, &'static str> {
    let date = date_part(bytes)?;
    match bytes.get(10) {
        None => return Err(TOO_SHORT),
        Some(b'T' | b't' | b' ' | b'_') => {}
        Some(_) => return Err("invalid datetime separator, expected `T`, `t`, `_` or space"),
    }
    let (time, end) = time_part(bytes, 11)?;
    let (offset, end) = offset_part(bytes, end)?;
    if end < bytes.len() {
        return Err(EXTRA);
    }
    Ok(Written { at: date.to_datetime(time), offset })
}

/// The time of day from `at`, and where it ends.
fn time_part(bytes: &[u8], at: usize) -> Result<(Time, usize), &'static str> {
    if bytes.len() < at + 5 {
        return Err(TOO_SHORT);
    }
    let hour = two(bytes, at).ok_or("invalid character in hour")?;
    if bytes.get(at + 2) != Some(&b':') {
        return Err("invalid time separator, expected `:`");
    }
    let minute = two(bytes, at + 3).ok_or("invalid character in minute")?;
    if hour > 23 {
        return Err("hour value is outside expected range of 0-23");
    }
    if minute > 59 {
        return Err("minute value is outside expected range of 0-59");
    }
    let mut end = at + 5;
    let (mut second, mut nanos) = (0, 0);
    if bytes.get(end) == Some(&b':') {
        second = two(bytes, end + 1).ok_or("invalid character in second")?;
        if second > 59 {
            return Err("second value is outside expected range of 0-59");
        }
        end += 3;
        if matches!(bytes.get(end), Some(b'.' | b',')) {
            let digits = bytes.iter().skip(end + 1).take_while(|byte| byte.is_ascii_digit());
            let count = digits.clone().count();
            if count == 0 {
                return Err("second fraction digits missing after `.`");
            }
            let padded = digits.map(|digit| i32::from(digit - b'0')).chain(std::iter::repeat(0));
            nanos = padded.take(6).fold(0, |sum, digit| sum * 10 + digit) * 1000;
            end += 1 + count;
        }
    }
    let time = Time::new(hour, minute, second, nanos).map_err(|_| TOO_SHORT)?;
    Ok((time, end))
}

/// The distance from UTC from `at`, and where it ends.
fn offset_part(bytes: &[u8], at: usize) -> Result<(Offset, usize), &'static str> {
    const MINUS: &[u8] = "\u{2212}".as_bytes();
    let rest = bytes.get(at..).unwrap_or_default();
    let (sign, at) = match rest.first() {
        None => return Ok((Offset::UTC, at)),
        Some(b'Z' | b'z') => return Ok((Offset::UTC, at + 1)),
        Some(b'+') => (1, at + 1),
        Some(b'-') => (-1, at + 1),
        Some(_) if rest.starts_with(MINUS) => (-1, at + MINUS.len()),
        Some(_) => return Err("invalid timezone sign"),
    };
    let hour = two(bytes, at).ok_or("invalid timezone hour")?;
    let at = at + 2 + usize::from(bytes.get(at + 2) == Some(&b':'));
    let minute = two(bytes, at).ok_or("invalid timezone minute")?;
    if minute > 59 {
        return Err("timezone minute value is outside expected range of 0-59");
    }
    if hour > 23 {
        return Err("timezone offset must be less than 24 hours");
    }
    let seconds = sign * (i32::from(hour) * 3600 + i32::from(minute) * 60);
    let offset = Offset::from_seconds(seconds).map_err(|_| "invalid timezone hour")?;
    Ok((offset, at + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for (text, error) in [
            ("9999-12-31T23:59:59-00:01", AFTER_9999),
            ("0001-01-01T00:00:00+01:00", YEAR_0),
            ("0000-06-01", YEAR_0),
        ] {
            let fault = instant(&Json::Text(text.to_owned())).unwrap_err();
            assert_eq!(fault.kind, "datetime_parsing", "{text}");
            assert!(fault.message.ends_with(error), "{text}: {}", fault.message);
        }
    }

    #[test]
    fn a_large_unix_time_counts_milliseconds() {
        for (number, written) in [
            // The framework takes this one for seconds and its fraction for milliseconds.
            (20_000_000_000.5, "1970-08-20T11:33:20.000500Z"),
            (20_000_000_000.0, "2603-10-11T11:33:20Z"),
            (9_358_480_469_493.94, "2266-07-23T17:54:29.493939Z"),
            (25_000_000_000_000.5, "2762-03-21T20:26:40.000500Z"),
        ] {
            assert_eq!(format(instant(&Json::Float(number)).unwrap()), written);
        }
        for (text, written) in [
            ("20000000000.5", "1970-08-20T11:33:20.000500Z"),
            ("9358480469493.94", "2266-07-23T17:54:29.493940Z"),
            // From the year 2603 on the framework divides by a thousand twice.
            ("25000000000000.5", "2762-03-21T20:26:40.000500Z"),
        ] {
            assert_eq!(format(instant(&Json::Text(text.to_owned())).unwrap()), written);
        }
    }

    #[test]
    fn a_negative_unix_time_with_a_fraction_lies_before_the_next_second() {
        let at = instant(&Json::Float(-1.25)).unwrap();
        assert_eq!(format(at), "1969-12-31T23:59:58.750000Z");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9TZ:+., \u{2212}-]{0,40}", number: f64, whole: i64) {
            for value in [Json::Text(text), Json::Float(number), Json::Int(whole)] {
                let _ = instant(&value);
                let _ = date(&value);
            }
        }

        #[test]
        fn reads_what_it_writes(micros in -62_135_596_800_000_000_i64..253_370_764_800_000_000) {
            let at = Instant::from_microsecond(micros).unwrap();
            prop_assert_eq!(instant(&Json::Text(format(at))).ok(), Some(at));
        }
    }
}
