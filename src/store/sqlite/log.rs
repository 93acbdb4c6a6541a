//! The log, which holds commits that are not in the file yet, and its way there.

use std::fs::File;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;

/// A log of more pages than this is begun anew by the writer itself, in place: a file that grows costs
/// every flush an entry in the file system's own journal.
const PAGES_MAX: i64 = 24_000;
/// So many new pages are copied into the file at once. Of a page that changes again before that, only the
/// last state is copied, and a flush of the file costs the system about the same however many there
/// are; but whoever waits for a flush of the log meanwhile feels it.
const NEW_PAGES_MAX: i64 = 12_000;
/// The writer waits with that until no more pages than this are still to be copied, for everybody waits
/// meanwhile; unless the log is twice as long by then.
const PAGES_LEFT_MAX: i64 = 1_000;
/// Where somebody who reads for long stands in the way of that, the writer goes on and tries again so many
/// pages later: it never waits for a reader, however long the log becomes.
const PAGES_BETWEEN_TRIES: i64 = 6_000;
/// A log of so many pages is worth a warning, and then each time that it has doubled; a page is 4 KiB.
const PAGES_WORRYING: i64 = 240_000;
/// What of a log is kept on the disk when it is begun anew, bytes.
pub(super) const SIZE_KEPT: i64 = 2 * PAGES_MAX * 4_120;

/// Copies the log into the file; gives how many of its pages are there then, and nothing where another
/// connection stood in the way of what `mode` asks for.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let is_held_up: bool = row.get(0)?;
        if is_held_up { Ok(None) } else { row.get(2).map(Some) }
    })
}

/// How far the log has come.
#[derive(Debug, Default)]
pub(super) struct Log {
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
        let pages = self.pages.load(Ordering::Relaxed);
        if pages == self.copied.load(Ordering::Relaxed) {
            return;
        }
        // A failure shows in the writer soon enough; the log just stays longer.
        let Ok(Some(copied)) = checkpoint(connection, "PASSIVE") else { return };
        // What is on the disk by now, the writer need not wait for.
        if file.sync_data().is_ok() {
            // A long read may have held up a part.
            self.copied.store(copied.min(pages), Ordering::Relaxed);
        }
    }

    /// Whether a copy is worth its while.
    pub(super) fn has_many_new(&self) -> bool {
        let pages = self.pages.load(Ordering::Relaxed);
        pages - self.copied.load(Ordering::Relaxed) >= NEW_PAGES_MAX
    }

    /// Whether it is to be begun anew as soon as little of it is left to copy.
    pub(super) fn is_long(&self) -> bool {
        self.pages.load(Ordering::Relaxed) > PAGES_MAX
    }

    /// Whether it is to be begun anew now.
    pub(super) fn is_due(&self) -> bool {
        let pages = self.pages.load(Ordering::Relaxed);
        let left = pages - self.copied.load(Ordering::Relaxed);
        pages > PAGES_MAX.max(self.next_try.load(Ordering::Relaxed))
            && (left <= PAGES_LEFT_MAX || pages > 2 * PAGES_MAX)
    }

    /// To be told when it could not be begun anew.
    pub(super) fn is_held_up(&self) {
        let pages = self.pages.load(Ordering::Relaxed);
        self.next_try.store(pages + PAGES_BETWEEN_TRIES, Ordering::Relaxed);
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

    #[test]
    fn who_stands_in_the_way_is_not_asked_at_every_commit() {
        let log = Log::default();
        let with = |pages| log.has(pages);
        with(PAGES_MAX + 1);
        assert!(!log.is_due(), "much is left to copy");
        log.copied.store(PAGES_MAX, Ordering::Relaxed);
        assert!(log.is_due());
        log.is_held_up();
        with(PAGES_MAX + PAGES_BETWEEN_TRIES);
        assert!(!log.is_due());
        with(2 * PAGES_MAX + 1);
        assert!(log.is_due());
        log.is_held_up();
        // Begun anew by SQLite.
        with(1);
        assert!(!log.is_due());
        with(PAGES_MAX + 1);
        log.copied.store(PAGES_MAX, Ordering::Relaxed);
        assert!(log.is_due(), "what stood in the way is gone");
    }
}
