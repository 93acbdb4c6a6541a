//! Many commands as one act.

use std::sync::Arc;

use super::{Command, Context, Decision};
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Need, Stop};

/// More commands than this are decided beside the batches.
const BATCHED_MAX: usize = 100;

/// What a refusal means to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing is done.
    AllOrNone,
    /// The others are done; [`Decision::refused`] says which were not, and why.
    Each,
}

/// Several commands, decided in their order, each by what those before it have made of things.
pub struct All {
    /// What to do.
    pub commands: Vec<Box<dyn Command>>,
    /// What becomes of it where one is refused.
    pub policy: Policy,
}

impl Command for All {
    fn needs(&self) -> Vec<Need> {
        self.commands.iter().flat_map(Command::needs).collect()
    }

    fn is_large(&self) -> bool {
        self.commands.len() > BATCHED_MAX || self.commands.iter().any(Command::is_large)
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let (mut whole, mut missing) = (Decision::default(), Vec::new());
        for (index, command) in self.commands.iter().enumerate() {
            let before = facts.checkpoint();
            let decided = command.decide(context, facts);
            facts.lift(before);
            match decided {
                Ok(decision) => {
                    for write in &decision.writes {
                        let mut after = write.after.clone();
                        // As it will be counted.
                        after.meta.version += 1;
                        facts.lay(&Arc::new(after));
                    }
                    whole.subject = whole.subject.or(decision.subject);
                    whole.writes.extend(decision.writes);
                    whole.contents.extend(decision.contents);
                    whole.sought.extend(decision.sought);
                    whole.kept.extend(decision.kept);
                }
                // The others say at once what they lack, too.
                Err(Stop::Missing(needs)) => {
                    facts.roll_back(before);
                    missing.extend(needs);
                }
                Err(Stop::Refused(error)) if missing.is_empty() => {
                    facts.roll_back(before);
                    whole.refused.push((index, error));
                }
                Err(Stop::Refused(_)) => facts.roll_back(before),
                Err(stop @ (Stop::Large | Stop::Long)) => return Err(stop),
            }
        }
        if !missing.is_empty() {
            return Err(Stop::Missing(missing));
        }
        // What follows from each adds up.
        if whole.writes.len() > context.follow_max.saturating_add(BATCHED_MAX) {
            return Err(Stop::Large);
        }
        let is_refused =
            self.policy == Policy::AllOrNone || whole.subject.is_none() && whole.writes.is_empty();
        match whole.refused.first() {
            Some((_, error)) if is_refused => Err(error.clone().into()),
            _ => Ok(whole),
        }
    }
}

/// A command that was refused among others: which, counted from 0, and why.
pub type RefusedItem = (usize, Error);
