//! A code that lets people into a class. Source: the partner API, "invite-codes".

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::class::Class;
use crate::domain::access::{Place, Right};
use crate::domain::command::{self, Command, Context, Create, Decision, Entropy, permit};
use crate::domain::error::{Error, FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known, Need};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::record::{Changed, Key, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Unique, data};
use crate::domain::text::NAME_MAX;
use crate::domain::time::Instant;

/// What codes are made of: letters and digits that nobody takes for one another.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// The length of a code.
pub const CODE_LENGTH: usize = 6;
/// No code is for more uses: the largest 32-bit number.
const MAX_USES_MAX: i64 = 2_147_483_647;
/// How many codes are tried until one is free.
const TRIES: usize = 5;

names! {
    /// What the partner made of a code.
    #[derive(Default)]
    pub enum InviteStatus {
        /// Works, until its end.
        #[default]
        Active = "active",
        /// Does not work: over.
        Expired = "expired",
        /// Does not work: used up, or turned off.
        Disabled = "disabled",
    }
}

/// An invite code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InviteCode {
    /// Whose class it opens.
    pub partner_id: i64,
    /// The class.
    pub class_id: i64,
    /// Six characters, unique in the account.
    pub code: String,
    /// What a redeemer becomes: `student`.
    pub target_role: String,
    /// Until when it works; for ever, if absent.
    pub expires_at: Option<Instant>,
    /// How often it works; without limit, if absent.
    pub max_uses: Option<i64>,
    /// How often it has worked.
    pub used_count: i64,
    /// As last set; see [`InviteCode::effective_status`].
    pub status: InviteStatus,
    /// The partner who made it.
    pub created_by: Option<i64>,
}

edit! {
    /// An edit of an invite code.
    InviteCodeEdit for InviteCode {
        expires_at: Instant => clears,
        max_uses: i64 => clears,
        status: InviteStatus => or(InviteStatus::Active),
    }
}

impl InviteCode {
    /// A code for a class, made by its partner.
    pub fn new(partner_id: i64, class_id: i64, code: impl Into<String>) -> Self {
        Self {
            partner_id,
            class_id,
            code: code.into(),
            target_role: "student".to_owned(),
            created_by: Some(partner_id),
            ..Self::default()
        }
    }

    /// The status that holds at `at`: an active code past its end shows as expired. At its very end
    /// it still works.
    pub fn effective_status(&self, at: Timestamp) -> InviteStatus {
        match self.status {
            InviteStatus::Active if self.expires_at.is_some_and(|end| end < at.into()) => {
                InviteStatus::Expired
            }
            status => status,
        }
    }

    /// True when it lets somebody in at `at`.
    pub fn works(&self, at: Timestamp) -> bool {
        self.effective_status(at) == InviteStatus::Active
            && self.max_uses.is_none_or(|max| self.used_count < max)
    }

    /// Counts a use; the last one turns the code off.
    pub fn count_use(&mut self) {
        self.used_count += 1;
        if self.max_uses.is_some_and(|max| self.used_count >= max) {
            self.status = InviteStatus::Disabled;
        }
    }
}

/// What was typed, as codes are kept: without blanks around it, in upper case. None when no code is
/// of its length.
pub fn normalise(typed: &str) -> Option<String> {
    let code = typed.trim().to_uppercase();
    let is_code = typed.chars().count() <= NAME_MAX && code.chars().count() == CODE_LENGTH;
    is_code.then_some(code)
}

/// The same for a code that is to be made: of the alphabet's characters only.
pub fn normalise_new(typed: &str) -> Option<String> {
    normalise(typed).filter(|code| code.bytes().all(|byte| ALPHABET.contains(&byte)))
}

/// A code to be made: the caller's own, or the first of these that is free. Drawn before the
/// decision, which may run more than once.
#[derive(Clone, Debug)]
pub enum NewCode {
    /// This one.
    Given(String),
    /// One of these.
    Drawn(Vec<String>),
}

impl NewCode {
    /// Draws codes at random.
    pub fn draw(entropy: &mut impl Entropy) -> Self {
        let mut bytes = [0; CODE_LENGTH * TRIES];
        entropy.fill(&mut bytes);
        // 256 is a multiple of 32: no character is likelier than another.
        let characters: String = bytes
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()))
            .map(|byte| char::from(*byte))
            .collect();
        let codes =
            (0..TRIES).filter_map(|n| characters.get(n * CODE_LENGTH..(n + 1) * CODE_LENGTH));
        Self::Drawn(codes.map(str::to_owned).collect())
    }

    /// The code, and that it is free.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is taken.
    pub fn free(&self, account_id: i64, facts: &Facts) -> Known<String> {
        let codes = match self {
            Self::Given(code) => std::slice::from_ref(code),
            Self::Drawn(codes) => codes,
        };
        for code in codes {
            if facts.select::<InviteCode>(account_id, "code", code.as_str())?.is_empty() {
                return Ok(code.clone());
            }
        }
        Err(Error::Conflict(vec!["code".to_owned()]).into())
    }
}

impl Record for InviteCode {
    const KIND: Kind = Kind::InviteCode;
    const TABLE: Table = Table {
        name: "invite_code",
        key: KeyType::Int,
        columns: &[
            Column::names("partner_id", Kind::Partner, Gone::Refuses),
            Column::names("class_id", Kind::Class, Gone::Ends),
            Column::text("code"),
            Column::text("status"),
            Column::instant("expires_at"),
        ],
        unique: &[Unique::live(&["code"], "code")],
        texts: &[Text::name("code"), Text::name("target_role")],
        data: data! {
            Plain: partner_id, class_id, code, target_role, expires_at, max_uses, used_count,
                status, created_by;
        },
        lasting: &["used_count"],
        // The last use turns a code off.
        follows_lasting: &["status"],
        ..Table::EMPTY
    };
    type Edit = InviteCodeEdit;

    fn place(&self, _: &Meta, _: &mut Facts) -> Known<Place> {
        Ok(Place::Partner(self.partner_id))
    }

    fn broken(&self, _: &Meta, _: &mut Facts) -> Known<FieldErrors> {
        let is_overused = self.max_uses.is_some_and(|max| max < self.used_count);
        let detail = "max_uses is less than used_count";
        let error = || FieldError::new("max_uses", "max_uses_below_used_count", detail);
        Ok(is_overused.then(error).into_iter().collect())
    }

    fn validate(&self, meta: &Meta, changed: &Changed, facts: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        if changed.any(&["max_uses", "used_count"]) {
            errors.extend(self.broken(meta, facts)?);
        }
        if changed.has("max_uses") && self.max_uses.is_some_and(|max| max > MAX_USES_MAX) {
            let detail = format!("must be at most {MAX_USES_MAX}");
            errors.push(FieldError::new("max_uses", "max_uses_out_of_range", detail));
        }
        Ok(errors)
    }
}

/// Makes a code for a class of the caller's.
#[derive(Debug)]
pub struct CreateInviteCode {
    /// The class.
    pub class_id: i64,
    /// The code.
    pub code: NewCode,
    /// See [`InviteCode::expires_at`].
    pub expires_at: Option<Instant>,
    /// See [`InviteCode::max_uses`].
    pub max_uses: Option<i64>,
}

impl Command for CreateInviteCode {
    fn needs(&self) -> Vec<Need> {
        vec![Need::Record(Kind::Class, Key::Int(self.class_id))]
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let account_id = context.actor.account_id;
        let class = command::read::<Class>(context.actor, self.class_id, facts)?;
        let code = self.code.free(account_id, facts)?;
        let record = InviteCode {
            expires_at: self.expires_at,
            max_uses: self.max_uses,
            ..InviteCode::new(class.record.partner_id, class.id(), code)
        };
        Create::new(record).decide(context, facts)
    }
}

/// The code `id`, where the caller may see it and it is of the class.
///
/// # Errors
/// [`Error::NotFound`].
pub fn of_class(
    context: &Context<'_>,
    id: i64,
    class_id: i64,
    facts: &mut Facts,
) -> Known<crate::domain::record::Stored<InviteCode>> {
    let class = facts.get::<Class>(context.actor.account_id, class_id)?;
    let place = class.record.place(&class.meta, facts)?;
    permit(context.actor, Right::Read, Kind::Class, &place)?;
    let code = facts.get::<InviteCode>(context.actor.account_id, id)?;
    if code.record.class_id != class_id {
        return Err(Error::NotFound(Kind::InviteCode).into());
    }
    Ok(code)
}

/// Edits or deletes a code of a class.
#[derive(Debug)]
pub struct OfClass<C> {
    /// The class that it must be of.
    pub class_id: i64,
    /// Which.
    pub id: i64,
    /// What to do with it.
    pub command: C,
}

impl<C: Command> Command for OfClass<C> {
    fn needs(&self) -> Vec<Need> {
        self.command.needs()
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        of_class(context, self.id, self.class_id, facts)?;
        self.command.decide(context, facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        assert_eq!(normalise(" abc234 ").as_deref(), Some("ABC234"));
        assert_eq!(normalise("АВС234").as_deref(), Some("АВС234"), "Cyrillic finds nothing");
        for typed in ["", "ABC", "ABC2345", "ABC 234"] {
            assert_eq!(normalise(typed), None, "{typed}");
        }
        assert_eq!(normalise_new("abc234").as_deref(), Some("ABC234"));
        for typed in ["ABCI34", "ABCO34", "ABC134", "ABC034", "АВС234", "ABC-34", "한글한글한글"]
        {
            assert_eq!(normalise_new(typed), None, "{typed}");
        }
    }

    #[test]
    fn a_drawn_code_could_have_been_given() {
        struct Counting(u8);
        impl Entropy for Counting {
            fn fill(&mut self, bytes: &mut [u8]) {
                for byte in bytes {
                    self.0 = self.0.wrapping_mul(77).wrapping_add(41);
                    *byte = self.0;
                }
            }
        }
        let drawn = NewCode::draw(&mut Counting(1));
        let NewCode::Drawn(codes) = drawn else { unreachable!("they were drawn") };
        assert_eq!(codes.len(), TRIES);
        for code in codes {
            assert_eq!(normalise_new(&code), Some(code));
        }
    }

    #[test]
    fn a_code_works_until_its_last_use_and_its_last_instant() {
        let at = Timestamp::UNIX_EPOCH;
        let mut code = InviteCode::new(7, 11, "ABC234");
        assert!(code.works(at));
        code.expires_at = Some(at.into());
        assert!(code.works(at));
        assert!(!code.works(at + jiff::SignedDuration::from_micros(1)));
        code.max_uses = Some(2);
        code.count_use();
        assert!(code.works(at));
        code.count_use();
        assert_eq!((code.used_count, code.status), (2, InviteStatus::Disabled));
        assert!(!code.works(at));
    }
}
