//! The 422 list: reading values as leniently as the vendor's framework does, and naming every one
//! that cannot be read, in its words and in the order of the schema.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::error;
use super::json::{Json, quoted};
use crate::dialect::{Answer, Call};
use crate::domain::names::{Named, either};
use crate::domain::patch::Patch;

/// A longer text, its minus sign included, is no whole number.
const DIGITS_MAX: usize = 4300;

/// More faults are not named: an answer must not grow far beyond its request.
const FAULTS_MAX: usize = 1000;

/// Why a value cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueFault {
    /// The framework's name for it.
    pub kind: &'static str,
    /// The same for a person.
    pub message: Cow<'static, str>,
    /// What the message is made of, as a JSON object.
    context: Option<String>,
}

impl ValueFault {
    /// A fault that needs no explanation.
    pub const fn new(kind: &'static str, message: &'static str) -> Self {
        Self { kind, message: Cow::Borrowed(message), context: None }
    }

    /// A fault with its cause behind the message.
    pub fn because(kind: &'static str, message: &str, error: &str) -> Self {
        let context = Some(format!(r#"{{"error":{}}}"#, quoted(error)));
        Self { kind, message: format!("{message}{error}").into(), context }
    }

    /// A fault whose words are made of `context`, a JSON object.
    pub const fn explained(kind: &'static str, message: String, context: String) -> Self {
        Self { kind, message: Cow::Owned(message), context: Some(context) }
    }

    /// A value outside a bound.
    fn bound(kind: &'static str, words: &str, name: &str, bound: i64) -> Self {
        Self {
            kind,
            message: format!("Input should be {words} {bound}").into(),
            context: Some(format!(r#"{{"{name}":{bound}}}"#)),
        }
    }
}

/// What is wrong with a request, in the order of the answer; the first thousand things.
#[derive(Debug, Default)]
pub struct RequestFaults(Vec<String>);

impl RequestFaults {
    /// Adds the fault of the value at `place`, a JSON array.
    pub fn push(&mut self, place: &str, input: &Json, fault: &ValueFault) {
        if self.0.len() == FAULTS_MAX {
            return;
        }
        let mut item = format!(
            r#"{{"type":"{}","loc":{place},"msg":{},"input":{input}"#,
            fault.kind,
            quoted(&fault.message)
        );
        if let Some(context) = &fault.context {
            let _ = write!(item, r#","ctx":{context}"#);
        }
        item.push('}');
        self.0.push(item);
    }

    /// The one fault of a body that is no JSON.
    pub fn invalid_json(position: usize, error: &str) -> Answer {
        let mut fault = ValueFault::because("json_invalid", "", error);
        fault.message = "JSON decode error".into();
        let mut faults = Self::default();
        faults.push(&format!(r#"["body",{position}]"#), &Json::Object(Vec::new()), &fault);
        faults.answer()
    }

    /// Goes on with `value` when nothing is wrong.
    ///
    /// # Errors
    /// The 422 answer.
    pub fn refuse_or<T>(&self, value: Option<T>) -> Result<T, Answer> {
        value.filter(|_| self.0.is_empty()).ok_or_else(|| self.answer())
    }

    fn answer(&self) -> Answer {
        error::json(422, format!(r#"{{"detail":[{}]}}"#, self.0.join(",")))
    }

    /// A whole number in the path, not below `least`.
    pub fn path(&mut self, name: &str, text: &str, least: Option<i64>) -> Option<i64> {
        self.number("path", name, text, least, None)
    }

    /// A whole number in the query, within bounds.
    pub fn query(&mut self, name: &str, text: &str, least: i64, most: Option<i64>) -> Option<i64> {
        self.number("query", name, text, Some(least), most)
    }

    /// A value in the query, read as one in a body is; none where it is absent or at fault.
    pub fn query_value<T>(
        &mut self,
        call: &Call,
        name: &str,
        read: impl Fn(&Json) -> Result<T, ValueFault>,
    ) -> Option<T> {
        let value = Json::Text(query(call, name)?);
        let place = format!(r#"["query","{name}"]"#);
        read(&value).map_err(|fault| self.push(&place, &value, &fault)).ok()
    }

    fn number(
        &mut self,
        part: &str,
        name: &str,
        text: &str,
        least: Option<i64>,
        most: Option<i64>,
    ) -> Option<i64> {
        let read = whole_of_text(text).and_then(|number| match (least, most) {
            (Some(least), _) if number < least => Err(ValueFault::bound(
                "greater_than_equal",
                "greater than or equal to",
                "ge",
                least,
            )),
            (_, Some(most)) if number > most => {
                Err(ValueFault::bound("less_than_equal", "less than or equal to", "le", most))
            }
            _ => Ok(number),
        });
        let place = format!(r#"["{part}","{name}"]"#);
        read.map_err(|fault| self.push(&place, &Json::Text(text.to_owned()), &fault)).ok()
    }
}

/// A query parameter, the last where it is repeated.
pub fn query(call: &Call, name: &str) -> Option<String> {
    form_urlencoded::parse(call.query().as_bytes())
        .filter(|(found, _)| found == name)
        .last()
        .map(|(_, value)| value.into_owned())
}

/// A request's body, as far as it is an object.
pub struct BodyFields<'a> {
    body: &'a Json,
    /// Null clears (RFC 7396) instead of keeping what is stored.
    null_clears: bool,
    /// What a new record must have; nothing is said of one that is there.
    required: Option<&'static [&'static str]>,
    faults: &'a mut RequestFaults,
}

impl<'a> BodyFields<'a> {
    /// The fields of `body`; none, with a fault, when it is no object.
    pub fn of(body: &'a Json, null_clears: bool, faults: &'a mut RequestFaults) -> Option<Self> {
        match body {
            Json::Object(_) => {
                return Some(Self { body, null_clears, required: None, faults });
            }
            Json::Null => faults.push(r#"["body"]"#, body, &MISSING),
            _ => {
                let message = "Input should be a valid dictionary or object to extract fields from";
                faults.push(
                    r#"["body"]"#,
                    body,
                    &ValueFault::new("model_attributes_type", message),
                );
            }
        }
        None
    }

    /// The same of a new record, which must have these fields.
    #[must_use]
    pub fn of_new(self, required: &'static [&'static str]) -> Self {
        Self { required: Some(required), ..self }
    }

    /// A field that may be absent or null, unless a new record must have it.
    pub fn field<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Json) -> Result<T, ValueFault>,
    ) -> Patch<T> {
        if self.required.is_some_and(|required| required.contains(&name)) {
            return self.required(name, read).map_or(Patch::Absent, Patch::Value);
        }
        match self.body.get(name) {
            Some(Json::Null) if self.null_clears => Patch::Null,
            None | Some(Json::Null) => Patch::Absent,
            Some(value) => self.read(name, value, read).map_or(Patch::Absent, Patch::Value),
        }
    }

    /// A field that must be there.
    pub fn required<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Json) -> Result<T, ValueFault>,
    ) -> Option<T> {
        if let Some(value) = self.body.get(name) {
            return self.read(name, value, read);
        }
        self.faults.push(&place(name), self.body, &MISSING);
        None
    }

    /// A field that may be absent, but not null.
    pub fn field_not_null<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Json) -> Result<T, ValueFault>,
    ) -> Option<T> {
        let value = self.body.get(name)?;
        self.read(name, value, read)
    }

    /// A list of whole numbers, each of which is at fault for itself. In a new record, null is none.
    pub fn numbers(&mut self, name: &str) -> Patch<Vec<i64>> {
        let Some(Json::List(items)) = self.body.get(name) else {
            if self.required.is_some() {
                self.field_not_null::<()>(name, |_| Err(NOT_A_LIST));
                return Patch::Absent;
            }
            return self.field(name, |_| Err(NOT_A_LIST));
        };
        let mut read = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match whole(item) {
                Ok(number) => read.push(number),
                Err(fault) => {
                    self.faults.push(&format!(r#"["body","{name}",{index}]"#), item, &fault);
                }
            }
        }
        Patch::Value(read)
    }

    fn read<T>(
        &mut self,
        name: &str,
        value: &Json,
        read: impl Fn(&Json) -> Result<T, ValueFault>,
    ) -> Option<T> {
        read(value).map_err(|fault| self.faults.push(&place(name), value, &fault)).ok()
    }
}

const NOT_A_LIST: ValueFault = ValueFault::new("list_type", "Input should be a valid list");
const MISSING: ValueFault = ValueFault::new("missing", "Field required");

fn place(name: &str) -> String {
    format!(r#"["body","{name}"]"#)
}

/// Reads a string; nothing else is one.
pub fn text(value: &Json) -> Result<String, ValueFault> {
    match value {
        Json::Text(text) => Ok(text.clone()),
        _ => Err(ValueFault::new("string_type", "Input should be a valid string")),
    }
}

/// Reads a value by its name.
pub fn choice<T: Named>(value: &Json) -> Result<T, ValueFault> {
    let chosen = match value {
        Json::Text(text) => T::parse(text),
        _ => None,
    };
    chosen.ok_or_else(|| {
        let expected = either::<T>("'");
        ValueFault {
            kind: "enum",
            message: format!("Input should be {expected}").into(),
            context: Some(format!(r#"{{"expected":{}}}"#, quoted(&expected))),
        }
    })
}

/// Reads the one value that there is.
pub fn literal(value: &Json, only: &str) -> Result<(), ValueFault> {
    if matches!(value, Json::Text(text) if text == only) {
        return Ok(());
    }
    let expected = format!("'{only}'");
    Err(ValueFault {
        kind: "literal_error",
        message: format!("Input should be {expected}").into(),
        context: Some(format!(r#"{{"expected":{}}}"#, quoted(&expected))),
    })
}

/// Reads a whole number that is not below `least`.
pub fn whole_from(value: &Json, least: i64) -> Result<i64, ValueFault> {
    let number = whole(value)?;
    if number < least {
        return Err(ValueFault::bound(
            "greater_than_equal",
            "greater than or equal to",
            "ge",
            least,
        ));
    }
    Ok(number)
}

/// Reads a truth value: also 0 and 1, and the usual words.
pub fn truth(value: &Json) -> Result<bool, ValueFault> {
    const UNKNOWN: ValueFault = ValueFault::new(
        "bool_parsing",
        "Input should be a valid boolean, unable to interpret input",
    );
    match value {
        Json::Bool(value) => Ok(*value),
        Json::Int(0) => Ok(false),
        Json::Int(1) => Ok(true),
        Json::Int(_) => Err(UNKNOWN),
        Json::Float(number) => match whole_of_float(*number) {
            Ok(0) => Ok(false),
            Ok(1) => Ok(true),
            Ok(_) => Err(UNKNOWN),
            Err(_) => Err(ValueFault::new("bool_type", "Input should be a valid boolean")),
        },
        Json::Text(word) => {
            let is_one_of = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(word));
            if is_one_of(&["1", "t", "y", "on", "yes", "true"]) {
                Ok(true)
            } else if is_one_of(&["0", "f", "n", "off", "no", "false"]) {
                Ok(false)
            } else {
                Err(UNKNOWN)
            }
        }
        _ => Err(ValueFault::new("bool_type", "Input should be a valid boolean")),
    }
}

/// Reads a whole number: also texts, truth values and floats without a fraction. One beyond 64 bits
/// becomes the nearest that has them, which every rule refuses just the same.
pub fn whole(value: &Json) -> Result<i64, ValueFault> {
    match value {
        Json::Int(number) => Ok(*number),
        Json::BigInt(digits) => Ok(if digits.starts_with('-') { i64::MIN } else { i64::MAX }),
        Json::Bool(value) => Ok(i64::from(*value)),
        Json::Float(number) => whole_of_float(*number),
        Json::Text(text) => whole_of_text(text),
        _ => Err(ValueFault::new("int_type", "Input should be a valid integer")),
    }
}

/// The digits of a whole number that was read as an end of 64 bits, as it was sent.
pub fn beyond(value: &Json) -> Option<String> {
    whole(value).ok().filter(|number| matches!(*number, i64::MIN | i64::MAX))?;
    match value {
        Json::Int(number) => Some(number.to_string()),
        Json::BigInt(digits) => Some(digits.clone()),
        Json::Text(text) => {
            let (whole, _) = text.split_once('.').unwrap_or((text, ""));
            let digits: String = whole.chars().filter(char::is_ascii_digit).collect();
            let sign = if whole.trim_start().starts_with('-') { "-" } else { "" };
            Some(format!("{sign}{}", digits.trim_start_matches('0')))
        }
        _ => None,
    }
}

fn whole_of_float(number: f64) -> Result<i64, ValueFault> {
    /// 2^63; the framework takes neither end for a number of 64 bits.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if !number.is_finite() {
        return Err(ValueFault::new("finite_number", "Input should be a finite number"));
    }
    if number.fract() != 0.0 {
        return Err(ValueFault::new(
            "int_from_float",
            "Input should be a valid integer, got a number with a fractional part",
        ));
    }
    if number <= -LIMIT || number >= LIMIT {
        return Err(too_large());
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within 64 bits")]
    Ok(number as i64)
}

fn too_large() -> ValueFault {
    ValueFault::new(
        "int_parsing_size",
        "Unable to parse input string as an integer, exceeded maximum size",
    )
}

/// The framework first reads a text as it stands, which may be too long, and then once more after
/// tidying it up, which may fail for any reason.
fn whole_of_text(text: &str) -> Result<i64, ValueFault> {
    let number = text.strip_prefix('-').unwrap_or(text);
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    if !number.starts_with('0') && text.len() - number.len() + digits > DIGITS_MAX {
        return Err(too_large());
    }
    tidied(text.trim()).ok_or(ValueFault::new(
        "int_parsing",
        "Input should be a valid integer, unable to parse string as an integer",
    ))
}

/// Reads a sign, zeros, digits and a fraction of nothing but zeros; `_` between digits and, in any
/// number, between zeros at the beginning.
fn tidied(text: &str) -> Option<i64> {
    let (is_negative, number) = match text.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = if number.starts_with('0') {
        let rest = number.trim_start_matches(['0', '_']);
        // The last zero stays when no digit follows.
        let has_digits = rest.starts_with(|c: char| c.is_ascii_digit());
        number.get(number.len() - rest.len() - usize::from(!has_digits)..)?
    } else {
        number
    };
    let (digits, zeros) = number.split_once('.').unwrap_or((number, "0"));
    let are_digits =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !digits.split('_').all(are_digits) || zeros.is_empty() || zeros.bytes().any(|b| b != b'0') {
        return None;
    }
    let digits = digits.bytes().filter(|byte| *byte != b'_');
    if usize::from(is_negative) + digits.clone().count() > DIGITS_MAX {
        return None;
    }
    let magnitude = digits.into_iter().try_fold(0_i64, |sum, digit| {
        let sum = sum.checked_mul(10)?;
        let digit = i64::from(digit - b'0');
        if is_negative { sum.checked_sub(digit) } else { sum.checked_add(digit) }
    });
    Some(magnitude.unwrap_or(if is_negative { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_as_text_is_the_number(number: i64) {
            prop_assert_eq!(whole(&Json::Text(number.to_string())), Ok(number));
        }

        #[test]
        fn never_panics(text in "\\PC{0,30}", number: f64) {
            for value in [Json::Text(text), Json::Float(number)] {
                let _ = whole(&value);
                let _ = truth(&value);
            }
        }
    }

    #[test]
    fn only_digits_count_against_the_limit_of_a_text() {
        let ones = |count| "1".repeat(count);
        let pairs = |count| vec!["11"; count].join("_");
        let kind = |text: &str| whole(&Json::Text(text.to_owned())).map_err(|fault| fault.kind);
        for text in [
            ones(DIGITS_MAX),
            format!("{}{}", " ".repeat(9), ones(DIGITS_MAX)),
            format!("+{}.{}", ones(DIGITS_MAX), "0".repeat(9)),
            pairs(DIGITS_MAX / 2),
        ] {
            assert_eq!(kind(&text), Ok(i64::MAX));
        }
        assert_eq!(kind(&format!("-{}", ones(DIGITS_MAX - 1))), Ok(i64::MIN));
        let zeros = "0".repeat(5000);
        for (text, number) in [
            (zeros.clone(), 0),
            (format!("{zeros}1"), 1),
            (format!("-{zeros}_{zeros}2.{zeros}"), -2),
            (format!("{zeros} "), 0),
        ] {
            assert_eq!(kind(&text), Ok(number));
        }
        for text in [ones(DIGITS_MAX + 1) + "x", format!("-{}", ones(DIGITS_MAX))] {
            assert_eq!(kind(&text), Err("int_parsing_size"));
        }
        for text in [
            "x".repeat(5000),
            " ".repeat(5000),
            format!("+{}", ones(DIGITS_MAX + 1)),
            format!(" {}", ones(DIGITS_MAX + 1)),
            format!("-{}", pairs(DIGITS_MAX / 2)),
            pairs(DIGITS_MAX),
        ] {
            assert_eq!(kind(&text), Err("int_parsing"));
        }
        for (text, number) in [("0__1", 1), ("-0_0", 0), ("00_1_0.0", 10)] {
            assert_eq!(kind(text), Ok(number), "{text}");
        }
        for text in ["0_", "00_", "0_.0", "1__0", "1_.0", "+-1", "-+1", "_0"] {
            assert_eq!(kind(text), Err("int_parsing"), "{text}");
        }
    }

    #[test]
    fn the_ends_of_64_bits_are_no_floats() {
        for number in [-9_223_372_036_854_775_808.0, 9_223_372_036_854_775_808.0] {
            assert_eq!(whole(&Json::Float(number)).map_err(|f| f.kind), Err("int_parsing_size"));
            assert_eq!(truth(&Json::Float(number)).map_err(|f| f.kind), Err("bool_type"));
        }
        let inside = -9_223_372_036_854_774_784;
        assert_eq!(whole(&Json::Float(-9_223_372_036_854_774_784.0)), Ok(inside));
    }

    #[test]
    fn beyond_64_bits_is_the_nearest() {
        for (text, nearest) in [
            ("9223372036854775808", i64::MAX),
            ("-9223372036854775809", i64::MIN),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(whole(&Json::Text(text.to_owned())), Ok(nearest));
            assert_eq!(whole(&Json::parse(text.as_bytes()).unwrap()), Ok(nearest));
        }
    }
}
