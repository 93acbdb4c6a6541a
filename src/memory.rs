//! How the memory that the operator allows is shared out.

use std::time::Duration;

use crate::budget::{Budget, BudgetRules};
use crate::dialect::LONGEST_BODY;

/// What the operator allows where nothing else is said, MiB.
pub const MIB: usize = 512;
/// The least that the server works with, MiB.
pub const MIB_MIN: usize = 256;
/// The longest body of a caller who is not known, bytes.
pub const STRANGERS_BODY: usize = 64 * 1024;

const ONE_MIB: usize = 1024 * 1024;
/// How long a body waits for memory.
const BODY_WAITS: Duration = Duration::from_secs(5);

/// Budgets of a server.
#[derive(Clone, Debug)]
pub struct Memory {
    /// For bodies of callers who are not known, or need not be.
    pub strangers: Budget,
    /// For bodies of accounts.
    pub bodies: Budget,
}

impl Memory {
    /// Shares out so many MiB.
    pub fn of(mib: usize) -> Self {
        let part = |of_512: usize| mib.max(MIB_MIN) * ONE_MIB / 512 * of_512;
        let strangers = BudgetRules {
            all: part(16),
            each: part(8),
            largest: STRANGERS_BODY,
            places: 16,
            longest: BODY_WAITS,
        };
        let bodies = BudgetRules {
            all: part(48),
            // Room for a body that is as long as it may be, and for others beside it.
            each: part(16).max(LONGEST_BODY + ONE_MIB),
            largest: LONGEST_BODY,
            places: (part(24) / LONGEST_BODY).max(1),
            longest: BODY_WAITS,
        };
        Self { strangers: Budget::new(strangers), bodies: Budget::new(bodies) }
    }
}
