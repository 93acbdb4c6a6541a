//! The tri-state of one field in an edit. What absent, null and a value *mean* on the wire is the
//! dialect's to say; by the time a [`Patch`] reaches a record, they mean keep, clear and set.

/// What an edit asks of one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// The field was not sent: keep what is stored.
    #[default]
    Absent,
    /// Clear the field.
    Null,
    /// Set the field to this.
    Value(T),
}

impl<T> Patch<T> {
    /// True when the edit says nothing about the field.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value, where one is sent.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Turns the carried value into another.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Absent => Patch::Absent,
            Self::Null => Patch::Null,
            Self::Value(value) => Patch::Value(f(value)),
        }
    }
}

impl<T: Clone> Patch<T> {
    /// Applies to a field that may be empty.
    pub fn apply(&self, field: &mut Option<T>) {
        match self {
            Self::Absent => {}
            Self::Null => *field = None,
            Self::Value(value) => *field = Some(value.clone()),
        }
    }

    /// Applies to a field that is never empty; null resets it to `default`.
    pub fn apply_or(&self, field: &mut T, default: T) {
        match self {
            Self::Absent => {}
            Self::Null => *field = default,
            Self::Value(value) => *field = value.clone(),
        }
    }

    /// Applies to a field that is never empty and has no default; null keeps it (a dialect refuses
    /// null on such a field before it gets here).
    pub fn apply_required(&self, field: &mut T) {
        if let Self::Value(value) = self {
            *field = value.clone();
        }
    }
}

impl<T> From<Option<T>> for Patch<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::Value)
    }
}

/// What can be asked of a record's fields.
pub trait EditOf<R>: Send + Sync + 'static {
    /// Puts the values into the record, without judging them.
    fn apply_to(&self, record: &mut R);
}

/// Nothing can be asked.
impl<R> EditOf<R> for () {
    fn apply_to(&self, _record: &mut R) {}
}

/// The edit of a record: a [`Patch`] for each field that it may name, with what null means to it.
///
/// ```text
/// edit! {
///     /// An edit of a course.
///     CourseEdit for Course {
///         title: String => or(String::new()),   // never empty; null resets it: Patch::apply_or
///         course_key: String => clears,         // an Option; null empties it: Patch::apply
///         starts_on: Date => keeps,             // never empty, no default: Patch::apply_required
///     } beside {
///         /// What the result is judged by.
///         rules: Rules,                         // no field of the record: Record::apply sees to it
///     }
/// }
/// ```
macro_rules! edit {
    (
        $(#[$about:meta])*
        $Edit:ident for $Record:ident {
            $($(#[$more:meta])* $field:ident: $Value:ty => $null:ident $(($default:expr))?),+ $(,)?
        } $(beside {
            $($(#[$aside_about:meta])* $aside:ident: $Aside:ty),+ $(,)?
        })?
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $Edit {
            $(
                #[doc = concat!("See [`", stringify!($Record), "::", stringify!($field), "`].")]
                $(#[$more])*
                pub $field: $crate::domain::patch::Patch<$Value>,
            )+
            $($($(#[$aside_about])* pub $aside: $Aside,)+)?
        }

        impl $crate::domain::patch::EditOf<$Record> for $Edit {
            fn apply_to(&self, record: &mut $Record) {
                $($crate::domain::patch::edit!(
                    @null $null $(($default))?, self.$field, record.$field
                );)+
            }
        }
    };
    (@null clears, $patch:expr, $field:expr) => { $patch.apply(&mut $field) };
    (@null keeps, $patch:expr, $field:expr) => { $patch.apply_required(&mut $field) };
    (@null or($default:expr), $patch:expr, $field:expr) => { $patch.apply_or(&mut $field, $default) };
    (@null $($other:tt)+) => {
        compile_error!("what null means to a field is `clears`, `keeps` or `or(default)`")
    };
}
pub(crate) use edit;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_patch() -> impl Strategy<Value = Patch<u8>> {
        prop_oneof![Just(Patch::Absent), Just(Patch::Null), any::<u8>().prop_map(Patch::Value)]
    }

    proptest! {
        #[test]
        fn absent_is_identity(start: Option<u8>) {
            let mut field = start;
            Patch::Absent.apply(&mut field);
            prop_assert_eq!(field, start);
        }

        #[test]
        fn applying_twice_is_applying_once(start: Option<u8>, patch in any_patch()) {
            let mut once = start;
            patch.apply(&mut once);
            let mut twice = once;
            patch.apply(&mut twice);
            prop_assert_eq!(once, twice);
        }
    }

    #[derive(Debug, Default, PartialEq)]
    struct Sample {
        title: String,
        key: Option<u8>,
        count: u8,
    }

    edit! {
        /// An edit of a sample.
        SampleEdit for Sample {
            title: String => or("none".to_owned()),
            /// It opens.
            key: u8 => clears,
            count: u8 => keeps,
        } beside {
            /// Not the record's.
            aside: bool,
        }
    }

    #[test]
    fn an_edit_applies_each_field_by_its_own_meaning_of_null() {
        let mut sample = Sample { title: "a".to_owned(), key: Some(1), count: 2 };
        SampleEdit { aside: true, ..SampleEdit::default() }.apply_to(&mut sample);
        assert_eq!(sample, Sample { title: "a".to_owned(), key: Some(1), count: 2 }, "absent");
        let (title, key, count) = (Patch::Null, Patch::Null, Patch::Null);
        SampleEdit { title, key, count, aside: true }.apply_to(&mut sample);
        assert_eq!(sample, Sample { title: "none".to_owned(), key: None, count: 2 }, "null");
        let (key, count) = (Patch::Value(3), Patch::Value(4));
        SampleEdit { key, count, ..SampleEdit::default() }.apply_to(&mut sample);
        assert_eq!(sample, Sample { title: "none".to_owned(), key: Some(3), count: 4 }, "values");
    }

    #[test]
    fn null_resets_a_field_that_is_never_empty() {
        let mut field = 3;
        Patch::Null.apply_or(&mut field, 9);
        assert_eq!(field, 9);
    }
}
