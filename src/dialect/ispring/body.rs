//! Request bodies: XML or JSON, in both of which the dialect reads one flat object of fields. Nothing
//! in a body is fetched, expanded or followed.

use http::HeaderMap;
use quick_xml::Reader;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::format::Format;

const XML_DEPTH_MAX: usize = 16;
const XML_NODES_MAX: usize = 50_000;
const XML_ATTRIBUTES_MAX: usize = 64;
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
enum Content {
    Text(String),
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
    fn insert(&mut self, name: &str, content: Content, known: &[&'static str]) -> InsertResult {
        let Some(name) = known.iter().copied().find(|known| *known == name) else {
            return Ok(None);
        };
        if self.0.iter().any(|(known, _)| *known == name) {
            return Err(Fault::Malformed);
        }
        self.0.push((name, content));
        Ok(Some(self.0.len() - 1))
    }

    fn content_mut(&mut self, index: Option<usize>) -> Option<&mut Content> {
        self.0.get_mut(index?).map(|(_, content)| content)
    }
}

type InsertResult = Result<Option<usize>, Fault>;

/// Reads the `known` fields of a body; others are passed over.
///
/// # Errors
/// [`Fault`].
pub fn decode(headers: &HeaderMap, body: &[u8], known: &[&'static str]) -> Result<Fields, Fault> {
    let encodings = headers.get_all("content-encoding");
    if encodings.iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Fault::MediaType);
    }
    let mut media = headers
        .get("content-type")
        .map_or(Ok(""), |value| value.to_str())
        .map_err(|_| Fault::MediaType)?
        .split(';')
        .map(str::trim);
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
    let format = format.or_else(|| match text.trim_ascii_start().bytes().next() {
        Some(b'<') => Some(Format::Xml),
        Some(b'{') => Some(Format::Json),
        _ => None,
    });
    match format {
        Some(Format::Xml) => decode_xml(text, known),
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

fn is_utf8(encoding: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|name| encoding.eq_ignore_ascii_case(name))
}

fn decode_json(text: &str, known: &[&'static str]) -> Result<Fields, Fault> {
    if json_depth(text) > JSON_DEPTH_MAX {
        return Err(Fault::Malformed);
    }
    let Object(members) = serde_json::from_str(text).map_err(|_| Fault::Malformed)?;
    let mut fields = Fields::default();
    for (name, value) in members {
        let content = match value {
            Value::Null => Content::Text(String::new()),
            Value::Bool(is_true) => Content::Text(is_true.to_string()),
            Value::Number(number) => Content::Text(number.to_string()),
            Value::String(text) => Content::Text(text),
            Value::Array(_) | Value::Object(_) => Content::Nested,
        };
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
struct Object(Vec<(String, Value)>);

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

/// Any root element is accepted, as the documented samples use several. Attributes, namespaces,
/// comments and processing instructions do not count.
fn decode_xml(text: &str, known: &[&'static str]) -> Result<Fields, Fault> {
    if !text.chars().all(is_xml_char) {
        return Err(Fault::Malformed);
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut fields = Fields::default();
    let (mut depth, mut has_root) = (0_usize, false);
    let mut current = None;
    for node in 0..XML_NODES_MAX {
        let content = match reader.read_event().map_err(|_| Fault::Malformed)? {
            Event::Start(element) => {
                depth += 1;
                if depth > XML_DEPTH_MAX || (depth == 1 && has_root) {
                    return Err(Fault::Malformed);
                }
                check_attributes(&element)?;
                has_root = true;
                if depth == 2 {
                    let name = element.local_name();
                    let empty = Content::Text(String::new());
                    current = fields.insert(name.as_ref(), empty, known)?;
                } else if let Some(content) = fields.content_mut(current) {
                    *content = Content::Nested;
                }
                continue;
            }
            Event::End(_) => {
                depth = depth.checked_sub(1).ok_or(Fault::Malformed)?;
                if depth < 2 {
                    current = None;
                }
                continue;
            }
            Event::Decl(declaration) if node == 0 => {
                check_declaration(&declaration)?;
                continue;
            }
            Event::Comment(_) | Event::PI(_) => continue,
            Event::Text(text) if depth == 0 => {
                if text.trim_ascii().is_empty() {
                    continue;
                }
                return Err(Fault::Malformed);
            }
            Event::Text(text) => text.into_inner(),
            Event::CData(text) if depth > 0 => text.into_inner(),
            Event::GeneralRef(reference) if depth > 0 => resolve(&reference)?.to_string().into(),
            Event::Eof if depth == 0 && has_root => return Ok(fields),
            // Entities are declared in a document type: without one there are none to resolve.
            // Empty elements come as start and end.
            Event::Decl(_)
            | Event::DocType(_)
            | Event::CData(_)
            | Event::GeneralRef(_)
            | Event::Empty(_)
            | Event::Eof => return Err(Fault::Malformed),
        };
        if let Some(Content::Text(text)) = fields.content_mut(current) {
            text.push_str(&content);
        }
    }
    Err(Fault::Malformed)
}

/// XML 1.0 section 2.2.
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn check_attributes(element: &BytesStart<'_>) -> Result<(), Fault> {
    for (index, attribute) in element.attributes().enumerate() {
        if index == XML_ATTRIBUTES_MAX || attribute.is_err() {
            return Err(Fault::Malformed);
        }
    }
    Ok(())
}

fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), Fault> {
    let is_readable = declaration.version().is_ok()
        && declaration
            .encoding()
            .is_none_or(|encoding| encoding.is_ok_and(|encoding| is_utf8(&encoding)));
    if is_readable { Ok(()) } else { Err(Fault::Malformed) }
}

/// One of the five predefined entities (XML 1.0 section 4.6) or a character reference.
fn resolve(reference: &BytesRef<'_>) -> Result<char, Fault> {
    if reference.is_char_ref() {
        return match reference.resolve_char_ref() {
            Ok(Some(c)) if is_xml_char(c) => Ok(c),
            _ => Err(Fault::Malformed),
        };
    }
    match &**reference {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        _ => Err(Fault::Malformed),
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

    fn xml(body: impl AsRef<[u8]>) -> Result<Option<String>, Fault> {
        a("application/xml", body)
    }

    #[test]
    fn a_flat_document_is_read() {
        for (body, expected) in [
            ("<r><a>x</a></r>", Some("x")),
            ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<r>\n\t<a> x </a>\n</r>\n", Some("x")),
            ("\u{feff}<?xml version='1.0'?><r><a>x</a></r>", Some("x")),
            ("<n:r xmlns:n=\"u\" k='v'><n:a id=\"1\">x</n:a></n:r>", Some("x")),
            ("<r><a><![CDATA[x]]></a></r>", Some("x")),
            (
                "<r><a>1&#32;&lt;<!-- c -->&amp;&#x41;<?pi?><![CDATA[<y>]]></a></r>",
                Some("1 <&A<y>"),
            ),
            ("<r><a/></r>", None),
            ("<r><a></a></r>", None),
            ("<r><a>  </a></r>", None),
            ("<r/>", None),
            ("<r><c>1</c><c>2</c><c><a>deep</a></c></r>", None),
            ("<!-- c --><?pi?><r><a>x</a></r><!-- c -->", Some("x")),
        ] {
            assert_eq!(xml(body), Ok(expected.map(str::to_owned)), "{body}");
        }
        assert_eq!(a("text/xml; charset=\"UTF-8\"", "<r><a>x</a></r>"), Ok(Some("x".to_owned())));
        assert_eq!(read(None, b" <r><a>x</a></r>").unwrap().text("a"), Ok(Some("x")));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let nested = |depth: usize| format!("{}{}", "<r>".repeat(depth), "</r>".repeat(depth));
        let many = format!("<r>{}</r>", "<c/>".repeat(XML_NODES_MAX));
        let attributes =
            (0..=XML_ATTRIBUTES_MAX).map(|n| format!(" a{n}=''")).collect::<Vec<_>>().concat();
        for body in [
            "",
            "x",
            "<r>",
            "<r><a>x</r></a>",
            "</r>",
            "<r/><r/>",
            "<r/>x",
            "x<r/>",
            "<r/>&amp;",
            "<r><a>x</a><a>y</a></r>",
            "<r><n:a>x</n:a><a>y</a></r>",
            "<r><a><b>x</b></a></r>",
            "<r><a>x<c/></a></r>",
            "<r><a>&x;</a></r>",
            "<r><a>&#0;</a></r>",
            "<r><a>&#xD800;</a></r>",
            "<r><a>&#x110000;</a></r>",
            "<r><a>&</a></r>",
            "<r><a>\0</a></r>",
            "<r><a>\u{1}</a></r>",
            "<r><a>\u{ffff}</a></r>",
            "<r a><a>x</a></r>",
            "<r a=\"1\" a=\"2\"><a>x</a></r>",
            " <?xml version=\"1.0\"?><r/>",
            "<r><?xml version=\"1.0\"?></r>",
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><r/>",
            "<?xml version=\"1.0\" encoding=\"UTF-16\"?><r/>",
            "<!DOCTYPE r><r><a>x</a></r>",
            "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><r><a>&x;</a></r>",
            "<r><!DOCTYPE r></r>",
            &nested(XML_DEPTH_MAX + 1),
            &nested(10_000),
            &many,
            &format!("<r{attributes}/>"),
        ] {
            assert_eq!(xml(body), Err(Fault::Malformed), "{}", body.get(..60).unwrap_or(body));
        }
        assert_eq!(xml(nested(XML_DEPTH_MAX)), Ok(None));
        let utf16: Vec<u8> = "<r/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(xml(utf16), Err(Fault::Malformed));
        assert_eq!(xml(b"<r><a>\xff</a></r>"), Err(Fault::Malformed));
    }

    #[test]
    fn json_values_of_every_simple_kind_are_text() {
        for (body, expected) in [
            (r#"{"a":"x"}"#, Some("x")),
            (r#" {"a":72} "#, Some("72")),
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
        assert_eq!(a("application/json", b"{\"a\":\"\xff\"}"), Err(Fault::Malformed));
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
        assert_eq!(read(None, b"a=1"), Err(Fault::Malformed));
        let mut headers = HeaderMap::new();
        headers.insert("content-encoding", "gzip".parse().unwrap());
        assert_eq!(decode(&headers, b"<r/>", KNOWN), Err(Fault::MediaType));
        headers.insert("content-encoding", "Identity".parse().unwrap());
        assert_eq!(decode(&headers, b"<r/>", KNOWN), Ok(Fields::default()));
    }
}
