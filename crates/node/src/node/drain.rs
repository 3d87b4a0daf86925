//! Emptying a node: every agent goes to a node that takes it.
//!
//! Invariants kept here:
//! - From the first moment on nothing comes in, and agents that may choose where to go are told and get their turn.
//! - What cannot go stays as it was, and it is said why.

use super::{Node, blocking};
use crate::{
    Error, Hosted,
    api::wire::{AgentInfo, DrainEvent},
};
use futures_util::{FutureExt, StreamExt};
use igor_network::{Request, Response};
use igor_protocol::{AgentId, NodeId, custody::Status};
use igor_spine::{custody::Failed, event::Status as Shown};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Agents that are handed on at once.
const AT_ONCE: usize = 4;
/// Time in which an agent that may ask to be moved can choose where to, before the node does.
const CHOOSE_WITHIN: Duration = Duration::from_secs(3);
/// Time in which agents that were on their way here are waited for.
const EXPECT_WITHIN: Duration = Duration::from_secs(15);
/// Time in which the answer to a handoff is waited for; after the next start it is asked for again.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Pause between two looks at what is waited for.
const LOOK_AFTER: Duration = Duration::from_millis(100);

impl Node {
    /// Whether it gives its agents away and takes none.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Hands every agent that lives here to a node that takes it, those too that were on their way here. Each is told
    /// of as it had its turn. The node takes none from now on, until it is started again.
    pub async fn drain(self: &Arc<Self>, tell: impl Fn(&DrainEvent) + Send + Sync) -> Vec<DrainEvent> {
        self.draining.send_replace(true);
        let since = Instant::now();
        self.ask_around().await;
        let (mut tried, mut events) = (BTreeSet::new(), Vec::new());
        loop {
            let lives: Vec<Arc<Hosted>> =
                self.lives().by_agent.values().filter(|life| !life.is_over()).cloned().collect();
            let mut new: Vec<_> = lives.into_iter().filter(|life| tried.insert(life.agent())).collect();
            if new.is_empty() && !(self.steward.is_expecting() && since.elapsed() < EXPECT_WITHIN) {
                break;
            }
            if new.is_empty() {
                tokio::time::sleep(LOOK_AFTER).await;
                continue;
            }
            // Those that choose for themselves have the time in which the others are handed on.
            new.sort_by_key(|life| life.may_migrate());
            let part = new.into_iter().map(|life| self.part_with(life, since, &tell).boxed());
            events.extend(futures_util::stream::iter(part).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        }
        let node = self.clone();
        let resting = blocking(move || Ok::<_, Error>(node.resting(&tried))).await.unwrap_or_default();
        resting.iter().for_each(&tell);
        events.extend(resting);
        events
    }

    async fn part_with(
        self: &Arc<Self>,
        life: Arc<Hosted>,
        since: Instant,
        tell: &(impl Fn(&DrainEvent) + Send + Sync),
    ) -> DrainEvent {
        let (agent, name) = (life.agent(), life.name().to_owned());
        let event = match self.see_off(&life, since).await {
            Ok(to) => DrainEvent::Moved { agent, name, to },
            Err(why) => DrainEvent::Stays { agent, name, why },
        };
        tell(&event);
        event
    }

    /// Agents of this node that have no life and have not ended: they stay where their operator looks for them. Waits
    /// for disks.
    fn resting(&self, tried: &BTreeSet<AgentId>) -> Vec<DrainEvent> {
        let agents = self.agents().unwrap_or_else(|error| {
            tracing::error!(%error, "which agents rest here cannot be told");
            Vec::new()
        });
        let resting = agents.into_iter().filter(|info| {
            let rests = info.status != Shown::Ended.name() && self.life(info.agent).is_none_or(|life| life.is_over());
            rests && !tried.contains(&info.agent) && matches!(self.steward.status(info.agent), Ok(Status::Custodian))
        });
        let stays = |info: AgentInfo| {
            let why = format!("it does not run: it is {}", info.status);
            DrainEvent::Stays { agent: info.agent, name: info.name, why }
        };
        resting.map(stays).collect()
    }

    /// What nodes said of themselves may be from before they were started again.
    async fn ask_around(&self) {
        let Some(network) = self.peers().network() else { return };
        let connected = network.peers().into_iter().filter(|peer| peer.connected);
        let asked = connected.map(|peer| async move {
            match network.request(peer.node, Request::Status).await {
                Ok(Response::Status { status }) => network.learn_status(peer.node, status),
                Ok(_) => {}
                Err(error) => tracing::debug!(node = %peer.node, %error, "a node does not say what it has room for"),
            }
        });
        futures_util::future::join_all(asked).await;
    }

    /// Waits for an agent that may go by itself, and hands it on where it did not. Gives where it is.
    async fn see_off(self: &Arc<Self>, life: &Arc<Hosted>, since: Instant) -> Result<NodeId, String> {
        let agent = life.agent();
        if life.may_migrate() {
            let left = CHOOSE_WITHIN.saturating_sub(since.elapsed());
            drop(tokio::time::timeout(left, life.over()).await);
        }
        let mut why = "no other node is connected that this one names in node.toml, has room, and is allowed by the agent's owner".to_owned();
        for taker in self.takers(life.genesis()) {
            let ended = loop {
                // A move that began before, by the agent or its operator, comes to its end first.
                while self.steward.is_handing_over(agent) {
                    tokio::time::sleep(LOOK_AFTER).await;
                }
                match self.steward.status(agent) {
                    Ok(Status::Custodian) if !life.is_over() => {}
                    _ => break None,
                }
                match self.give(agent, taker.node, |_| ()).await {
                    Ok(_) => return Ok(taker.node),
                    Err(Error::Move(Failed::Moving)) => tokio::time::sleep(LOOK_AFTER).await,
                    Err(error) => break Some(error.to_string()),
                }
            };
            match ended {
                Some(error) => why = error,
                None => break,
            }
        }
        let answered = Instant::now() + ANSWER_WITHIN;
        while matches!(self.steward.status(agent), Ok(Status::Given(_))) && Instant::now() < answered {
            tokio::time::sleep(LOOK_AFTER).await;
        }
        match self.steward.status(agent) {
            Ok(Status::Custodian) => Err(why),
            Ok(Status::Given(to)) => {
                Err(format!("it was given to {to}, which has not answered; it is asked again: {why}"))
            }
            Ok(_) => {
                let node = self.clone();
                let book = blocking(move || node.book(agent)).await;
                book.map(|book| book.custodian()).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
