//! The words of a message. An operator may replace them: templates are in the language of Jinja,
//! plain text, with the names of [`Values`] and no others.

use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

/// The template of an e-mail where the operator names none.
pub const EMAIL: &str = include_str!("email.txt");
/// The template of a text message where the operator names none.
pub const PHONE: &str = include_str!("phone.txt");

/// How an e-mail's template begins.
const SUBJECT: &str = "Subject:";
/// A subject's length at the most, characters.
const SUBJECT_MAX: usize = 200;
/// Steps that one template may take: many times what a long letter needs.
const STEPS_MAX: u64 = 100_000;

/// What a template can say.
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
    /// The day of issue, `YYYY-MM-DD` in the account's time zone, as all days here.
    pub issued_on: String,
    /// The course's first day.
    pub course_begin_on: String,
    /// The course's last day.
    pub course_end_on: String,
    /// The last day on which it is good.
    pub expires_on: String,
}

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An e-mail's template has no subject.
    #[error("the first line must be `Subject: …`, the second empty, and the text comes after that")]
    NoSubject,
    /// A name that means nothing here.
    #[error("unknown name `{name}`; there are {}", known.join(", "))]
    UnknownName {
        /// The name.
        name: String,
        /// All that can be used.
        known: Vec<String>,
    },
    /// It is not of the language, or fails.
    #[error("line {line}: {cause}")]
    Faulty {
        /// The line in the file, from 1.
        line: usize,
        /// What is wrong.
        cause: String,
    },
    /// It says nothing.
    #[error("the text is empty")]
    Empty,
}

/// The words of a message.
#[derive(Clone, Debug)]
pub struct Template {
    environment: Arc<Environment<'static>>,
    has_subject: bool,
}

impl Template {
    /// Reads the template of an e-mail: `Subject: …`, an empty line, the text.
    ///
    /// # Errors
    /// [`TemplateError`], saying what to change.
    pub fn email(text: &str) -> Result<Self, TemplateError> {
        let text = plain(text);
        let (head, body) = text.split_once('\n').ok_or(TemplateError::NoSubject)?;
        let subject = head
            .split_at_checked(SUBJECT.len())
            .filter(|(name, _)| name.eq_ignore_ascii_case(SUBJECT))
            .map(|(_, subject)| subject.trim())
            .filter(|subject| !subject.is_empty())
            .ok_or(TemplateError::NoSubject)?;
        let (empty, _) = body.split_once('\n').ok_or(TemplateError::Empty)?;
        if !empty.trim().is_empty() {
            return Err(TemplateError::NoSubject);
        }
        // The text keeps its place in the file, so that faults name the right line.
        Self::read(Some(subject), &format!("\n{body}"))
    }

    /// Reads the template of a text message: the text, whole.
    ///
    /// # Errors
    /// [`TemplateError`], saying what to change.
    pub fn phone(text: &str) -> Result<Self, TemplateError> {
        Self::read(None, &plain(text))
    }

    fn read(subject: Option<&str>, body: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // A line that only holds a condition leaves no empty line behind.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| faulty(&e))?);
        environment.set_fuel(Some(STEPS_MAX));
        let parts = [("subject", subject), ("body", Some(body))];
        for (name, text) in parts {
            let Some(text) = text else { continue };
            environment.add_template_owned(name, text.to_owned()).map_err(|e| faulty(&e))?;
            refuse_unknown_names(&environment, name)?;
        }
        let template = Self { environment: Arc::new(environment), has_subject: subject.is_some() };
        // What only shows when it runs is to show now, not with the first certificate.
        template.render(&Values::default())?;
        let (_, body) = template.render(&Values::example())?;
        if body.is_empty() {
            return Err(TemplateError::Empty);
        }
        Ok(template)
    }

    /// Words a message: its subject, where it has one, and its text.
    ///
    /// # Errors
    /// [`TemplateError::Faulty`] when the template fails on these values.
    pub fn render(&self, values: &Values) -> Result<(Option<String>, String), TemplateError> {
        let part = |name: &str| {
            let template = self.environment.get_template(name).map_err(|e| faulty(&e))?;
            template.render(Value::from_pairs(values.pairs())).map_err(|e| faulty(&e))
        };
        let subject = if self.has_subject { Some(one_line(&part("subject")?)) } else { None };
        Ok((subject, part("body")?.trim().to_owned()))
    }
}

impl Values {
    fn example() -> Self {
        let text = || "학사".to_owned();
        let day = || "2026-04-23".to_owned();
        Self {
            holder_name: text(),
            recipient: text(),
            club_name: text(),
            club_domain: text(),
            form_name: text(),
            form_description: text(),
            program_name: text(),
            program_url: text(),
            certificate_number: text(),
            issued_on: day(),
            course_begin_on: day(),
            course_end_on: day(),
            expires_on: day(),
        }
    }

    fn pairs(&self) -> [(&'static str, &str); 13] {
        [
            ("holder_name", &self.holder_name),
            ("recipient", &self.recipient),
            ("club_name", &self.club_name),
            ("club_domain", &self.club_domain),
            ("form_name", &self.form_name),
            ("form_description", &self.form_description),
            ("program_name", &self.program_name),
            ("program_url", &self.program_url),
            ("certificate_number", &self.certificate_number),
            ("issued_on", &self.issued_on),
            ("course_begin_on", &self.course_begin_on),
            ("course_end_on", &self.course_end_on),
            ("expires_on", &self.expires_on),
        ]
    }

    fn names() -> Vec<String> {
        Self::default().pairs().map(|(name, _)| name.to_owned()).to_vec()
    }
}

fn refuse_unknown_names(environment: &Environment<'_>, part: &str) -> Result<(), TemplateError> {
    let template = environment.get_template(part).map_err(|e| faulty(&e))?;
    let known = Values::names();
    let mut unknown: Vec<String> = template
        .undeclared_variables(false)
        .into_iter()
        .filter(|name| {
            !known.contains(name) && !environment.globals().any(|(global, _)| global == name)
        })
        .collect();
    unknown.sort();
    match unknown.into_iter().next() {
        None => Ok(()),
        Some(name) => Err(TemplateError::UnknownName { name, known }),
    }
}

/// Without a byte order mark, with the line ends of Unix.
fn plain(text: &str) -> String {
    text.trim_start_matches('\u{feff}').replace("\r\n", "\n")
}

fn faulty(error: &minijinja::Error) -> TemplateError {
    let mut cause = error.kind().to_string();
    if let Some(detail) = error.detail() {
        cause = format!("{cause}: {detail}");
    }
    TemplateError::Faulty { line: error.line().unwrap_or(1), cause }
}

/// A text as part of a header: no line of its own, nothing that is not seen.
pub fn one_line(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' { ' ' } else { c })
        .collect();
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(SUBJECT_MAX) {
        None => line,
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_built_in_words_hold() {
        let (subject, body) = Template::email(EMAIL).unwrap().render(&Values::example()).unwrap();
        assert!(subject.unwrap().contains("학사"));
        assert!(body.contains("인증서 번호: 학사"), "{body}");
        let (subject, body) = Template::phone(PHONE).unwrap().render(&Values::example()).unwrap();
        assert_eq!(subject, None);
        assert!(body.contains("학사"), "{body}");
    }

    #[test]
    fn a_bad_template_is_refused_and_says_where() {
        let email = |text: &str| Template::email(text).unwrap_err().to_string();
        assert!(email("안녕하세요").contains("Subject"));
        assert!(email("Subject: {{ form_name }}\n본문").contains("empty"));
        assert!(email("Subject: {{ form_name }}\n본문\n").contains("Subject"));
        assert!(email("Subject: a\n\n \n").contains("empty"));
        let unknown = email("Subject: a\n\n{{ holder }}님");
        assert!(unknown.contains("unknown name `holder`; there are holder_name, "), "{unknown}");
        assert!(email("Subject: a\n\n{% if expires_on %}{{ x.y }}{% endif %}").contains("`x`"));
        let broken = email("Subject: a\n\n한 줄\n{{ holder_name ");
        assert!(broken.starts_with("line 4: "), "{broken}");
        let failing = email("Subject: a\n\n\n{{ holder_name + 1 }}");
        assert!(failing.starts_with("line 4: "), "{failing}");
        let endless =
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
        assert!(Template::phone(endless).is_err());
    }

    #[test]
    fn names_are_text_and_never_template() {
        let template = Template::email("Subject: {{ holder_name }}\n\n{{ holder_name }}").unwrap();
        let values = Values { holder_name: "{{ recipient }}<b>&".to_owned(), ..Values::example() };
        let (subject, body) = template.render(&values).unwrap();
        assert_eq!(subject.as_deref(), Some("{{ recipient }}<b>&"));
        assert_eq!(body, "{{ recipient }}<b>&");
    }

    #[test]
    fn windows_line_ends_and_a_mark_are_read() {
        let template = Template::email("\u{feff}subject: 제목\r\n\r\n첫째\r\n둘째\r\n").unwrap();
        let (subject, body) = template.render(&Values::example()).unwrap();
        assert_eq!((subject.as_deref(), body.as_str()), (Some("제목"), "첫째\n둘째"));
    }

    proptest! {
        #[test]
        fn a_header_is_one_short_line(text: String) {
            let line = one_line(&text);
            prop_assert!(!line.contains(char::is_control));
            prop_assert!(line.chars().count() <= SUBJECT_MAX + 1);
            prop_assert_eq!(one_line(&line), line);
        }
    }
}
