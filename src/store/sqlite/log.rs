//! The log, which holds commits that are not in the file yet, and its way there.

use std::fs::File;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;

/// A log of more pages than this is copied into the file and begun anew, in place: a file that grows
/// costs every flush an entry in the file system's own journal.
const PAGES_MIN: i64 = 24_000;
/// So much of a large file's length its log may have instead, up to [`PAGES_MAX`]. Of a page that changes
/// again before a copy only the last state is copied, and neighbours reach the disk in one piece; while
/// the file is flushed, a flush of the log takes ten times as long.
const FILE_PART: i64 = 6;
/// No log is to be longer: after a crash it is read whole before anybody is served.
const PAGES_MAX: i64 = 96_000;
/// The writer begins it anew when no more pages than this are still to be copied, for everybody waits
/// meanwhile.
const PAGES_LEFT_MAX: i64 = 1_000;
/// The same where it is twice as long as it may be: the copies do not keep up with who writes.
const PAGES_LEFT_LATE: i64 = 10_000;
/// Where somebody who reads for long stands in the way of that, the writer goes on and tries again so many
/// pages later: it never waits for a reader, however long the log becomes.
const PAGES_BETWEEN_TRIES: i64 = 6_000;
/// A log of so many pages is worth a warning, and then each time that it has doubled.
const PAGES_WORRYING: i64 = 240_000;
/// Bytes of a page in the file, and in the log.
const PAGE: i64 = 4_096;
const FRAME: i64 = PAGE + 24;

/// Copies the log into the file; gives how many of its pages are there then, and nothing where another
/// connection stood in the way of what `mode` asks for.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let is_held_up: bool = row.get(0)?;
        if is_held_up { Ok(None) } else { row.get(2).map(Some) }
    })
}

/// How far the log has come.
#[derive(Debug)]
pub(super) struct Log {
    /// How many pages it may have.
    limit: AtomicI64,
    /// Held by who copies it or begins it anew.
    turn: parking_lot::Mutex<()>,
    /// Pages in it after the last commit.
    pages: AtomicI64,
    /// How many of them are in the file, and on the disk there.
    copied: AtomicI64,
    /// The writer does not try to begin it anew before it has more pages than this.
    next_try: AtomicI64,
    /// How many pages the last warning was about.
    warned: AtomicI64,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            limit: AtomicI64::new(PAGES_MIN),
            turn: parking_lot::Mutex::default(),
            pages: AtomicI64::default(),
            copied: AtomicI64::default(),
            next_try: AtomicI64::default(),
            warned: AtomicI64::default(),
        }
    }

    /// To be told now and then how long the file is, bytes.
    pub(super) fn fit_to(&self, file_bytes: u64) {
        let part = i64::try_from(file_bytes).unwrap_or(i64::MAX) / PAGE / FILE_PART;
        self.limit.store(part.clamp(PAGES_MIN, PAGES_MAX), Ordering::Relaxed);
    }

    /// What of it is kept on the disk when it is begun anew, bytes.
    pub(super) fn size_kept(&self) -> i64 {
        2 * self.limit.load(Ordering::Relaxed) * FRAME
    }

    /// To be told after each commit how many pages it has: when they became fewer, it was begun anew, by
    /// the writer or, where all was copied and nobody looked at it, by SQLite itself.
    pub(super) fn has(&self, pages: i64) {
        if pages < self.pages.swap(pages, Ordering::Relaxed) {
            self.copied.store(0, Ordering::Relaxed);
            self.next_try.store(0, Ordering::Relaxed);
            self.warned.store(0, Ordering::Relaxed);
        }
    }

    /// Copies what is new, beside the writer.
    pub(super) fn copy(&self, connection: &Connection, file: &File) {
        let _turn = self.turn.lock();
        let pages = self.pages.load(Ordering::Relaxed);
        if pages == self.copied.load(Ordering::Relaxed) {
            return;
        }
        // A failure shows in the writer soon enough; the log just stays longer.
        let Ok(Some(copied)) = checkpoint(connection, "PASSIVE") else { return };
        // What is on the disk by now, the writer need not wait for.
        let is_on_disk = file.sync_data().is_ok();
        let was_begun_anew = self.pages.load(Ordering::Relaxed) < pages;
        if is_on_disk && !was_begun_anew {
            // A long read may have held up a part.
            self.copied.store(copied.min(pages), Ordering::Relaxed);
        }
    }

    /// Whether it is to be copied and begun anew.
    pub(super) fn is_long(&self) -> bool {
        self.pages.load(Ordering::Relaxed) > self.limit.load(Ordering::Relaxed)
    }

    /// Whether so little of it is left to copy that it can be begun anew.
    pub(super) fn is_nearly_copied(&self) -> bool {
        let (pages, limit) =
            (self.pages.load(Ordering::Relaxed), self.limit.load(Ordering::Relaxed));
        let most = if pages > 2 * limit { PAGES_LEFT_LATE } else { PAGES_LEFT_MAX };
        pages - self.copied.load(Ordering::Relaxed) <= most
    }

    /// Begins it anew with `f` if it is time, and nobody copies it just now.
    pub(super) fn begin_when_due(&self, f: impl FnOnce() -> bool) {
        let is_tried = self.pages.load(Ordering::Relaxed) > self.next_try.load(Ordering::Relaxed);
        if !(is_tried && self.is_long() && self.is_nearly_copied()) {
            return;
        }
        let Some(_turn) = self.turn.try_lock() else { return };
        if f() {
            self.has(0);
        } else {
            let pages = self.pages.load(Ordering::Relaxed);
            self.next_try.store(pages + PAGES_BETWEEN_TRIES, Ordering::Relaxed);
        }
    }

    /// Waits for who copies it, and keeps others from it while `f` runs.
    pub(super) fn alone<T>(&self, f: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock();
        f()
    }

    /// Says when it has grown beyond all measure: whoever reads for so long may not know it.
    pub(super) fn warn(&self) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages > PAGES_WORRYING.max(2 * self.warned.load(Ordering::Relaxed)) {
            self.warned.store(pages, Ordering::Relaxed);
            tracing::warn!(
                log.pages = pages,
                "the log grows: somebody has been reading the database for long"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(pages: i64, copied: i64) -> Log {
        let log = Log::new();
        log.has(pages);
        log.copied.store(copied, Ordering::Relaxed);
        log
    }

    fn is_tried(log: &Log, is_free: bool) -> bool {
        let mut is_tried = false;
        log.begin_when_due(|| {
            is_tried = true;
            is_free
        });
        is_tried
    }

    #[test]
    fn who_stands_in_the_way_is_not_asked_at_every_commit() {
        let log = log_of(PAGES_MIN + 1, PAGES_MIN);
        assert!(is_tried(&log, false));
        assert!(!is_tried(&log, false));
        log.has(PAGES_MIN + 1 + PAGES_BETWEEN_TRIES);
        log.copied.store(PAGES_MIN + PAGES_BETWEEN_TRIES, Ordering::Relaxed);
        assert!(!is_tried(&log, false));
        log.has(PAGES_MIN + 2 + PAGES_BETWEEN_TRIES);
        assert!(is_tried(&log, false));
        // Begun anew by SQLite.
        log.has(1);
        assert!(!is_tried(&log, true));
        log.has(PAGES_MIN + 1);
        log.copied.store(PAGES_MIN, Ordering::Relaxed);
        assert!(is_tried(&log, true), "what stood in the way is gone");
        assert!(!is_tried(&log, true), "it is empty");
    }

    #[test]
    fn the_writer_copies_little_and_waits_for_nobody() {
        assert!(!is_tried(&log_of(PAGES_MIN, PAGES_MIN), true), "it is short");
        assert!(!is_tried(&log_of(PAGES_MIN + 1, PAGES_MIN - PAGES_LEFT_MAX), true));
        assert!(is_tried(&log_of(2 * PAGES_MIN + 1, 2 * PAGES_MIN - PAGES_LEFT_MAX), true));
        assert!(!is_tried(&log_of(99 * PAGES_MIN, PAGES_MIN), true), "somebody read for long");
        let log = log_of(PAGES_MIN + 1, PAGES_MIN);
        let copying = log.turn.lock();
        assert!(!is_tried(&log, true));
        drop(copying);
        assert!(is_tried(&log, true));
    }

    #[test]
    fn a_large_file_has_a_longer_log() {
        let log = log_of(PAGES_MIN + 1, PAGES_MIN);
        for (bytes, limit) in [(0, PAGES_MIN), (1_228_800_000, 50_000), (u64::MAX, PAGES_MAX)] {
            log.fit_to(bytes);
            assert_eq!(log.limit.load(Ordering::Relaxed), limit);
        }
        assert!(!is_tried(&log, true));
        assert_eq!(log.size_kept(), 791_040_000);
    }
}
