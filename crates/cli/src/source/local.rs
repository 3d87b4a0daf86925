//! The files of a home that no node has.

use crate::failure::Failure;
use igor_node::{
    api::wire::AgentInfo,
    home::{self, Home, Keys, Role},
    local,
};
use igor_protocol::{AgentId, NodeId, Seq};
use igor_spine::inspect;
use igor_store::disk::Reader;

/// A view of a home.
pub(crate) struct Local {
    pub(crate) reader: Reader,
    keys: Keys,
}

impl Local {
    pub(crate) fn open(home: &Home) -> Result<Self, igor_store::Error> {
        Ok(Self { reader: Reader::open(home.path())?, keys: home.keys() })
    }

    /// The node of this home, where it has a key.
    fn node(&self) -> Result<Option<NodeId>, Failure> {
        match self.keys.read(Role::Node) {
            Ok(key) => Ok(Some(key.public())),
            Err(home::Error::NoKey { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The agent with this name or id. A name whose agent has no journal is left over from a crash, and names nothing.
    pub(crate) fn resolve(&self, name: &str) -> Result<AgentId, Failure> {
        let agent = match name.parse::<AgentId>() {
            Ok(agent) => Some(agent),
            Err(_) => local::agent_named(&self.reader, name)?,
        };
        let agent = agent.filter(|agent| self.reader.tail(*agent).is_some());
        agent
            .ok_or_else(|| Failure::failed(format!("no agent is called {name:?} here; `igor ps` lists those that are")))
    }

    /// All agents, by name.
    pub(crate) fn agents(&self) -> Result<Vec<AgentInfo>, Failure> {
        let infos: Result<Vec<AgentInfo>, Failure> =
            self.reader.list().into_iter().map(|agent| self.info(agent)).collect();
        let mut infos = infos?;
        infos.sort_by(|a, b| (&a.name, a.agent).cmp(&(&b.name, b.agent)));
        Ok(infos)
    }

    /// One agent.
    pub(crate) fn info(&self, agent: AgentId) -> Result<AgentInfo, Failure> {
        let name = local::names(&self.reader)?.remove(&agent).unwrap_or_else(|| agent.to_string());
        let flags = local::flags(&self.reader, agent)?;
        let end = self.reader.tail(agent).map_or(Seq(0), |chain| chain.next);
        let book = inspect::book_at_end(|from| self.reader.read(agent, from), self, end)?;
        Ok(AgentInfo::at_rest(&name, &book, flags.paused, self.node()?))
    }
}
