//! Forgetting what has outlived its use, over a connection of its own: nobody waits for that, and rows
//! that another node is at are passed over.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Connection, Patience, PgFault, Way, parameter};
use crate::store::search::Flavor;
use crate::store::sweep::{IDLE, IDLE_EVERY, Sweep};

/// Forgets, as long as it is let.
pub(super) async fn run(way: Arc<Way>, now: Arc<dyn Fn() -> Timestamp + Send + Sync>) {
    let mut sweep = Sweep::new(Flavor::Postgres);
    let mut connection = None;
    loop {
        tokio::time::sleep(IDLE_EVERY).await;
        if let Err(fault) = step(&mut sweep, &way, &mut connection, now()).await {
            sweep.rest(&fault);
            connection = None;
        }
    }
}

async fn step(
    sweep: &mut Sweep,
    way: &Arc<Way>,
    connection: &mut Option<Connection>,
    now: Timestamp,
) -> Result<(), PgFault> {
    let Some(mut step) = sweep.step(IDLE, now) else { return Ok(()) };
    let connection = match connection {
        Some(connection) if connection.is_good() => connection,
        connection => connection.insert(Connection::open(way, Patience::Lists).await?),
    };
    while let Some((text, values)) = sweep.remove(&mut step) {
        let values = values.iter().map(parameter).collect();
        let count = connection.execute(&text, &values).await?;
        sweep.removed(&mut step, i64::try_from(count).unwrap_or(i64::MAX));
    }
    sweep.end(&step);
    Ok(())
}
