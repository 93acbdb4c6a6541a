//! JSON bodies, read as they are.
//!
//! `serde_json::Value` does not read foreign text as it is: under a key that its library keeps for
//! itself it takes a string for JSON, and begins to count depth anew. This reader refuses such keys,
//! which nothing stored could carry either.

use std::fmt;

use crate::sabotage::Protection;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How keys begin that the library keeps for itself.
const RESERVED: &str = "$serde_json::private::";

/// What some programs begin UTF-8 with; RFC 8259 section 8.1 lets readers pass over it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Up to here each whole number is a double, and no other number reads as it.
const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

/// Reads a body that is one JSON value; none when it is anything else, deeper than 127 levels, or has
/// a number beyond a double. Of a key that is there twice, the last counts.
pub fn parse(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if !Protection::PlainJson.is_on() {
        return serde_json::from_slice(body).ok();
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = Plain.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(value)
}

/// Reads a body that is a JSON object; see [`parse`].
pub fn parse_object(body: &[u8]) -> Option<Map<String, Value>> {
    match parse(body)? {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// A whole number, however it is written: `83`, `83.0`, `8.3e1`. None for others, and for those that a
/// double does not hold.
pub fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().and_then(whole_of))
}

/// See [`whole`].
pub fn whole_of(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "each is one")]
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i64)
}

/// A value whose whole numbers are integers, however they were written.
pub fn with_integers(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(with_integers).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, with_integers(value))).collect()
        }
        value => whole(&value).map_or(value, Value::from),
    }
}

struct Plain;

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("no JSON number"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.starts_with(RESERVED) {
                return Err(A::Error::custom("a reserved key"));
            }
            fields.insert(name, map.next_value_seed(Self)?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_string_is_never_taken_for_json() {
        let mut body = "1".to_owned();
        for _ in 0..12 {
            let text = Value::from(format!("{}{body}{}", "[".repeat(100), "]".repeat(100)));
            body = format!("{{\"$serde_json::private::RawValue\":{text}}}");
        }
        assert_eq!(parse(body.as_bytes()), None);
        assert_eq!(parse(format!("[{{\"a\":{body}}}]").as_bytes()), None);
        let late = br#"{"a":1,"$serde_json::private::RawValue":"1"}"#;
        assert_eq!(parse(late), None);
        let escaped = br#"{"\u0024serde_json::private::RawValue":"1"}"#;
        assert_eq!(parse(escaped), None);
        let harmless = json!({"$serde_json": 1, "a": "$serde_json::private::RawValue"});
        assert_eq!(parse(harmless.to_string().as_bytes()), Some(harmless));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for body in [
            &b""[..],
            b"{",
            b"{} {}",
            b"NaN",
            b"1e999",
            b"\"\\ud800\"",
            b"\"\xff\"",
            b"\"\0\"",
            b"\xef\xbb\xbf\xef\xbb\xbf{}",
            deep(128).as_bytes(),
            deep(100_000).as_bytes(),
        ] {
            assert_eq!(parse(body), None, "{:?}", String::from_utf8_lossy(body).get(..40));
        }
        assert!(parse(deep(127).as_bytes()).is_some());
        assert_eq!(parse(br#"{"a":1,"a":2}"#), Some(json!({"a": 2})));
        assert_eq!(parse(b"\xef\xbb\xbf{}"), Some(json!({})));
        assert_eq!(parse_object(b"[]"), None);
    }

    proptest! {
        #[test]
        fn reads_what_is_written(numbers: Vec<f64>, whole: i64, large: u64, text: String) {
            let numbers: Vec<f64> = numbers.into_iter().filter(|n| n.is_finite()).collect();
            let value = json!({"n": numbers, "w": whole, "l": large, (text.clone()): [text, null]});
            prop_assert_eq!(parse(value.to_string().as_bytes()), Some(value));
        }
    }
}
