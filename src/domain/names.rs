//! The names of an enum's values, said once: [`names`] makes of them the JSON form, the text in SQL
//! and logs, and what the wire and queries are read by.

/// An enum whose values have names.
pub trait Named: Copy + 'static {
    /// Every value, in the order in which they are declared.
    const ALL: &'static [Self];

    /// The value's name.
    fn name(self) -> &'static str;

    /// The value of that name.
    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.name() == name)
    }
}

/// The names as part of a sentence, each within `quote`s: `'a', 'b' or 'c'`.
pub fn either<T: Named>(quote: &str) -> String {
    let mut text = String::new();
    for (index, value) in T::ALL.iter().enumerate() {
        let joint = match index {
            0 => "",
            _ if index + 1 == T::ALL.len() => " or ",
            _ => ", ",
        };
        text.extend([joint, quote, value.name(), quote]);
    }
    text
}

/// An enum whose values have names, which never change: they are stored. (A name that an enum has on
/// one wire alone is that dialect's to say.)
///
/// ```text
/// names! {
///     /// Where a course is in its life.
///     #[derive(Default)]
///     pub enum CourseStatus {
///         /// Being made.
///         #[default]
///         Draft = "draft",
///         /// Running.
///         Active = "active",
///     }
/// }
/// ```
macro_rules! names {
    (
        $(#[$about:meta])*
        pub enum $Enum:ident { $($(#[$value_about:meta])* $Value:ident = $name:literal),+ $(,)? }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $Enum { $($(#[$value_about])* #[serde(rename = $name)] $Value),+ }

        impl $Enum {
            /// Every value, in the order in which they are declared.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$Value),+];

            /// The name in SQL, JSON, queries and logs.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$Value => $name),+ }
            }

            /// The value of that name.
            pub fn parse(name: &str) -> Option<Self> {
                <Self as $crate::domain::names::Named>::parse(name)
            }
        }

        impl $crate::domain::names::Named for $Enum {
            const ALL: &'static [Self] = &Self::ALL;

            fn name(self) -> &'static str {
                self.name()
            }
        }
    };
}
pub(crate) use names;

#[cfg(test)]
mod tests {
    use super::*;

    names! {
        /// A sample.
        #[derive(Default)]
        pub enum Sample {
            /// One.
            #[default]
            One = "one",
            /// Another.
            TwoWords = "TWO-words",
        }
    }

    #[test]
    fn a_name_is_the_same_in_json_in_sql_and_in_a_query() {
        assert_eq!(Sample::ALL, [Sample::One, Sample::TwoWords]);
        assert_eq!(Sample::default(), Sample::One);
        for (value, name) in [(Sample::One, "one"), (Sample::TwoWords, "TWO-words")] {
            assert_eq!(value.name(), name);
            assert_eq!(Sample::parse(name), Some(value));
            assert_eq!(serde_json::to_value(value).unwrap(), name);
            assert_eq!(serde_json::from_value::<Sample>(name.into()).unwrap(), value);
        }
        for other in ["", "One", "two-words"] {
            assert_eq!(Sample::parse(other), None);
            assert!(serde_json::from_value::<Sample>(other.into()).is_err());
        }
        assert_eq!(either::<Sample>("'"), "'one' or 'TWO-words'");
    }
}
