//! Reads in groups: what is asked for while the server works on one question is gathered into the
//! next, one statement a kind, so that a busy node asks seldom and for much. An answer is never older
//! than its question.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::writer::{Round, load_round};
use super::{Connections, PgFault};
use crate::alarm::Alarm;
use crate::domain::error::Error;
use crate::domain::facts::{Fact, Need};
use crate::sabotage;

/// Questions that wait at the most; more are refused with [`Error::Unavailable`].
const QUEUE_MAX: usize = 8192;
/// Questions in one group at the most.
const GROUP_MAX: usize = 256;

type Found = Vec<(Need, Fact)>;

/// What a read lacks, and whom to tell.
#[derive(Debug)]
struct Question {
    needs: Vec<Need>,
    reply: oneshot::Sender<Result<Found, Error>>,
}

/// The sending end.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    queue: mpsc::Sender<Question>,
}

impl Reader {
    /// Starts one task for each of `connections`. They end when every sender is gone.
    pub(super) fn start(connections: &Arc<Connections>, alarm: &Alarm) -> Self {
        let (queue, questions) = mpsc::channel(QUEUE_MAX);
        let questions = Arc::new(Mutex::new(questions));
        for index in 0..connections.len() {
            let (connections, questions) = (Arc::clone(connections), Arc::clone(&questions));
            let read = move || {
                let (connections, questions) = (Arc::clone(&connections), Arc::clone(&questions));
                async move {
                    loop {
                        let mut group = Vec::new();
                        if questions.lock().await.recv_many(&mut group, GROUP_MAX).await == 0 {
                            return;
                        }
                        sabotage::stumble("reader");
                        answer(&connections, index, group).await;
                    }
                }
            };
            tokio::spawn(alarm.clone().keep_up("a reader", read));
        }
        Self { queue }
    }

    /// What a read lacks.
    pub(super) async fn load(&self, needs: Vec<Need>) -> Result<Found, Error> {
        let (reply, answer) = oneshot::channel();
        let full = |_| Error::Unavailable { retry_after_s: 1 };
        self.queue.try_send(Question { needs, reply }).map_err(full)?;
        answer.await.map_err(|_| Error::Unavailable { retry_after_s: 1 })?
    }
}

async fn answer(connections: &Connections, index: usize, mut group: Vec<Question>) {
    let mut found = load_all(connections, index, &group).await;
    if matches!(found, Err(PgFault::Locked)) {
        // Who needs what somebody holds is told so; the others go on.
        let held = held_tables(connections, index).await.unwrap_or_default();
        let needs_it = |question: &mut Question| {
            question.needs.iter().filter_map(table).any(|name| held.iter().any(|it| it == name))
        };
        for Question { reply, .. } in group.extract_if(.., needs_it) {
            let _ = reply.send(Err(PgFault::Locked.into_error()));
        }
        found = load_all(connections, index, &group).await;
    }
    match found {
        Ok(found) => {
            let found: HashMap<Need, Fact> = found.into_iter().collect();
            for Question { needs, reply } in group {
                let fact = |need: Need| found.get(&need).cloned().map(|fact| (need, fact));
                let facts: Option<Found> = needs.into_iter().map(fact).collect();
                let _ = reply.send(facts.ok_or_else(|| Error::internal("a need without a fact")));
            }
        }
        // One question at fault must not cost the others their answers.
        Err(PgFault::Internal(_) | PgFault::Late) if group.len() > 1 => {
            for Question { needs, reply } in group {
                let found = load(connections, index, needs).await;
                let _ = reply.send(found.map_err(PgFault::into_error));
            }
        }
        Err(fault) => {
            let error = fault.into_error();
            for Question { reply, .. } in group {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}

/// The tables that somebody has to himself: an operator's shell, a change of the schema.
async fn held_tables(connections: &Connections, index: usize) -> Result<Vec<String>, PgFault> {
    let names = connections.at(index).await?.texts(HELD_TABLES).await?;
    Ok(names.into_iter().flatten().collect())
}

const HELD_TABLES: &str = "SELECT c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
     JOIN pg_database d ON d.oid = l.database AND d.datname = current_database() \
     WHERE l.mode = 'AccessExclusiveLock' AND l.granted";

/// The table of the records that are looked for.
fn table(need: &Need) -> Option<&'static str> {
    let kind = match need {
        Need::Record(kind, _) | Need::Above(kind, _) | Need::Below(kind, _) => *kind,
        Need::Select(by) | Need::Taken(by) => by.kind,
        Need::Namers(namers) => namers.by,
        Need::Count(count) => count.kind,
        _ => return None,
    };
    Some(kind.table().name)
}

async fn load_all(
    connections: &Connections,
    index: usize,
    group: &[Question],
) -> Result<Found, PgFault> {
    let needs: HashSet<&Need> = group.iter().flat_map(|question| &question.needs).collect();
    load(connections, index, needs.into_iter().cloned().collect()).await
}

async fn load(connections: &Connections, index: usize, needs: Vec<Need>) -> Result<Found, PgFault> {
    let connection = connections.at(index).await?;
    load_round(&connection, needs, Round::Later).await
}
