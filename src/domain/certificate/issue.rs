//! Issuing certificates of one form to many people: one command, all of them or none. Source:
//! Kolleges, "인증서 발급".

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Number;
use sha2::{Digest as _, Sha256};

use super::achievement::{Achievement, CustomAttribute, IssuanceMethod, IssuanceRoute};
use super::form::Form;
use crate::domain::access::{Place, Right};
use crate::domain::command::{self, Command, Context, Decision, Write, amend, make_with, permit};
use crate::domain::delivery::message::Channel;
use crate::domain::delivery::outbox::{Occasion, Outbox};
use crate::domain::error::{Error, FieldErrors};
use crate::domain::facts::{Facts, Known, Need, Selector, Sequence};
use crate::domain::kind::Kind;
use crate::domain::people::account::Account;
use crate::domain::people::known::KnownBy;
use crate::domain::people::person::{Person, fold};
use crate::domain::record::{Document, Key, Record};
use crate::domain::text::ITEMS_MAX;

/// Recipients of one command at the most.
pub const RECIPIENTS_MAX: usize = 10_000;
/// With more recipients than this, others do not wait for the command.
const LARGE: usize = 50;
/// The first part of a number whose form has no prefix.
const PREFIX: &str = "CERT";
/// Bytes of the other names of one person at about the most: what a search looks at.
const OTHER_NAMES_MAX: usize = 30_000;
/// What the last part of a number is made of.
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// How long that part is.
const DRAWN: usize = 6;
/// Bytes from here on are drawn again, so that every letter is as likely as the next.
const FAIR: u8 = 252;

/// Who gets a certificate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recipient {
    /// The name that it is made out to.
    pub name: String,
    /// Where e-mail reaches them.
    pub email: Option<String>,
    /// Where text messages reach them.
    pub phone: Option<String>,
    /// The administrator's note.
    pub admin_comment: Option<String>,
    /// A number that the club gives meaning to.
    pub level: Option<Number>,
    /// Values of the club's own attributes.
    pub custom_attributes: Vec<CustomAttribute>,
}

impl Recipient {
    /// The rules that are broken by what is said of them.
    ///
    /// # Errors
    /// [`Error::Internal`] when that has no JSON form.
    pub fn broken(&self) -> Result<FieldErrors, Error> {
        let achievement = Achievement {
            admin_comment: self.admin_comment.clone(),
            level: self.level.clone(),
            custom_attributes: self.custom_attributes.clone(),
            ..Achievement::default()
        };
        let mut broken = command::broken_alone(None, &self.person())?;
        broken.extend(command::broken_alone(Some(&Achievement::default()), &achievement)?);
        Ok(broken)
    }

    /// Who they are, where nobody knows them.
    fn person(&self) -> Person {
        Person {
            name: self.name.clone(),
            email: self.email.clone(),
            phone: self.phone.clone(),
            ..Person::default()
        }
    }
}

/// Issues one certificate to each recipient, who must have an e-mail or a phone, as the method has it.
/// Whoever has it already is the holder, the oldest where several have it; for all others a person is
/// made.
#[derive(Debug)]
pub struct Issue {
    form_id: i64,
    method: IssuanceMethod,
    recipients: Vec<Recipient>,
    /// What tells the holders.
    outbox: Outbox,
    /// What numbers are drawn from: the same however often the decision begins anew.
    seed: OnceLock<[u8; 32]>,
}

impl Issue {
    /// Certificates of a form for `recipients`, of whom there is at least one.
    pub const fn new(
        form_id: i64,
        method: IssuanceMethod,
        recipients: Vec<Recipient>,
        outbox: Outbox,
    ) -> Self {
        Self { form_id, method, recipients, outbox, seed: OnceLock::new() }
    }

    const fn channel(&self) -> Channel {
        match self.method {
            IssuanceMethod::Email => Channel::Email,
            IssuanceMethod::Phone => Channel::Phone,
        }
    }

    fn contact<'a>(&self, recipient: &'a Recipient) -> Option<&'a str> {
        match self.method {
            IssuanceMethod::Email => recipient.email.as_deref(),
            IssuanceMethod::Phone => recipient.phone.as_deref(),
        }
    }

    fn known_by(&self, recipient: &Recipient) -> KnownBy {
        let contact = self.contact(recipient).unwrap_or_default();
        match self.method {
            IssuanceMethod::Email => KnownBy::email(contact),
            IssuanceMethod::Phone => KnownBy::phone(contact),
        }
    }

    /// The numbers, one for each recipient, none of them taken.
    fn numbers(
        &self,
        prefix: &str,
        context: &mut Context<'_>,
        facts: &Facts,
    ) -> Known<Vec<String>> {
        let seed = self.seed.get_or_init(|| {
            let mut seed = [0; 32];
            context.entropy.fill(&mut seed);
            seed
        });
        let mut draws = Draws { seed, block: 0, bytes: Vec::new() };
        let head = format!("{prefix}-{}-", month(context.at));
        let mut taken_here = HashSet::with_capacity(self.recipients.len());
        let mut next = || {
            loop {
                let number = format!("{head}{}", draws.draw());
                if taken_here.insert(number.clone()) {
                    break number;
                }
            }
        };
        let mut numbers: Vec<String> = self.recipients.iter().map(|_| next()).collect();
        let mut doubtful: Vec<usize> = (0..numbers.len()).collect();
        while !doubtful.is_empty() {
            let selectors = doubtful.iter().filter_map(|at| numbers.get(*at)).map(|number| {
                let (kind, column) = (Kind::Achievement, "certificate_number");
                Selector { kind, column, value: Key::from(number.as_str()) }
            });
            let taken = facts.taken(selectors)?;
            doubtful =
                doubtful.into_iter().zip(taken).filter(|(_, t)| *t).map(|(at, _)| at).collect();
            for at in &doubtful {
                if let Some(number) = numbers.get_mut(*at) {
                    *number = next();
                }
            }
        }
        Ok(numbers)
    }
}

/// The month of a number, `YYYYMM`, UTC.
fn month(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::UTC);
    format!("{:04}{:02}", at.year(), at.month())
}

/// Letters and digits without end from one seed.
struct Draws<'a> {
    seed: &'a [u8; 32],
    block: u64,
    bytes: Vec<u8>,
}

impl Draws<'_> {
    fn draw(&mut self) -> String {
        let mut drawn = String::with_capacity(DRAWN);
        while drawn.len() < DRAWN {
            let Some(byte) = self.bytes.pop() else {
                let mut hash = Sha256::new_with_prefix(self.seed);
                hash.update(self.block.to_be_bytes());
                self.bytes.extend(hash.finalize());
                self.block += 1;
                continue;
            };
            if byte < FAIR
                && let Some(letter) = ALPHABET.get(usize::from(byte) % ALPHABET.len())
            {
                drawn.push(char::from(*letter));
            }
        }
        drawn
    }
}

/// Somebody who is to hold certificates.
struct Holder {
    /// As stored; absent for a new person.
    known: Option<Arc<Document>>,
    person: Person,
    /// The person's other names, folded, once there is one more.
    names: Option<HashSet<String>>,
    /// The id, once it is known.
    id: i64,
}

impl Holder {
    /// The name to note on a certificate made out to `name`, where the person is known by another.
    fn name_on(&mut self, name: &str) -> Option<String> {
        if fold(&self.person.name) == fold(name) {
            return None;
        }
        let others = &mut self.person.other_names;
        let known = self.names.get_or_insert_with(|| others.iter().map(|it| fold(it)).collect());
        // Whoever stands for a whole school is not found by each name that it ever was given.
        let has_room = others.len() < ITEMS_MAX
            && others.iter().map(String::len).sum::<usize>() < OTHER_NAMES_MAX;
        if has_room && known.insert(fold(name)) {
            others.push(name.to_owned());
        }
        Some(name.to_owned())
    }
}

impl Command for Issue {
    fn needs(&self) -> Vec<Need> {
        vec![Need::Record(Kind::Form, Key::Int(self.form_id))]
    }

    fn is_large(&self) -> bool {
        self.recipients.len() > LARGE
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let account_id = context.actor.account_id;
        permit(context.actor, Right::Create, Kind::Achievement, &Place::Account)?;
        let form = facts.get::<Form>(account_id, self.form_id)?;
        let club = facts.get::<Account>(account_id, account_id)?;

        let keys: Vec<KnownBy> = self.recipients.iter().map(|one| self.known_by(one)).collect();
        let unique: HashSet<&KnownBy> = keys.iter().collect();
        facts.want_selections(unique.iter().map(|key| key.selector()))?;
        let prefix = form.record.prefix.as_deref().unwrap_or(PREFIX);
        let numbers = self.numbers(prefix, context, facts)?;

        let mut holders: Vec<Holder> = Vec::with_capacity(unique.len());
        let mut by_key: HashMap<&KnownBy, usize> = HashMap::with_capacity(unique.len());
        let mut held = Vec::with_capacity(keys.len());
        for (recipient, key) in self.recipients.iter().zip(&keys) {
            let at = if let Some(at) = by_key.get(key) {
                *at
            } else {
                let (known, person) = key.find_or(account_id, || recipient.person(), facts)?;
                let id = known.as_ref().and_then(|known| known.meta.key.as_int());
                let id = id.unwrap_or_default();
                holders.push(Holder { known, person, names: None, id });
                by_key.insert(key, holders.len() - 1);
                holders.len() - 1
            };
            let name = holders.get_mut(at).and_then(|holder| holder.name_on(&recipient.name));
            held.push((at, name));
        }
        let strangers = holders.iter().filter(|holder| holder.known.is_none()).count();
        let is_stranger =
            |at: &usize| holders.get(*at).is_some_and(|holder| holder.known.is_none());
        let sought = by_key.iter().filter(|(_, at)| is_stranger(at));
        let sought = sought.map(|(key, _)| key.selector()).collect();
        // Each row written has a change.
        facts.want_ids(&[
            (Sequence::Record(Kind::Person), strangers),
            (Sequence::Record(Kind::Achievement), keys.len()),
            (Sequence::Record(Kind::Message), keys.len()),
            (Sequence::Change, holders.len() + 2 * keys.len()),
        ])?;

        let subject = facts.document(Kind::Form, &form.meta.key)?;
        let mut writes: Vec<Write> = Vec::with_capacity(holders.len() + 2 * keys.len());
        for holder in &mut holders {
            let person = std::mem::take(&mut holder.person);
            if let Some(known) = &holder.known {
                writes.extend(amend(Arc::clone(known), person, context, facts)?);
            } else {
                let key = Person::new_key(context, facts)?;
                holder.id = key.as_int().unwrap_or_default();
                writes.push(make_with(Some(key), person, context, facts)?);
            }
        }
        for ((recipient, number), (at, holder_name)) in
            self.recipients.iter().zip(numbers).zip(held)
        {
            let achievement = Achievement {
                form_id: self.form_id,
                person_id: holders.get(at).map_or(0, |holder| holder.id),
                holder_name,
                certificate_number: number,
                issued_at: context.at.into(),
                course_begin_at: form.record.course_begin_at,
                course_end_at: form.record.course_end_at,
                admin_comment: recipient.admin_comment.clone(),
                level: recipient.level.clone(),
                issuance_route: IssuanceRoute::Automatic,
                issuance_method: self.method,
                custom_attributes: recipient.custom_attributes.clone(),
                ..Achievement::default()
            };
            let key = Achievement::new_key(context, facts)?;
            let occasion = Occasion {
                achievement_id: key.as_int().unwrap_or_default(),
                achievement: &achievement,
                form: &form.record,
                club: &club.record,
                holder_name: &recipient.name,
                channel: self.channel(),
                recipient: self.contact(recipient).unwrap_or_default(),
            };
            let message = self.outbox.message(&occasion, context);
            // The right to issue includes telling of it, so no other right is asked.
            writes.push(command::make(message, context, facts)?);
            writes.push(make_with(Some(key), achievement, context, facts)?);
        }
        Ok(Decision { subject, writes, sought, ..Decision::default() })
    }
}
