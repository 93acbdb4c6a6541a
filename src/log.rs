//! The way of log lines to standard error. A thread of its own writes them, so that nobody who logs
//! waits or fails, whatever is at the other end: a pipe that nobody reads, a reader that has gone, a
//! full disk. What cannot be written is lost, and counted.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::sabotage::Protection;

/// Lines that may wait to be written.
const LINES_MAX: usize = 1024;
/// A line's length at the most, bytes; the rest of a longer one is cut off.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// How long the end of the program waits for lines to be written.
const END_WITHIN: Duration = Duration::from_secs(1);
/// How often it looks whether there is room in the queue.
const LOOK_EVERY: Duration = Duration::from_millis(5);

static QUEUE: OnceLock<SyncSender<Item>> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);

enum Item {
    Line(Vec<u8>),
    /// To be answered when all is written that came before.
    End(SyncSender<()>),
}

/// Takes lines: whatever is written at once is one.
#[derive(Clone, Copy, Debug)]
pub struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !Protection::DroppableLog.is_on() {
            return io::stderr().write_all(line).map(|()| line.len());
        }
        let is_taken = |queue: &SyncSender<Item>| queue.try_send(Item::Line(cut(line))).is_ok();
        if !QUEUE.get().is_some_and(is_taken) {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many lines could not be written so far.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Starts the thread, by way of which panics are told from now on too.
///
/// # Errors
/// When the system gives no thread.
pub fn start() -> io::Result<()> {
    let (queue, items) = sync_channel(LINES_MAX);
    let tell = |lost| tracing::warn!(lost, "log lines could not be written");
    // Whatever goes wrong with a line, the next is written.
    let write = move || {
        let write = || write_out(&items, io::stderr(), &LOST, tell);
        while std::panic::catch_unwind(AssertUnwindSafe(write)).is_err() {}
    };
    std::thread::Builder::new().name("haksa-log".to_owned()).spawn(write)?;
    let _ = QUEUE.set(queue);
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let trace = Backtrace::capture();
        let words = match trace.status() {
            BacktraceStatus::Captured => format!("thread '{name}' {panic}\n{trace}\n"),
            _ => format!("thread '{name}' {panic}\n"),
        };
        let _ = Lines.write(words.as_bytes());
    }));
    Ok(())
}

/// Waits until all lines are written, the last word behind them; not for long.
pub fn end(last_word: Option<&str>) {
    let word = last_word.map(|word| format!("{word}\n"));
    let Some(queue) = QUEUE.get() else {
        let _ = io::stderr().write_all(word.unwrap_or_default().as_bytes());
        return;
    };
    let until = Instant::now() + END_WITHIN;
    let (done, is_done) = sync_channel(1);
    let word = word.map(|word| Item::Line(cut(word.as_bytes())));
    for mut item in word.into_iter().chain([Item::End(done)]) {
        while let Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) =
            queue.try_send(item)
        {
            if Instant::now() >= until {
                return;
            }
            item = back;
            std::thread::sleep(LOOK_EVERY);
        }
    }
    let _ = is_done.recv_timeout(until.saturating_duration_since(Instant::now()));
}

/// A line that is short enough, with its end.
fn cut(line: &[u8]) -> Vec<u8> {
    match line.get(..LINE_BYTES_MAX - 1) {
        Some(beginning) if line.len() > LINE_BYTES_MAX => {
            let text = String::from_utf8_lossy(beginning);
            format!("{}\n", text.trim_end_matches(char::REPLACEMENT_CHARACTER)).into_bytes()
        }
        _ => line.to_vec(),
    }
}

/// Writes what comes, in order. When a line could be written again and none waits, `tell` is called
/// with the number of those that are lost.
fn write_out(items: &Receiver<Item>, mut sink: impl Write, lost: &AtomicU64, tell: impl Fn(u64)) {
    let (mut told, mut has_failed, mut is_torn) = (0, false, false);
    let mut ends: Vec<SyncSender<()>> = Vec::new();
    loop {
        let item = if let Ok(item) = items.try_recv() {
            item
        } else {
            let count = lost.load(Ordering::Relaxed);
            if count > told && !has_failed {
                told = count;
                tell(count);
                continue;
            }
            for end in ends.drain(..) {
                let _ = end.try_send(());
            }
            let Ok(item) = items.recv() else { return };
            item
        };
        match item {
            Item::End(end) => ends.push(end),
            Item::Line(line) => {
                has_failed = put(&mut sink, &line, &mut is_torn).is_err();
                lost.fetch_add(u64::from(has_failed), Ordering::Relaxed);
            }
        }
    }
}

/// Writes a line; on a new one, where the last was torn off.
fn put(sink: &mut impl Write, line: &[u8], is_torn: &mut bool) -> io::Result<()> {
    for mut rest in [if *is_torn { b"\n" } else { &b""[..] }, line] {
        while !rest.is_empty() {
            match sink.write(rest) {
                Ok(count) if count > 0 => {
                    let (written, more) = rest.split_at_checked(count).unwrap_or((rest, &[]));
                    *is_torn = written.last() != Some(&b'\n');
                    rest = more;
                }
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes so many bytes and then fails, until it is given more room.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, room) = &mut *self.0.lock().unwrap();
            let count = bytes.len().min(*room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            written.extend(&bytes[..count]);
            *room -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_in_order_and_whole_and_what_is_lost_is_counted() {
        let disk = Disk::default();
        let (queue, items) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let (sink, back, count) = (disk.clone(), queue.clone(), Arc::clone(&lost));
        let tell = move |count: u64| {
            back.try_send(Item::Line(format!("lost {count}\n").into_bytes())).unwrap();
        };
        std::thread::spawn(move || write_out(&items, sink, &count, tell));
        let write = |room: usize, lines: std::ops::Range<usize>| {
            disk.0.lock().unwrap().1 = room;
            for line in lines {
                queue.send(Item::Line(format!("line {line}\n").into_bytes())).unwrap();
            }
            let (done, is_done) = sync_channel(1);
            queue.send(Item::End(done)).unwrap();
            is_done.recv().unwrap();
            String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap()
        };
        assert_eq!(write(1000, 0..2), "line 0\nline 1\n");
        // There is room for a part of a line.
        assert_eq!(write(3, 2..5), "line 0\nline 1\nlin");
        assert_eq!(lost.load(Ordering::Relaxed), 3);
        let whole = "line 0\nline 1\nlin\nline 5\nlost 3\n";
        assert_eq!(write(1000, 5..6), whole);
        // It is said once.
        assert_eq!(write(1000, 6..8), format!("{whole}line 6\nline 7\n"));
    }

    #[test]
    fn a_long_line_is_cut_between_two_letters() {
        assert_eq!(cut(b"short\n"), b"short\n");
        let long = format!("{}\n", "가".repeat(LINE_BYTES_MAX));
        let cut = String::from_utf8(cut(long.as_bytes())).expect("letters are whole");
        assert_eq!(cut, format!("{}\n", "가".repeat((LINE_BYTES_MAX - 1) / 3)));
    }
}
