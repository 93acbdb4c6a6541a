//! Budgets of memory, in bytes. What is sent to the server and what it sends is held in memory for as
//! long as a stranger pleases, so it is paid for: by the account that it is for, else by the address
//! that it comes from. Most take of what is there for all, as their bytes come. When that is used up,
//! a few at a time, who take turns, get a place: room for all that one of them can still need. So
//! nobody who holds something waits for somebody who waits too.

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};
use parking_lot::Mutex;

use crate::domain::error::Error;
use crate::payer::Payer;
use crate::sabotage::Protection;
use crate::seats::{Seat, SeatRules, Seats};

/// How many may wait for a place, for one payer and in all.
const WAITING: (usize, usize) = (32, 256);

/// How much there is, bytes, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct BudgetRules {
    /// In all.
    pub all: usize,
    /// For one payer, the place included.
    pub each: usize,
    /// The most that one may need: what a place has room for.
    pub largest: usize,
    /// How many places there are.
    pub places: usize,
    /// How long a place is waited for.
    pub longest: Duration,
}

/// See the module. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Budget {
    common: Arc<Common>,
    places: Seats<Payer>,
}

#[derive(Debug)]
struct Common {
    each: usize,
    left: Mutex<Left>,
}

#[derive(Debug)]
struct Left {
    /// Less than nothing, where more had to be taken than there was.
    in_all: isize,
    taken: HashMap<Payer, usize>,
}

impl Left {
    fn take(&mut self, payer: Payer, bytes: usize) {
        self.in_all = self.in_all.saturating_sub_unsigned(bytes);
        *self.taken.entry(payer).or_default() += bytes;
    }

    fn give_back(&mut self, payer: Payer, bytes: usize) {
        self.in_all = self.in_all.saturating_add_unsigned(bytes);
        if let Some(taken) = self.taken.get_mut(&payer) {
            *taken -= bytes;
            if *taken == 0 {
                self.taken.remove(&payer);
            }
        }
    }
}

/// What one takes of a budget, until it is dropped.
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    payer: Payer,
    bytes: usize,
    place: Option<Seat<Payer>>,
}

impl Budget {
    /// A budget of which nothing is taken.
    pub fn new(rules: BudgetRules) -> Self {
        let BudgetRules { all, each, largest, places, longest } = rules;
        let (waiting_each, waiting_in_all) = WAITING;
        let rules =
            SeatRules { at_once: places, each_at_once: 1, waiting_each, waiting_in_all, longest };
        let in_all = all.saturating_sub(places * largest);
        let in_all = isize::try_from(in_all).unwrap_or(isize::MAX);
        let left = Mutex::new(Left { in_all, taken: HashMap::new() });
        let common = Common { each: each.saturating_sub(largest), left };
        Self { common: Arc::new(common), places: Seats::new(rules) }
    }

    /// Nothing yet, for `payer`.
    pub fn hold(&self, payer: Payer) -> Held {
        Held { budget: self.clone(), payer, bytes: 0, place: None }
    }
}

impl Held {
    /// Takes as much as makes it `bytes` in all, if that is there.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 || self.place.is_some() || !Protection::ByteBudgets.is_on() {
            return true;
        }
        let common = &self.budget.common;
        let mut left = common.left.lock();
        let taken = left.taken.get(&self.payer).copied().unwrap_or_default();
        if left.in_all < 0 || more > left.in_all.unsigned_abs() || taken + more > common.each {
            return false;
        }
        left.take(self.payer, more);
        self.bytes = bytes;
        true
    }

    /// The same; where it is not there, it waits for a place.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when too many wait, or it takes too long.
    pub async fn wait(&mut self, bytes: usize) -> Result<(), Error> {
        if self.grow(bytes) {
            return Ok(());
        }
        self.place = Some(self.budget.places.take(self.payer).await?);
        // The place has room for this, too.
        self.settle(0);
        Ok(())
    }

    /// Whether it has a place.
    pub const fn has_place(&self) -> bool {
        self.place.is_some()
    }

    /// Has `bytes` from now on, whether they are there or not: so much is in memory already.
    pub fn settle(&mut self, bytes: usize) {
        let had = std::mem::replace(&mut self.bytes, bytes);
        if had == bytes {
            return;
        }
        let mut left = self.budget.common.left.lock();
        if bytes > had {
            left.take(self.payer, bytes - had);
        } else {
            left.give_back(self.payer, had - bytes);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.settle(0);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt as _;

    use super::*;

    const A: Payer = Payer::Account(1);
    const B: Payer = Payer::Account(2);
    const C: Payer = Payer::Account(3);

    /// 100 bytes and two places of 50.
    fn budget() -> Budget {
        let longest = Duration::from_millis(50);
        Budget::new(BudgetRules { all: 200, each: 90, largest: 50, places: 2, longest })
    }

    #[test]
    fn what_is_common_is_shared_out_and_given_back() {
        let budget = budget();
        let (mut one, mut other) = (budget.hold(A), budget.hold(A));
        assert!(one.grow(30) && one.grow(10), "what it has is enough");
        assert!(!other.grow(11), "more than one payer may have");
        assert!(other.grow(10));
        let (mut second, mut third) = (budget.hold(B), budget.hold(C));
        assert!(second.grow(40));
        assert!(!third.grow(21), "more than there is");
        assert!(third.grow(20));
        drop(one);
        assert!(third.grow(40));
        drop((other, second, third));
        let left = budget.common.left.lock();
        assert!(left.in_all == 100 && left.taken.is_empty());
    }

    #[tokio::test]
    async fn who_holds_much_goes_on_one_at_a_time() {
        let budget = budget();
        let (mut first, mut second) = (budget.hold(A), budget.hold(A));
        assert!(first.grow(20) && second.grow(20));
        first.wait(21).await.unwrap();
        // What it held is there for others of its payer, and it needs nobody's leave any more.
        assert!(first.grow(50) && second.grow(40));
        let mut waiting = Box::pin(second.wait(41));
        assert!(waiting.as_mut().now_or_never().is_none(), "one place for each");
        let mut other = budget.hold(B);
        other.wait(41).now_or_never().expect("a place of its own").unwrap();
        drop(first);
        waiting.now_or_never().expect("its turn").unwrap();
        let mut third = budget.hold(A);
        assert!(third.wait(41).await.is_err(), "it took too long");
    }

    #[tokio::test]
    async fn what_is_there_already_is_charged_for_though_it_be_too_much() {
        let budget = budget();
        let mut one = budget.hold(A);
        one.settle(150);
        let mut other = budget.hold(B);
        assert!(!other.grow(1));
        drop(one);
        assert!(other.grow(40));
        assert_eq!(budget.common.left.lock().in_all, 60);
    }

    #[test]
    fn an_address_of_ipv6_is_its_network() {
        let payer = |text: &str| Payer::stranger(text.parse().unwrap());
        assert_eq!(payer("2001:db8:1:2::3"), payer("2001:db8:1:ffff::1"));
        assert_ne!(payer("2001:db8:1::1"), payer("2001:db8:2::1"));
        let mapped = payer("::ffff:192.0.2.1");
        assert_eq!(mapped, Payer::Address(Ipv4Addr::new(192, 0, 2, 1).into()));
        assert_ne!(payer("192.0.2.1"), payer("192.0.2.2"));
    }
}
