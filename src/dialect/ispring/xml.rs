//! XML bodies. The reader finds the markup; what it lets pass although it is not well-formed (XML
//! 1.0, fifth edition) is refused here, so that every reader of a body reads the same in it.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::tree::{NODES_MAX, Tree};
use crate::sabotage::Protection;

const DEPTH_MAX: usize = 16;
const ATTRIBUTES_MAX: usize = 64;
/// White space (XML 1.0 section 2.3).
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// The root element of a document, whatever its name, as the documented samples use several.
/// Attributes, namespaces, comments, processing instructions and texts between elements do not count.
/// None for what is no document or breaks a limit. What a declaration says of the encoding counts unless
/// that `is_known` from elsewhere. Only elements are counted: texts, comments and
/// processing instructions are bounded by the body's size.
pub fn parse(text: &str, is_known: bool) -> Option<Tree> {
    if !text.chars().all(is_char) {
        return None;
    }
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.check_comments = true;
    // The elements that are open, and the one that was closed last when none is.
    let mut open: Vec<(String, Tree)> = Vec::new();
    let mut root = None;
    let mut elements = 0_usize;
    let mut is_at_start = true;
    loop {
        let event = reader.read_event().ok()?;
        let is_first = std::mem::take(&mut is_at_start);
        let content = match event {
            Event::Start(element) => {
                elements += 1;
                if open.len() == DEPTH_MAX || elements > NODES_MAX || root.is_some() {
                    return None;
                }
                check_tag(&element)?;
                let name = element.local_name().as_ref().to_owned();
                open.push((name, Tree::Text(String::new())));
                continue;
            }
            Event::End(_) => {
                let (name, element) = open.pop()?;
                match open.last_mut() {
                    Some((_, parent)) => parent.push(name, element),
                    None => root = Some(element),
                }
                continue;
            }
            Event::Decl(declaration) if is_first => {
                let given = declaration.strip_prefix("xml").and_then(attributes)?;
                if !is_declaration(&given, is_known) {
                    return None;
                }
                continue;
            }
            // Targets named `xml` in any case are reserved (section 2.6): another program may take
            // such an instruction for a declaration.
            Event::PI(instruction)
                if is_plain_name(instruction.target())
                    && !instruction.target().eq_ignore_ascii_case("xml") =>
            {
                continue;
            }
            Event::Comment(_) => continue,
            Event::DocType(_) if !Protection::PlainXml.is_on() => continue,
            Event::Text(text) if open.is_empty() && text.trim_ascii().is_empty() => continue,
            Event::Text(text) if !text.contains("]]>") => text.into_inner(),
            Event::CData(text) => text.into_inner(),
            Event::GeneralRef(reference) => resolve(&reference)?.to_string().into(),
            Event::Eof if open.is_empty() => return root,
            // Entities are declared in a document type: without one there are none to resolve.
            // Empty elements come as start and end.
            Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::Text(_)
            | Event::Empty(_)
            | Event::Eof => return None,
        };
        // Nothing is said outside the root.
        if let (_, Tree::Text(text)) = open.last_mut()? {
            text.push_str(&content);
        }
    }
}

/// None where a tag's name or its attributes are ill-formed.
fn check_tag(element: &BytesStart<'_>) -> Option<()> {
    is_name(element.name().as_ref()).then_some(())?;
    attributes(element.attributes_raw()).map(|_| ())
}

/// The attributes in what follows a tag's name, each once, with values as they stand; none where
/// section 3.1 is broken.
fn attributes(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let mut rest = text;
    loop {
        let next = rest.trim_start_matches(BLANKS);
        if next.is_empty() {
            return Some(found);
        }
        if next.len() == rest.len() || found.len() == ATTRIBUTES_MAX {
            return None;
        }
        let (name, value) = next.split_once('=')?;
        let name = name.trim_end_matches(BLANKS);
        let value = value.trim_start_matches(BLANKS);
        let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''))?;
        let (value, after) = value.strip_prefix(quote)?.split_once(quote)?;
        if !is_name(name) || !is_value(value) || found.iter().any(|(other, _)| *other == name) {
            return None;
        }
        found.push((name, value));
        rest = after;
    }
}

/// An attribute's value: no `<`, no reference to what nothing declares.
fn is_value(value: &str) -> bool {
    let is_reference =
        |text: &str| text.split_once(';').is_some_and(|(name, _)| resolve(name).is_some());
    !value.contains('<') && value.split('&').skip(1).all(is_reference)
}

/// A declaration (section 2.8) that says UTF-8, or nothing, of the encoding; or any, where that is known.
fn is_declaration(given: &[(&str, &str)], is_known: bool) -> bool {
    let Some((("version", version), rest)) = given.split_first() else {
        return false;
    };
    let rest = match rest {
        [("encoding", encoding), rest @ ..]
            if is_utf8(encoding) || is_known && is_encoding(encoding) =>
        {
            rest
        }
        rest => rest,
    };
    is_version(version) && matches!(rest, [] | [("standalone", "yes" | "no")])
}

/// True for the names of the one encoding that is read, and of its part that came before it.
pub fn is_utf8(encoding: &str) -> bool {
    let names = ["utf-8", "utf8", "us-ascii", "ascii"];
    names.iter().any(|name| encoding.eq_ignore_ascii_case(name))
}

/// Section 4.3.3, `EncName`.
fn is_encoding(name: &str) -> bool {
    let is_rest = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(is_rest)
}

fn is_version(version: &str) -> bool {
    version
        .strip_prefix("1.")
        .is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|digit| digit.is_ascii_digit()))
}

/// One of the five predefined entities (section 4.6) or a character reference (section 4.1).
fn resolve(reference: &str) -> Option<char> {
    if let Some(number) = reference.strip_prefix('#') {
        let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |hex| (hex, 16));
        if !digits.chars().all(|digit| digit.is_digit(radix)) {
            return None;
        }
        return char::from_u32(u32::from_str_radix(digits, radix).ok()?).filter(|c| is_char(*c));
    }
    match reference {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => None,
    }
}

/// A name with at most one prefix (Namespaces in XML 1.0 section 4).
fn is_name(name: &str) -> bool {
    match name.split_once(':') {
        Some((prefix, local)) => is_plain_name(prefix) && is_plain_name(local),
        None => is_plain_name(name),
    }
}

/// A name without a colon.
fn is_plain_name(name: &str) -> bool {
    name.starts_with(is_name_start) && name.chars().all(|c| is_name_start(c) || is_name_rest(c))
}

/// Section 2.3, `NameStartChar` without the colon.
fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z'
        | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}'
        | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}'
        | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}')
}

/// Section 2.3, what `NameChar` adds.
fn is_name_rest(c: char) -> bool {
    matches!(c,
        '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// Section 2.2.
fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Refused;

    /// The text of `a`.
    fn a(body: &str) -> Result<Option<String>, Refused> {
        let tree = parse(body, false).ok_or(Refused)?;
        tree.refuse_repeated(&["a", "b"]).map_err(|_| Refused)?;
        tree.text("a").map(|text| text.map(str::to_owned)).map_err(|_| Refused)
    }

    fn assert_refused(bodies: &[&str]) {
        for body in bodies {
            assert_eq!(a(body), Err(Refused), "{}", body.get(..60).unwrap_or(body));
        }
    }

    #[test]
    fn a_flat_document_is_read() {
        for (body, expected) in [
            ("<r><a>x</a></r>", Some("x")),
            ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<r>\n\t<a> x </a>\n</r>\n", Some("x")),
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
            ("<r k = '1'\n\tm=\"&lt;&#x41;'>\"><a >x</a ></r>", Some("x")),
            ("<r><a>]]x]&gt;<!-- a-b - c --></a></r>", Some("]]x]>")),
            ("<реестр><a é='1'>x</a></реестр>", Some("x")),
            ("<?xml-stylesheet href='x'?><r><a>x</a></r>", Some("x")),
        ] {
            assert_eq!(a(body), Ok(expected.map(str::to_owned)), "{body}");
        }
    }

    #[test]
    fn what_is_no_document_is_refused() {
        assert_refused(&[
            "",
            "x",
            "<r>",
            "<r><a>x</r></a>",
            "</r>",
            "<r/><r/>",
            "<r/>x",
            "x<r/>",
            "<r/>&amp;",
            "<r/><![CDATA[]]>",
            "<r><a>x</a><a>y</a></r>",
            "<r><n:a>x</n:a><a>y</a></r>",
            "<r><a><b>x</b></a></r>",
            "<r><a>x<c/></a></r>",
            "<r><a>&x;</a></r>",
            "<r><a>&#0;</a></r>",
            "<r><a>&#xD800;</a></r>",
            "<r><a>&#x110000;</a></r>",
            "<r><a>&#+65;</a></r>",
            "<r><a>&#;</a></r>",
            "<r><a>&#x;</a></r>",
            "<r><a>&#X41;</a></r>",
            "<r><a>&</a></r>",
            "<r><a>\0</a></r>",
            "<r><a>\u{1}</a></r>",
            "<r><a>\u{ffff}</a></r>",
            " <?xml version=\"1.0\"?><r/>",
            "<r><?xml version=\"1.0\"?></r>",
            "<!DOCTYPE r><r><a>x</a></r>",
            "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><r><a>&x;</a></r>",
            "<r><!DOCTYPE r></r>",
        ]);
    }

    #[test]
    fn ill_formed_markup_is_refused() {
        assert_refused(&[
            "<r a><a>x</a></r>",
            "<r a=1><a>x</a></r>",
            "<r a=\"1\" a=\"2\"><a>x</a></r>",
            "<r a=\"1\"b=\"2\"><a>x</a></r>",
            "<r a=\"&x;\"><a>x</a></r>",
            "<r a=\"&#0;\"><a>x</a></r>",
            "<r a=\"&\"><a>x</a></r>",
            "<r a=\"<\"><a>x</a></r>",
            "<r 1=\"1\"><a>x</a></r>",
            "<r =\"1\"><a>x</a></r>",
            "<r :a=\"1\"><a>x</a></r>",
            "<r><>x</></r>",
            "<r><1a>x</1a></r>",
            "<r><=>x</=></r>",
            "<r><:a>x</:a></r>",
            "<r><a:>x</a:></r>",
            "<r><n:a:a>x</n:a:a></r>",
            "<r><c\"d\"/></r>",
            "<r><c/d></c/d></r>",
            "<r><!-- a -- b --></r>",
            "<r><!-- a ---></r>",
            "<r><a>x]]></a></r>",
            "<r><? pi?></r>",
            "<r><?1?></r>",
            "<r><??></r>",
        ]);
    }

    #[test]
    fn declarations_of_another_encoding_or_of_no_form_are_refused() {
        for declaration in [
            "<?xml version='1.0'?>",
            "<?xml version='1.1' ?>",
            "<?xml version=\"1.0\" encoding='utf-8'?>",
            "<?xml version=\"1.0\" encoding='UTF8'?>",
            "<?xml version=\"1.0\" encoding=\"US-ASCII\"?>",
            "<?xml version=\"1.0\" encoding='ascii'?>",
            "<?xml version=\"1.0\" encoding='Utf-8' standalone=\"yes\"?>",
            "<?xml version=\"1.0\" standalone='no'?>",
        ] {
            assert!(a(&format!("{declaration}<r/>")).is_ok(), "{declaration}");
        }
        for declaration in [
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>",
            "<?xml version=\"1.0\" encoding=\"UTF-16\"?>",
            "<?xml version=\"1.0\" encoding=\"US-ASCII-2\"?>",
            "<?xml version=\"1.0\" encoding=\"\"?>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\" encoding=\"UTF-16\"?>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"encoding=\"UTF-16\"?>",
            "<?xml version=\"1.0\" ENCODING=\"UTF-16\"?>",
            "<?xml version=\"1.0\" charset=\"UTF-8\"?>",
            "<?xml version=\"1.0\" standalone=\"yes\" encoding=\"UTF-8\"?>",
            "<?xml version=\"1.0\" standalone=\"maybe\"?>",
            "<?xml encoding=\"UTF-8\"?>",
            "<?xml encoding=\"UTF-8\" version=\"1.0\"?>",
            "<?xml version=\"2.0\"?>",
            "<?xml version=\"1.\"?>",
            "<?xml version?>",
            "<?xml?>",
            "<?xml version=\"1.0\"?><?xml version=\"1.0\"?>",
            "<?XML version=\"1.0\" encoding=\"UTF-16\"?>",
            "<?Xml version=\"1.0\"?>",
        ] {
            assert_eq!(a(&format!("{declaration}<r/>")), Err(Refused), "{declaration}");
        }
        assert_eq!(a("<r/><?xMl?>"), Err(Refused));
    }

    #[test]
    fn depth_elements_and_attributes_are_counted() {
        let nested = |depth: usize| format!("{}{}", "<r>".repeat(depth), "</r>".repeat(depth));
        assert_eq!(a(&nested(DEPTH_MAX)), Ok(None));
        assert_eq!(a(&nested(DEPTH_MAX + 1)), Err(Refused));
        assert_eq!(a(&nested(10_000)), Err(Refused));
        // Texts and ends between the elements are not among them.
        let many = |count: usize| format!("<r>{}</r>", "<c/> <!-- c -->".repeat(count - 1));
        assert_eq!(a(&many(NODES_MAX)), Ok(None));
        assert_eq!(a(&many(NODES_MAX + 1)), Err(Refused));
        let with = |count: usize| {
            let given = (0..count).map(|n| format!(" a{n}=''"));
            format!("<r{}/>", given.collect::<Vec<_>>().concat())
        };
        assert_eq!(a(&with(ATTRIBUTES_MAX)), Ok(None));
        assert_eq!(a(&with(ATTRIBUTES_MAX + 1)), Err(Refused));
    }
}
