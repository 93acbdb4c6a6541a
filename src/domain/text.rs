//! What the texts and lists of a record may be. Where a vendor says nothing of a length, these are the
//! lengths: enough for whatever people write, and little enough that no record is a burden to others.

use serde_json::Value;

use super::error::FieldError;
use crate::sabotage::Protection;

/// Of each `%` in a text: whether it begins an encoded byte (RFC 3986 section 2.1).
pub fn escapes(text: &str) -> impl Iterator<Item = bool> {
    // What stands before the first belongs to none.
    text.split('%').skip(1).map(|after| {
        after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Characters of a name, a title, a code, and of whatever stands in an index, at the most.
pub const NAME_MAX: usize = 255;
/// Characters of an e-mail address at the most (RFC 5321 section 4.5.3.1).
pub const EMAIL_MAX: usize = 254;
/// Characters of a web address at the most.
pub const URL_MAX: usize = 2048;
/// Characters of a text of one line at the most.
pub const LINE_MAX: usize = 1000;
/// Characters of a description or a comment at the most.
pub const PROSE_MAX: usize = 20_000;
/// Bytes of a JSON value, as it is kept, at the most.
pub const JSON_MAX: usize = 64 * 1024;
/// Items of a list at the most.
pub const ITEMS_MAX: usize = 1000;
/// About the bytes of a record's fields, as JSON, at the most.
pub const RECORD_MAX: usize = 256 * 1024;

/// The rules of one text or list, whose codes are never renamed. They are asked when the field
/// changes; one that is absent breaks none of them.
#[derive(Debug)]
pub struct Text {
    /// The field; what lies deeper has its names joined by dots, whatever lists are between them.
    pub path: &'static str,
    blank: Option<&'static str>,
    length: Length,
    /// The code of one with control characters.
    control: &'static str,
    /// How many of them there may be, where there is a list of them.
    items: Option<usize>,
    is_unbroken: bool,
}

/// How long one may be, and how a longer or shorter one is refused.
#[derive(Debug)]
enum Length {
    /// Characters, a code, and the same for a person.
    Text {
        min: usize,
        max: usize,
        code: &'static str,
        detail: Option<&'static str>,
        is_prose: bool,
    },
    /// A value of any form, by the bytes of its JSON.
    Json,
    /// What is in the list has rules of its own.
    List,
}

impl Text {
    const fn new(path: &'static str, length: Length) -> Self {
        let control = "control_character";
        Self { path, blank: None, length, control, items: None, is_unbroken: false }
    }

    const fn of(path: &'static str, max: usize, is_prose: bool) -> Self {
        let length = Length::Text { min: 0, max, code: "too_long", detail: None, is_prose };
        Self::new(path, length)
    }

    /// A name, a title, a code, or whatever else has at most [`NAME_MAX`] characters.
    pub const fn name(path: &'static str) -> Self {
        Self::of(path, NAME_MAX, false)
    }

    /// An e-mail address.
    pub const fn email(path: &'static str) -> Self {
        Self::of(path, EMAIL_MAX, false)
    }

    /// A web address.
    pub const fn url(path: &'static str) -> Self {
        Self::of(path, URL_MAX, false)
    }

    /// A text of one line.
    pub const fn line(path: &'static str) -> Self {
        Self::of(path, LINE_MAX, false)
    }

    /// A description or a comment, in lines that may end as Windows ends them.
    pub const fn prose(path: &'static str) -> Self {
        Self::of(path, PROSE_MAX, true)
    }

    /// A JSON value of any form, in a field of its own.
    pub const fn json(path: &'static str) -> Self {
        Self::new(path, Length::Json)
    }

    /// A list of what has rules of its own, or needs none.
    pub const fn list(path: &'static str) -> Self {
        Self::new(path, Length::List).each()
    }

    /// A list of such.
    #[must_use]
    pub const fn each(self) -> Self {
        Self { items: Some(ITEMS_MAX), ..self }
    }

    /// Must not be blank, else `code`.
    #[must_use]
    pub const fn filled(self, code: &'static str) -> Self {
        Self { blank: Some(code), ..self }
    }

    /// Must be of at most `max` characters, else `code`.
    #[must_use]
    pub const fn at_most(self, max: usize, code: &'static str) -> Self {
        let is_prose = matches!(self.length, Length::Text { is_prose: true, .. });
        let length = Length::Text { min: 0, max, code, detail: None, is_prose };
        Self { length, ..self }
    }

    /// Has no tabs and line ends either: what people are called and reached by, which stands in the heads of
    /// mails, and in lists that are read line by line.
    #[must_use]
    pub const fn unbroken(self) -> Self {
        Self { is_unbroken: true, ..self }
    }

    /// One that is too long, or has control characters, is refused with `code` alone, as one is that
    /// breaks other rules of its kind.
    #[must_use]
    pub const fn valid(self, max: usize, code: &'static str) -> Self {
        Self { control: code, ..self.at_most(max, code) }
    }

    /// Must be of `min` to `max` characters, else `code`, as `detail` says.
    #[must_use]
    pub const fn of_length(
        self,
        (min, max): (usize, usize),
        code: &'static str,
        detail: &'static str,
    ) -> Self {
        let is_prose = matches!(self.length, Length::Text { is_prose: true, .. });
        let length = Length::Text { min, max, code, detail: Some(detail), is_prose };
        Self { length, ..self }
    }

    /// The field of the record that it is, or is in.
    pub fn field(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(field, _)| field)
    }

    /// True for what is of any form, NUL included.
    pub(super) const fn is_json(&self) -> bool {
        matches!(self.length, Length::Json)
    }

    /// True where a look at the JSON of the field is enough to see that no rule is broken.
    pub(super) fn is_plainly_good(&self, json: &str) -> bool {
        // Control characters beyond ASCII begin with this byte, as others do.
        let is_plain = || !json.bytes().any(|byte| matches!(byte, b'\\' | 0x7f | 0xc2));
        match (json, &self.length) {
            ("null" | "[]", _) => true,
            (_, Length::Text { min: 0, max, .. }) => {
                self.blank.is_none()
                    && self.items.is_none_or(|items| json.len() <= items)
                    && json.len() <= *max
                    && is_plain()
            }
            (_, Length::Json) => self.items.is_none() && json.len() <= JSON_MAX,
            _ => false,
        }
    }

    /// What stands in `field`, the whole field's value, in this place.
    pub(super) fn found<'v>(&self, field: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![field];
        for name in self.path.split('.').skip(1) {
            let within = found.into_iter().flat_map(|value| match value {
                Value::Array(items) => items.as_slice(),
                value => std::slice::from_ref(value),
            });
            found = within.filter_map(|value| value.get(name)).collect();
        }
        found
    }

    /// The texts that stand there.
    pub(super) fn texts<'v>(&self, field: &'v Value) -> impl Iterator<Item = &'v str> + use<'v> {
        let found = self.found(field).into_iter().flat_map(|value| match value {
            Value::Array(items) => items.as_slice(),
            value => std::slice::from_ref(value),
        });
        found.filter_map(Value::as_str)
    }

    /// The rules that it breaks, each once.
    pub(super) fn faults(&self, field: &Value) -> impl Iterator<Item = FieldError> {
        let refuse = |code, detail: String| FieldError::new(self.path, code, detail);
        let mut faults = Vec::new();
        if let Some(code) = self.blank
            && self.texts(field).any(|text| text.trim().is_empty())
        {
            faults.push(refuse(code, "must not be blank".to_owned()));
        }
        if !Protection::TextLimits.is_on() {
            return faults.into_iter();
        }
        match &self.length {
            Length::Text { min, max, code, detail, is_prose } => {
                let is_fit = |text: &str| (*min..=*max).contains(&text.chars().count());
                if !self.texts(field).all(is_fit) {
                    let at_most = || format!("must be of at most {max} characters");
                    faults.push(refuse(code, detail.map_or_else(at_most, str::to_owned)));
                }
                let is_laid_out = |c: char| matches!(c, '\t' | '\n') && self.is_unbroken;
                let is_faulty =
                    |text: &str| has_control(text, *is_prose) || text.contains(is_laid_out);
                if self.texts(field).any(is_faulty) {
                    let detail = "must not contain control characters".to_owned();
                    faults.push(refuse(self.control, detail));
                }
            }
            Length::Json => {
                let is_fit = |value: &&Value| value.to_string().len() <= JSON_MAX;
                if !self.found(field).iter().all(is_fit) {
                    let detail = format!("must be of at most {JSON_MAX} bytes as JSON");
                    faults.push(refuse("too_large", detail));
                }
            }
            Length::List => {}
        }
        if let Some(items) = self.items {
            let count = |value: &&Value| value.as_array().map_or(0, Vec::len);
            if self.found(field).iter().any(|value| count(value) > items) {
                faults.push(refuse("too_many", format!("must have at most {items} items")));
            }
        }
        faults.into_iter()
    }
}

/// True for control characters other than tab and line feed; NUL is told of elsewhere.
fn has_control(text: &str, is_prose: bool) -> bool {
    let is_end = |at: usize| is_prose && text.as_bytes().get(at + 1) == Some(&b'\n');
    text.char_indices().any(|(at, c)| match c {
        '\t' | '\n' | '\0' => false,
        '\r' => !is_end(at),
        c => c.is_control(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn codes(text: &Text, field: &Value) -> Vec<&'static str> {
        let codes: Vec<_> = text.faults(field).map(|fault| fault.code).collect();
        assert!(codes.is_empty() || !text.is_plainly_good(&field.to_string()), "{text:?}: {field}");
        codes
    }

    #[test]
    fn a_length_is_counted_in_characters_wherever_the_text_stands() {
        let long = "글".repeat(NAME_MAX);
        let longer = format!("{long}글");
        let name = Text::name("name");
        assert_eq!(codes(&name, &json!(long)), [""; 0]);
        assert_eq!(codes(&name, &json!(longer)), ["too_long"]);
        assert_eq!(codes(&name, &json!("a".repeat(NAME_MAX + 1))), ["too_long"]);
        assert_eq!(codes(&name, &Value::Null), [""; 0]);
        let deep = Text::name("a.b.c");
        assert_eq!(codes(&deep, &json!([{"b": [{"c": long}, {"c": null}]}, {}])), [""; 0]);
        assert_eq!(codes(&deep, &json!([{"b": [{"c": long}, {"c": longer}]}])), ["too_long"]);
        let each = Text::name("tags").each();
        assert_eq!(codes(&each, &json!(["a", longer])), ["too_long"]);
        let short = Text::name("code").at_most(3, "long").filled("none");
        assert_eq!(codes(&short, &json!("    ")), ["none", "long"]);
    }

    #[test]
    fn a_list_is_counted_where_it_stands() {
        let items = |count: usize| json!(vec!["a"; count]);
        let each = Text::name("tags").each();
        assert_eq!(codes(&each, &items(ITEMS_MAX)), [""; 0]);
        assert_eq!(codes(&each, &items(ITEMS_MAX + 1)), ["too_many"]);
        let list = Text::list("a.b");
        let two = |count| json!([{"b": items(count)}, {"b": items(count)}]);
        assert_eq!(codes(&list, &two(ITEMS_MAX)), [""; 0]);
        assert_eq!(codes(&list, &two(ITEMS_MAX + 1)), ["too_many"]);
    }

    #[test]
    fn a_value_of_any_form_is_counted_in_bytes() {
        let value = |bytes: usize| json!({"k\0": "a".repeat(bytes - r#"{"k\u0000":""}"#.len())});
        let json = Text::json("data");
        assert_eq!(codes(&json, &value(JSON_MAX)), [""; 0]);
        assert_eq!(codes(&json, &value(JSON_MAX + 1)), ["too_large"]);
    }

    #[test]
    fn control_characters_are_refused_but_for_those_that_lay_text_out() {
        for (text, in_a_name, in_prose) in [
            ("a\tb\nc", false, false),
            ("a\r\nb", true, false),
            ("a\rb", true, true),
            ("a\r", true, true),
            ("a\u{1b}[31m", true, true),
            ("a\u{7f}", true, true),
            ("a\u{85}", true, true),
            ("a\u{a0}©", false, false),
        ] {
            let refused = |it| if it { vec!["control_character"] } else { Vec::new() };
            assert_eq!(codes(&Text::name("a"), &json!(text)), refused(in_a_name), "{text:?}");
            assert_eq!(codes(&Text::prose("a"), &json!(text)), refused(in_prose), "{text:?}");
            let is_broken = text.contains(char::is_control);
            let unbroken = Text::name("a").unbroken();
            assert_eq!(codes(&unbroken, &json!(text)), refused(is_broken), "{text:?}");
        }
    }
}
