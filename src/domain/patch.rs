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

    /// Reads null as "keep", for vendors whose null means unchanged.
    #[must_use]
    pub fn null_keeps(self) -> Self {
        match self {
            Self::Null => Self::Absent,
            other => other,
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

    #[test]
    fn null_resets_a_field_that_is_never_empty() {
        let mut field = 3;
        Patch::Null.apply_or(&mut field, 9);
        assert_eq!(field, 9);
    }
}
