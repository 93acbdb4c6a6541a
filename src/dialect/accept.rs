//! What callers like better: `Accept` and `Accept-Language` (RFC 9110 section 12).

use http::HeaderMap;

/// The elements of a list that stands in the readable lines of a header.
pub fn elements<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','))
}

/// The weight in a parameter, in thousandths (section 12.4.2): `q=0.5`, `Q=1.000`; what is no weight
/// weighs nothing. None where the parameter is another.
pub fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(0);
    }
    let fraction = format!("{fraction:0<3}").parse().unwrap_or(0);
    Some(match whole {
        "0" => fraction,
        "1" if fraction == 0 => 1000,
        _ => 0,
    })
}
