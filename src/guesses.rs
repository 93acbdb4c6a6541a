//! Guesses that may be judged: each was counted against its person beforehand. One that turned out
//! right is none; it stays with this server and serves the person's next one, for as long as it would
//! be held against anybody.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::app::Clock;
use crate::domain::error::Error;
use crate::domain::people::throttle::Throttle;

/// Guesses at one person's password that are judged at once; so many at the most stay with a server.
const AT_ONCE: usize = 2;
/// How long a turn is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Doors after which it is looked for the first time whether they are still in use.
const DOORS: usize = 1024;

/// The guesses of all people at one server.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<Doors>);

#[derive(Debug, Default)]
struct Doors {
    by_name: HashMap<String, Arc<Door>>,
    swept_at: usize,
}

/// Where one person's guesses wait for their turns.
#[derive(Debug)]
struct Door {
    turns: Arc<Semaphore>,
    /// The counts that hold guesses which were not used up.
    kept: Mutex<Vec<Throttle>>,
}

/// A turn at judging one person's password.
#[derive(Debug)]
pub struct Turn {
    door: Arc<Door>,
    /// The count that holds the guess of this turn; none where nothing may be judged.
    pub guess: Option<Throttle>,
    _place: OwnedSemaphorePermit,
}

impl Guesses {
    /// Waits for a turn at `door`. Its guess is one that was kept there, if any was.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when too many wait.
    pub async fn turn(&self, door: String, clock: &Clock) -> Result<Turn, Error> {
        let door = self.0.lock().find(door, clock.now());
        let waiting = timeout(PATIENCE, Arc::clone(&door.turns).acquire_owned());
        let place = waiting.await.map_err(|_| Error::Unavailable { retry_after_s: 1 })?;
        let place = place.map_err(Error::internal)?;
        let guess = {
            let mut kept = door.kept.lock();
            kept.retain(|count| !count.is_over(clock.now()));
            kept.pop()
        };
        Ok(Turn { door, guess, _place: place })
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
        let new =
            || Arc::new(Door { turns: Arc::new(Semaphore::new(AT_ONCE)), kept: Mutex::default() });
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
        let turn = async || guesses.turn("a".to_owned(), &clock).await.unwrap();
        let (mut one, other) = (turn().await, turn().await);
        assert!((&one.guess, &other.guess) == (&None, &None));
        let mut third = Box::pin(turn());
        assert!(third.as_mut().now_or_never().is_none(), "two at once");
        let count = Throttle { since: clock.now().into(), count: 1 };
        one.guess = Some(count.clone());
        drop(one);
        let third = third.await;
        assert_eq!(third.guess, Some(count.clone()));
        assert_eq!(guesses.turn("b".to_owned(), &clock).await.unwrap().guess, None, "another's");
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
        kept.kept.lock().push(Throttle { since: at.into(), count: 1 });
        drop(kept);
        let _used = doors.find("used".to_owned(), at);
        for n in 0..3 * DOORS {
            doors.find(n.to_string(), at);
        }
        assert!(doors.by_name.len() <= DOORS, "{}", doors.by_name.len());
        assert!(["kept", "used"].iter().all(|name| doors.by_name.contains_key(*name)));
    }
}
