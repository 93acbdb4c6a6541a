//! How much each account writes, and how much room there is: what one writes is not the others' disk.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Ask, Job, Pipeline};
use crate::domain::error::Error;
use crate::payer::Payer;

const MIB: u64 = 1024 * 1024;
/// An account that has written little for a while may write at once what it else may in so many seconds.
const BURST_S: u64 = 32;
/// With less room than this, bytes, nobody writes much.
const ROOM_MIN: u64 = 256 * MIB;
/// What somebody may write then, bytes.
const LITTLE: u64 = 4096;
/// How often the room is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After this long it may be worth it to try again when there is no room.
const ROOM_RETRY_S: u32 = 30;

/// Says how many bytes can still be written; nothing, where that is not known.
pub type Room = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// Meters what accounts write to history, and contents.
pub struct Meter {
    /// What an account may write for ever, bytes a second.
    rate: u64,
    /// Accounts that have written more than that of late, and by how much, bytes.
    written: Mutex<HashMap<i64, (u64, Instant)>>,
    room: Room,
    /// Whether there was little room, and when that was looked at.
    is_low: Mutex<Option<(bool, Instant)>>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl Meter {
    /// Lets an account write `mib_s` MiB a second, and as much as `room` has.
    pub fn new(mib_s: u32, room: Room) -> Self {
        let rate = u64::from(mib_s.max(1)) * MIB;
        Self { rate, written: Mutex::default(), room, is_low: Mutex::new(None) }
    }

    /// Refuses whoever has written more than there was to write.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`].
    pub fn admit(&self, account_id: i64) -> Result<(), Error> {
        self.admit_at(account_id, Instant::now())
    }

    fn admit_at(&self, account_id: i64, now: Instant) -> Result<(), Error> {
        let mut written = self.written.lock();
        let Some(left) = self.left(&mut written, account_id, now) else { return Ok(()) };
        let burst = BURST_S * self.rate;
        if left <= burst {
            return Ok(());
        }
        let seconds = (left - burst).div_ceil(self.rate);
        Err(Error::TooManyRequests { retry_after_s: seconds.try_into().unwrap_or(u32::MAX) })
    }

    /// Notes what an account wrote.
    pub fn charge(&self, account_id: i64, bytes: u64) {
        self.charge_at(account_id, bytes, Instant::now());
    }

    fn charge_at(&self, account_id: i64, bytes: u64, now: Instant) {
        let mut written = self.written.lock();
        let left = self.left(&mut written, account_id, now).unwrap_or_default();
        written.insert(account_id, (left + bytes, now));
    }

    /// What is left of what an account wrote, once what it may write in the time since is taken off; none
    /// where it is nothing, and then it is forgotten.
    fn left(
        &self,
        written: &mut HashMap<i64, (u64, Instant)>,
        account_id: i64,
        now: Instant,
    ) -> Option<u64> {
        let (bytes, at) = written.get(&account_id)?;
        let since = now.saturating_duration_since(*at).as_millis();
        let off = u64::try_from(since).unwrap_or(u64::MAX).saturating_mul(self.rate) / 1000;
        let left = bytes.saturating_sub(off);
        if left == 0 {
            written.remove(&account_id);
            return None;
        }
        Some(left)
    }

    /// Refuses what is more than a little while the disk has hardly any room.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub fn fits(&self, bytes: u64) -> Result<(), Error> {
        if bytes <= LITTLE || !self.is_low() {
            return Ok(());
        }
        Err(Error::Unavailable { retry_after_s: ROOM_RETRY_S })
    }

    fn is_low(&self) -> bool {
        let mut is_low = self.is_low.lock();
        match *is_low {
            Some((is_low, at)) if at.elapsed() < LOOK_EVERY => is_low,
            before => {
                let now = (self.room)().is_some_and(|room| room < ROOM_MIN);
                if now && before.is_none_or(|(was_low, _)| !was_low) {
                    tracing::warn!("the disk is nearly full: only small edits are taken");
                }
                *is_low = Some((now, Instant::now()));
                now
            }
        }
    }
}

impl Pipeline {
    /// The same for callers who are metered; the operator and the server's own work are not.
    #[must_use]
    pub fn metered(self, meter: Meter) -> Self {
        Self { meter: Some(Arc::new(meter)), ..self }
    }
}

impl Job {
    /// Who meters what it writes, and whose that is; none where nothing is written, or nobody meters it.
    pub(super) fn metered(&self) -> Option<(&Meter, i64)> {
        let Ask::Command { envelope, .. } = &self.ask else { return None };
        let is_metered = !envelope.is_dry_run && !envelope.actor.is_of_the_house();
        let Payer::Account(account_id) = self.payer else { return None };
        Some((self.meter.as_deref().filter(|_| is_metered)?, account_id))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn an_account_writes_its_burst_and_then_its_rate() {
        let meter = Meter::new(4, Box::new(|| None));
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        assert!(meter.admit_at(3, at(0)).is_ok());
        meter.charge_at(3, 128 * MIB, at(0));
        assert!(meter.admit_at(3, at(0)).is_ok(), "as much as that is its own");
        meter.charge_at(3, 8 * MIB, at(0));
        let refused = meter.admit_at(3, at(0));
        let is_told = matches!(refused, Err(Error::TooManyRequests { retry_after_s: 2 }));
        assert!(is_told, "8 MiB too many are two seconds");
        assert!(meter.admit_at(4, at(0)).is_ok(), "another account has its own");
        assert!(meter.admit_at(3, at(1_999)).is_err());
        assert!(meter.admit_at(3, at(2_000)).is_ok());
        assert!(meter.admit_at(3, at(60_000)).is_ok());
        assert!(meter.written.lock().is_empty(), "who is quiet costs nothing");
    }

    #[test]
    fn little_is_written_while_there_is_little_room() {
        let room = Arc::new(AtomicU64::new(ROOM_MIN - 1));
        let seen = Arc::clone(&room);
        let meter = Meter::new(4, Box::new(move || Some(seen.load(Ordering::Relaxed))));
        assert!(meter.fits(LITTLE).is_ok());
        assert!(matches!(meter.fits(LITTLE + 1), Err(Error::Unavailable { .. })));
        room.store(ROOM_MIN, Ordering::Relaxed);
        assert!(meter.fits(LITTLE + 1).is_err(), "it looks once a second");
        *meter.is_low.lock() = None;
        assert!(meter.fits(LITTLE + 1).is_ok());
        assert!(Meter::new(4, Box::new(|| None)).fits(u64::MAX).is_ok());
    }
}
