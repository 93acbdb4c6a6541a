//! Request bodies: XML or JSON, in both of which the dialect reads one flat object of fields. Nothing
//! in a body is fetched, expanded or followed.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use http::HeaderMap;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::format::Format;
use super::tree::{NODES_MAX, Tree};
use super::xml::{self, is_utf8};
use crate::dialect::call::sole;
use crate::dialect::json::whole_of;

const JSON_DEPTH_MAX: usize = 32;

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It is not what it says it is, or breaks a limit.
    Malformed,
    /// It is of a type that is not read.
    MediaType,
}

/// What a body says of itself: its one `Content-Type`, empty when there is none.
///
/// # Errors
/// [`BodyFault::Malformed`] when it has two types, because the next program on the way may believe the
/// other.
pub fn content_type(headers: &HeaderMap) -> Result<Cow<'_, str>, BodyFault> {
    let given = sole(headers, "content-type").map_err(|_| BodyFault::Malformed)?;
    Ok(given.map_or(Cow::Borrowed(""), |given| String::from_utf8_lossy(given.as_bytes())))
}

/// Reads a body.
///
/// # Errors
/// [`BodyFault`].
pub fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Tree, BodyFault> {
    let content_type = content_type(headers)?;
    let mut media = content_type.split(';').map(str::trim);
    let media_type = media.next().unwrap_or_default().to_ascii_lowercase();
    let format = match media_type.as_str() {
        "application/xml" | "text/xml" => Some(Format::Xml),
        "application/json" => Some(Format::Json),
        "" => None,
        _ => return Err(BodyFault::MediaType),
    };
    let charsets: Vec<bool> = media.filter_map(charset).map(is_utf8).collect();
    if charsets.contains(&false) {
        return Err(BodyFault::Malformed);
    }
    let text = std::str::from_utf8(body).map_err(|_| BodyFault::Malformed)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The XML reader would skip another one.
    if text.starts_with('\u{feff}') {
        return Err(BodyFault::Malformed);
    }
    let format = format.or_else(|| match text.trim_ascii_start().bytes().next() {
        Some(b'<') => Some(Format::Xml),
        Some(b'{') => Some(Format::Json),
        _ => None,
    });
    let tree = format.and_then(|format| match format {
        // What the type says goes before what the document says of itself (RFC 7303 section 3).
        Format::Xml => xml::parse(text, !charsets.is_empty()),
        Format::Json => parse_json(text),
    });
    tree.ok_or(BodyFault::Malformed)
}

/// The encoding that a parameter of a type names.
fn charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    let is_it = name.trim().eq_ignore_ascii_case("charset");
    is_it.then(|| value.trim().trim_matches(['"', '\'']))
}

/// A JSON object; none for what is none or breaks a limit.
fn parse_json(text: &str) -> Option<Tree> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let reader = TreeReader { depth: 0, values: &Cell::new(0) };
    let tree = reader.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    text.trim_ascii_start().starts_with('{').then_some(tree)
}

/// Reads a value at a depth, and counts it. Never by way of [`serde_json::Value`]: that takes an
/// object with a certain key for JSON inside a text and reads it anew, past every limit on depth; and
/// it would hide that a member came twice.
#[derive(Clone, Copy)]
struct TreeReader<'a> {
    depth: usize,
    values: &'a Cell<usize>,
}

impl TreeReader<'_> {
    /// The reader of what an array or an object holds.
    fn inner<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > JSON_DEPTH_MAX { Err(E::custom("too deep")) } else { Ok(Self { depth, ..self }) }
    }
}

impl<'de> DeserializeSeed<'de> for TreeReader<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > NODES_MAX {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TreeReader<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Text(String::new()))
    }

    fn visit_bool<E>(self, is_true: bool) -> Result<Tree, E> {
        Ok(Tree::Text(is_true.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Text(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Text(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        let number = whole_of(number).map_or_else(|| Value::from(number), Value::from);
        Ok(Tree::Text(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let (reader, mut inner) = (self.inner()?, Vec::new());
        while let Some(item) = items.next_element_seed(reader)? {
            inner.push((String::new(), item));
        }
        Ok(Tree::Nested(inner))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let (reader, mut inner) = (self.inner()?, Vec::new());
        while let Some(name) = members.next_key()? {
            inner.push((name, members.next_value_seed(reader)?));
        }
        Ok(Tree::Nested(inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["a", "b"];

    fn read(media_type: Option<&str>, body: &[u8]) -> Result<Tree, BodyFault> {
        let mut headers = HeaderMap::new();
        if let Some(media_type) = media_type {
            headers.insert("content-type", media_type.parse().unwrap());
        }
        decode(&headers, body)
    }

    /// The text of `a`.
    fn a(media_type: &str, body: impl AsRef<[u8]>) -> Result<Option<String>, BodyFault> {
        let tree = read(Some(media_type), body.as_ref())?;
        tree.refuse_repeated(KNOWN).map_err(|_| BodyFault::Malformed)?;
        let text = tree.text("a").map_err(|_| BodyFault::Malformed)?;
        Ok(text.map(str::to_owned))
    }

    #[test]
    fn the_type_or_else_the_first_character_says_what_a_body_is() {
        let xml = "<r><a>x</a></r>";
        let x = Ok(Some("x".to_owned()));
        for media_type in
            ["application/xml", "text/xml; charset=\"UTF-8\"", "Text/XML;charset=utf8"]
        {
            assert_eq!(a(media_type, xml), x, "{media_type}");
            assert_eq!(a(media_type, format!("\u{feff}{xml}")), x, "{media_type}");
            assert_eq!(a(media_type, r#"{"a":"x"}"#), Err(BodyFault::Malformed), "{media_type}");
        }
        assert_eq!(read(None, b" <r><a>x</a></r>").unwrap().text("a").unwrap(), Some("x"));
        assert_eq!(read(None, b" {\"a\":\"x\"}").unwrap().text("a").unwrap(), Some("x"));
        assert_eq!(read(None, b"a=1"), Err(BodyFault::Malformed));
    }

    #[test]
    fn only_utf8_with_at_most_one_mark_is_read() {
        let utf16: Vec<u8> = "<r/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (media_type, body) in [
            ("application/xml", &*utf16),
            ("application/xml", b"<r><a>\xff</a></r>"),
            ("application/xml", "\u{feff}\u{feff}<r/>".as_bytes()),
            ("application/json", b"{\"a\":\"\xff\"}"),
            ("application/json", "\u{feff}\u{feff}{}".as_bytes()),
        ] {
            assert_eq!(a(media_type, body), Err(BodyFault::Malformed));
        }
    }

    #[test]
    fn the_type_names_the_encoding_before_the_document_does() {
        let said = |encoding: &str| format!("<?xml version='1.0' encoding='{encoding}'?><r/>");
        for (media_type, encoding, is_read) in [
            ("text/xml", "us-ascii", true),
            ("text/xml", "ASCII", true),
            ("text/xml; charset=us-ascii", "UTF-8", true),
            ("text/xml; charset=utf-8", "utf-16", true),
            ("text/xml; charset=utf-8", "ISO-8859-1", true),
            ("text/xml", "utf-16", false),
            ("text/xml; charset=utf-16", "utf-8", false),
            ("text/xml; charset=utf-8; charset=utf-16", "utf-8", false),
            ("text/xml; charset=utf-8", "utf 16", false),
            ("text/xml; charset=utf-8", "", false),
        ] {
            assert_eq!(a(media_type, said(encoding)).is_ok(), is_read, "{media_type} {encoding}");
        }
        // Who says ASCII and means it is read; what is not UTF-8 is not.
        assert_eq!(a("text/xml; charset=ascii", b"<r><a>\xe9</a></r>"), Err(BodyFault::Malformed));
    }

    #[test]
    fn json_values_of_every_simple_kind_are_text() {
        for (body, expected) in [
            (r#"{"a":"x"}"#, Some("x")),
            (r#" {"a":72} "#, Some("72")),
            (r#"{"a":-72}"#, Some("-72")),
            (r#"{"a":72.0}"#, Some("72")),
            (r#"{"a":72.5}"#, Some("72.5")),
            (r#"{"a":99999999999999999999}"#, Some("1e+20")),
            (r#"{"a":"\u00e9\n"}"#, Some("é")),
            (r#"{"a":true}"#, Some("true")),
            (r#"{"a":null}"#, None),
            (r#"{"a":""}"#, None),
            (r#"{"c":{"a":[1,"}"]},"c":1}"#, None),
            ("{}", None),
            ("\u{feff}{\"a\":\"x\"}", Some("x")),
        ] {
            assert_eq!(a("application/json", body), Ok(expected.map(str::to_owned)), "{body}");
        }
    }

    #[test]
    fn no_key_makes_json_of_a_text() {
        const KEY: &str = "$serde_json::private::RawValue";
        let object = |text: &str| format!("{{\"{KEY}\":{}}}", serde_json::json!(text));
        let mut deep = "1".to_owned();
        for _ in 0..9 {
            deep = format!("{}{}{}", "[".repeat(120), object(&deep), "]".repeat(120));
        }
        assert_eq!(a("application/json", format!(r#"{{"c":{}}}"#, object(&deep))), Ok(None));
        assert_eq!(a("application/json", object(&deep)), Ok(None));
        let nested = format!(r#"{{"a":{}}}"#, object("7"));
        assert_eq!(a("application/json", nested), Err(BodyFault::Malformed));
    }

    #[test]
    fn what_is_no_flat_json_object_is_refused() {
        let deep = |depth: usize| format!(r#"{{"c":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        for body in [
            "",
            r#"{"a":"#,
            "[]",
            "null",
            r#""a""#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{}}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":1e999}"#,
            r#"{"a":NaN}"#,
            "{\"a\":\"\0\"}",
            r#"{"a":1} {}"#,
            &deep(JSON_DEPTH_MAX),
            &deep(100_000),
        ] {
            let shown = body.get(..60).unwrap_or(body);
            assert_eq!(a("application/json", body), Err(BodyFault::Malformed), "{shown}");
        }
        assert_eq!(a("application/json", deep(JSON_DEPTH_MAX - 1)), Ok(None));
        let many = |count: usize| format!(r#"{{"c":[{}]}}"#, vec!["1"; count - 2].join(","));
        assert_eq!(a("application/json", many(NODES_MAX)), Ok(None));
        assert_eq!(a("application/json", many(NODES_MAX + 1)), Err(BodyFault::Malformed));
    }

    #[test]
    fn other_types_and_encodings_are_refused() {
        for media_type in ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded"]
        {
            assert_eq!(a(media_type, "<r/>"), Err(BodyFault::MediaType), "{media_type}");
        }
        for media_type in
            ["application/xml; charset=windows-1251", "application/json;charset=utf-16"]
        {
            assert_eq!(a(media_type, "<r/>"), Err(BodyFault::Malformed), "{media_type}");
        }
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append("content-type", "application/xml".parse().unwrap());
        }
        assert_eq!(decode(&headers, b"<r/>"), Err(BodyFault::Malformed));
    }
}
