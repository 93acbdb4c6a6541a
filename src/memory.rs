//! How the memory that the operator allows is shared out.

use std::time::Duration;

use crate::budget::{Budget, BudgetRules};
use crate::dialect::LONGEST_BODY;
use crate::gallery::Gallery;
use crate::picture;
use crate::seats::{SeatRules, Seats};

/// What the operator allows where nothing else is said, MiB.
pub const MIB: usize = 512;
/// The least that the server works with, MiB.
pub const MIB_MIN: usize = 384;
/// The longest body of a caller who is not known, bytes.
pub const STRANGERS_BODY: usize = 64 * 1024;

const ONE_MIB: usize = 1024 * 1024;
/// What an answer may need at the most. (A longer one is sent in parts.)
const LONGEST_ANSWER: usize = 8 * ONE_MIB;
/// How long anybody waits for memory.
const WAITS: Duration = Duration::from_secs(5);

/// Budgets of a server.
#[derive(Clone, Debug)]
pub struct Memory {
    /// For bodies of callers who are not known, or need not be.
    pub strangers: Budget,
    /// For bodies of accounts.
    pub bodies: Budget,
    /// For answers, until they are sent.
    pub answers: Budget,
    /// For pictures that are looked at.
    pub pictures: Gallery,
    /// For pictures that are looked through.
    pub decoding: Seats<i64>,
}

/// Who may wait for a picture to be looked through; see [`picture::look_through`].
const DECODING: SeatRules = SeatRules {
    at_once: 1,
    each_at_once: 1,
    waiting_each: 2,
    waiting_in_all: 16,
    longest: Duration::from_secs(20),
};

impl Memory {
    /// Shares out so many MiB.
    pub fn of(mib: usize) -> Self {
        let part = |of_512: usize| mib.max(MIB_MIN) * ONE_MIB / 512 * of_512;
        let strangers = BudgetRules {
            all: part(16),
            each: part(8),
            largest: STRANGERS_BODY,
            places: 16,
            longest: WAITS,
        };
        let bodies = BudgetRules {
            all: part(48),
            // Room for a body that is as long as it may be, and for others beside it.
            each: part(16).max(LONGEST_BODY + ONE_MIB),
            largest: LONGEST_BODY,
            places: (part(24) / LONGEST_BODY).max(1),
            longest: WAITS,
        };
        let answers = BudgetRules {
            all: part(64),
            each: part(16),
            largest: LONGEST_ANSWER.min(part(8)),
            places: 2,
            longest: WAITS,
        };
        let pictures = BudgetRules {
            all: part(32).max(3 * picture::BYTES_MAX),
            each: part(22).max(2 * picture::BYTES_MAX),
            largest: picture::BYTES_MAX,
            places: 1,
            longest: WAITS,
        };
        let decoders = part(128) / usize::try_from(picture::MEMORY_MAX).unwrap_or(usize::MAX);
        let decoding = SeatRules { at_once: decoders.max(1), ..DECODING };
        Self {
            strangers: Budget::new(strangers),
            bodies: Budget::new(bodies),
            answers: Budget::new(answers),
            pictures: Gallery::new(Budget::new(pictures)),
            decoding: Seats::new(decoding),
        }
    }
}
