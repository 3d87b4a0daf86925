//! What is left to be done about the custody of agents: done again and again until it is.
//!
//! Invariants kept here:
//! - While a handoff has no answer, or a record that was signed is not in the journal, an agent is attended, by one task.
//! - An agent that is this node's after that lives if it should; one that is not leaves nothing behind but its archive.

use super::{Node, blocking, moving::Ready, phases::Phase};
use crate::{
    Error, Wishes,
    local::{self, Flags},
};
use igor_protocol::{AgentId, custody::Status};
use igor_spine::custody::{Lease, Leased};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Pauses between two attempts: the first, and the longest.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(15);

/// Agents whose custody is being settled, and whether more came up meanwhile.
#[derive(Default)]
pub(super) struct Attended(Mutex<BTreeMap<AgentId, bool>>);

impl Attended {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, bool>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether whoever asks is to attend to the agent; else somebody does, and hears that there is more to do.
    pub(super) fn begin(&self, agent: AgentId) -> bool {
        let mut more = false;
        self.lock().entry(agent).and_modify(|again| (*again, more) = (true, true)).or_insert(false);
        !more
    }

    /// Says that an agent was attended, unless there is more to do.
    pub(super) fn is_done(&self, agent: AgentId) -> bool {
        let mut attended = self.lock();
        match attended.get_mut(&agent) {
            Some(more) if *more => {
                *more = false;
                false
            }
            _ => {
                attended.remove(&agent);
                true
            }
        }
    }

    /// Nobody attends to the agent any more, done or not.
    pub(super) fn leave(&self, agent: AgentId) {
        self.lock().remove(&agent);
    }
}

impl Node {
    /// Sees to it that the custody of an agent gets settled.
    pub(crate) fn attend(self: &Arc<Self>, agent: AgentId) {
        if !self.attended.begin(agent) {
            return;
        }
        // A node that is gone attends to nothing.
        let node = Arc::downgrade(self);
        tokio::spawn(async move {
            let (mut pause, mut said) = (AGAIN_AFTER, String::new());
            loop {
                tokio::time::sleep(pause).await;
                let Some(node) = node.upgrade() else { return };
                if node.lives().is_closed() {
                    node.attended.leave(agent);
                    return;
                }
                match Box::pin(node.steward.settle(agent)).await {
                    Ok(true) if node.attended.is_done(agent) => {
                        node.settled(agent).await;
                        return;
                    }
                    Ok(_) => {}
                    // A node that is away for days fills no log.
                    Err(error) if said == error.to_string() => {
                        tracing::debug!(%agent, %error, "the custody of an agent is not settled yet");
                    }
                    Err(error) => {
                        tracing::warn!(%agent, %error, "the custody of an agent is not settled yet");
                        said = error.to_string();
                    }
                }
                pause = (pause * 2).min(AGAIN_AFTER_MAX);
            }
        });
    }

    /// Does what follows for the node, once the custody of an agent is settled.
    pub(super) async fn settled(self: &Arc<Self>, agent: AgentId) {
        match self.steward.status(agent) {
            // One that stays without a life gives its place away.
            Ok(Status::Custodian) if !matches!(Box::pin(self.tend(agent)).await, Ok(true)) => {
                self.give_place_away(agent).await;
            }
            Ok(Status::Absent | Status::Elsewhere) => {
                self.give_place_away(agent).await;
                if let Err(error) = self.leave_nothing_said(agent).await {
                    tracing::warn!(%agent, %error, "what was said of an agent that is elsewhere stays");
                }
            }
            _ => {}
        }
        // Whoever has it now may be gone before it has said that it is well.
        self.remember(agent).await;
    }

    async fn give_place_away(&self, agent: AgentId) {
        drop(self.kept.take(agent));
        self.note(agent).await;
    }

    /// What the operator said was about a stay that is over.
    pub(super) async fn leave_nothing_said(&self, agent: AgentId) -> Result<(), Error> {
        let _turn = self.turn(agent).await;
        let gone = matches!(self.steward.status(agent)?, Status::Absent | Status::Elsewhere);
        if gone && local::flags(&*self.store, agent)? != Flags::default() {
            local::remove_flags(&*self.store, agent).await?;
        }
        Ok(())
    }

    /// Lets an agent live that custody says is this node's, if it should.
    pub(crate) fn live(self: &Arc<Self>, agent: AgentId, lease: Lease) {
        let (node, ready, opening) = (self.clone(), self.waiting.take(agent), self.opening(agent));
        self.stopwatches.lap(agent, Phase::Fence);
        tokio::spawn(async move {
            let lived = Box::pin(node.try_live(agent, ready, lease)).await;
            drop(opening);
            // Of one that lives it is told already.
            node.stopwatches.end(agent);
            match lived {
                Ok(()) => drop(node.lives().unable.remove(&agent)),
                Err(Error::Stopping | Error::Impostor { .. } | Error::Overtaken { .. }) => {}
                Err(error) => node.report(agent, &error),
            }
        });
    }

    async fn try_live(self: &Arc<Self>, agent: AgentId, ready: Option<Ready>, lease: Lease) -> Result<(), Error> {
        if !self.wants(agent).await? {
            tracing::info!(%agent, "an agent is this node's and does not live: it ended, is suspended, or was stopped here");
            return Ok(());
        }
        if let Some(Ready { mut restored, start }) = ready {
            match restored.follow().await {
                Ok(()) => {
                    let lives = lease.unless_revoked(Box::pin(restored.live())).await;
                    let life = lives.ok_or(Error::Overtaken { agent })??;
                    self.stopwatches.lap(agent, Phase::Replay);
                    return self.carry(start, Leased { life, lease }).await.map(drop);
                }
                // Something was committed since that changes what it is: it is restored anew.
                Err(error) => tracing::info!(%agent, %error, "an instance that was ready is not the agent any more"),
            }
            self.kept.keep(agent, start.place);
        }
        let prepared = {
            let overtaken = || Error::Overtaken { agent };
            let _slot = lease.unless_revoked(self.slot()).await.ok_or_else(overtaken)??;
            let node = self.clone();
            blocking(move || node.prepare(agent, Wishes::default())).await?
        };
        self.stopwatches.lap(agent, Phase::Load);
        self.open_life(agent, prepared, lease).await.map(drop)
    }
}
