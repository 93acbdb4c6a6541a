//! The consent page of an application: who receives a person's data, what for, for how long, and
//! whether it leaves the country. Korean law (the Personal Information Protection Act, articles 17
//! and 28-8) wants it shown before the data goes.

use serde::{Deserialize, Serialize};

use super::application::Application;
use crate::domain::error::FieldError;
use crate::domain::names::names;
use crate::domain::record::Changed;

/// A consent text's length at the most, characters.
const TEXT_MAX: usize = 1000;

names! {
    /// A language that a consent page can be shown in.
    pub enum Language {
        /// Korean.
        Ko = "ko",
        /// English.
        En = "en",
        /// Japanese.
        Ja = "ja",
    }
}

/// A text in some of the languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Localised {
    /// In Korean.
    pub ko: Option<String>,
    /// In English.
    pub en: Option<String>,
    /// In Japanese.
    pub ja: Option<String>,
}

impl Localised {
    /// The text in `language`.
    pub fn get(&self, language: Language) -> Option<&str> {
        match language {
            Language::Ko => self.ko.as_deref(),
            Language::En => self.en.as_deref(),
            Language::Ja => self.ja.as_deref(),
        }
    }

    /// True when there is something to read in each of `languages`.
    pub fn covers(&self, languages: &[Language]) -> bool {
        languages
            .iter()
            .all(|language| self.get(*language).is_some_and(|text| !text.trim().is_empty()))
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        [&self.ko, &self.en, &self.ja].into_iter().flatten().map(String::as_str)
    }
}

const LANGUAGES: &str = "consent_use_languages";
const ABROAD: &str = "consent_data_transfer_abroad";

/// Every rule of the page that the application breaks, among those that `changed` touches.
pub fn validate(application: &Application, changed: &Changed) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let languages = &application.consent_use_languages;
    if changed.any(&[LANGUAGES, "consent_default_language"]) {
        if languages.is_empty() || super::application::has_duplicates(languages) {
            let detail = "names at least one language, each once";
            errors.push(FieldError::new(LANGUAGES, "invalid", detail));
        }
        if !application.consent_default_language.is_some_and(|known| languages.contains(&known)) {
            let detail = "must be one of the languages in use";
            errors.push(FieldError::new("consent_default_language", "not_in_use", detail));
        }
    }
    for (field, text, is_of_transfer) in application.consent_texts() {
        let is_shown = !is_of_transfer || application.consent_data_transfer_abroad;
        // What a page in the country keeps of a transfer abroad is not shown, so only an edit of
        // that very text is held to it.
        let is_touched = changed.has(field)
            || (is_shown && changed.has(LANGUAGES))
            || (is_shown && is_of_transfer && changed.has(ABROAD));
        if !is_touched {
            continue;
        }
        match text {
            None if is_shown && is_of_transfer => {
                let detail = "is required when data is transferred abroad";
                errors.push(FieldError::new(field, "required", detail));
            }
            Some(text) if text.texts().any(|text| !is_of_length(text)) => {
                let detail = "each text has 1 to 1000 characters";
                errors.push(FieldError::new(field, "length", detail));
            }
            Some(text) if !text.covers(languages) => {
                let detail = "must have a text for every language in use";
                errors.push(FieldError::new(field, "language_missing", detail));
            }
            None | Some(_) => {}
        }
    }
    errors
}

fn is_of_length(text: &str) -> bool {
    (1..=TEXT_MAX).contains(&text.chars().count())
}
