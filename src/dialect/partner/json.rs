//! JSON as the vendor's framework reads and writes it: Python's scanner with its messages and
//! character positions, whole numbers of any size, `NaN` and `Infinity`, the last of repeated keys.

use std::collections::HashMap;
use std::fmt::{self, Write as _};

/// Deeper nesting cannot be read.
const DEPTH_MAX: usize = 500;
/// Longer whole numbers cannot be read.
const DIGITS_MAX: usize = 4300;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number of 64 bits.
    Int(i64),
    /// A larger one, in decimal.
    BigInt(String),
    /// A number with a fraction or an exponent, `NaN` or an infinity.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, without repeated keys.
    Object(Vec<(String, Json)>),
}

/// Why a body is not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// The text breaks the grammar.
    Syntax {
        /// Where, in characters from 0.
        position: usize,
        /// How, in Python's words.
        error: &'static str,
    },
    /// The bytes are no UTF-8 text, the nesting is too deep or a number too long.
    Broken,
}

impl Json {
    /// Reads a body. A byte order mark before it is passed over.
    ///
    /// # Errors
    /// [`JsonFault`].
    pub fn parse(body: &[u8]) -> Result<Self, JsonFault> {
        // Python takes a body that begins so for UTF-16 or UTF-32, which is not read here.
        if body.len() != 3 && body.get(..2).is_some_and(|start| start.contains(&0)) {
            return Err(JsonFault::Broken);
        }
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let text = std::str::from_utf8(body).map_err(|_| JsonFault::Broken)?;
        let mut scanner = Scanner { text, at: 0, depth: 0 };
        scanner.document().map_err(|fault| match fault {
            ScanFault::Syntax(at, error) => JsonFault::Syntax {
                position: text.get(..at).map_or(0, |before| before.chars().count()),
                error,
            },
            ScanFault::Broken => JsonFault::Broken,
        })
    }

    /// The value under a key of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(entries) => {
                entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

/// The text that the framework answers with; what is no JSON number becomes `null`.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::BigInt(digits) => f.write_str(digits),
            Self::Float(value) if !value.is_finite() => f.write_str("null"),
            Self::Float(value) => f.write_str(&float(*value)),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::List(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{item}")?;
                }
                f.write_char(']')
            }
            Self::Object(entries) => {
                f.write_char('{')?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{value}", quoted(key))?;
                }
                f.write_char('}')
            }
        }
    }
}

/// A string in quotes, with what JSON must escape escaped.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Python's form: the shortest digits that read back as the number, of two equally near ones the
/// even; an exponent, of two digits at least, below 0.0001 and from 1e16.
fn float(value: f64) -> String {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value == 0.0 {
        return format!("{sign}0.0");
    }
    // Only the digits are taken from this form. (The standard library's are at times the odd ones.)
    let written = serde_json::Value::from(value.abs()).to_string();
    let (number, power) = written.split_once('e').unwrap_or((&written, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    // Ten to this power is the place of the first digit.
    let place = |count: usize| i32::try_from(count).unwrap_or(0);
    let power =
        power.parse().unwrap_or(0) + place(whole.len() + digits.len()) - place(all.len()) - 1;
    let digits = digits.trim_end_matches('0');
    let point_after = |count: usize| {
        let padded = format!("{digits:0<width$}", width = count + 1);
        let (whole, fraction) = padded.split_at(count);
        format!("{sign}{whole}.{fraction}")
    };
    match usize::try_from(power) {
        Ok(power) if power < 16 => point_after(power + 1),
        Err(_) if power >= -4 => {
            format!("{sign}0.{:0<width$}{digits}", "", width = power.unsigned_abs() as usize - 1)
        }
        _ => {
            let number = if digits.len() > 1 { point_after(1) } else { format!("{sign}{digits}") };
            let sign = if power < 0 { '-' } else { '+' };
            format!("{number}e{sign}{:02}", power.unsigned_abs())
        }
    }
}

enum ScanFault {
    /// At a byte.
    Syntax(usize, &'static str),
    Broken,
}

const EXPECTING_VALUE: &str = "Expecting value";
const EXPECTING_NAME: &str = "Expecting property name enclosed in double quotes";
const EXPECTING_COLON: &str = "Expecting ':' delimiter";
const EXPECTING_COMMA: &str = "Expecting ',' delimiter";
const UNTERMINATED: &str = "Unterminated string starting at";
const INVALID_UNICODE: &str = "Invalid \\uXXXX escape";

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.byte(self.at)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn fail<T>(&self, error: &'static str) -> Result<T, ScanFault> {
        Err(ScanFault::Syntax(self.at, error))
    }

    fn document(&mut self) -> Result<Json, ScanFault> {
        self.skip_blanks();
        let value = self.value()?;
        self.skip_blanks();
        if self.peek().is_some() { self.fail("Extra data") } else { Ok(value) }
    }

    fn value(&mut self) -> Result<Json, ScanFault> {
        match self.peek() {
            Some(b'"') => self.string().map(Json::Text),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            _ => {
                for (word, value) in [
                    ("null", Json::Null),
                    ("true", Json::Bool(true)),
                    ("false", Json::Bool(false)),
                    ("NaN", Json::Float(f64::NAN)),
                    ("Infinity", Json::Float(f64::INFINITY)),
                    ("-Infinity", Json::Float(f64::NEG_INFINITY)),
                ] {
                    if self.rest().starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                self.number()
            }
        }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Json, ScanFault>,
    ) -> Result<Json, ScanFault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ScanFault::Broken);
        }
        self.at += 1;
        self.skip_blanks();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Json, ScanFault> {
        let mut entries: Vec<(String, Json)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(entries));
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.fail(EXPECTING_NAME);
            }
            let key = self.string()?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return self.fail(EXPECTING_COLON);
            }
            self.at += 1;
            self.skip_blanks();
            let value = self.value()?;
            let place = *places.entry(key.clone()).or_insert(entries.len());
            match entries.get_mut(place) {
                Some(entry) => entry.1 = value,
                None => entries.push((key, value)),
            }
            if self.ends(b'}')? {
                return Ok(Json::Object(entries));
            }
        }
    }

    fn list(&mut self) -> Result<Json, ScanFault> {
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value()?);
            if self.ends(b']')? {
                return Ok(Json::List(items));
            }
        }
    }

    /// Passes the end, or the comma before the next part.
    fn ends(&mut self, end: u8) -> Result<bool, ScanFault> {
        self.skip_blanks();
        match self.peek() {
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(true)
            }
            Some(b',') => {
                self.at += 1;
                self.skip_blanks();
                Ok(false)
            }
            _ => self.fail(EXPECTING_COMMA),
        }
    }

    fn digits(&self, mut at: usize) -> usize {
        while self.byte(at).is_some_and(|byte| byte.is_ascii_digit()) {
            at += 1;
        }
        at
    }

    fn number(&mut self) -> Result<Json, ScanFault> {
        let start = self.at;
        let first = start + usize::from(self.peek() == Some(b'-'));
        let mut end = match self.byte(first) {
            Some(b'0') => first + 1,
            Some(b'1'..=b'9') => self.digits(first),
            _ => return self.fail(EXPECTING_VALUE),
        };
        let digits = end - first;
        let mut is_float = false;
        if self.byte(end) == Some(b'.') {
            let fraction = self.digits(end + 1);
            if fraction > end + 1 {
                (end, is_float) = (fraction, true);
            }
        }
        if matches!(self.byte(end), Some(b'e' | b'E')) {
            let sign = end + 1 + usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
            let exponent = self.digits(sign);
            if exponent > sign {
                (end, is_float) = (exponent, true);
            }
        }
        self.at = end;
        let text = self.text.get(start..end).unwrap_or_default();
        if is_float {
            return text.parse().map(Json::Float).map_err(|_| ScanFault::Broken);
        }
        if digits > DIGITS_MAX {
            return Err(ScanFault::Broken);
        }
        Ok(text.parse().map_or_else(|_| Json::BigInt(text.to_owned()), Json::Int))
    }

    /// Reads a string from its opening quote.
    fn string(&mut self) -> Result<String, ScanFault> {
        let start = self.at;
        self.at += 1;
        let mut read = String::new();
        loop {
            let rest = self.rest();
            let stop = rest.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < 0x20);
            let Some(stop) = stop else {
                return Err(ScanFault::Syntax(start, UNTERMINATED));
            };
            read.push_str(rest.get(..stop).unwrap_or_default());
            self.at += stop;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(read);
                }
                Some(b'\\') => read.push(self.escape(start)?),
                _ => return self.fail("Invalid control character at"),
            }
        }
    }

    fn escape(&mut self, start: usize) -> Result<char, ScanFault> {
        let Some(letter) = self.byte(self.at + 1) else {
            return Err(ScanFault::Syntax(start, UNTERMINATED));
        };
        let plain = match letter {
            b'u' => return self.unicode(),
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => return self.fail("Invalid \\escape"),
        };
        self.at += 2;
        Ok(plain)
    }

    /// `\uXXXX`, or a pair of them for a character beyond U+FFFF. Half a pair is no character and
    /// could not be kept, so it is refused (Python reads it and fails later).
    fn unicode(&mut self) -> Result<char, ScanFault> {
        let first = self.hex(self.at + 1)?;
        if !(0xd800..0xe000).contains(&first) {
            self.at += 6;
            return char::from_u32(first).ok_or(ScanFault::Broken);
        }
        if first < 0xdc00 && self.rest().get(6..8) == Some("\\u") {
            let second = self.hex(self.at + 7)?;
            if (0xdc00..0xe000).contains(&second) {
                self.at += 12;
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return char::from_u32(code).ok_or(ScanFault::Broken);
            }
        }
        Err(ScanFault::Syntax(self.at + 1, INVALID_UNICODE))
    }

    /// The four digits after the `u` at `at`, behind which there must be something.
    fn hex(&self, at: usize) -> Result<u32, ScanFault> {
        let digits = self.text.get(at + 1..at + 5).filter(|digits| {
            digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && self.byte(at + 5).is_some()
        });
        digits
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .ok_or(ScanFault::Syntax(at, INVALID_UNICODE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(text: &str) -> Option<(usize, &'static str)> {
        match Json::parse(text.as_bytes()) {
            Err(JsonFault::Syntax { position, error }) => Some((position, error)),
            _ => None,
        }
    }

    #[test]
    fn the_last_of_repeated_keys_wins_in_the_place_of_the_first() {
        let read = Json::parse(br#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(read.to_string(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (text, written) in [
            ("0.0", "0.0"),
            ("-0.0", "-0.0"),
            ("100.0", "100.0"),
            ("-1.5", "-1.5"),
            ("0.25", "0.25"),
            ("0.0001", "0.0001"),
            ("0.00012", "0.00012"),
            ("0.00001", "1e-05"),
            ("-0.000098705291748046875", "-9.870529174804688e-05"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("1.5E+300", "1.5e+300"),
            ("5e-324", "5e-324"),
            ("9007199254740993.0", "9007199254740992.0"),
            // Two shortest forms are equally near.
            ("613028917434227.25", "613028917434227.2"),
            ("995113696684640.25", "995113696684640.2"),
            ("613028917434227.75", "613028917434227.8"),
        ] {
            assert_eq!(Json::parse(text.as_bytes()).unwrap().to_string(), written);
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_refused_where_it_stands() {
        for text in [r#""\ud800""#, r#""\udc00x""#, r#""\ud800\u0041""#, r#""\ud800\n""#] {
            assert_eq!(position(text), Some((2, INVALID_UNICODE)), "{text}");
        }
    }

    #[test]
    fn other_encodings_are_broken() {
        for body in [
            &b"\xff\xfe{\0}\0"[..],
            b"\xfe\xff\0{\0}",
            b"{\0}\0",
            b"\0{\0}",
            b"{\0\0\0}\0\0\0",
            b"\0\0\0{\0\0\0}",
            b"1\0",
        ] {
            assert_eq!(Json::parse(body), Err(JsonFault::Broken), "{body:?}");
        }
        // Too short to tell, or NUL too far behind.
        for (text, fault) in [
            ("\0", (0, EXPECTING_VALUE)),
            ("1\0\0", (1, "Extra data")),
            ("{}\0\0", (2, "Extra data")),
        ] {
            assert_eq!(position(text), Some(fault));
        }
    }

    #[test]
    fn what_python_cannot_read_at_all_is_broken() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let long = "1".repeat(DIGITS_MAX + 1);
        for body in [&b"{\"name\":\"\xff\"}"[..], deep.as_bytes(), long.as_bytes()] {
            assert_eq!(Json::parse(body), Err(JsonFault::Broken));
        }
        let deepest = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        assert_eq!(Json::parse(deepest.as_bytes()).unwrap().to_string(), deepest);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}\":,\\\\u0-9aeE.+ntrl한\u{1}-]{0,40}") {
            let _ = Json::parse(text.as_bytes());
        }

        #[test]
        fn floats_read_back(bits: u64) {
            let number = f64::from_bits(bits);
            if number.is_finite() {
                prop_assert_eq!(float(number).parse(), Ok(number));
            }
        }

        #[test]
        fn reads_what_serde_json_reads(text in "[\\[\\]{}\",:1-9a]{0,12}") {
            let ours = Json::parse(text.as_bytes());
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(ours.is_ok(), theirs.is_ok());
            if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours.to_string(), theirs.to_string());
            }
        }
    }
}
