//! What stands behind the `@`: a host name, also in letters of any script (UTS 46, RFC 5892).

use std::net::Ipv4Addr;

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory as _};

use super::{group, refuse_any, refuse_ends, refuse_pairs, refuse_unsafe};

/// Bytes of a domain at the most (RFC 1035 section 2.3.4).
const DOMAIN_MAX: usize = 253;
/// Bytes of a part of it at the most.
const LABEL_MAX: usize = 63;
/// Begins a part that stands for one in other letters.
const PUNYCODE: &str = "xn--";
/// Domains in which nobody has an address (RFC 6761 and its like).
const SPECIAL: [&str; 6] = ["arpa", "invalid", "local", "localhost", "onion", "test"];

/// A domain in both its forms.
pub struct Domain {
    /// As it travels.
    pub ascii: String,
    /// As people read it.
    pub unicode: String,
}

/// Reads a domain.
pub fn read(domain: &str) -> Result<Domain, String> {
    if domain.is_empty() {
        return Err("There must be something after the @-sign.".to_owned());
    }
    if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Err(of_literal(literal));
    }
    let invalid = "The part after the @-sign contains invalid characters";
    refuse_any(domain.chars().filter(|c| !is_of_host(*c)), invalid)?;
    refuse_unsafe(domain, false)?;
    let holds_dot =
        |c: &char| !matches!(c, '.' | '．') && std::iter::once(*c).nfkd().any(|c| c == '.');
    refuse_any(domain.chars().filter(holds_dot), invalid)?;
    let mapped = mapped(domain);
    let after = format!("{invalid} after Unicode normalization");
    refuse_any(mapped.chars().filter(|c| !is_of_host(*c)), &after)?;
    refuse_form(&mapped)?;
    let ascii = if mapped.is_ascii() {
        mapped
    } else {
        let labels: Result<Vec<_>, _> = mapped.split('.').map(to_ascii).collect();
        labels.map_err(|why| format!("The part after the @-sign is invalid ({why})."))?.join(".")
    };
    refuse_long(&ascii)?;
    refuse_nobodys(&ascii)?;
    let labels: Result<Vec<_>, _> = ascii.split('.').map(to_unicode).collect();
    let labels =
        labels.map_err(|why| format!("The part after the @-sign is not valid IDNA ({why})."))?;
    Ok(Domain { ascii, unicode: labels.join(".") })
}

fn of_literal(literal: &str) -> String {
    let is_number = !literal.is_empty() && literal.chars().all(|c| c.is_ascii_digit() || c == '.');
    let six = literal.strip_prefix("IPv6:");
    if literal.parse::<Ipv4Addr>().is_ok()
        || six.is_some_and(|six| six.parse::<std::net::Ipv6Addr>().is_ok())
    {
        return "A bracketed IP address after the @-sign is not allowed here.".to_owned();
    }
    if is_number {
        return format!(
            "The address in brackets after the @-sign is not valid: It is not an IPv4 address (Expected 4 \
             octets in '{literal}') or is missing an address literal tag."
        );
    }
    if let Some(six) = six {
        return format!("The IPv6 address in brackets after the @-sign is not valid ('{six}').");
    }
    if !literal.contains(':') {
        return "The part after the @-sign in brackets is not an IPv4 address and has no address literal tag."
            .to_owned();
    }
    "The part after the @-sign contains an invalid address literal tag in brackets.".to_owned()
}

fn is_of_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.') || !c.is_ascii()
}

/// One spelling for all that mean the same.
fn mapped(domain: &str) -> String {
    let small = domain.nfkc().flat_map(char::to_lowercase).nfkc();
    small
        .filter(|c| !is_ignored(*c))
        .map(|c| if matches!(c, '。' | '．' | '｡') { '.' } else { c })
        .nfc()
        .collect()
}

/// Characters that mean nothing in a name: joiners of graphemes, variations.
fn is_ignored(c: char) -> bool {
    matches!(c, '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Refuses periods and hyphens where they mean nothing.
fn refuse_form(domain: &str) -> Result<(), String> {
    let start = "An email address cannot have a {} immediately after the @-sign.";
    let end = "An email address cannot end with a {}.";
    refuse_ends(domain, '.', start, end)?;
    refuse_pairs(domain)?;
    refuse_ends(domain, '-', start, end)?;
    if domain.contains(".-") || domain.contains("-.") {
        let reason = "An email address cannot have a period and a hyphen next to each other.";
        return Err(reason.to_owned());
    }
    let has_hyphens = |label: &str| {
        let rest = label.char_indices().nth(2).and_then(|(at, _)| label.get(at..));
        rest.is_some_and(|rest| rest.starts_with("--")) && !label.starts_with("xn")
    };
    if domain.split('.').any(has_hyphens) {
        return Err("An email address cannot have two letters followed by two dashes immediately after the \
                    @-sign or after a period, except Punycode."
            .to_owned());
    }
    Ok(())
}

fn too_many(length: usize, max: usize) -> Option<String> {
    let over = length.checked_sub(max).filter(|over| *over > 0)?;
    let many = if over > 1 { "s" } else { "" };
    Some(format!("({over} character{many} too many)"))
}

fn refuse_long(domain: &str) -> Result<(), String> {
    if let Some(how) = too_many(domain.len(), DOMAIN_MAX) {
        return Err(format!("The email address is too long after the @-sign {how}."));
    }
    match domain.split('.').find_map(|label| too_many(label.len(), LABEL_MAX)) {
        Some(how) => Err(format!(
            "After the @-sign, periods cannot be separated by so many characters {how}."
        )),
        None => Ok(()),
    }
}

/// Refuses a domain in which nobody can have an address.
fn refuse_nobodys(domain: &str) -> Result<(), String> {
    let last = domain.rsplit('.').next().unwrap_or_default();
    Err(if !domain.contains('.') {
        "The part after the @-sign is not valid. It should have a period."
    } else if !domain.ends_with(|c: char| c.is_ascii_alphabetic()) {
        "The part after the @-sign is not valid. It is not within a valid top-level domain."
    } else if SPECIAL.contains(&last) {
        "The part after the @-sign is a special-use or reserved name that cannot be used with email."
    } else {
        return Ok(());
    }
    .to_owned())
}

fn to_ascii(label: &str) -> Result<String, String> {
    if label.is_ascii() {
        return to_unicode(label).map(|_| label.to_owned());
    }
    refuse_label(label)?;
    let encoded = idna::punycode::encode_str(label).map(|code| format!("{PUNYCODE}{code}"));
    encoded.filter(|label| label.len() <= LABEL_MAX).ok_or_else(|| "Label too long".to_owned())
}

fn to_unicode(label: &str) -> Result<String, String> {
    let Some(code) = label.strip_prefix(PUNYCODE) else { return Ok(label.to_owned()) };
    if code.is_empty() {
        return Err("Malformed A-label, no Punycode eligible content found".to_owned());
    }
    if code.ends_with('-') {
        return Err("A-label must not end with a hyphen".to_owned());
    }
    let label =
        idna::punycode::decode_to_string(code).ok_or_else(|| "Invalid A-label".to_owned())?;
    refuse_label(&label)?;
    Ok(label)
}

/// Refuses what is no part of a domain in any script.
fn refuse_label(label: &str) -> Result<(), String> {
    if !label.nfc().eq(label.chars()) {
        return Err("Label must be in Normalization Form C".to_owned());
    }
    if label.chars().skip(2).take(2).eq("--".chars()) {
        return Err("Label has disallowed hyphens in 3rd and 4th position".to_owned());
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err("Label must not start or end with a hyphen".to_owned());
    }
    if label.chars().next().is_some_and(|c| group(c) == GeneralCategoryGroup::Mark) {
        return Err("Label begins with an illegal combining character".to_owned());
    }
    let chars: Vec<char> = label.chars().collect();
    for (index, c) in chars.iter().enumerate() {
        let is_known = in_context(&chars, index, *c).unwrap_or_else(|| is_of_label(*c));
        if !is_known {
            let number = u32::from(*c);
            return Err(format!(
                "Codepoint U+{number:04X} at position {} of '{label}' not allowed",
                index + 1
            ));
        }
    }
    // Letters of both directions, and what joins others.
    match idna::domain_to_ascii(label) {
        Ok(_) => Ok(()),
        Err(_) => Err("Label ends with illegal codepoint directionality".to_owned()),
    }
}

/// Whether a character may be in a name, where that depends on those around it; none, where it does not.
fn in_context(label: &[char], index: usize, c: char) -> Option<bool> {
    let before = index.checked_sub(1).and_then(|at| label.get(at)).copied().unwrap_or_default();
    let after = label.get(index + 1).copied().unwrap_or_default();
    let is_east = |c: &char| {
        matches!(c, 'ぁ'..='ヺ' | 'ー'..='ヿ' | 'ㇰ'..='ㇿ' | '々' | '〇' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
            || *c >= '\u{20000}'
    };
    Some(match c {
        '\u{b7}' => before == 'l' && after == 'l',
        '\u{375}' => matches!(after, '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}'),
        '\u{5f3}' | '\u{5f4}' => matches!(before, '\u{591}'..='\u{5f4}'),
        '\u{30fb}' => label.iter().any(is_east),
        '\u{660}'..='\u{669}' => !label.iter().any(|c| matches!(c, '\u{6f0}'..='\u{6f9}')),
        '\u{6f0}'..='\u{6f9}' => !label.iter().any(|c| matches!(c, '\u{660}'..='\u{669}')),
        // The directions' judge knows joiners.
        '\u{200c}' | '\u{200d}' => true,
        _ => return None,
    })
}

/// Letters, digits and marks of any script, in the one spelling that they have in names.
fn is_of_label(c: char) -> bool {
    use GeneralCategory::{
        DecimalNumber, LowercaseLetter, ModifierLetter, NonspacingMark, OtherLetter, SpacingMark,
    };
    match c {
        'ß' | 'ς' | '\u{6fd}' | '\u{6fe}' | '\u{f0b}' | '〇' | '-' => return true,
        '\u{345}'
        | '\u{640}'
        | '\u{7fa}'
        | '\u{302e}'
        | '\u{302f}'
        | '〱'..='〵'
        | '〻'
        | '\u{1100}'..='\u{11ff}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{d7b0}'..='\u{d7ff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{1d100}'..='\u{1d24f}' => return false,
        _ => {}
    }
    let is_letter = matches!(
        c.general_category(),
        LowercaseLetter
            | OtherLetter
            | ModifierLetter
            | DecimalNumber
            | NonspacingMark
            | SpacingMark
    );
    let one = std::iter::once(c);
    is_letter
        && !is_ignored(c)
        && one.nfkc().flat_map(char::to_lowercase).nfkc().eq(std::iter::once(c))
}
