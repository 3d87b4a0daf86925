//! The world as an agent of this node has it: the machine, and the nodes around.

use crate::{Node, RealWorld};
use igor_protocol::{AgentId, Nanos, Timestamp, entry::GenesisBody};
use igor_spine::{Around, World};
use std::sync::Weak;

/// This machine, seen by one of its agents.
pub(crate) struct AgentWorld {
    node: Weak<Node>,
    agent: AgentId,
    genesis: GenesisBody,
}

impl AgentWorld {
    pub(crate) const fn new(node: Weak<Node>, agent: AgentId, genesis: GenesisBody) -> Self {
        Self { node, agent, genesis }
    }
}

impl World for AgentWorld {
    fn wall_clock(&self) -> Timestamp {
        RealWorld.wall_clock()
    }

    fn monotonic(&self) -> Nanos {
        RealWorld.monotonic()
    }

    async fn sleep_until(&self, moment: Nanos) {
        RealWorld.sleep_until(moment).await;
    }

    fn random(&self, buffer: &mut [u8]) {
        RealWorld.random(buffer);
    }

    fn around(&self) -> Around {
        self.node.upgrade().map(|node| node.around(self.agent, &self.genesis)).unwrap_or_default()
    }
}
