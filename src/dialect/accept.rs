//! What callers like better: `Accept` and `Accept-Language` (RFC 9110 section 12).

use http::HeaderMap;

/// The elements of a list that stands in the readable lines of a header.
pub fn elements<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','))
}

/// The text of the weight in a parameter (section 12.4.2): `0.5` of `q=0.5`. None where the parameter is
/// another. What makes it a weight is the dialect's to say.
pub fn weight(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    name.eq_ignore_ascii_case("q").then_some(value)
}
