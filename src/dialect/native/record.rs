//! Records as this dialect shows them, and JSON merge patches (RFC 7396) to them.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::dialect::{Answer, Call, Refusal, json};
use crate::domain::actor::Actor;
use crate::domain::command::{self, Command};
use crate::domain::error::{Error, FieldError};
use crate::domain::patch::Patch;
use crate::domain::record::{Document, Meta};
use crate::domain::table::Data;

/// Runs an edit and answers with what it left: with the record as `show` has it for a caller who may
/// read it, else with which one it is and its version.
///
/// # Errors
/// As [`Call::submit`].
pub async fn submit(
    call: &Call,
    actor: Actor,
    command: impl Command,
    status: u16,
    show: impl Fn(&Document) -> Result<Value, Error> + Send + Sync + 'static,
) -> Result<Answer, Refusal> {
    let reader = actor.clone();
    let answered = call.submit(actor, command, move |outcome, facts| {
        let Document { meta, .. } = &*outcome.subject;
        let body = if command::may_read(&reader, &outcome.subject, facts)? {
            show(&outcome.subject)?
        } else {
            json!({"id": id(meta), "version": meta.version})
        };
        Ok(Answer::json(status, &body))
    });
    Ok(answered.await?)
}

fn id(meta: &Meta) -> Value {
    meta.key.as_int().map_or_else(|| json!(meta.key.to_string()), |id| json!(id))
}

/// A record: its fields but for those that follow from others, its id, version and times.
///
/// # Errors
/// [`Error::Internal`] when it has no JSON form.
pub fn shown(document: &Document) -> Result<Value, Error> {
    let meta = &document.meta;
    let derived = meta.kind.table().fields_of(Data::Derived);
    let mut shown = Map::new();
    shown.insert("id".to_owned(), id(meta));
    shown.extend(document.fields()?.values());
    shown.retain(|name, _| !derived.contains(&name.as_str()));
    shown.insert("version".to_owned(), meta.version.into());
    shown.insert("created_at".to_owned(), json!(meta.created_at));
    shown.insert("updated_at".to_owned(), json!(meta.updated_at));
    Ok(shown.into())
}

/// The members of a body, taken one by one; what is left then is not known.
pub struct Members {
    members: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Members {
    /// Reads the body.
    ///
    /// # Errors
    /// A body that is too long or broke off; [`Error::Invalid`] for one that is no JSON object.
    pub fn of(call: &Call) -> Result<Self, Refusal> {
        let body = call.body()?;
        let media_type = call.media_type();
        if !["", "application/json", "application/merge-patch+json"].contains(&media_type.as_str())
        {
            let detail = "must be application/json or application/merge-patch+json";
            return Err(Error::invalid("Content-Type", "unknown_type", detail).into());
        }
        let members = json::parse_object(body)
            .ok_or_else(|| Error::invalid("body", "not_an_object", "must be a JSON object"))?;
        Ok(Self { members, errors: Vec::new() })
    }

    /// A member that null clears.
    pub fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Patch<T> {
        match self.members.shift_remove(name) {
            None => Patch::Absent,
            Some(Value::Null) => Patch::Null,
            Some(value) => {
                let read = T::deserialize(&value);
                // A whole number is one however it is written.
                match read
                    .or_else(|cause| T::deserialize(json::with_integers(value)).map_err(|_| cause))
                {
                    Ok(value) => Patch::Value(value),
                    Err(cause) => {
                        self.errors.push(FieldError::new(name, "wrong_type", cause.to_string()));
                        Patch::Absent
                    }
                }
            }
        }
    }

    /// A member that is never null.
    pub fn take_value<T: DeserializeOwned>(&mut self, name: &'static str) -> Patch<T> {
        let found = self.take(name);
        if matches!(found, Patch::Null) {
            self.errors.push(FieldError::new(name, "null", "must not be null"));
        }
        found
    }

    /// A member that has to be there.
    pub fn require<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        match self.take_value(name) {
            Patch::Value(value) => Some(value),
            Patch::Absent if !self.errors.iter().any(|error| error.field == name) => {
                self.errors.push(FieldError::new(name, "required", "is required"));
                None
            }
            Patch::Absent | Patch::Null => None,
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all that was found, and with the members that nobody took.
    pub fn finish(mut self) -> Result<(), Error> {
        for name in self.members.keys().take(100) {
            let detail = format!("{name:?} is not a field of this request");
            self.errors.push(FieldError::new("body", "unknown_field", detail));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Invalid(self.errors)) }
    }
}
