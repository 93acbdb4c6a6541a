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

/// Copies the log into the file; gives how many of its pages are there then.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(2))
}

/// How far the log has come.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Pages in it after the last commit.
    pub(super) pages: AtomicI64,
    /// How many of them are in the file, and on the disk there.
    copied: AtomicI64,
}

impl Log {
    /// Copies what is new, beside the writer.
    pub(super) fn copy(&self, connection: &Connection, file: &File) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages == self.copied.load(Ordering::Relaxed) {
            return;
        }
        // A failure shows in the writer soon enough; the log just stays longer.
        let Ok(copied) = checkpoint(connection, "PASSIVE") else { return };
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
        pages > PAGES_MAX && (left <= PAGES_LEFT_MAX || pages > 2 * PAGES_MAX)
    }

    /// To be told when it was begun anew.
    pub(super) fn is_begun(&self) {
        self.copied.store(0, Ordering::Relaxed);
        self.pages.store(0, Ordering::Relaxed);
    }
}
