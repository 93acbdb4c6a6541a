//! What a running server holds, and the one room where time and randomness come in.

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

use crate::alarm::Alarm;
use crate::config::Config;
use crate::domain::command::Entropy;
use crate::domain::delivery::outbox::Outbox;
use crate::guesses::Guesses;
use crate::health::Health;
use crate::memory::{self, Memory};
use crate::pipeline::{Meter, Pipeline};
use crate::store::{OpenError, Store, Writer, WriterHandle};
use crate::vault::Vault;

/// The source of the current time, whole microseconds.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's.
    System,
    /// One that stands until it is moved, for demonstrations and tests; microseconds since 1970.
    Frozen(Arc<AtomicI64>),
}

/// The last second that every use of a time still has room for: jiff's calendar ends a day before the
/// year 9999 does, and reading a later clock would panic.
const LAST_MICROS: i64 = 253_402_200_000_000_000;

/// The machine's clock, microseconds since 1970.
fn system_micros() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the one room of the clock")]
    let now = std::time::SystemTime::now();
    match now.duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}

impl Clock {
    /// A clock that stands at `at`.
    pub fn frozen(at: Timestamp) -> Self {
        Self::Frozen(Arc::new(AtomicI64::new(at.as_microsecond())))
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        let micros = match self {
            Self::System => system_micros().min(LAST_MICROS),
            Self::Frozen(at) => at.load(Ordering::SeqCst),
        };
        Timestamp::from_microsecond(micros).unwrap_or_default()
    }

    /// Moves a frozen clock forward; the machine's is nobody's to move.
    pub fn advance(&self, by: SignedDuration) {
        if let Self::Frozen(at) = self {
            at.fetch_add(i64::try_from(by.as_micros()).unwrap_or_default(), Ordering::SeqCst);
        }
    }
}

/// How many bytes a thread asks the operating system for at once.
const RANDOM_BYTES: usize = 4096;

thread_local! {
    /// Random bytes, each of which is used once: a system call for every few would be felt.
    static RANDOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        RANDOM.with_borrow_mut(|random| {
            if random.len() < bytes.len() {
                random.resize(RANDOM_BYTES.max(bytes.len()), 0);
                // Without randomness no secret is safe: stopping is the only sound answer.
                #[expect(
                    clippy::expect_used,
                    clippy::disallowed_methods,
                    reason = "this is the one room of randomness; the system call cannot fail"
                )]
                getrandom::fill(random).expect("the operating system gives random bytes");
            }
            let left = random.len() - bytes.len();
            for (to, from) in bytes.iter_mut().zip(random.drain(left..)) {
                *to = from;
            }
        });
    }
}

/// A running server's parts. Cloning shares them.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// See [`App`].
pub struct Parts {
    /// Where records live.
    pub store: Store,
    /// The way in which anything is written.
    pub pipeline: Pipeline,
    /// What keeps signing secrets.
    pub vault: Vault,
    /// The time.
    pub clock: Clock,
    /// The guesses at passwords that may be judged.
    pub guesses: Guesses,
    /// Whether it can do what it is asked.
    pub health: Health,
    /// Who may have how much memory.
    pub memory: Memory,
    /// The words for messages to people, and the ways that are open to them.
    pub outbox: Outbox,
    /// The operator's choices.
    pub config: Config,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What a server has running.
#[derive(Debug)]
pub struct Running {
    /// The writer.
    pub writer: WriterHandle,
    /// Rung when it cannot go on.
    pub alarm: Alarm,
}

impl App {
    /// Starts the writer of `store` and gives the parts that requests work with.
    ///
    /// # Errors
    /// [`OpenError`] when the writer cannot reach the database.
    pub fn start(
        store: Store,
        vault: Vault,
        clock: Clock,
        outbox: Outbox,
        config: Config,
    ) -> Result<(Self, Running), OpenError> {
        let (pipeline, queues) = Pipeline::new();
        let pipeline =
            pipeline.metered(Meter::new(config.limits.account_write_mib_s, store.room()));
        let now = clock.clone();
        let writer = store.start_writer(Writer {
            queues,
            now: Arc::new(move || now.now()),
            entropy: || Box::new(OsEntropy),
            is_sweeping: true,
        })?;
        let alarm = store.alarm().clone();
        let (guesses, health) = (Guesses::default(), Health::default());
        let memory = Memory::of(config.limits.memory_mib.unwrap_or(memory::MIB));
        let parts =
            Parts { store, pipeline, vault, clock, guesses, health, memory, outbox, config };
        Ok((Self(Arc::new(parts)), Running { writer, alarm }))
    }
}
