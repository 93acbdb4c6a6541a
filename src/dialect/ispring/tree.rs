//! What a body holds, in XML and JSON alike: all that a resource reads.

use crate::domain::error::Error;

/// Elements, or values, at the most.
pub const NODES_MAX: usize = 50_000;

/// An element, or a value.
#[derive(Debug, PartialEq, Eq)]
pub enum Tree {
    /// A text, a number, a truth value; empty for null and for an element without content.
    Text(String),
    /// Elements by their local names, the members of an object, or the items of an array, which have
    /// no names. Text between them is not kept.
    Nested(Vec<(String, Tree)>),
}

impl Tree {
    /// Adds what stands in it.
    pub fn push(&mut self, name: String, inner: Self) {
        match self {
            Self::Nested(all) => all.push((name, inner)),
            Self::Text(_) => *self = Self::Nested(vec![(name, inner)]),
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Self> {
        let inner = match self {
            Self::Nested(inner) => inner.as_slice(),
            Self::Text(_) => &[],
        };
        inner.iter().filter(move |(found, _)| found == name).map(|(_, tree)| tree)
    }

    /// A field's text without blanks around it; none when it is absent, empty or null.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it holds other elements, an array or an object.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, Error> {
        match self.all(name).next() {
            None => Ok(None),
            Some(Self::Text(text)) => Ok(Some(text.trim_ascii()).filter(|text| !text.is_empty())),
            Some(Self::Nested(_)) => Err(wrong(name)),
        }
    }

    /// Holds that no field comes twice: two readers would not agree which one counts.
    ///
    /// # Errors
    /// [`Error::Invalid`] when one does.
    pub fn refuse_repeated(&self, names: &[&'static str]) -> Result<(), Error> {
        match names.iter().find(|name| self.all(name).nth(1).is_some()) {
            Some(name) => Err(wrong(name)),
            None => Ok(()),
        }
    }
}

/// The code of what is said of a value in words.
pub const MISSPELT: &str = "misspelt";

/// Refuses a call for what it says in a field. The vendor's one answer names none, so the name is for
/// debuggers.
pub fn wrong(field: &'static str) -> Error {
    Error::invalid(field, "invalid", "is not as documented")
}

/// The same of a value that is nearly one, which says what it has to be.
pub fn misspelt(field: &'static str, words: &str) -> Error {
    Error::invalid(field, MISSPELT, words)
}
