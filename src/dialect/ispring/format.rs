//! XML or JSON: which one an answer is in, and how it is written.

use std::cmp::Ordering;
use std::fmt::Write as _;

use http::HeaderMap;
use serde_json::Value;

use crate::dialect::{Answer, Call, accept};

/// The endpoint that speaks JSON of itself.
const TOKEN_PATH: &str = "/api/v3/token";

/// The format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/xml`.
    Xml,
    /// `application/json`.
    Json,
}

impl Format {
    /// The format that a call's answer is to have.
    pub fn of(call: &Call) -> Self {
        Self::preferred(call.path(), &call.headers)
    }

    /// The format that `Accept` prefers (RFC 9110 section 12.5.1); of two that it likes as well, the one
    /// that it names more exactly. Where it prefers none, it is JSON for the token endpoint and what
    /// stands below it, else XML.
    pub fn preferred(path: &str, headers: &HeaderMap) -> Self {
        let json = weight(headers, "application", "json");
        let xml = weight(headers, "application", "xml").max(weight(headers, "text", "xml"));
        match json.cmp(&xml) {
            Ordering::Greater => Self::Json,
            Ordering::Less => Self::Xml,
            Ordering::Equal => match path.strip_prefix(TOKEN_PATH) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => Self::Json,
                _ => Self::Xml,
            },
        }
    }

    /// An answer whose body is the object `value`: in JSON as it is, in XML inside `<response>` and
    /// then inside each of `wrappers`.
    pub fn answer(self, status: u16, wrappers: &[&str], value: &Value) -> Answer {
        match self {
            Self::Json => Answer::with_type(
                status,
                "application/json; charset=utf-8",
                value.to_string().into_bytes(),
            ),
            Self::Xml => {
                let mut text = String::from(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
                let outer = ["response"].into_iter().chain(wrappers.iter().copied());
                let inner = outer.clone().rev();
                outer.for_each(|name| open(&mut text, name));
                write_content(&mut text, value);
                inner.for_each(|name| close(&mut text, name));
                Answer::with_type(status, "application/xml; charset=utf-8", text.into_bytes())
            }
        }
    }
}

/// How much `Accept` wants a media type, in thousandths, and how exactly it names it; the most specific
/// range decides.
fn weight(headers: &HeaderMap, main: &str, sub: &str) -> (u16, u16) {
    let mut best = (0, 0);
    for range in accept::elements(headers, "accept") {
        let mut parts = range.split(';').map(str::trim);
        let Some((range_main, range_sub)) = parts.next().and_then(|media| media.split_once('/'))
        else {
            continue;
        };
        let specificity = match (range_main, range_sub) {
            ("*", "*") => 1,
            (given, "*") if given.eq_ignore_ascii_case(main) => 2,
            (given, exact)
                if given.eq_ignore_ascii_case(main) && exact.eq_ignore_ascii_case(sub) =>
            {
                3
            }
            _ => continue,
        };
        let weight = parts.find_map(accept::weight).map_or(1000, thousandths);
        best = best.max((specificity, weight));
    }
    match best {
        (_, 0) => (0, 0),
        (specificity, weight) => (weight, specificity),
    }
}

/// A `qvalue`: `0`, `0.5`, `1.000`; what is none weighs nothing.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    let fraction = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        "0" => fraction,
        "1" if fraction == 0 => 1000,
        _ => 0,
    }
}

fn open(text: &mut String, name: &str) {
    let _ = write!(text, "<{name}>");
}

fn close(text: &mut String, name: &str) {
    let _ = write!(text, "</{name}>");
}

fn write_content(text: &mut String, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                open(text, name);
                write_content(text, value);
                close(text, name);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| write_content(text, item)),
        Value::String(content) => text.push_str(&quick_xml::escape::escape(content)),
        Value::Bool(is_true) => text.push(if *is_true { '1' } else { '0' }),
        Value::Number(number) => {
            let _ = write!(text, "{number}");
        }
        Value::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn preferred(accept: &[&str], default: Format) -> Format {
        let mut headers = HeaderMap::new();
        for line in accept {
            headers.append("accept", line.parse().unwrap());
        }
        let path = if default == Format::Json { TOKEN_PATH } else { "/enrollment/1" };
        Format::preferred(path, &headers)
    }

    #[test]
    fn the_higher_quality_wins_and_a_tie_is_the_default() {
        for (accept, expected) in [
            (&[][..], Format::Xml),
            (&["*/*"], Format::Xml),
            (&["application/xml"], Format::Xml),
            (&["text/xml"], Format::Xml),
            (&["text/html"], Format::Xml),
            (&["nonsense"], Format::Xml),
            (&[""], Format::Xml),
            (&["application/json"], Format::Json),
            (&["Application/JSON; charset=utf-8"], Format::Json),
            (&["application/json, application/xml"], Format::Xml),
            (&["application/json;q=0.9, application/xml;q=0.8"], Format::Json),
            (&["application/json;q=0.8, application/xml;q=0.9"], Format::Xml),
            (&["application/json, */*;q=0.1"], Format::Json),
            (&["application/json;q=0, */*"], Format::Xml),
            (&["application/json;q=0"], Format::Xml),
            (&["application/json, text/plain, */*"], Format::Json),
            (&["application/json, */*"], Format::Json),
            (&["application/*, */*"], Format::Xml),
            (&["text/*, application/json;q=0.9"], Format::Xml),
            (&["application/xml;q=0.1, text/*, application/json;q=0.9"], Format::Xml),
            (&["text/xml, application/json, */*"], Format::Xml),
            (&["application/xml;q=0.5", "application/json"], Format::Json),
            (&["application/json;q=2"], Format::Xml),
            (&["application/json;q=0.1234"], Format::Xml),
        ] {
            assert_eq!(preferred(accept, Format::Xml), expected, "{accept:?}");
        }
        assert_eq!(preferred(&["*/*"], Format::Json), Format::Json);
        assert_eq!(preferred(&["application/xml"], Format::Json), Format::Xml);
    }

    #[test]
    fn one_value_is_written_in_both_formats() {
        let value = json!({"a": "x<&>", "b": true, "c": 0, "d": {"e": "f"}});
        let text = |format: Format| {
            String::from_utf8(format.answer(200, &["item"], &value).body.into()).unwrap()
        };
        assert_eq!(
            text(Format::Xml),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><response><item><a>x&lt;&amp;&gt;</a>\
             <b>1</b><c>0</c><d><e>f</e></d></item></response>"
        );
        assert_eq!(text(Format::Json), r#"{"a":"x<&>","b":true,"c":0,"d":{"e":"f"}}"#);
    }
}
