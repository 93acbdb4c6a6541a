//! Connections: how many there may be, and who has to go when they are too many. An address may have as
//! many as it likes while there is room, since behind a proxy all callers have one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use foldhash::HashMap;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::payer::Payer;

/// Connections at the same time, where nothing else is said.
pub const MAX: usize = 4096;
/// Descriptors that are left for everything else.
const OTHERS: u64 = 256;
/// What stands for a connection on which a request is being served.
const BUSY: u64 = u64::MAX;

/// All connections.
#[derive(Debug)]
pub struct Connections {
    max: usize,
    seats: Arc<Semaphore>,
    begun: Instant,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    count: usize,
    next: u64,
    by_address: HashMap<Payer, HashMap<u64, Arc<Line>>>,
}

/// What is known of one.
#[derive(Debug)]
struct Line {
    /// Since when it rests, without a whole request, milliseconds; or [`BUSY`].
    rests_since: AtomicU64,
    cut_off: Notify,
}

/// A connection's place among all, until it is dropped.
#[derive(Debug)]
pub struct Place {
    of: Arc<Connections>,
    address: Payer,
    id: u64,
    line: Arc<Line>,
    _seat: OwnedSemaphorePermit,
}

impl Connections {
    /// None yet, and `wanted` at the most, as far as this process may have descriptors: it is given all
    /// that it may ask for.
    pub fn new(wanted: usize) -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        let soft = limit.current;
        limit.current = limit.maximum;
        let had = if setrlimit(Resource::Nofile, limit).is_ok() { limit.maximum } else { soft };
        let room = had.map_or(usize::MAX, |had| {
            usize::try_from(had.saturating_sub(OTHERS)).unwrap_or(usize::MAX)
        });
        let max = wanted.min(room).max(1);
        if max < wanted {
            tracing::warn!(connections = max, wanted, "too few file descriptors (ulimit -n)");
        }
        let (seats, lines) = (Arc::new(Semaphore::new(max)), Mutex::default());
        Self { max, seats, begun: Instant::now(), lines }
    }

    /// Waits until there may be another one.
    pub async fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).acquire_owned().await.ok()
    }

    /// Takes one in. From three quarters of all on, another has to go for it: of the address that has
    /// the most, the one that has rested for longest.
    pub fn take_in(self: &Arc<Self>, address: Payer, seat: OwnedSemaphorePermit) -> Place {
        let line = Arc::new(Line { rests_since: self.now().into(), cut_off: Notify::new() });
        let mut lines = self.lines.lock();
        if lines.count >= self.max / 4 * 3 {
            lines.cut_one_off();
        }
        lines.count += 1;
        lines.next += 1;
        let id = lines.next;
        lines.by_address.entry(address).or_default().insert(id, Arc::clone(&line));
        Place { of: Arc::clone(self), address, id, line, _seat: seat }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(BUSY - 1)
    }
}

impl Lines {
    fn cut_one_off(&mut self) {
        let most = self.by_address.values_mut().max_by_key(|lines| lines.len());
        let Some(lines) = most else { return };
        let since = |line: &Arc<Line>| line.rests_since.load(Ordering::Relaxed);
        let longest = lines.iter().min_by_key(|(_, line)| since(line));
        let Some((id, line)) = longest.filter(|(_, line)| since(line) != BUSY) else { return };
        let id = *id;
        line.cut_off.notify_one();
        // It is on its way out, and not to be chosen again.
        lines.remove(&id);
        self.count -= 1;
    }
}

impl Place {
    /// Resolves when it has to go.
    pub async fn cut_off(&self) {
        self.line.cut_off.notified().await;
    }

    /// What notes when a whole request has come and when it is answered.
    pub fn guest(&self) -> Guest {
        Guest { of: Arc::clone(&self.of), line: Arc::clone(&self.line) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.of.lines.lock();
        let Some(own) = lines.by_address.get_mut(&self.address) else { return };
        let was_there = own.remove(&self.id).is_some();
        if own.is_empty() {
            lines.by_address.remove(&self.address);
        }
        lines.count -= usize::from(was_there);
    }
}

/// Notes which of a connection's times are rest.
#[derive(Clone, Debug)]
pub struct Guest {
    of: Arc<Connections>,
    line: Arc<Line>,
}

impl Guest {
    /// A whole request has come.
    pub fn is_served(&self) {
        self.line.rests_since.store(BUSY, Ordering::Relaxed);
    }

    /// It rests from when all of `body` has left.
    pub fn until_sent(self, body: Body) -> Body {
        Body::new(Sent { body, guest: self })
    }

    fn rests(&self) {
        self.line.rests_since.store(self.of.now(), Ordering::Relaxed);
    }
}

/// A body that says when it is gone.
struct Sent {
    body: Body,
    guest: Guest,
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.guest.rests();
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn address(last: u8) -> Payer {
        Payer::stranger(std::net::Ipv4Addr::new(192, 0, 2, last).into())
    }

    async fn take_in(all: &Arc<Connections>, last: u8) -> Place {
        let seat = all.seat().await.unwrap();
        let place = all.take_in(address(last), seat);
        // Each has rested for another time.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        place
    }

    fn has_to_go(place: &Place) -> bool {
        place.cut_off().now_or_never().is_some()
    }

    #[tokio::test]
    async fn the_address_with_the_most_gives_way_with_what_rests_longest() {
        let all = Arc::new(Connections::new(8));
        let few = take_in(&all, 1).await;
        let mut many = Vec::new();
        for _ in 0..5 {
            many.push(take_in(&all, 2).await);
        }
        assert!(!many.iter().any(has_to_go), "there is room");
        // What is being served stays, and so does what was a moment ago.
        many[0].guest().is_served();
        many[1].guest().is_served();
        many[1].guest().rests();
        let next = take_in(&all, 3).await;
        assert_eq!(many.iter().position(has_to_go), Some(2));
        let another = take_in(&all, 3).await;
        assert_eq!(many.iter().position(has_to_go), Some(3));
        assert!(![&few, &next, &another].into_iter().any(has_to_go));
        drop((few, many, next, another));
        let lines = all.lines.lock();
        assert!(lines.count == 0 && lines.by_address.is_empty());
        assert_eq!(all.seats.available_permits(), 8);
    }

    #[tokio::test]
    async fn nobody_is_cut_off_in_the_middle() {
        let all = Arc::new(Connections::new(4));
        let mut served = Vec::new();
        for _ in 0..4 {
            let place = take_in(&all, 1).await;
            place.guest().is_served();
            served.push(place);
        }
        assert!(!served.iter().any(has_to_go));
        assert!(all.seat().now_or_never().is_none(), "no more than there may be");
    }
}
