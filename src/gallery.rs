//! Pictures that are being looked at: each is in memory once, however many look and however slowly, and
//! stays there for others as long as nobody needs the room.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt as _};
use parking_lot::Mutex;

use crate::budget::{Budget, Held};
use crate::domain::error::Error;
use crate::payer::Payer;
use crate::seats::{SeatRules, Seats};

/// How pictures are fetched: one at once for an account, so that those who want the same one find it.
const FETCHING: SeatRules = SeatRules {
    at_once: 4,
    each_at_once: 1,
    waiting_each: 1024,
    waiting_in_all: 4096,
    longest: Duration::from_secs(5),
};
/// What a picture is charged at the least, bytes: what is around it, and that there are not too many.
const LEAST: usize = 16 * 1024;

/// See the module. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Gallery {
    budget: Budget,
    fetching: Seats<i64>,
    hung: Arc<Mutex<Hung>>,
}

#[derive(Debug)]
struct Hung {
    pictures: HashMap<String, Picture>,
    /// Counts looks, to tell who was looked at last.
    looks: u64,
}

#[derive(Debug)]
struct Picture {
    /// As long as anybody looks.
    shown: Weak<Content>,
    /// None where nobody else would have room beside it.
    kept: Option<Arc<Content>>,
    looked_at: u64,
}

/// Dropped when nobody looks any more and nobody kept it.
#[derive(Debug)]
struct Content {
    bytes: Bytes,
    _held: Held,
}

/// One look at a picture.
struct Look(Arc<Content>);

impl AsRef<[u8]> for Look {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Gallery {
    /// One with room for what `budget` allows.
    pub fn new(budget: Budget) -> Self {
        let hung = Hung { pictures: HashMap::new(), looks: 0 };
        Self { budget, fetching: Seats::new(FETCHING), hung: Arc::new(Mutex::new(hung)) }
    }

    /// The picture with this hash, an account's of so many bytes. Where it is not here it is fetched.
    ///
    /// # Errors
    /// Those of `fetch`, and [`Error::Unavailable`] when the account's pictures take all the memory
    /// that they may.
    pub async fn look(
        &self,
        hash: &str,
        (account_id, size): (i64, usize),
        fetch: impl Future<Output = Result<Bytes, Error>>,
    ) -> Result<Bytes, Error> {
        if let Some(bytes) = self.hung.lock().look(hash) {
            return Ok(bytes);
        }
        let _seat = self.fetching.take(account_id).await?;
        if let Some(bytes) = self.hung.lock().look(hash) {
            return Ok(bytes);
        }
        let size = size.max(LEAST);
        let mut held = self.budget.hold(Payer::Account(account_id));
        while !held.grow(size) && self.hung.lock().take_one_down() {}
        held.wait(size).await?;
        let bytes = fetch.await?;
        let is_kept = !held.has_place();
        let content = Arc::new(Content { bytes, _held: held });
        Ok(self.hung.lock().hang(hash, content, is_kept))
    }
}

impl Hung {
    fn look(&mut self, hash: &str) -> Option<Bytes> {
        self.looks += 1;
        let picture = self.pictures.get_mut(hash)?;
        picture.looked_at = self.looks;
        picture.shown.upgrade().map(|content| Bytes::from_owner(Look(content)))
    }

    fn hang(&mut self, hash: &str, content: Arc<Content>, is_kept: bool) -> Bytes {
        self.pictures.retain(|_, picture| picture.shown.strong_count() > 0);
        let picture = Picture {
            shown: Arc::downgrade(&content),
            kept: is_kept.then(|| Arc::clone(&content)),
            looked_at: self.looks,
        };
        self.pictures.insert(hash.to_owned(), picture);
        Bytes::from_owner(Look(content))
    }

    /// Takes down the one that nobody has looked at for longest, if nobody does now; false when there
    /// is none.
    fn take_one_down(&mut self) -> bool {
        let idle = self.pictures.values_mut().filter(|picture| {
            picture.kept.as_ref().is_some_and(|content| Arc::strong_count(content) == 1)
        });
        let longest = idle.min_by_key(|picture| picture.looked_at);
        longest.is_some_and(|picture| picture.kept.take().is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::budget::BudgetRules;

    const PICTURE: usize = 100_000;

    /// Room for five, three of them one account's, and a place.
    fn gallery() -> Gallery {
        let longest = Duration::from_millis(100);
        let all = 6 * PICTURE;
        let rules = BudgetRules { all, each: 4 * PICTURE, largest: PICTURE, places: 1, longest };
        Gallery::new(Budget::new(rules))
    }

    async fn look(
        gallery: &Gallery,
        account: i64,
        hash: &str,
        fetched: &AtomicUsize,
    ) -> Option<Bytes> {
        let fetch = async {
            fetched.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(Bytes::from(vec![0; PICTURE]))
        };
        gallery.look(hash, (account, PICTURE), fetch).await.ok()
    }

    #[tokio::test]
    async fn a_picture_is_fetched_once_and_stays_while_there_is_room() {
        let (gallery, fetched) = (gallery(), AtomicUsize::new(0));
        let many = (0..50).map(|_| look(&gallery, 1, "a", &fetched));
        let shown = futures_util::future::join_all(many).await;
        let first = shown[0].as_ref().unwrap();
        assert!(shown.iter().all(|bytes| bytes.as_ref().unwrap().as_ptr() == first.as_ptr()));
        assert_eq!(fetched.load(Ordering::Relaxed), 1);
        drop(shown);
        for hash in ["a", "b", "c", "a", "d", "a"] {
            assert!(look(&gallery, 1, hash, &fetched).await.is_some());
        }
        assert_eq!(fetched.load(Ordering::Relaxed), 4, "b had to go for d");
        assert!(look(&gallery, 1, "b", &fetched).await.is_some());
        assert_eq!(fetched.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn who_looks_at_many_for_long_is_in_nobody_elses_way() {
        let (gallery, fetched) = (gallery(), AtomicUsize::new(0));
        let mut shown = Vec::new();
        for hash in ["a", "b", "c", "d"] {
            shown.push(look(&gallery, 1, hash, &fetched).await.expect("room, and a place"));
        }
        assert!(look(&gallery, 1, "e", &fetched).await.is_none());
        for hash in ["f", "g", "h"] {
            assert!(look(&gallery, 2, hash, &fetched).await.is_some(), "{hash}");
        }
        shown.pop();
        assert!(look(&gallery, 1, "e", &fetched).await.is_some());
    }
}
