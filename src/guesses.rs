//! Guesses that may be judged: each was counted against its person beforehand. One that turned out
//! right is none; it stays with this server and serves the person's next one, for as long as it would
//! be held against anybody.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::app::Clock;
use crate::domain::error::Error;
use crate::domain::people::throttle::Count;
use crate::seats::{Seat, SeatRules, Seats};

/// Guesses at one person's password that are judged at once; so many at the most stay with a server. And
/// passwords of all people that are checked at once: each check takes a core and 19 MiB for tens of
/// milliseconds. Those who wait take turns by the network that they come from.
const RULES: SeatRules = SeatRules {
    at_once: 2,
    each_at_once: 2,
    waiting_each: 4,
    waiting_in_all: 256,
    longest: Duration::from_secs(5),
};
/// Doors after which it is looked for the first time whether they are still in use.
const DOORS: usize = 1024;

/// The guesses of all people at one server.
#[derive(Debug)]
pub struct Guesses {
    doors: Mutex<Doors>,
    checks: Seats<IpAddr>,
}

impl Default for Guesses {
    fn default() -> Self {
        Self { doors: Mutex::default(), checks: Seats::new(RULES) }
    }
}

#[derive(Debug, Default)]
struct Doors {
    by_name: HashMap<String, Arc<Door>>,
    swept_at: usize,
}

/// Where one person's guesses wait for their turns.
#[derive(Debug)]
struct Door {
    turns: Seats<IpAddr>,
    /// The counts that hold guesses which were not used up.
    kept: Mutex<Vec<Count>>,
}

/// A turn at judging one person's password.
#[derive(Debug)]
pub struct Turn {
    door: Arc<Door>,
    /// The count that holds the guess of this turn; none where nothing may be judged.
    pub guess: Option<Count>,
    _place: Seat<IpAddr>,
}

impl Guesses {
    /// Waits for a turn at `door`. Its guess is one that was kept there, if any was.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when too many wait.
    pub async fn turn(&self, door: String, network: IpAddr, clock: &Clock) -> Result<Turn, Error> {
        let door = self.doors.lock().find(door, clock.now());
        let place = door.turns.take(network).await?;
        let guess = {
            let mut kept = door.kept.lock();
            kept.retain(|count| !count.is_over(clock.now()));
            kept.pop()
        };
        Ok(Turn { door, guess, _place: place })
    }

    /// Waits until a password may be checked, whosever it is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when too many wait.
    pub async fn check(&self, network: IpAddr) -> Result<Seat<IpAddr>, Error> {
        self.checks.take(network).await
    }
}

impl Doors {
    fn find(&mut self, name: String, at: Timestamp) -> Arc<Door> {
        if self.by_name.len() >= self.swept_at {
            self.by_name.retain(|_, door| {
                Arc::strong_count(door) > 1
                    || door.kept.lock().iter().any(|count| !count.is_over(at))
            });
            self.swept_at = DOORS.max(2 * self.by_name.len());
        }
        let new = || Arc::new(Door { turns: Seats::new(RULES), kept: Mutex::default() });
        Arc::clone(self.by_name.entry(name).or_insert_with(new))
    }
}

impl Turn {
    /// Ends it after a wrong guess.
    pub fn spend(mut self) {
        self.guess = None;
    }
}

/// A guess that was not used up is kept.
impl Drop for Turn {
    fn drop(&mut self) {
        self.door.kept.lock().extend(self.guess.take());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use jiff::SignedDuration;

    use super::*;

    #[tokio::test]
    async fn a_guess_is_kept_until_it_is_used_up_or_over() {
        let (guesses, clock) = (Guesses::default(), Clock::frozen(Timestamp::UNIX_EPOCH));
        let from = |last| IpAddr::from([192, 0, 2, last]);
        let turn = async || guesses.turn("a".to_owned(), from(1), &clock).await.unwrap();
        let (mut one, other) = (turn().await, turn().await);
        assert!((&one.guess, &other.guess) == (&None, &None));
        let mut third = Box::pin(turn());
        assert!(third.as_mut().now_or_never().is_none(), "two at once");
        let count = Count { since: clock.now().into(), count: 1 };
        one.guess = Some(count);
        drop(one);
        let third = third.await;
        assert_eq!(third.guess, Some(count));
        assert_eq!(
            guesses.turn("b".to_owned(), from(1), &clock).await.unwrap().guess,
            None,
            "another's"
        );
        third.spend();
        drop(other);
        let mut fourth = turn().await;
        assert_eq!(fourth.guess, None);
        fourth.guess = Some(count);
        drop(fourth);
        clock.advance(SignedDuration::from_mins(1));
        assert_eq!(turn().await.guess, None);
    }

    #[test]
    fn doors_that_nobody_uses_are_forgotten() {
        let mut doors = Doors::default();
        let at = Timestamp::UNIX_EPOCH;
        let kept = doors.find("kept".to_owned(), at);
        kept.kept.lock().push(Count { since: at.into(), count: 1 });
        drop(kept);
        let _used = doors.find("used".to_owned(), at);
        for n in 0..3 * DOORS {
            doors.find(n.to_string(), at);
        }
        assert!(doors.by_name.len() <= DOORS, "{}", doors.by_name.len());
        assert!(["kept", "used"].iter().all(|name| doors.by_name.contains_key(*name)));
    }
}
