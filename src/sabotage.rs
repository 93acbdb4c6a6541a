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
    /// Texts, lists and records have a length.
    TextLimits,
    /// What has outlived its use goes in small steps.
    SmallSweeps,
    /// Who is refused by the database again and again is served apart.
    OwnFaults,
    /// Who has to wait for a lock is put aside.
    LockLimit,
    /// Accounts take turns at the writer.
    FairTurns,
    /// No call to PostgreSQL is waited for without end.
    Deadlines,
    /// What became of a commit that nobody confirmed is asked.
    CommitLookup,
    /// What works in the background does not end unnoticed.
    Supervision,
    /// Nobody waits for a log line to be written.
    DroppableLog,
    /// Who is new to all is looked for once more before the commit.
    NobodyTwice,
    /// A check goes through every history.
    Replay,
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

/// Ends the task or thread of this name in a panic, when the file that `HAKSA_STUMBLE` names says so: each
/// line is the name of one that is to, once.
#[cfg(not(feature = "sabotage"))]
pub const fn stumble(name: &str) {
    let _ = name;
}

/// Ends the task or thread of this name in a panic, when the file that `HAKSA_STUMBLE` names says so: each
/// line is the name of one that is to, once.
#[cfg(feature = "sabotage")]
pub fn stumble(name: &str) {
    let Some(path) = &*STUMBLE else { return };
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().collect();
    if let Some(index) = lines.iter().position(|line| *line == name) {
        lines.remove(index);
        let _ = std::fs::write(path, lines.join("\n"));
        #[expect(clippy::panic, reason = "this is what it is for")]
        {
            panic!("{name} stumbles");
        }
    }
}

#[cfg(feature = "sabotage")]
static STUMBLE: std::sync::LazyLock<Option<std::ffi::OsString>> = std::sync::LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "no program that people run has this switch")]
    std::env::var_os("HAKSA_STUMBLE")
});

/// Says which one is off.
#[cfg(not(feature = "sabotage"))]
pub const fn announce() {}

/// Says which one is off.
#[cfg(feature = "sabotage")]
pub fn announce() {
    if let Some(name) = &*OFF {
        tracing::warn!(protection = %name, "a protection is off");
    }
}

/// The name of the one that is off.
#[cfg(feature = "sabotage")]
static OFF: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| {
    #[expect(clippy::disallowed_methods, reason = "no program that people run has this switch")]
    std::env::var("HAKSA_SABOTAGE").ok()
});
