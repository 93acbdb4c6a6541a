//! A class (강의) that a partner teaches. Source of its edit: the partner API, "강의 수정".

use std::collections::HashSet;
use std::sync::LazyLock;

use jiff::tz::TimeZoneDatabase;
use serde::{Deserialize, Serialize};

use super::invite_code::{InviteCode, NewCode};
use super::model::Model;
use crate::domain::access::Place;
use crate::domain::command::{self, Command, Context, Create, Decision};
use crate::domain::error::{Error, FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::learning::course::Course;
use crate::domain::names::names;
use crate::domain::patch::{EditOf as _, Patch, edit};
use crate::domain::record::{Changed, Key, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, data};
use crate::domain::text::{NAME_MAX, URL_MAX};
use crate::domain::time::Instant;

/// More people are in no class: the largest 32-bit number.
const CAPACITY_MAX: i64 = 2_147_483_647;
/// The detail of an `unknown_model` error begins so; the ids follow, ascending, with commas.
pub const UNKNOWN_MODELS: &str = "not in the catalogue: ";

/// The zones that come with the program: the same on every machine.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

names! {
    /// Where a class is in its life. Set by hand, in any direction.
    #[derive(Default)]
    pub enum ClassStatus {
        /// Not begun.
        #[default]
        Planned = "planned",
        /// Running.
        Active = "active",
        /// Over.
        Ended = "ended",
    }
}

/// Which rules an edit of a class keeps to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// All of them.
    #[default]
    All,
    /// Those that the vendor has too: everything goes that can be kept.
    Vendors,
}

/// A class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Class {
    /// Who teaches it.
    pub partner_id: i64,
    /// The course it belongs to.
    pub course_id: Option<i64>,
    /// What people call it.
    pub name: String,
    /// Where it is in its life.
    pub status: ClassStatus,
    /// What it is about.
    pub description: Option<String>,
    /// When it starts.
    pub start_at: Option<Instant>,
    /// When it ends.
    pub end_at: Option<Instant>,
    /// How many may be in it; without limit, if absent.
    pub capacity: Option<i64>,
    /// IANA name, for display.
    pub timezone: String,
    /// The place.
    pub location: Option<String>,
    /// The meeting's address.
    pub online_url: Option<String>,
    /// Only by invitation.
    pub invite_only: bool,
    /// The model that students get first.
    pub primary_model_id: Option<i64>,
    /// The models that students may use.
    pub allowed_model_ids: Vec<i64>,
    /// See [`ClassEdit::rules`]; not kept.
    #[serde(skip)]
    pub rules: Rules,
}

edit! {
    /// An edit of a class. The partner is fixed.
    ClassEdit for Class {
        name: String => or(String::new()),
        status: ClassStatus => or(ClassStatus::Planned),
        description: String => clears,
        start_at: Instant => clears,
        end_at: Instant => clears,
        capacity: i64 => clears,
        timezone: String => or("UTC".to_owned()),
        location: String => clears,
        online_url: String => clears,
        invite_only: bool => or(false),
        course_id: i64 => clears,
        primary_model_id: i64 => clears,
        allowed_model_ids: Vec<i64> => or(Vec::new()),
    } beside {
        /// What the result is judged by.
        rules: Rules,
    }
}

impl Record for Class {
    const KIND: Kind = Kind::Class;
    const TABLE: Table = Table {
        name: "class",
        key: KeyType::Int,
        columns: &[
            Column::names("partner_id", Kind::Partner, Gone::Refuses),
            Column::names("course_id", Kind::Course, Gone::Clears),
            Column::names("primary_model_id", Kind::Model, Gone::Clears),
            Column::text("status"),
        ],
        texts: &[
            // The contract knows no limit of a name; this is the longest text that there is.
            Text::prose("name"),
            Text::prose("description"),
            Text::line("location"),
            Text::name("timezone").valid(NAME_MAX, "invalid_timezone"),
            Text::url("online_url").valid(URL_MAX, "invalid_online_url"),
            Text::list("allowed_model_ids"),
        ],
        data: data! {
            Free: name, description, location, online_url;
            Plain: partner_id, course_id, status, start_at, end_at, capacity, timezone, invite_only,
                primary_model_id, allowed_model_ids;
        },
        ..Table::EMPTY
    };
    const NAMES_IN_BODY: &'static [(Kind, Gone)] = &[(Kind::Model, Gone::Clears)];
    type Edit = ClassEdit;

    fn apply(&mut self, edit: &ClassEdit) {
        edit.apply_to(self);
        self.rules = edit.rules;
        // Clearing the list means no model at all; a primary one would come back into it.
        if edit.allowed_model_ids == Patch::Null && edit.primary_model_id.value().is_none() {
            self.primary_model_id = None;
        }
    }

    fn settle(&mut self, before: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        if before.is_none_or(|before| {
            before.primary_model_id != self.primary_model_id
                || before.allowed_model_ids != self.allowed_model_ids
        }) {
            self.settle_models();
        }
        Ok(())
    }

    fn place(&self, _: &Meta, _: &mut Facts) -> Known<Place> {
        Ok(Place::Partner(self.partner_id))
    }

    fn validate(&self, meta: &Meta, changed: &Changed, facts: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        let mut refuse = |field, code, detail: &str| {
            errors.push(FieldError::new(field, code, detail));
        };
        if self.rules == Rules::All {
            self.refuse_senseless(changed, &mut refuse);
        }
        let least = if self.rules == Rules::All { 0 } else { -CAPACITY_MAX - 1 };
        if changed.has("capacity")
            && self.capacity.is_some_and(|capacity| !(least..=CAPACITY_MAX).contains(&capacity))
        {
            refuse(
                "capacity",
                "capacity_out_of_range",
                &format!("must be {least} to {CAPACITY_MAX}"),
            );
        }
        if changed.has("course_id")
            && let Some(id) = self.course_id
            && facts
                .find::<Course>(meta.account_id, id)?
                .is_none_or(|course| course.record.course_key.is_none())
        {
            refuse("course_id", "course_not_found", "no such course");
        }
        if changed.any(&["primary_model_id", "allowed_model_ids"])
            && !self.allowed_model_ids.is_empty()
        {
            let known = facts.find_all::<Model>(meta.account_id, &self.allowed_model_ids)?;
            let known: HashSet<i64> = known.iter().map(crate::domain::record::Stored::id).collect();
            let mut unknown: Vec<i64> =
                self.allowed_model_ids.iter().filter(|id| !known.contains(id)).copied().collect();
            unknown.sort_unstable();
            if !unknown.is_empty() {
                let ids: Vec<_> = unknown.iter().map(ToString::to_string).collect();
                let detail = format!("{UNKNOWN_MODELS}{}", ids.join(", "));
                refuse("allowed_model_ids", "unknown_model", &detail);
            }
        }
        Ok(errors)
    }

    fn without(mut self, named: &(Kind, Key)) -> Result<Self, Error> {
        match named {
            (Kind::Course, _) => self.course_id = None,
            (Kind::Model, Key::Int(id)) => {
                self.allowed_model_ids.retain(|allowed| allowed != id);
                self.primary_model_id = self.primary_model_id.filter(|primary| primary != id);
            }
            _ => {}
        }
        Ok(self)
    }

    fn named_in_body(&self) -> Vec<(Kind, Key)> {
        self.allowed_model_ids.iter().map(|id| (Kind::Model, Key::Int(*id))).collect()
    }
}

impl Class {
    /// The rules that keep a class from meaning nothing, none of which the vendor has.
    fn refuse_senseless(
        &self,
        changed: &Changed,
        refuse: &mut impl FnMut(&'static str, &'static str, &str),
    ) {
        if changed.has("name") && self.name.trim().is_empty() {
            refuse("name", "name_required", "must not be blank");
        }
        if changed.has("timezone") && !is_zone(&self.timezone) {
            refuse("timezone", "invalid_timezone", "must be the IANA name of a time zone");
        }
        if changed.has("online_url") && !self.online_url.as_deref().is_none_or(is_meeting_url) {
            refuse(
                "online_url",
                "invalid_online_url",
                "must be empty or an http or https address of at most 2048 characters",
            );
        }
        if changed.any(&["start_at", "end_at"])
            && let (Some(start), Some(end)) = (self.start_at, self.end_at)
            && end < start
        {
            refuse("end_at", "end_at_not_after_start_at", "end_at is before start_at");
        }
    }

    /// Brings the models into their normal form: the list holds each model once and the primary one
    /// too, at its end if it was not there; without a primary one, the first of the list is it.
    fn settle_models(&mut self) {
        let mut seen = HashSet::new();
        self.allowed_model_ids.retain(|id| seen.insert(*id));
        match self.primary_model_id {
            None => self.primary_model_id = self.allowed_model_ids.first().copied(),
            Some(primary) if !seen.contains(&primary) => self.allowed_model_ids.push(primary),
            Some(_) => {}
        }
    }
}

/// Makes a class and its first invite code.
#[derive(Debug)]
pub struct CreateClass {
    /// The class.
    pub class: Class,
    /// The code.
    pub code: NewCode,
}

impl Command for CreateClass {
    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let mut decision = Create::new(self.class.clone()).decide(context, facts)?;
        let made = decision.writes.first().and_then(|write| write.after.meta.key.as_int());
        let code = self.code.free(context.actor.account_id, facts)?;
        let code = InviteCode::new(self.class.partner_id, made.unwrap_or_default(), code);
        decision.writes.push(command::make(code, context, facts)?);
        Ok(decision)
    }
}

/// True for a name or link of the IANA database, letter by letter.
fn is_zone(name: &str) -> bool {
    ZONES.get(name).is_ok_and(|zone| zone.iana_name() == Some(name))
}

/// True for nothing and for an absolute web address, as it stands.
fn is_meeting_url(text: &str) -> bool {
    // The parser mends what people type; an address is taken only if there is nothing to mend.
    let has_host = ["http://", "https://"].iter().any(|scheme| {
        let (start, host) = text.split_at_checked(scheme.len()).unwrap_or_default();
        start.eq_ignore_ascii_case(scheme) && !host.starts_with(['/', '\\'])
    });
    text.is_empty()
        || (has_host
            && text.chars().count() <= URL_MAX
            && !text.chars().any(|c| c.is_whitespace() || c.is_control() || "\\<>\"".contains(c))
            && url::Url::parse(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settled(primary: Option<i64>, allowed: &[i64]) -> (Option<i64>, Vec<i64>) {
        let mut class = Class {
            primary_model_id: primary,
            allowed_model_ids: allowed.to_vec(),
            ..Class::default()
        };
        class.settle_models();
        (class.primary_model_id, class.allowed_model_ids)
    }

    #[test]
    fn models_settle() {
        for (primary, allowed, expected) in [
            (None, &[][..], (None, vec![])),
            (None, &[2, 3], (Some(2), vec![2, 3])),
            (Some(1), &[], (Some(1), vec![1])),
            (Some(1), &[2, 3], (Some(1), vec![2, 3, 1])),
            (Some(3), &[1, 2], (Some(3), vec![1, 2, 3])),
            (Some(2), &[1, 2], (Some(2), vec![1, 2])),
            (None, &[2, 2, 3, 1, 3], (Some(2), vec![2, 3, 1])),
        ] {
            assert_eq!(settled(primary, allowed), expected);
        }
    }

    proptest! {
        #[test]
        fn settled_models_stay(primary: Option<i64>, allowed: Vec<i64>) {
            let (primary, allowed) = settled(primary, &allowed);
            prop_assert!(primary.is_none_or(|primary| allowed.contains(&primary)));
            prop_assert_eq!(settled(primary, &allowed), (primary, allowed));
        }
    }

    #[test]
    fn zones() {
        for name in ["UTC", "Asia/Seoul", "America/Argentina/Buenos_Aires", "Asia/Calcutta"] {
            assert!(is_zone(name), "{name}");
        }
        for name in
            ["", "Mars/X", "asia/seoul", "utc", " UTC", "+09:00", "../UTC", "Asia/", "UTC\0"]
        {
            assert!(!is_zone(name), "{name}");
        }
    }

    #[test]
    fn meeting_urls() {
        for url in
            ["", "https://meet.example.com/ai?x=1#y", "HTTP://한국.example/방", "http://[::1]:80"]
        {
            assert!(is_meeting_url(url), "{url}");
        }
        let long = format!("https://example.com/{}", "a".repeat(URL_MAX));
        for url in [
            " ",
            "not a url",
            "example.com",
            "//example.com",
            "https://",
            "https:example.com",
            "http:///path",
            "ftp://example.com",
            "javascript:alert(1)",
            " https://example.com",
            "https://example.com/a b",
            "https://example.com/\n",
            "https://example.com\0",
            "https://x\\@y",
            "https://example.com/a\\b",
            "https://example.com/<a>",
            "https://example.com/?a=\"",
            &long,
        ] {
            assert!(!is_meeting_url(url), "{url}");
        }
    }
}
