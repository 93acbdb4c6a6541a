//! A record's history, gone through backwards: what each change left has to be what stands there, and what
//! it found is put back, until nothing is left.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

use super::rows::{Suspicion, name};
use crate::domain::change::{Action, MASK_TEXT};
use crate::domain::error::Error;
use crate::domain::fields::Fields;
use crate::domain::record::{Document, Meta};
use crate::domain::table::Data;
use crate::sabotage::Protection;
use crate::store::Step;

const NEWEST: &str = "version and newest change disagree";
const BROKEN: &str = "the chain of changes is broken";
const OTHER: &str = "history that disagrees with its record";
const UNREADABLE: &str = "unreadable";

/// Changed fields by name, each as JSON.
type Told<'a> = BTreeMap<String, &'a RawValue>;

/// A record on its way back to nothing.
pub(super) struct Chain<'a> {
    place: usize,
    document: &'a Document,
    record_id: String,
    /// The change to be taken next.
    next: Option<i64>,
    /// The version that it made.
    version: i64,
    /// How many more there may be.
    left: i64,
    is_newest: bool,
    /// The fields as JSON; none where they are not known: before a record was brought back, until its
    /// removal tells.
    state: Option<Vec<(&'a str, Cow<'a, str>)>>,
}

/// Where faults go, and what they are of.
struct Faults<'a> {
    place: usize,
    name: String,
    change: i64,
    all: &'a mut Vec<Suspicion>,
}

impl Faults<'_> {
    fn tell(&mut self, sort: &'static str, words: &str) {
        let words = format!("{}: change {} {words}", self.name, self.change);
        self.all.push(Suspicion { place: self.place, sort, words });
    }
}

impl<'a> Chain<'a> {
    /// Begins with the record as it stands.
    pub(super) fn new(place: usize, document: &'a Document) -> Result<Self, Error> {
        let fields = document.fields()?.iter();
        Ok(Self {
            place,
            document,
            record_id: document.meta.key.to_string(),
            next: Some(document.meta.change_id),
            version: document.meta.version,
            left: document.meta.version.max(1),
            is_newest: true,
            state: Some(fields.map(|(name, text)| (name, Cow::Borrowed(text))).collect()),
        })
    }

    /// The change to be taken next; none at the end.
    pub(super) const fn next(&self) -> Option<i64> {
        self.next
    }

    /// Takes a change; the ones before it, too, if this `follows` them. False for one of another record,
    /// or none.
    pub(super) fn take(
        &mut self,
        id: i64,
        step: Option<&Option<Step>>,
        follows: bool,
        found: &mut Vec<Suspicion>,
    ) -> bool {
        let faults =
            &mut Faults { place: self.place, name: name(self.document), change: id, all: found };
        let sort = if self.is_newest { NEWEST } else { BROKEN };
        self.next = None;
        let step = match step {
            None => {
                faults.tell(sort, "is not there");
                return false;
            }
            Some(None) => {
                faults.tell(UNREADABLE, "is of no form");
                return true;
            }
            Some(Some(step)) => step,
        };
        let meta = &self.document.meta;
        if (&*step.kind, &step.record_id, step.account_id)
            != (meta.kind.name(), &self.record_id, meta.account_id)
        {
            faults.tell(sort, &format!("is of {} {}", step.kind, step.record_id));
            return false;
        }
        if step.version != self.version {
            faults.tell(sort, &format!("made version {}, not {}", step.version, self.version));
            self.version = step.version;
        }
        let Some(action) = step.action else {
            faults.tell(UNREADABLE, "did what nobody knows");
            return true;
        };
        if self.is_newest {
            if let Some(words) = wrong_times(meta, action, step.at) {
                faults.tell(sort, words);
            }
            self.is_newest = false;
        }
        if !follows || !Protection::Replay.is_on() {
            return true;
        }
        self.go_back(action, step, faults);
        let is_first = step.previous_id.is_none();
        if is_first != (action == Action::Create) || is_first && step.version != 1 {
            faults.tell(BROKEN, "is no beginning, or not the first");
        }
        self.version -= 1;
        self.left -= 1;
        if self.left <= 0 && !is_first {
            faults.tell(BROKEN, "has more changes before it than there are versions");
        } else {
            self.next = step.previous_id;
        }
        true
    }

    fn go_back(&mut self, action: Action, step: &Step, faults: &mut Faults<'_>) {
        let (Ok(before), Ok(after)) = (parse(&step.before), parse(&step.after)) else {
            faults.tell(UNREADABLE, "has fields that are none");
            self.state = None;
            return;
        };
        match (action, before, after) {
            (Action::Create, None, Some(after)) => {
                self.compare(&after, faults);
                self.compare_defaults(&after, faults);
            }
            (Action::Edit, Some(before), Some(after)) => {
                if !before.keys().eq(after.keys()) {
                    faults.tell(OTHER, "has other fields before than after");
                }
                self.compare(&after, faults);
                self.compare_counters(&before, &after, faults);
                self.put_back(&before);
            }
            (Action::Delete, Some(before), None) => {
                self.compare(&before, faults);
                if self.state.is_none() {
                    self.state = Some(self.fields_of(&before));
                }
            }
            (Action::Restore, None, Some(after)) => {
                self.compare(&after, faults);
                self.state = None;
            }
            _ => {
                faults.tell(OTHER, "lacks what it found, or what it left");
                self.state = None;
            }
        }
    }

    /// What a change told has to be what stands there; what only another release knows is passed over.
    fn compare(&self, told: &Told<'_>, faults: &mut Faults<'_>) {
        let Some(state) = &self.state else { return };
        let secrets = self.document.meta.kind.table().fields_of(Data::Secret);
        for (field, is) in state {
            if let Some(told) = told.get(*field)
                && !is_same(is, told.get(), secrets.contains(field))
            {
                faults.tell(OTHER, &format!("says otherwise of {field}"));
            }
        }
    }

    /// What the first change does not tell of was as it is by default: an older release did not know it.
    fn compare_defaults(&self, told: &Told<'_>, faults: &mut Faults<'_>) {
        let defaults = self.document.meta.kind.defaults();
        for (field, is) in self.state.iter().flatten() {
            let default = defaults.iter().find(|(name, _)| name == field);
            let is_default = match default {
                Some((_, default)) => is_same(is, default, false),
                None => ["null", "[]", "{}", "\"\"", "0", "false"].contains(&&**is),
            };
            if !told.contains_key(*field) && !is_default {
                faults.tell(OTHER, &format!("says nothing of {field}"));
            }
        }
    }

    /// What counts up never goes back.
    fn compare_counters(&self, before: &Told<'_>, after: &Told<'_>, faults: &mut Faults<'_>) {
        for field in self.document.meta.kind.table().lasting {
            let number = |told: &Told<'_>| told.get(*field)?.get().parse::<i64>().ok();
            if let (Some(before), Some(after)) = (number(before), number(after))
                && after < before
            {
                faults.tell(OTHER, &format!("counts {field} back"));
            }
        }
    }

    fn put_back(&mut self, before: &Told<'_>) {
        for (field, is) in self.state.iter_mut().flatten() {
            if let Some(was) = before.get(*field)
                && was.get() != is.as_ref()
            {
                *is = Cow::Owned(was.get().to_owned());
            }
        }
    }

    /// All fields, as a removal tells of them.
    fn fields_of(&self, before: &Told<'_>) -> Vec<(&'a str, Cow<'a, str>)> {
        let fields = self.document.fields().into_iter().flat_map(Fields::iter);
        let was = |field| before.get(field).map_or(MASK_TEXT, |was| was.get()).to_owned();
        fields.map(|(field, _)| (field, Cow::Owned(was(field)))).collect()
    }
}

fn parse(text: &str) -> Result<Option<Told<'_>>, serde_json::Error> {
    if text == "null" { Ok(None) } else { serde_json::from_str(text).map(Some) }
}

/// The times of a row that its newest change did not set.
fn wrong_times(meta: &Meta, action: Action, at: i64) -> Option<&'static str> {
    let [created, updated] = [meta.created_at, meta.updated_at].map(Timestamp::as_microsecond);
    let deleted = meta.deleted_at.map(Timestamp::as_microsecond);
    if deleted != (action == Action::Delete).then_some(at) {
        return Some("removed it, or brought it back, at another time, or never");
    }
    // What was made elsewhere, and earlier, keeps that time.
    let is_well =
        if action == Action::Create { updated == created && created <= at } else { updated == at };
    (!is_well).then_some("was made at another time")
}

/// Equal by value; a mask stands for whatever there was, but not for nothing where it hides a secret.
fn is_same(one: &str, other: &str, is_secret: bool) -> bool {
    if one == other {
        return true;
    }
    if one == MASK_TEXT || other == MASK_TEXT {
        return !is_secret || (one != "null" && other != "null");
    }
    let value = serde_json::from_str::<Value>;
    matches!((value(one), value(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_and_masks_passed_over() {
        for (one, other, is_secret, expected) in [
            ("1", "1", false, true),
            (r#"{"a":1,"b":2}"#, r#"{ "b": 2, "a": 1 }"#, false, true),
            (r#""a""#, r#""b""#, false, false),
            (MASK_TEXT, r#""b""#, false, true),
            (MASK_TEXT, r#""b""#, true, true),
            (MASK_TEXT, "null", true, false),
            ("null", MASK_TEXT, true, false),
            ("{", "[", false, false),
        ] {
            assert_eq!(is_same(one, other, is_secret), expected, "{one} {other}");
        }
    }
}
