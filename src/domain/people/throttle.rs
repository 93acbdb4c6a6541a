//! How often somebody has guessed wrong lately. The count is a record: it is written with what it
//! counts, and outlives a restart.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::change::Action;
use crate::domain::command::{self, Command, Context, Decision, Write};
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Need};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key, Record};
use crate::domain::table::{KeyType, Table, data};
use crate::domain::time::Instant;

/// How long wrong guesses are held against somebody, from the first one on.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// How far apart clocks of servers, or of one before and after it was set, are taken to be at the most.
const CLOCKS_APART: SignedDuration = SignedDuration::from_hours(24);
/// Wrong guesses of one person within [`WINDOW`]; further attempts are refused.
pub const PERSON_MAX: i64 = 10;
/// Wrong guesses from one address within [`WINDOW`]; a school may sit behind it.
pub const ADDRESS_MAX: i64 = 100;

/// A count of wrong guesses. Its key names what was guessed and by whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Throttle {
    /// When the window began.
    pub since: Instant,
    /// Wrong guesses in it.
    pub count: i64,
}

impl Throttle {
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
        data: data! {
            Plain: since, count;
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
}

impl Guesser {
    /// A person who guesses `what`.
    pub fn person(account_id: i64, what: &str, person_id: i64) -> Self {
        let key = format!("{account_id}/{what}/person/{person_id}");
        Self { key, max: PERSON_MAX }
    }

    /// An address from which `what` is guessed. The addresses of one IPv6 network, which are one
    /// subscriber's to choose from, count as one.
    pub fn address(account_id: i64, what: &str, peer: IpAddr) -> Self {
        let network = match peer.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        };
        let key = format!("{account_id}/{what}/address/{network}");
        Self { key, max: ADDRESS_MAX }
    }

    /// Tells guessers apart.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What a decision asks for.
    pub fn need(&self) -> Need {
        Need::Record(Kind::Throttle, Key::from(self.key.as_str()))
    }

    /// The count in force at `at`, with its document.
    fn count(&self, at: Timestamp, facts: &Facts) -> Known<(Option<Arc<Document>>, Throttle)> {
        let document = facts.document(Kind::Throttle, &Key::from(self.key.as_str()))?;
        let mut throttle = match &document {
            Some(document) => Throttle::clone(&document.typed::<Throttle>()?.record),
            None => Throttle::default(),
        };
        if throttle.is_over(at) {
            throttle = Throttle { since: at.into(), count: 0 };
        }
        Ok((document, throttle))
    }

    /// Refuses whoever has guessed wrong too often.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`].
    pub fn refuse_tired(&self, at: Timestamp, facts: &Facts) -> Known<()> {
        let (_, throttle) = self.count(at, facts)?;
        if throttle.count < self.max {
            return Ok(());
        }
        let end = throttle.since.checked_add(WINDOW).unwrap_or(Instant::MAX);
        let micros = end.as_microsecond() - at.as_microsecond();
        let seconds = u32::try_from((micros + 999_999).div_euclid(1_000_000)).unwrap_or(1);
        Err(Error::TooManyRequests { retry_after_s: seconds }.into())
    }

    /// Counts a guess.
    ///
    /// # Errors
    /// [`crate::domain::facts::Stop::Missing`] until the count is loaded.
    pub fn counted(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Write> {
        let (before, mut throttle) = self.count(context.at, facts)?;
        throttle.count += 1;
        let Some(before) = before else {
            let key = Some(Key::from(self.key.as_str()));
            return command::make_with(key, throttle, context, facts);
        };
        let after = Document::of(before.meta.clone(), throttle);
        Ok(Write { action: Action::Edit, before: Some(before), after })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscriber_is_one_guesser() {
        let key = |peer: &str| Guesser::address(3, "code", peer.parse().unwrap()).key;
        assert_eq!(key("192.0.2.7"), "3/code/address/192.0.2.7");
        assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
        assert_eq!(key("2001:db8:1:2:3::4"), "3/code/address/2001:db8:1:2::/64");
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }
}
