//! Seats at something that few can use at once. Whoever waits for one takes turns with those of other
//! keys (an account, an address), and no key has them all.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::domain::error::Error;
use crate::turns::{Bounds, May, Turns};

/// How many seats there are, and who may wait for them.
#[derive(Clone, Copy, Debug)]
pub struct SeatRules {
    /// Seats in all.
    pub at_once: usize,
    /// Seats that one key may have.
    pub each_at_once: usize,
    /// How many may wait for one key.
    pub waiting_each: usize,
    /// How many may wait in all.
    pub waiting_in_all: usize,
    /// How long a seat is waited for.
    pub longest: Duration,
}

/// See the module. Cloning shares them.
#[derive(Debug)]
pub struct Seats<K: Clone + Eq + Hash> {
    shared: Arc<Mutex<Shared<K>>>,
    longest: Duration,
    at_once: usize,
}

#[derive(Debug)]
struct Shared<K: Clone + Eq + Hash> {
    places: Places<K>,
    waiting: Turns<K, oneshot::Sender<Seat<K>>>,
}

#[derive(Debug)]
struct Places<K> {
    free: usize,
    each: usize,
    by_key: HashMap<K, usize>,
}

/// A seat of one key's, until it is dropped.
#[derive(Debug)]
pub struct Seat<K: Clone + Eq + Hash> {
    of: Arc<Mutex<Shared<K>>>,
    key: K,
    is_given_back: bool,
}

impl<K: Clone + Eq + Hash> Clone for Seats<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), ..*self }
    }
}

impl<K: Clone + Eq + Hash> Seats<K> {
    /// Seats that nobody has.
    pub fn new(rules: SeatRules) -> Self {
        let SeatRules { at_once, each_at_once, waiting_each, waiting_in_all, longest } = rules;
        let bounds = Bounds {
            each: waiting_each,
            each_weight: usize::MAX,
            in_all: waiting_in_all,
            weight: usize::MAX,
            quantum: 1,
        };
        let each = each_at_once.min(at_once);
        let places = Places { free: at_once, each, by_key: HashMap::new() };
        let shared = Arc::new(Mutex::new(Shared { places, waiting: Turns::new(bounds) }));
        Self { shared, longest, at_once }
    }

    /// How many seats there are in all.
    pub const fn at_once(&self) -> usize {
        self.at_once
    }

    /// Waits for a seat.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when too many wait, or it takes too long.
    pub async fn take(&self, key: K) -> Result<Seat<K>, Error> {
        let unavailable = Error::Unavailable { retry_after_s: 1 };
        let (sender, mut seat) = oneshot::channel();
        {
            let mut shared = self.shared.lock();
            let waiting = &mut shared.waiting;
            if let Err(sender) = waiting.push(key.clone(), 1, sender) {
                // Those who gave up still have a place.
                waiting.take_if(oneshot::Sender::is_closed);
                waiting.push(key, 1, sender).map_err(|_| unavailable.clone())?;
            }
            shared.call(&self.shared);
        }
        // Most need not wait, and then set no clock.
        if let Ok(seat) = seat.try_recv() {
            return Ok(seat);
        }
        let waiting = tokio::time::timeout(self.longest, seat).await;
        waiting.ok().and_then(Result::ok).ok_or(unavailable)
    }
}

impl<K: Clone + Eq + Hash> Places<K> {
    fn of(&self, key: &K) -> usize {
        self.by_key.get(key).copied().unwrap_or(0)
    }

    fn take(&mut self, key: &K) {
        self.free -= 1;
        *self.by_key.entry(key.clone()).or_default() += 1;
    }

    fn give_back(&mut self, key: &K) {
        self.free += 1;
        if let Some(taken) = self.by_key.get_mut(key) {
            *taken -= 1;
            if *taken == 0 {
                self.by_key.remove(key);
            }
        }
    }
}

impl<K: Clone + Eq + Hash> Shared<K> {
    /// Gives free seats to those whose turn it is.
    fn call(&mut self, of: &Arc<Mutex<Self>>) {
        let Self { places, waiting } = self;
        loop {
            let next = waiting.next(|key, _| match places.free {
                _ if places.of(key) == places.each => May::Skip,
                0 => May::Stop,
                _ => May::Go,
            });
            let Some((key, sender)) = next else { return };
            places.take(&key);
            let seat = Seat { of: Arc::clone(of), key, is_given_back: false };
            // Of one that gave up it is taken back here: dropped, it would wait for this lock.
            if let Err(mut seat) = sender.send(seat) {
                places.give_back(&seat.key);
                seat.is_given_back = true;
            }
        }
    }
}

impl<K: Clone + Eq + Hash> Drop for Seat<K> {
    fn drop(&mut self) {
        if !self.is_given_back {
            let mut shared = self.of.lock();
            shared.places.give_back(&self.key);
            shared.call(&self.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn seats(at_once: usize, each_at_once: usize) -> Seats<char> {
        let longest = Duration::from_millis(200);
        Seats::new(SeatRules { at_once, each_at_once, waiting_each: 2, waiting_in_all: 3, longest })
    }

    #[tokio::test]
    async fn no_key_has_them_all_and_all_take_turns() {
        let seats = seats(3, 2);
        let (first, second) = (seats.take('a').await.unwrap(), seats.take('a').await.unwrap());
        let mut third = Box::pin(seats.take('a'));
        assert!(third.as_mut().now_or_never().is_none(), "two at once for one key");
        let other = seats.take('b').now_or_never().expect("a seat is free").unwrap();
        let mut fourth = Box::pin(seats.take('a'));
        assert!(fourth.as_mut().now_or_never().is_none());
        let full = seats.take('a').now_or_never().expect("two may wait");
        assert!(matches!(full, Err(Error::Unavailable { .. })));
        let mut fifth = Box::pin(seats.take('b'));
        assert!(fifth.as_mut().now_or_never().is_none(), "none is free");
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "a's turn was passed over");
        drop(fifth.now_or_never().expect("a seat was given back").unwrap());
        drop(second);
        let third = third.now_or_never().expect("a seat was given back").unwrap();
        let fourth = fourth.now_or_never().expect("another was free").unwrap();
        drop((third, fourth, other));
    }

    #[tokio::test]
    async fn who_gives_up_takes_nobodys_place() {
        let seats = seats(1, 1);
        let first = seats.take('a').await.unwrap();
        for _ in 0..10 {
            let mut given_up = Box::pin(seats.take('b'));
            assert!(given_up.as_mut().now_or_never().is_none());
        }
        let late = seats.take('c').await;
        assert!(matches!(late, Err(Error::Unavailable { .. })), "it took too long");
        let mut next = Box::pin(seats.take('d'));
        assert!(next.as_mut().now_or_never().is_none());
        drop(first);
        assert!(next.now_or_never().is_some_and(|seat| seat.is_ok()));
        assert!(seats.take('e').now_or_never().is_some_and(|seat| seat.is_ok()));
        let shared = seats.shared.lock();
        assert!(shared.places.free == 1 && shared.places.by_key.is_empty());
    }
}
