//! What the nodes that stand by for agents here say of them, and what would happen if this node died.
//!
//! Invariant kept here: what is said is a hint. It decides for how long room is left between commits, and what is shown.

use super::now;
use crate::{
    Hosted, Node,
    api::wire::{AgentCheck, StandbyCheck},
};
use igor_network::message::{Beat, Follow};
use igor_protocol::{AgentId, NodeId, entry::StoreKind};
use igor_spine::standby::Room;
use igor_store::Store;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What a node said of an agent so long ago is what it would do.
const FOLLOWER_RECENT: Duration = Duration::from_secs(2);
/// What it said so long ago is forgotten.
const FOLLOWER_FORGOTTEN: Duration = Duration::from_mins(1);

/// What other nodes said of an agent that lives here.
struct Heard {
    room: Room,
    said: BTreeMap<NodeId, (Follow, Instant)>,
}

impl Default for Heard {
    fn default() -> Self {
        Self { room: Room::begin(now()), said: BTreeMap::new() }
    }
}

/// What the nodes that stand by for agents here said of them last.
#[derive(Default)]
pub(in crate::node) struct Followers(Mutex<BTreeMap<AgentId, Heard>>);

impl Followers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Heard>> {
        // No update can fail in the middle.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a node says of agents that it was asked about.
    pub(super) fn note(&self, node: NodeId, asked: &[Beat], follows: Vec<Follow>) {
        let (at, mut all) = (Instant::now(), self.lock());
        for follow in follows.into_iter().filter(|follow| asked.iter().any(|beat| beat.agent == follow.agent)) {
            let Some(Heard { room, said }) = all.get_mut(&follow.agent) else { continue };
            room.hear(now());
            said.retain(|_, (_, said)| at.duration_since(*said) < FOLLOWER_FORGOTTEN);
            said.insert(node, (follow, at));
        }
    }

    /// Whether room is to be left for those that stand by for an agent here.
    pub(super) fn leaves_room(&self, agent: AgentId) -> bool {
        self.lock().entry(agent).or_default().room.is_left(now())
    }

    /// What a node said of an agent a moment ago.
    fn of(&self, agent: AgentId, node: NodeId) -> Option<Follow> {
        let said = self.lock().get(&agent)?.said.get(&node).copied();
        said.filter(|(_, said)| said.elapsed() < FOLLOWER_RECENT).map(|(follow, _)| follow)
    }

    /// Forgets what was said of agents that do not live here any more.
    pub(super) fn retain(&self, lives: impl Fn(AgentId) -> bool) {
        self.lock().retain(|agent, _| lives(*agent));
    }
}

impl Node {
    /// What would happen to the agents here if this node died now.
    pub fn check(&self) -> Vec<AgentCheck> {
        let lives: Vec<_> = self.lives().by_agent.values().filter(|life| !life.is_over()).cloned().collect();
        let mut checks: Vec<_> = lives.iter().map(|life| self.check_one(life)).collect();
        checks.sort_by(|one, other| one.name.cmp(&other.name));
        checks
    }

    fn check_one(&self, life: &Hosted) -> AgentCheck {
        let (agent, now) = (life.agent(), life.watch().borrow().clone());
        let shared = self.store.kind(agent) != StoreKind::Disk;
        let standby = now.standby.iter().filter(|node| **node != self.id()).map(|node| {
            let follow = self.followers.of(agent, *node);
            StandbyCheck {
                node: *node,
                follows: follow.is_some(),
                behind: follow.map(|follow| now.chain.next.0.saturating_sub(follow.next.0)),
                after_ns: follow.and_then(|follow| follow.after).map(|after| after.0),
            }
        });
        let standby: Vec<_> = standby.collect();
        let first = standby.iter().filter(|one| one.after_ns.is_some()).min_by_key(|one| one.after_ns);
        AgentCheck {
            agent,
            name: life.name().to_owned(),
            durable_on: self.durable_on(self.store.kind(agent)),
            taken_by: first.map(|one| one.node),
            lost: if shared { "nothing".to_owned() } else { "what no export or archive elsewhere has".to_owned() },
            standby,
        }
    }
}
