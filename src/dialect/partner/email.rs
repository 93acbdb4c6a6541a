//! E-mail addresses, as the vendor's framework takes them: Pydantic 2.12's `EmailStr` with
//! email-validator 2.3, which asks no name server. A reason is in that library's words.

mod domain;

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};

use super::json::{Json, quoted};
use super::validate::{ValueFault, text};

/// Characters of a text that may be an address, at the most.
const TEXT_MAX: usize = 2048;
/// Bytes of an address at the most.
const ADDRESS_MAX: usize = 254;
/// What may stand before the `@` beside letters and digits.
const SYMBOLS: &str = "_!#$%&'*+-/=?^`{|}~";
/// Names that mean the same in either case (RFC 2142).
const ROLES: [&str; 15] = [
    "info",
    "marketing",
    "sales",
    "support",
    "abuse",
    "noc",
    "security",
    "postmaster",
    "hostmaster",
    "usenet",
    "news",
    "webmaster",
    "www",
    "uucp",
    "ftp",
];
/// Characters that are named where they are not shown: a number and a name a line.
const CHARACTER_NAMES: &str = include_str!("email/character_names.txt");

/// Reads an address, also one behind a name and in angle brackets. It is given back as it is compared:
/// its domain in lower case and in Unicode, what stands before that in its own case.
pub fn email(value: &Json) -> Result<String, ValueFault> {
    read(&text(value)?).map_err(|reason| {
        let context = format!(r#"{{"reason":{}}}"#, quoted(&reason));
        let message = format!("value is not a valid email address: {reason}");
        ValueFault::explained("value_error", message, context)
    })
}

fn read(text: &str) -> Result<String, String> {
    if text.chars().count() > TEXT_MAX {
        return Err(format!("Length must not exceed {TEXT_MAX} characters"));
    }
    address(named(text).unwrap_or(text).trim_matches(is_blank))
}

/// What Python takes for white space.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// What stands in angle brackets behind a name, or behind nothing.
fn named(text: &str) -> Option<&str> {
    let text = text.trim_matches(is_blank).strip_suffix('>')?;
    let fits = |address: &str| !address.is_empty() && !address.contains('\n');
    let (name, address) = text.split_once('<')?;
    let is_of_name = |c: char| {
        let is_word =
            matches!(group(c), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number);
        is_word || SYMBOLS.contains(c) || is_blank(c)
    };
    if name.chars().all(is_of_name) {
        return Some(address).filter(|address| fits(address));
    }
    // In quotes, a name may be anything, and it is as long as it can be.
    let mut found = text.rmatch_indices('<').filter_map(|(at, _)| text.split_at_checked(at));
    found.find_map(|(name, address)| {
        let name = name.trim_end_matches(is_blank).strip_prefix('"')?.strip_suffix('"')?;
        address.strip_prefix('<').filter(|address| !name.is_empty() && fits(address))
    })
}

fn address(text: &str) -> Result<String, String> {
    let (left, right) = split(text, &['@', '<'])?;
    let is_named = right.starts_with('<');
    let (local, domain) =
        if is_named { split(bracketed(left, right)?, &['@'])? } else { (left, right) };
    let domain = domain.strip_prefix('@').unwrap_or(domain);
    let (sent, is_quoted) = unquoted(local)?;
    refuse_local(&sent, is_quoted)?;
    let mut local: String = sent.nfc().collect();
    if local != sent {
        let inner = |reason| format!("After Unicode normalization: {reason}");
        refuse_local(&local, is_quoted).map_err(inner)?;
    }
    if is_quoted {
        return Err("Quoting the part before the @-sign is not allowed here.".to_owned());
    }
    if ROLES.iter().any(|role| role.eq_ignore_ascii_case(&local)) {
        local.make_ascii_lowercase();
    }
    let host = domain::read(domain)?;
    let read = format!("{local}@{}", host.unicode);
    let normalised = "after normalization";
    refuse_long(&format!("{sent}@{domain}"), None)?;
    refuse_long(&read, Some(normalised))?;
    let ascii = "when the part after the @-sign is converted to IDNA ASCII";
    refuse_long(&format!("{local}@{}", host.ascii), Some(ascii))?;
    if is_named {
        let reason =
            "A display name and angle brackets around the email address are not permitted here.";
        return Err(reason.to_owned());
    }
    Ok(read)
}

/// The address in the angle brackets of `right`, behind a name that the framework did not take for one.
fn bracketed<'a>(name: &str, right: &'a str) -> Result<&'a str, String> {
    let (name, is_quoted) = unquoted(name.trim_end_matches(is_blank))?;
    if !is_quoted {
        let is_odd = |c: &char| !is_atom(*c) && *c != ' ';
        refuse_any(
            name.chars().filter(is_odd),
            "The display name contains invalid characters when not quoted",
        )?;
    }
    refuse_unsafe(&name, true)?;
    if !right.contains('>') {
        return Err(
            "An open angle bracket at the start of the email address has to be followed by \
                    a close angle bracket at the end."
                .to_owned(),
        );
    }
    let right = right.trim_end_matches(' ');
    let inner = right.strip_prefix('<').filter(|_| right.ends_with('>'));
    let inner =
        inner.ok_or_else(|| "There can't be anything after the email address.".to_owned())?;
    Ok(inner.trim_end_matches('>'))
}

/// The text before one of `specials` that stands in no quotes and under no mark, and the rest from it on.
fn split<'a>(text: &'a str, specials: &[char]) -> Result<(&'a str, &'a str), String> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in text.char_indices() {
        let is_alone = text.get(at..).unwrap_or_default().nfc().next() == Some(c);
        if !is_alone {
            continue;
        }
        if is_quoted {
            is_quoted = c != '"' || is_escaped;
            is_escaped = c == '\\' && !is_escaped;
        } else if c == '"' {
            is_quoted = true;
        } else if specials.contains(&c) {
            return text.split_at_checked(at).ok_or_else(String::new);
        }
    }
    Err(if text.contains('＠') {
        "The email address has the \"full-width\" at-sign (@) character instead of a regular at-sign."
    } else if text.contains('﹫') {
        "The email address has the \"small commercial at\" character instead of a regular at-sign."
    } else {
        "An email address must have an @-sign."
    }
    .to_owned())
}

/// A text without its quotes, and whether it had some.
fn unquoted(text: &str) -> Result<(String, bool), String> {
    let Some(inner) = text.strip_prefix('"') else { return Ok((text.to_owned(), false)) };
    let (mut value, mut is_escaped) = (String::new(), false);
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        match c {
            _ if is_escaped => {
                value.push(c);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' if rest.as_str().is_empty() => break,
            '"' => {
                let extra: Vec<_> = rest.map(shown).collect();
                return Err(format!(
                    "Extra character(s) found after close quote: {}",
                    extra.join(", ")
                ));
            }
            _ => value.push(c),
        }
    }
    Ok((value, true))
}

/// ASCII that may stand before the `@`, but for the dot.
fn is_atom(c: char) -> bool {
    c.is_ascii_alphanumeric() || SYMBOLS.contains(c)
}

fn refuse_local(local: &str, is_quoted: bool) -> Result<(), String> {
    if local.is_empty() {
        return Err("There must be something before the @-sign.".to_owned());
    }
    let is_known = |c: char| is_atom(c) || !c.is_ascii();
    let is_atoms = local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_known));
    if is_atoms && local.is_ascii() {
        return Ok(());
    }
    if is_atoms {
        return refuse_unsafe(local, false);
    }
    if is_quoted {
        let is_odd = |c: &char| c.is_ascii_control();
        let whole = "The email address contains invalid characters in quotes before the @-sign";
        refuse_any(local.chars().filter(is_odd), whole)?;
        return refuse_unsafe(local, true);
    }
    let is_odd = |c: &char| !is_known(*c) && *c != '.';
    refuse_any(
        local.chars().filter(is_odd),
        "The email address contains invalid characters before the @-sign",
    )?;
    let start = "An email address cannot start with a {}.";
    refuse_ends(
        local,
        '.',
        start,
        "An email address cannot have a {} immediately before the @-sign.",
    )?;
    refuse_pairs(local)
}

/// Refuses one that ends or begins with `c`.
fn refuse_ends(text: &str, c: char, start: &str, end: &str) -> Result<(), String> {
    let name = if c == '.' { "period" } else { "hyphen" };
    if text.ends_with(c) {
        return Err(end.replace("{}", name));
    }
    if text.starts_with(c) {
        return Err(start.replace("{}", name));
    }
    Ok(())
}

fn refuse_pairs(text: &str) -> Result<(), String> {
    let reason = "An email address cannot have two periods in a row.";
    if text.contains("..") { Err(reason.to_owned()) } else { Ok(()) }
}

/// Refuses characters, each of which is told of once, as `what` says.
fn refuse_any(odd: impl Iterator<Item = char>, what: &str) -> Result<(), String> {
    let odd: BTreeSet<String> = odd.map(shown).collect();
    if odd.is_empty() {
        return Ok(());
    }
    Err(format!("{what}: {}.", odd.into_iter().collect::<Vec<_>>().join(", ")))
}

/// Refuses what makes another text of the text around it, or none at all.
fn refuse_unsafe(text: &str, may_have_blanks: bool) -> Result<(), String> {
    let is_unsafe = |(index, c): (usize, char)| match group(c) {
        GeneralCategoryGroup::Mark => index == 0,
        GeneralCategoryGroup::Separator => {
            !may_have_blanks || c.general_category() != GeneralCategory::SpaceSeparator
        }
        GeneralCategoryGroup::Other => true,
        _ => false,
    };
    let odd: BTreeSet<char> =
        text.chars().enumerate().filter(|at| is_unsafe(*at)).map(|(_, c)| c).collect();
    if odd.is_empty() {
        return Ok(());
    }
    let odd: Vec<_> = odd.into_iter().map(shown).collect();
    Err(format!("The email address contains unsafe characters: {}.", odd.join(", ")))
}

fn group(c: char) -> GeneralCategoryGroup {
    c.general_category_group()
}

/// A character in quotes, or the name of one that nobody would see.
fn shown(c: char) -> String {
    use GeneralCategoryGroup::{Letter, Number, Punctuation, Symbol};
    if c == '\'' || c == '\\' {
        return format!("\"{c}\"");
    }
    if matches!(group(c), Letter | Number | Punctuation | Symbol) {
        return format!("'{c}'");
    }
    let number = u32::from(c);
    let names = CHARACTER_NAMES.lines().filter_map(|line| line.split_once(' '));
    let mut known = names.filter(|(of, _)| u32::from_str_radix(of, 16) == Ok(number));
    match known.next() {
        Some((_, name)) => name.to_owned(),
        None if number < 0xffff => format!("U+{number:04X}"),
        None => format!("U+{number:08X}"),
    }
}

/// Refuses an address that is too long: as it was sent, or in another form.
fn refuse_long(address: &str, form: Option<&str>) -> Result<(), String> {
    let over = address.len().saturating_sub(ADDRESS_MAX);
    if over == 0 {
        return Ok(());
    }
    let many = if over > 1 { "s" } else { "" };
    let widest = address.chars().map(char::len_utf8).max().unwrap_or(1);
    let least = (over / widest).max(1);
    let how = match form {
        Some(form) => format!("{form} ({over} byte{many} too many)"),
        None if least == over => format!("({over} character{many} too many)"),
        None => format!("({least}-{over} character{many} too many)"),
    };
    Err(format!("The email address is too long {how}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A text, the address that it is, and why it is none.
    type Vector = (String, Option<String>, Option<String>);

    #[test]
    fn every_address_is_read_as_the_framework_reads_it() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../../../tests/fixtures/partner/emails.json"))
                .unwrap();
        assert!(vectors.len() > 180);
        // What the library quotes from a library of its own is not repeated.
        let known = |reason: String| match reason.split_once(" (") {
            Some((known, _)) if known.ends_with("invalid") || known.ends_with("IDNA") => {
                known.to_owned()
            }
            _ => reason,
        };
        let mut failures = Vec::new();
        for (text, address, reason) in vectors {
            let expected = address.ok_or_else(|| known(reason.unwrap()));
            let found = read(&text).map_err(known);
            if found != expected {
                failures.push(format!("{text:?}\n  {found:?}\n  {expected:?}"));
            }
        }
        assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\\PC<>@\".\\\\\\s한xn\u{301}-]{0,40}") {
            let _ = read(&text);
        }

        #[test]
        fn what_was_read_is_read_again(text in "[a-zA-Z한é.-]{1,9}@[a-zA-Z한é.-]{1,9}\\.(co|KR|한국)") {
            if let Ok(address) = read(&text) {
                prop_assert_eq!(read(&address), Ok(address));
            }
        }
    }
}
