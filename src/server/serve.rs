//! Where boot hands over to the runtime.

use std::sync::Arc;

use crate::base::id::ShardId;
use crate::control::metrics;
use crate::runtime::boot;
use crate::runtime::now;
use crate::server::boot::{Plan, Running};
use crate::server::bounds::Bounds;
use crate::server::error::ServerError;
use crate::shard::Shard;

/// Opens the doors of `plan` and starts a shard on each of its cores.
///
/// # Errors
/// A door cannot be opened; an executor or a ring cannot be made.
pub fn start(plan: &Plan, bounds: &Bounds) -> Result<Running, ServerError> {
    let limits = Arc::new(plan.limits.clone());
    let shards = plan.cores.len() as u16;
    let makes = (0..shards).map(|id| {
        let (limits, epoch) = (limits.clone(), plan.epoch.clone());
        move || Shard::new(ShardId(id), shards, limits, epoch, now())
    });
    let makes = makes.collect();
    let plan = boot::Plan {
        cpus: plan.cores.clone(),
        clients: plan.listen.clone(),
        feed: Some(plan.feed.clone()),
        // The kernel's hash may send them all to one shard.
        connections: u32::try_from(bounds.connections).unwrap_or(u32::MAX),
    };
    let running = boot::run(plan, makes)?;
    let (stopper, boards) = (running.stopper(), running.boards());
    Ok(Running {
        clients: running.clients().to_vec(),
        metrics: Arc::new(move || metrics::page(&boards)),
        stop: Box::new(move || stopper.stop()),
        join: Box::new(move || Ok(running.join()?)),
    })
}
