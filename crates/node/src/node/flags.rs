//! What the operator says about an agent: that it pauses, and that it goes on.
//!
//! Invariants kept here:
//! - What is said is durable before it is done.
//! - About one agent one thing is said at a time, and done before the next: what is durable is what its life does.
//! - Nothing is said about an agent that cannot obey: one that has ended, or an archive.
//! - What was begun is finished, also when nobody waits for it any more.

use super::{Node, blocking};
use crate::{
    Error, Wishes,
    api::wire::AgentInfo,
    local::{self, Flags},
};
use igor_protocol::{AgentId, Tick};
use igor_spine::{Ending, command::Command, event::Status};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedMutexGuard, oneshot};

/// The right to change what is said about one agent, or to begin a life that obeys it.
pub(super) type Turn = OwnedMutexGuard<()>;

/// Turns at something, for each agent by itself. One is kept for each agent that there was.
#[derive(Default)]
pub(super) struct Turns(Mutex<BTreeMap<AgentId, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn.
    pub(super) async fn of(&self, agent: AgentId) -> Turn {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(agent).or_default().clone()
        };
        turn.lock_owned().await
    }
}

impl Node {
    /// Stops an agent's ticks until it is resumed, also over restarts.
    pub async fn pause(self: &Arc<Self>, agent: AgentId) -> Result<(), Error> {
        let node = self.clone();
        to_its_end(async move {
            let _turn = node.turn(agent).await;
            node.flag(agent, |flags, _| flags.paused = true).await?;
            if let Some(life) = node.life(agent).filter(|life| !life.is_over()) {
                let (answer, answered) = oneshot::channel();
                life.command(Command::Pause { answer }).await?;
                answered.await.map_err(|_| Error::NotRunning { name: life.name().to_owned() })?;
                life.shown(|status| status == Status::Paused).await;
            }
            Ok(())
        })
        .await
    }

    /// Checkpoints and stops an agent. Where this node carries all agents, it stays so over restarts, until it is
    /// resumed.
    pub async fn stop(self: &Arc<Self>, agent: AgentId) -> Result<(), Error> {
        let node = self.clone();
        to_its_end(async move {
            let turn = node.turn(agent).await;
            let life = node.life(agent).filter(|life| !life.is_over());
            if node.is_carrying() && life.is_some() {
                node.flag(agent, |flags, _| flags.stopped = true).await?;
            }
            drop(turn);
            if let Some(life) = life {
                life.stop().await;
            }
            Ok(())
        })
        .await
    }

    /// Lets an agent go on: after a pause or a stop, or once more after a suspension. One that is suspended here starts
    /// again.
    pub async fn resume(self: &Arc<Self>, agent: AgentId) -> Result<(), Error> {
        let node = self.clone();
        to_its_end(async move {
            let turn = node.turn(agent).await;
            let said = |flags: &mut Flags, tick| {
                *flags = Flags { paused: false, stopped: false, forgiven: Some(tick), ..*flags };
            };
            node.flag(agent, said).await?;
            match node.life(agent) {
                Some(life) if !life.is_over() => {
                    let (answer, answered) = oneshot::channel();
                    life.command(Command::Resume { answer }).await?;
                    answered.await.map_err(|_| Error::NotRunning { name: life.name().to_owned() })?;
                    life.shown(|status| status != Status::Paused).await;
                }
                // A life takes its turn when it begins.
                _ if node.is_carrying() => {
                    drop(turn);
                    node.tend(agent).await?;
                }
                Some(life) if matches!(&*life.over().await, Ok(Ending::Suspended { .. })) => {
                    drop(turn);
                    node.start(agent, Wishes { ticks: None, ..life.wishes() }).await?;
                }
                _ => {}
            }
            Ok(())
        })
        .await
    }

    /// Waits until nobody else says anything about this agent.
    pub(super) async fn turn(&self, agent: AgentId) -> Turn {
        self.turns.of(agent).await
    }

    /// Changes what was said of an agent that can obey. To be called in the agent's turn.
    async fn flag(
        self: &Arc<Self>,
        agent: AgentId,
        change: impl FnOnce(&mut Flags, Tick) + Send + 'static,
    ) -> Result<(), Error> {
        let node = self.clone();
        let flags = blocking(move || {
            let info = node.agent(agent)?;
            // One that lives is this node's.
            if node.life(agent).is_none_or(|life| life.is_over()) {
                node.check_custody(agent)?;
            }
            let AgentInfo { name, status, cause, tick, .. } = info;
            if status == Status::Ended.name() {
                return Err(Error::Ended { name, cause: cause.unwrap_or_default() });
            }
            let mut flags = local::flags(&*node.store, agent)?;
            change(&mut flags, tick);
            Ok::<_, Error>(flags)
        })
        .await?;
        Ok(local::put_flags(&*self.store, agent, flags).await?)
    }
}

/// Does something as a task of its own: a caller who goes away leaves nothing half done.
async fn to_its_end(work: impl Future<Output = Result<(), Error>> + Send + 'static) -> Result<(), Error> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(_) => Err(Error::Vanished),
    }
}
