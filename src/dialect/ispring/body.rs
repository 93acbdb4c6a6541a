//! Request bodies: XML or JSON, in both of which the dialect reads one flat object of fields. Nothing
//! in a body is fetched, expanded or followed.

use std::borrow::Cow;

use http::HeaderMap;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::format::Format;
use super::xml;

const JSON_DEPTH_MAX: usize = 32;

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not what it says it is, or breaks a limit.
    Malformed,
    /// It is of a type or encoding that is not read.
    MediaType,
}

/// What a field was given as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text, a number, a truth value; empty for null.
    Text(String),
    /// Other elements, an array or an object.
    Nested,
}

/// The fields of a body that the route knows, each at most once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(&'static str, Content)>);

impl Fields {
    /// The field's text without blanks around it; none when it is absent, empty or null.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when it holds other elements, an array or an object.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Fault> {
        match self.0.iter().find(|(known, _)| *known == name) {
            None => Ok(None),
            Some((_, Content::Nested)) => Err(Fault::Malformed),
            Some((_, Content::Text(text))) => {
                Ok(Some(text.trim_ascii()).filter(|text| !text.is_empty()))
            }
        }
    }

    /// Takes a field in where the route knows it; gives its place.
    ///
    /// # Errors
    /// [`Fault::Malformed`] when it came before.
    pub fn insert(
        &mut self,
        name: &str,
        content: Content,
        known: &[&'static str],
    ) -> Result<Option<usize>, Fault> {
        let Some(name) = known.iter().copied().find(|known| *known == name) else {
            return Ok(None);
        };
        if self.0.iter().any(|(known, _)| *known == name) {
            return Err(Fault::Malformed);
        }
        self.0.push((name, content));
        Ok(Some(self.0.len() - 1))
    }

    /// The content at a place that [`Fields::insert`] gave.
    pub fn content_mut(&mut self, index: Option<usize>) -> Option<&mut Content> {
        self.0.get_mut(index?).map(|(_, content)| content)
    }
}

/// What a body says of itself: its one `Content-Type`, empty when there is none.
///
/// # Errors
/// [`Fault::MediaType`] when the body is compressed; [`Fault::Malformed`] when it has two types,
/// because the next program on the way may believe the other.
pub fn content_type(headers: &HeaderMap) -> Result<Cow<'_, str>, Fault> {
    let encodings = headers.get_all("content-encoding");
    if encodings.iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Fault::MediaType);
    }
    let mut types = headers.get_all("content-type").iter();
    match (types.next(), types.next()) {
        (None, _) => Ok(Cow::Borrowed("")),
        (Some(given), None) => Ok(String::from_utf8_lossy(given.as_bytes())),
        (Some(_), Some(_)) => Err(Fault::Malformed),
    }
}

/// Reads the `known` fields of a body; others are passed over.
///
/// # Errors
/// [`Fault`].
pub fn decode(headers: &HeaderMap, body: &[u8], known: &[&'static str]) -> Result<Fields, Fault> {
    let content_type = content_type(headers)?;
    let mut media = content_type.split(';').map(str::trim);
    let media_type = media.next().unwrap_or_default().to_ascii_lowercase();
    let format = match media_type.as_str() {
        "application/xml" | "text/xml" => Some(Format::Xml),
        "application/json" => Some(Format::Json),
        "" => None,
        _ => return Err(Fault::MediaType),
    };
    if media.any(names_another_charset) {
        return Err(Fault::Malformed);
    }
    let text = std::str::from_utf8(body).map_err(|_| Fault::Malformed)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The XML reader would skip another one.
    if text.starts_with('\u{feff}') {
        return Err(Fault::Malformed);
    }
    let format = format.or_else(|| match text.trim_ascii_start().bytes().next() {
        Some(b'<') => Some(Format::Xml),
        Some(b'{') => Some(Format::Json),
        _ => None,
    });
    match format {
        Some(Format::Xml) => xml::decode(text, known),
        Some(Format::Json) => decode_json(text, known),
        None => Err(Fault::Malformed),
    }
}

fn names_another_charset(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("charset")
            && !is_utf8(value.trim().trim_matches(['"', '\'']))
    })
}

/// True for the names of the one encoding that is read.
pub fn is_utf8(encoding: &str) -> bool {
    ["utf-8", "utf8"].iter().any(|name| encoding.eq_ignore_ascii_case(name))
}

fn decode_json(text: &str, known: &[&'static str]) -> Result<Fields, Fault> {
    if json_depth(text) > JSON_DEPTH_MAX {
        return Err(Fault::Malformed);
    }
    let Object(members) = serde_json::from_str(text).map_err(|_| Fault::Malformed)?;
    let mut fields = Fields::default();
    for (name, content) in members {
        fields.insert(&name, content, known)?;
    }
    Ok(fields)
}

/// How deep arrays and objects are nested, brackets inside strings left out.
fn json_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A JSON object's members as sent: a map would hide that one came twice.
struct Object(Vec<(String, Content)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Never by way of [`serde_json::Value`]: that takes an object with a certain key for JSON inside a
/// text and reads it anew, past every limit on depth.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Content;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content::Text(String::new()))
            }

            fn visit_bool<E>(self, is_true: bool) -> Result<Content, E> {
                Ok(Content::Text(is_true.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Content, E> {
                Ok(Content::Text(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Content, E> {
                Ok(Content::Text(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Content, E> {
                let number = serde_json::Number::from_f64(number);
                let number = number.ok_or_else(|| E::custom("not a number"))?;
                Ok(Content::Text(number.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
                while items.next_element::<Content>()?.is_some() {}
                Ok(Content::Nested)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
                while map.next_entry::<String, Content>()?.is_some() {}
                Ok(Content::Nested)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["a", "b"];

    fn read(media_type: Option<&str>, body: &[u8]) -> Result<Fields, Fault> {
        let mut headers = HeaderMap::new();
        if let Some(media_type) = media_type {
            headers.insert("content-type", media_type.parse().unwrap());
        }
        decode(&headers, body, KNOWN)
    }

    /// The text of `a`.
    fn a(media_type: &str, body: impl AsRef<[u8]>) -> Result<Option<String>, Fault> {
        let fields = read(Some(media_type), body.as_ref())?;
        fields.text("a").map(|text| text.map(str::to_owned))
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
            assert_eq!(a(media_type, r#"{"a":"x"}"#), Err(Fault::Malformed), "{media_type}");
        }
        assert_eq!(read(None, b" <r><a>x</a></r>").unwrap().text("a"), Ok(Some("x")));
        assert_eq!(read(None, b" {\"a\":\"x\"}").unwrap().text("a"), Ok(Some("x")));
        assert_eq!(read(None, b"a=1"), Err(Fault::Malformed));
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
            assert_eq!(a(media_type, body), Err(Fault::Malformed));
        }
    }

    #[test]
    fn json_values_of_every_simple_kind_are_text() {
        for (body, expected) in [
            (r#"{"a":"x"}"#, Some("x")),
            (r#" {"a":72} "#, Some("72")),
            (r#"{"a":-72}"#, Some("-72")),
            (r#"{"a":72.0}"#, Some("72.0")),
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
        assert_eq!(a("application/json", nested), Err(Fault::Malformed));
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
            assert_eq!(a("application/json", body), Err(Fault::Malformed), "{shown}");
        }
        assert_eq!(a("application/json", deep(JSON_DEPTH_MAX - 1)), Ok(None));
    }

    #[test]
    fn other_types_and_encodings_are_refused() {
        for media_type in ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded"]
        {
            assert_eq!(a(media_type, "<r/>"), Err(Fault::MediaType), "{media_type}");
        }
        for media_type in
            ["application/xml; charset=windows-1251", "application/json;charset=utf-16"]
        {
            assert_eq!(a(media_type, "<r/>"), Err(Fault::Malformed), "{media_type}");
        }
        assert_eq!(a("text/xml; charset=us-ascii", "<r/>"), Err(Fault::Malformed));
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", "gzip".parse().unwrap());
        assert_eq!(decode(&headers, b"<r/>", KNOWN), Err(Fault::MediaType));
        headers.insert("content-encoding", "Identity".parse().unwrap());
        assert_eq!(decode(&headers, b"<r/>", KNOWN), Ok(Fields::default()));
        for _ in 0..2 {
            headers.append("content-type", "application/xml".parse().unwrap());
        }
        assert_eq!(decode(&headers, b"<r/>", KNOWN), Err(Fault::Malformed));
    }
}
