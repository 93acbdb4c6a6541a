//! The words of a message: plain text in which `{{ name }}` stands for one of [`Values`]. A line that
//! names something without a value is left out, so nothing more is needed for what not every
//! certificate has. An operator may bring other words; what is wrong with them shows when they are
//! read, and rendering cannot fail. (Thousands of messages are worded in one decision, while all other
//! writers wait: a template language costs ten times as much.)

use std::fmt::Write as _;

/// The template of an e-mail where the operator names none.
pub const EMAIL: &str = include_str!("email.txt");
/// The template of a text message where the operator names none.
pub const PHONE: &str = include_str!("phone.txt");

/// How an e-mail's template begins.
const SUBJECT: &str = "Subject:";
/// A subject's length at the most, characters.
const SUBJECT_MAX: usize = 200;
/// A text's length at the most, characters; what would come behind is left out.
pub const BODY_MAX: usize = 50_000;

/// What a template can say. Empty where there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// The holder.
    pub holder_name: String,
    /// The holder's e-mail address or phone number.
    pub recipient: String,
    /// Who issues.
    pub club_name: String,
    /// The issuer's short name.
    pub club_domain: String,
    /// The form's name.
    pub form_name: String,
    /// What the form is for.
    pub form_description: String,
    /// The programme.
    pub program_name: String,
    /// Where the programme is described.
    pub program_url: String,
    /// The certificate's number.
    pub certificate_number: String,
    /// The day of issue, `YYYY-MM-DD` in the account's time zone, as all days here but those that were given
    /// as days.
    pub issued_on: String,
    /// The course's first day.
    pub course_begin_on: String,
    /// The course's last day.
    pub course_end_on: String,
    /// The last day on which it is good.
    pub expires_on: String,
}

/// Reads one of the values.
type Name = fn(&Values) -> &str;

/// Every name that a template can use.
const NAMES: [(&str, Name); 13] = [
    ("holder_name", |values| &values.holder_name),
    ("recipient", |values| &values.recipient),
    ("club_name", |values| &values.club_name),
    ("club_domain", |values| &values.club_domain),
    ("form_name", |values| &values.form_name),
    ("form_description", |values| &values.form_description),
    ("program_name", |values| &values.program_name),
    ("program_url", |values| &values.program_url),
    ("certificate_number", |values| &values.certificate_number),
    ("issued_on", |values| &values.issued_on),
    ("course_begin_on", |values| &values.course_begin_on),
    ("course_end_on", |values| &values.course_end_on),
    ("expires_on", |values| &values.expires_on),
];

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An e-mail's template has no subject.
    #[error("the first line must be `Subject: …`, the second empty, and the text comes after that")]
    NoSubject,
    /// A name that means nothing here.
    #[error("line {line}: unknown name `{name}`; there are {}", NAMES.map(|(name, _)| name).join(", "))]
    UnknownName {
        /// The line, from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// Braces that are not closed on their line.
    #[error("line {line}: `{{{{` without `}}}}`")]
    Open {
        /// The line, from 1.
        line: usize,
    },
    /// It says nothing.
    #[error("the text is empty")]
    Empty,
}

/// The words of a message.
#[derive(Clone, Debug)]
pub struct Template {
    subject: Option<Line>,
    body: Vec<Line>,
}

type Line = Vec<Part>;

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Value(Name),
}

impl Template {
    /// Reads the template of an e-mail: `Subject: …`, an empty line, the text.
    ///
    /// # Errors
    /// [`TemplateError`], saying what to change.
    pub fn email(text: &str) -> Result<Self, TemplateError> {
        let lines: Vec<&str> = lines(text).collect();
        let [head, empty, body @ ..] = &lines[..] else { return Err(TemplateError::NoSubject) };
        let subject = head
            .split_at_checked(SUBJECT.len())
            .filter(|(name, _)| name.eq_ignore_ascii_case(SUBJECT))
            .map(|(_, subject)| subject.trim())
            .filter(|subject| !subject.is_empty() && empty.trim().is_empty())
            .ok_or(TemplateError::NoSubject)?;
        let subject = read_line(1, subject)?;
        Ok(Self { subject: Some(subject), body: read(3, body)? })
    }

    /// Reads the template of a text message: the text, whole.
    ///
    /// # Errors
    /// [`TemplateError`], saying what to change.
    pub fn phone(text: &str) -> Result<Self, TemplateError> {
        let lines: Vec<&str> = lines(text).collect();
        Ok(Self { subject: None, body: read(1, &lines)? })
    }

    /// Words a message: its subject, where it has one, and its text.
    pub fn render(&self, values: &Values) -> (Option<String>, String) {
        let subject = self.subject.as_ref().map(|line| {
            let mut subject = String::new();
            write_line(&mut subject, line, values);
            one_line(&subject)
        });
        let mut body = String::new();
        for line in &self.body {
            let is_whole = line.iter().all(|part| match part {
                Part::Text(_) => true,
                Part::Value(name) => !name(values).is_empty(),
            });
            if is_whole {
                write_line(&mut body, line, values);
                body.push('\n');
            }
        }
        let mut body = plain_lines(&body);
        body.truncate(body.trim_end().len());
        (subject, cut(body, BODY_MAX))
    }
}

fn write_line(text: &mut String, line: &Line, values: &Values) {
    for part in line {
        text.push_str(part.of(values));
    }
}

impl Part {
    fn of<'a>(&'a self, values: &'a Values) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Value(name) => name(values),
        }
    }
}

/// The lines, without a byte order mark and the line ends of Windows.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.trim_start_matches('\u{feff}').lines()
}

fn read(first: usize, lines: &[&str]) -> Result<Vec<Line>, TemplateError> {
    if lines.iter().all(|line| line.trim().is_empty()) {
        return Err(TemplateError::Empty);
    }
    lines.iter().zip(first..).map(|(line, number)| read_line(number, line)).collect()
}

fn read_line(line: usize, mut text: &str) -> Result<Line, TemplateError> {
    let mut parts = Vec::new();
    while let Some((before, rest)) = text.split_once("{{") {
        let (name, after) = rest.split_once("}}").ok_or(TemplateError::Open { line })?;
        let name = name.trim();
        let (_, value) = NAMES
            .into_iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| TemplateError::UnknownName { line, name: name.to_owned() })?;
        parts.push(Part::Text(before.to_owned()));
        parts.push(Part::Value(value));
        text = after;
    }
    parts.push(Part::Text(text.to_owned()));
    Ok(parts)
}

/// A text as part of a header: no line of its own, nothing that is not seen.
pub fn one_line(text: &str) -> String {
    let is_gap = |c: char| c.is_whitespace() || c.is_control();
    let mut line = String::with_capacity(text.len());
    for word in text.split(is_gap).filter(|word| !word.is_empty()) {
        let gap = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{gap}{word}");
    }
    cut(line, SUBJECT_MAX)
}

/// A text in lines that all end as those of Unix do, without control characters but tabs: the wires that it
/// goes over give each of them a meaning of its own.
pub fn plain_lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// A text of at most so many characters, and one more that says that there would be others.
fn cut(text: String, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text,
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> Values {
        Values {
            holder_name: "홍길동".to_owned(),
            club_name: "한빛학원".to_owned(),
            form_name: "파이썬 기초".to_owned(),
            certificate_number: "SAND-202604-abc123".to_owned(),
            issued_on: "2026-04-23".to_owned(),
            ..Values::default()
        }
    }

    #[test]
    fn the_built_in_words_hold() {
        let email = Template::email(EMAIL).unwrap();
        let (subject, body) = email.render(&values());
        assert_eq!(subject.as_deref(), Some("[한빛학원] 파이썬 기초 인증서가 발급되었습니다"));
        assert!(
            body.contains("\n인증서 번호: SAND-202604-abc123\n발급일: 2026-04-23\n\n"),
            "{body}"
        );
        let more = Values {
            course_begin_on: "2026-03-01".to_owned(),
            course_end_on: "2026-04-01".to_owned(),
            expires_on: "2027-04-23".to_owned(),
            ..values()
        };
        let (_, body) = email.render(&more);
        assert!(body.contains("\n과정 기간: 2026-03-01 ~ 2026-04-01\n발급일: "), "{body}");
        assert!(body.contains("\n유효 기간: 2027-04-23까지\n"), "{body}");
        let (subject, body) = Template::phone(PHONE).unwrap().render(&values());
        assert_eq!(subject, None);
        assert!(body.starts_with("[한빛학원] 홍길동님, 파이썬 기초 인증서가"), "{body}");
    }

    #[test]
    fn a_bad_template_is_refused_and_says_where() {
        let email = |text: &str| Template::email(text).unwrap_err();
        for text in
            ["안녕하세요", "Subject: a", "Subject: \n\n본문", "Subject: a\n본문\n", "Subj\n\n본문"]
        {
            assert_eq!(email(text), TemplateError::NoSubject, "{text:?}");
        }
        assert_eq!(email("Subject: a\n\n \n"), TemplateError::Empty);
        assert_eq!(Template::phone("").unwrap_err(), TemplateError::Empty);
        assert_eq!(email("Subject: {{ form_name\n\n본문"), TemplateError::Open { line: 1 });
        assert_eq!(email("Subject: a\n\n본문\n{{ }\n}}"), TemplateError::Open { line: 4 });
        let unknown = email("Subject: a\n\n본문\n{{ holder }}님").to_string();
        assert!(unknown.starts_with("line 4: unknown name `holder`; there are holder_name, "));
        assert_eq!(email("Subject: a\n\n{{").to_string(), "line 3: `{{` without `}}`");
    }

    #[test]
    fn names_are_text_and_never_template() {
        let template =
            Template::email("Subject: {{holder_name}}\n\n{ {{ holder_name }} }").unwrap();
        let values = Values { holder_name: "{{ recipient }}<b>&".to_owned(), ..values() };
        let (subject, body) = template.render(&values);
        assert_eq!(subject.as_deref(), Some("{{ recipient }}<b>&"));
        assert_eq!(body, "{ {{ recipient }}<b>& }");
    }

    #[test]
    fn windows_line_ends_and_a_mark_are_read() {
        let template = Template::email("\u{feff}subject: 제목\r\n\r\n\r\n첫째\r\n\r\n둘째\r\n\r\n");
        let (subject, body) = template.unwrap().render(&values());
        assert_eq!((subject.as_deref(), body.as_str()), (Some("제목"), "\n첫째\n\n둘째"));
    }

    #[test]
    fn no_value_ends_a_line_on_its_own() {
        let values = Values {
            holder_name: "a\r.\rMAIL FROM:<b@c>\r".to_owned(),
            form_description: "하나\r\n둘\u{0}\u{1b}[2J\u{85}".to_owned(),
            ..values()
        };
        let template = "Subject: {{ holder_name }}\n\n{{ holder_name }}\n{{ form_description }}";
        let (subject, body) = Template::email(template).unwrap().render(&values);
        assert_eq!(subject.as_deref(), Some("a . MAIL FROM:<b@c>"));
        assert_eq!(body, "a\n.\nMAIL FROM:<b@c>\n하나\n둘[2J");
    }

    proptest! {
        #[test]
        fn a_header_is_one_short_line(text: String) {
            let line = one_line(&text);
            prop_assert!(!line.contains(char::is_control));
            prop_assert!(line.chars().count() <= SUBJECT_MAX + 1);
        }

        #[test]
        fn no_template_makes_it_panic(text: String) {
            let _ = Template::phone(&text).map(|template| template.render(&values()));
            let _ = Template::email(&format!("Subject: {text}\n\n{{{{ holder_name }}}}{text}"));
        }
    }
}
