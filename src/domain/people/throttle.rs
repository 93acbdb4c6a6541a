//! How often somebody has guessed wrong lately. The count is a record: it is written with what it
//! counts, and outlives a restart. Whoever guesses at a person from where that person has signed in
//! before is counted apart from strangers.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::change::Action;
use crate::domain::command::{self, Command, Context, Decision, Write};
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Need};
use crate::domain::kind::Kind;
use crate::domain::people::network::{SUBSCRIBER, network};
use crate::domain::record::{Document, Key, Record};
use crate::domain::table::{KeyType, Table, Text, data};
use crate::domain::time::Instant;

/// How long wrong guesses are held against somebody, from the first one on.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// How far apart clocks of servers, or of one before and after it was set, are taken to be at the most.
const CLOCKS_APART: SignedDuration = SignedDuration::from_hours(24);
/// Wrong guesses of one person within [`WINDOW`]; further attempts are refused.
pub const PERSON_MAX: i64 = 10;
/// Wrong guesses from one address within [`WINDOW`]; a school may sit behind it.
pub const ADDRESS_MAX: i64 = 100;
/// From how many networks a person is known.
pub const NETWORKS_MAX: usize = 8;
/// How long a person is known from a network after a right guess.
const KNOWN_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// After how long that a right guess is worth another entry.
const KNOWN_ANEW_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// A count of wrong guesses. Its key names what was guessed and by whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Throttle {
    /// When the window began.
    pub since: Instant,
    /// Wrong guesses in it.
    pub count: i64,
    /// Of a person: the networks from which the right one came, the newest last. What is guessed from
    /// there is counted there.
    pub known: Vec<KnownNetwork>,
}

/// A network from which a person has guessed right.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KnownNetwork {
    /// By what it is known again: a keyed hash, from which nobody can tell where it is.
    pub mark: String,
    /// When the right guess came.
    pub at: Instant,
    /// Wrong guesses from there.
    pub wrong: Count,
}

/// Wrong guesses since some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Count {
    /// When the window began.
    pub since: Instant,
    /// Wrong guesses in it.
    pub count: i64,
}

impl KnownNetwork {
    fn is_over(&self, at: Timestamp) -> bool {
        self.at.checked_add(KNOWN_FOR).is_none_or(|end| end <= at.into())
    }
}

impl Throttle {
    /// The place of a network from which the person is known.
    fn place(&self, mark: Option<&str>, at: Timestamp) -> Option<usize> {
        let is_it = |known: &KnownNetwork| Some(&*known.mark) == mark && !known.is_over(at);
        self.known.iter().position(is_it)
    }

    /// The count in force at `at` of what is guessed from a network: its own where the person is known
    /// from there, else that of all strangers.
    pub fn count_of(&self, mark: Option<&str>, at: Timestamp) -> Count {
        let strangers = Count { since: self.since, count: self.count };
        let known = self.place(mark, at).and_then(|place| self.known.get(place));
        let count = known.map_or(strangers, |known| known.wrong);
        if count.is_over(at) { Count { since: at.into(), count: 0 } } else { count }
    }

    fn set(&mut self, mark: Option<&str>, at: Timestamp, count: Count) {
        let place = self.place(mark, at);
        if let Some(known) = place.and_then(|place| self.known.get_mut(place)) {
            known.wrong = count;
        } else {
            (self.since, self.count) = (count.since, count.count);
        }
    }

    /// Keeps that the person has guessed right from a network.
    fn know(&mut self, mark: &str, at: Timestamp) {
        let wrong = match self.place(Some(mark), at).and_then(|place| self.known.get(place)) {
            Some(known) => known.wrong,
            None => Count::default(),
        };
        self.known.retain(|known| known.mark != mark && !known.is_over(at));
        self.known.push(KnownNetwork { mark: mark.to_owned(), at: at.into(), wrong });
        let excess = self.known.len().saturating_sub(NETWORKS_MAX);
        self.known.drain(..excess);
    }
}

impl Count {
    /// True when its guesses are not held against anybody any more. They still are where it began
    /// later than `at`: another clock is ahead, and going back and forth between the two would make
    /// guesses free. But a clock that was wrong by days must not lock anybody out for as long.
    pub fn is_over(&self, at: Timestamp) -> bool {
        let is_after = |length| self.since.checked_add(length).is_none_or(|end| end <= at.into());
        is_after(WINDOW) || !is_after(-CLOCKS_APART)
    }
}

impl Record for Throttle {
    const KIND: Kind = Kind::Throttle;
    const TABLE: Table = Table {
        name: "throttle",
        key: KeyType::Text,
        texts: &[Text::list("known"), Text::name("known.mark")],
        data: data! {
            Plain: since, count;
            Secret: known;
        },
        ..Table::EMPTY
    };
    /// Nothing of a count can be edited, deleted or brought back: what was guessed was guessed, and
    /// who could take it back could guess for ever. [`CountGuess`] and the like write it.
    type Edit = ();

    fn settle(&mut self, before: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        match before {
            None => Ok(()),
            Some(_) => Err(in_the_way().into()),
        }
    }

    fn refuse_deletion(&self) -> Result<(), Error> {
        Err(in_the_way())
    }

    fn refuse_restore(&self) -> Result<(), Error> {
        Err(in_the_way())
    }
}

fn in_the_way() -> Error {
    Error::Conflict(vec!["count".to_owned()])
}

/// Somebody whose wrong guesses are counted, and how many are borne.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guesser {
    key: String,
    max: i64,
    network: Option<String>,
}

/// How well a person is known from a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Familiar {
    /// Not at all.
    Not,
    /// For so long that it should be kept anew.
    Long,
    /// Since a short while.
    Recently,
}

impl Guesser {
    /// A person who guesses `what`.
    pub fn person(account_id: i64, what: &str, person_id: i64) -> Self {
        let key = format!("{account_id}/{what}/person/{person_id}");
        Self { key, max: PERSON_MAX, network: None }
    }

    /// The same, from the network with this mark.
    #[must_use]
    pub fn from(self, mark: String) -> Self {
        Self { network: Some(mark), ..self }
    }

    /// An address from which `what` is guessed. The addresses of one IPv6 network, which are one
    /// subscriber's to choose from, count as one.
    pub fn address(account_id: i64, what: &str, peer: IpAddr) -> Self {
        let network = network(peer, SUBSCRIBER);
        let length = if network.is_ipv6() { "/64" } else { "" };
        let key = format!("{account_id}/{what}/address/{network}{length}");
        Self { key, max: ADDRESS_MAX, network: None }
    }

    /// Tells guessers apart.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What a decision asks for.
    pub fn need(&self) -> Need {
        Need::Record(Kind::Throttle, Key::from(self.key.as_str()))
    }

    fn throttle(&self, facts: &Facts) -> Known<(Option<Arc<Document>>, Throttle)> {
        let document = facts.document(Kind::Throttle, &Key::from(self.key.as_str()))?;
        let throttle = match &document {
            Some(document) => Throttle::clone(&document.typed::<Throttle>()?.record),
            None => Throttle::default(),
        };
        Ok((document, throttle))
    }

    /// How well the person is known from where the guess comes.
    ///
    /// # Errors
    /// [`crate::domain::facts::Stop::Missing`] until the count is loaded.
    pub fn familiar(&self, at: Timestamp, facts: &Facts) -> Known<Familiar> {
        let (_, throttle) = self.throttle(facts)?;
        let place = throttle.place(self.network.as_deref(), at);
        let Some(known) = place.and_then(|place| throttle.known.get(place)) else {
            return Ok(Familiar::Not);
        };
        let is_long = known.at.checked_add(KNOWN_ANEW_AFTER).is_none_or(|end| end <= at.into());
        Ok(if is_long { Familiar::Long } else { Familiar::Recently })
    }

    /// The count in force of what this one guesses.
    pub fn count_in(&self, throttle: &Throttle, at: Timestamp) -> Count {
        throttle.count_of(self.network.as_deref(), at)
    }

    fn written(
        &self,
        (before, throttle): (Option<Arc<Document>>, Throttle),
        context: &mut Context<'_>,
        facts: &mut Facts,
    ) -> Known<Write> {
        let Some(before) = before else {
            let key = Some(Key::from(self.key.as_str()));
            return command::make_with(key, throttle, context, facts);
        };
        let after = Document::of(before.meta.clone(), throttle);
        Ok(Write { action: Action::Edit, before: Some(before), after })
    }

    /// Refuses whoever has guessed wrong too often.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`].
    pub fn refuse_tired(&self, at: Timestamp, facts: &Facts) -> Known<()> {
        let (_, throttle) = self.throttle(facts)?;
        let Count { since, count } = self.count_in(&throttle, at);
        if count < self.max {
            return Ok(());
        }
        let end = since.checked_add(WINDOW).unwrap_or(Instant::MAX);
        let micros = end.as_microsecond() - at.as_microsecond();
        let seconds = u32::try_from((micros + 999_999).div_euclid(1_000_000)).unwrap_or(1);
        Err(Error::TooManyRequests { retry_after_s: seconds }.into())
    }

    /// Counts a guess.
    ///
    /// # Errors
    /// [`crate::domain::facts::Stop::Missing`] until the count is loaded.
    pub fn counted(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Write> {
        let (before, mut throttle) = self.throttle(facts)?;
        let Count { since, count } = self.count_in(&throttle, context.at);
        let counted = Count { since, count: count + 1 };
        throttle.set(self.network.as_deref(), context.at, counted);
        self.written((before, throttle), context, facts)
    }
}

/// Counts a guess before it is judged, where judging takes longer than a decision may: at a password.
/// The outcome is about the [`Throttle`] that it is counted in.
#[derive(Debug)]
pub struct CountGuess(pub Guesser);

impl Command for CountGuess {
    fn needs(&self) -> Vec<Need> {
        vec![self.0.need()]
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        self.0.refuse_tired(context.at, facts)?;
        Ok(Decision { writes: vec![self.0.counted(context, facts)?], ..Decision::default() })
    }
}

/// Keeps that a person has guessed right from a network.
#[derive(Debug)]
pub struct Recognise(pub Guesser);

impl Command for Recognise {
    fn needs(&self) -> Vec<Need> {
        vec![self.0.need()]
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let (before, mut throttle) = self.0.throttle(facts)?;
        let Some(mark) = &self.0.network else { return Ok(Decision::default()) };
        throttle.know(mark, context.at);
        let write = self.0.written((before, throttle), context, facts)?;
        Ok(Decision { writes: vec![write], ..Decision::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_networks_are_known_for_some_time() {
        let mut throttle = Throttle::default();
        let day = |days: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * days);
        for network in 0..=8 {
            throttle.know(&network.to_string(), day(network));
        }
        let is_known =
            |throttle: &Throttle, mark: &str, at| throttle.place(Some(mark), at).is_some();
        assert!(!is_known(&throttle, "0", day(8)), "the oldest made room");
        assert!(is_known(&throttle, "1", day(30)) && !is_known(&throttle, "1", day(31)));
        throttle.set(Some("2"), day(9), Count { since: day(9).into(), count: 7 });
        throttle.know("2", day(9));
        assert_eq!(throttle.count_of(Some("2"), day(9)).count, 7, "its guesses stay counted");
        assert!(is_known(&throttle, "2", day(38)) && throttle.known.len() == 8);
        assert_eq!(throttle.count_of(Some("3"), day(9)).count, 0);
        assert_eq!(throttle.count_of(None, day(9)).count, 0);
        throttle.know("9", day(60));
        assert_eq!(throttle.known.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn one_subscriber_is_one_guesser() {
        let key = |peer: &str| Guesser::address(3, "code", peer.parse().unwrap()).key;
        assert_eq!(key("192.0.2.7"), "3/code/address/192.0.2.7");
        assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
        assert_eq!(key("2001:db8:1:2:3::4"), "3/code/address/2001:db8:1:2::/64");
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }
}
