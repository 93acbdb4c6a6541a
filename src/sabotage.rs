//! Protections that can be turned off, one at a time, so that the experiments in `faults/` can show
//! that each of them notices. Only a program built with the feature `sabotage` has the switch
//! (`HAKSA_SABOTAGE=NAME`); in any other every protection is on, and asking costs nothing.

/// What keeps a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Nobody is answered before the commit.
    CommitFirst,
    /// A large command is seen all at once.
    AllAtOnce,
    /// A commit is on the disk (SQLite's `synchronous=FULL`).
    Durability,
    /// The writer outlives a database that refuses.
    PatientWriter,
    /// `If-Match` is compared.
    ExpectedVersion,
    /// A signature is good once.
    SignatureOnce,
    /// An idempotency key gets its first answer again.
    IdempotencyKeys,
    /// Nothing crosses accounts.
    AccountWalls,
    /// JSON bodies are read as they are.
    PlainJson,
    /// Document types are refused.
    PlainXml,
    /// Bodies have a limit.
    BodyLimit,
    /// Memory for what is sent and answered is shared out.
    ByteBudgets,
    /// A head has to come in time.
    HeadTimeout,
    /// What is absent is answered as fast as what is another account's.
    EvenTime,
    /// A password is checked for those whom nobody knows, too.
    NobodysPassword,
    /// Who is refused by the database again and again is served apart.
    OwnFaults,
    /// Who has to wait for a lock is put aside.
    LockLimit,
    /// Accounts take turns at the writer.
    FairTurns,
}

/// How long half of what belongs together stands alone, where [`Protection::AllAtOnce`] is off.
pub const APART_FOR: std::time::Duration = std::time::Duration::from_millis(200);

impl Protection {
    /// Whether it is on.
    #[cfg(not(feature = "sabotage"))]
    pub const fn is_on(self) -> bool {
        let _ = self;
        true
    }

    /// Whether it is on.
    #[cfg(feature = "sabotage")]
    pub fn is_on(self) -> bool {
        OFF.as_ref().is_none_or(|off| *off != format!("{self:?}"))
    }
}

/// The name of the one that is off.
#[cfg(feature = "sabotage")]
static OFF: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "no program that people run has this switch")]
    let name = std::env::var("HAKSA_SABOTAGE").ok()?;
    tracing::warn!(protection = %name, "a protection is off");
    Some(name)
});
