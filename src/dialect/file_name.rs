//! Names of uploaded files, in whatever way a client writes them: as the standard says (RFC 7578, WHATWG), or
//! as programs did before, of which Korean ones are many.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{EUC_KR, Encoding, UTF_8};
use percent_encoding::percent_decode;
use unicode_normalization::UnicodeNormalization as _;

use crate::domain::text::escapes;

/// Characters of a name at the most.
const NAME_MAX: usize = 100;

/// The file's name that a `Content-Disposition` gives, as text: that of `filename*`, which says its own
/// encoding, or else that of `filename` (RFC 6266 section 4.3). None where there is neither.
pub(super) fn given(disposition: &[u8]) -> Option<String> {
    let parameters = parameters(disposition);
    let find = |wanted: &str| {
        let is_wanted = |(name, _): &&(String, Vec<u8>)| name == wanted;
        parameters.iter().find(is_wanted).map(|(_, value)| value.as_slice())
    };
    let extended = find("filename*").and_then(extended).filter(|name| !name.is_empty());
    extended.or_else(|| find("filename").map(plain))
}

/// What a file's name says of what it shows; may be empty.
pub(super) fn title(file_name: &str) -> String {
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem =
        last.rsplit_once('.').map_or(last, |(stem, _)| if stem.is_empty() { last } else { stem });
    // A Mac takes letters apart.
    let letters = stem.nfc().filter(|c| !c.is_control());
    letters.take(NAME_MAX).collect::<String>().trim().to_owned()
}

/// The parameters of a header, names in lower case.
fn parameters(header: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = header;
    while let Some(start) = rest.iter().position(|byte| *byte == b';') {
        rest = rest.get(start + 1..).unwrap_or_default().trim_ascii_start();
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
        let Some(after) = after.strip_prefix(b"=") else {
            rest = after;
            continue;
        };
        let after = after.trim_ascii_start();
        let (value, left) = if let Some(quoted) = after.strip_prefix(b"\"") {
            until_quote(quoted)
        } else {
            let end = after.iter().position(|byte| *byte == b';').unwrap_or(after.len());
            let (value, left) = after.split_at(end);
            (value.trim_ascii().to_vec(), left)
        };
        found.push((name, value));
        rest = left;
    }
    found
}

/// What stands before a quotation mark, and what is behind it. A backslash stands for itself but before
/// one: names come with whole paths of Windows.
fn until_quote(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    loop {
        match rest {
            [b'\\', b'"', left @ ..] => {
                value.push(b'"');
                rest = left;
            }
            [b'"', left @ ..] => return (value, left),
            [byte, left @ ..] => {
                value.push(*byte);
                rest = left;
            }
            [] => return (value, rest),
        }
    }
}

/// `CHARSET'LANGUAGE'PERCENT-ENCODED` (RFC 8187).
fn extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let (charset, _, text) = (parts.next()?, parts.next()?, parts.next()?);
    decode(charset, &percent_decode(text).collect::<Vec<_>>())
}

/// A name without a word of its encoding; empty for one in an encoding that nobody knows.
fn plain(value: &[u8]) -> String {
    let text = in_words(value).unwrap_or_else(|| guess(value));
    let is_encoded = text.starts_with("=?") && text.ends_with("?=");
    if is_encoded { String::new() } else { escaped(&text).unwrap_or(text) }
}

/// Bytes in the encoding of a known name; none where they are not.
fn decode(charset: &[u8], bytes: &[u8]) -> Option<String> {
    let encoding = Encoding::for_label(charset)?;
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(text.into_owned())
}

/// UTF-8, or what Windows calls cp949.
fn known(bytes: &[u8]) -> Option<String> {
    let found = [UTF_8, EUC_KR]
        .into_iter()
        .find_map(|encoding| encoding.decode_without_bom_handling_and_without_replacement(bytes));
    found.map(Cow::into_owned)
}

/// The same, or what is left of it.
fn guess(bytes: &[u8]) -> String {
    let left = || String::from_utf8_lossy(bytes).replace(char::REPLACEMENT_CHARACTER, "");
    known(bytes).unwrap_or_else(left)
}

/// A name in encoded words (RFC 2047), with blanks between them that do not count; none where anything
/// else is in it.
fn in_words(value: &[u8]) -> Option<String> {
    let text = str::from_utf8(value).ok()?.trim();
    let mut pieces: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.strip_prefix("=?")?;
        let mut parts = word.splitn(3, '?');
        let (charset, encoding, coded) = (parts.next()?, parts.next()?, parts.next()?);
        let (coded, left) = coded.split_once("?=")?;
        let bytes = match encoding {
            "B" | "b" => STANDARD.decode(coded).ok()?,
            "Q" | "q" => {
                let quoted = coded.replace('%', "%25").replace('_', " ").replace('=', "%");
                percent_decode(quoted.as_bytes()).collect()
            }
            _ => return None,
        };
        // The language (RFC 2231 section 5) says nothing here.
        let charset = charset.split('*').next()?;
        match pieces.last_mut() {
            // A letter may begin in one word and end in the next.
            Some((same, before)) if same.eq_ignore_ascii_case(charset) => before.extend(bytes),
            _ => pieces.push((charset, bytes)),
        }
        rest = left.trim_start();
    }
    let texts = pieces.iter().map(|(charset, bytes)| decode(charset.as_bytes(), bytes));
    texts.collect::<Option<String>>().filter(|text| !text.is_empty())
}

/// A name that was percent-encoded, as for an address or a form; none for one in which every `%` is
/// itself. Browsers write so a quotation mark and line ends alone.
fn escaped(text: &str) -> Option<String> {
    let mut escapes = escapes(text).peekable();
    escapes.peek()?;
    if !escapes.all(|is_whole| is_whole) {
        return None;
    }
    // A blank is a plus to those who encode forms, and never both to one.
    let text = if text.contains("%20") { text.to_owned() } else { text.replace('+', " ") };
    known(&percent_decode(text.as_bytes()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(parameters: &[u8]) -> Option<String> {
        given(&[b"form-data; name=\"badge_image\"", parameters].concat())
    }

    #[test]
    fn a_file_is_named_after_what_it_shows() {
        for (file_name, name) in [
            ("badge.webp", "badge"),
            ("우수 배지.png", "우수 배지"),
            ("C:\\pictures\\a.b.png", "a.b"),
            ("../../etc/passwd", "passwd"),
            (".png", ".png"),
            ("a\u{0}b\n.gif", "ab"),
            ("\u{1107}\u{1162}\u{110c}\u{1175}.png", "배지"),
            ("", ""),
        ] {
            assert_eq!(title(file_name), name, "{file_name:?}");
        }
    }

    #[test]
    fn a_name_is_read_in_each_way_that_clients_write_it() {
        let cp949 = b"\xbf\xec\xbc\xf6 \xb9\xe8\xc1\xf6.png";
        let raw = [b"; filename=\"", &cp949[..], b"\""].concat();
        for parameters in [
            "; filename=\"우수 배지.png\"".as_bytes(),
            "; filename=우수 배지.png".as_bytes(),
            b"; filename*=UTF-8''%EC%9A%B0%EC%88%98%20%EB%B0%B0%EC%A7%80.png",
            b"; FileName*=utf-8'ko'%ec%9a%b0%ec%88%98%20%eb%b0%b0%ec%a7%80.png",
            b"; filename*=EUC-KR''%BF%EC%BC%F6%20%B9%E8%C1%F6.png",
            b"; filename=\"?? ??.png\"; filename*=UTF-8''%EC%9A%B0%EC%88%98%20%EB%B0%B0%EC%A7%80.png",
            b"; filename*=UTF-8''%EC%9A%B0%EC%88%98%20%EB%B0%B0%EC%A7%80.png; filename=\"x.png\"",
            b"; filename=\"=?UTF-8?B?7Jqw7IiYIOuwsOyngC5wbmc=?=\"",
            b"; filename=\"=?utf-8?b?7Jqw7IiYIOs=?= =?utf-8?B?sLDsp4AucG5n?=\"",
            b"; filename=\"=?utf-8?Q?=EC=9A=B0=EC=88=98_=EB=B0=B0=EC=A7=80.png?=\"",
            b"; filename=\"=?ks_c_5601-1987?B?v+y89iC56MH2LnBuZw==?=\"",
            b"; filename=\"%EC%9A%B0%EC%88%98%20%EB%B0%B0%EC%A7%80.png\"",
            b"; filename=\"%EC%9A%B0%EC%88%98+%EB%B0%B0%EC%A7%80.png\"",
            b"; filename=\"%BF%EC%BC%F6+%B9%E8%C1%F6.png\"",
            &raw,
        ] {
            let text = String::from_utf8_lossy(parameters);
            assert_eq!(named(parameters).as_deref(), Some("우수 배지.png"), "{text}");
        }
    }

    #[test]
    fn what_is_no_encoding_stands_as_it_is() {
        for (parameters, name) in [
            (&b"; filename=\"a;b=c.png\""[..], "a;b=c.png"),
            (b"; filename=\"a\\\"b.png\"", "a\"b.png"),
            (b"; filename=\"a%22b.png\"", "a\"b.png"),
            (b"; filename=\"C:\\pictures\\new.png\"", "C:\\pictures\\new.png"),
            (b"; filename=\"100%.png\"", "100%.png"),
            (b"; filename=\"100% sure%20.png\"", "100% sure%20.png"),
            (b"; filename=\"a+b.png\"", "a+b.png"),
            (b"; filename=\"%FF%FE.png\"", "%FF%FE.png"),
            (b"; filename=\"=?utf-8?B?!!?=.png\"", "=?utf-8?B?!!?=.png"),
            (b"; filename=\"=?nothing?B?YQ==?=\"", ""),
            (b"; filename=\"x.png\"; filename*=nothing''%41.png", "x.png"),
            (b"; filename=\"x.png\"; filename*=UTF-8''", "x.png"),
            (b"; filename=\"x.png\"; filename*=UTF-8''%FF", "x.png"),
            (b"; filename=\"\xff\xffx.png\"", "x.png"),
            (b"; filename=\"open", "open"),
            (b"; filename=", ""),
        ] {
            let text = String::from_utf8_lossy(parameters);
            assert_eq!(named(parameters).as_deref(), Some(name), "{text}");
        }
        assert_eq!(named(b""), None);
        assert_eq!(named(b"; filename; x=\"filename=y\""), None);
    }
}
