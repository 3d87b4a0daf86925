//! The files of a home that no node has.

use crate::failure::Failure;
use igor_node::{
    api::wire::{Absent, AgentInfo, Orphan},
    bucket, custody,
    home::{self, Home, Role},
    local, orphans,
};
use igor_protocol::{AgentId, NodeId, Seq};
use igor_spine::inspect;
use igor_store::disk::Reader;

/// A view of a home.
pub(crate) struct Local {
    pub(crate) reader: Reader,
    home: Home,
}

impl Local {
    pub(crate) fn open(home: &Home) -> Result<Self, igor_store::Error> {
        Ok(Self { reader: Reader::open(home.path())?, home: home.clone() })
    }

    /// The node of this home, where it has a key.
    fn node(&self) -> Result<Option<NodeId>, Failure> {
        match self.home.keys().read(Role::Node) {
            Ok(key) => Ok(Some(key.public())),
            Err(home::Error::NoKey { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The agent with this name or id. A name whose agent has no journal is left over from a crash, and names nothing.
    pub(crate) fn resolve(&self, name: &str) -> Result<AgentId, Failure> {
        let named = self.named(name)?;
        let Some(agent) = named.filter(|agent| self.reader.tail(*agent).is_some()) else {
            let known = named.map(|agent| custody::known(&self.reader, agent, None).map(|known| (agent, known)));
            let elsewhere = match known.transpose()? {
                Some((agent, known)) => custody::elsewhere(&known, agent, self.node()?),
                None => None,
            };
            return Err(match elsewhere {
                Some(elsewhere) => igor_node::Error::NotCustodian(Box::new(elsewhere)).into(),
                None => Failure::failed(format!("no agent is called {name:?} here; `igor ps` lists those that are")),
            });
        };
        Ok(agent)
    }

    fn named(&self, name: &str) -> Result<Option<AgentId>, Failure> {
        match name.parse::<AgentId>() {
            Ok(agent) => Ok(Some(agent)),
            Err(_) => Ok(local::agent_named(&self.reader, name)?),
        }
    }

    /// An agent that has no journal here, if anything is known of it.
    pub(crate) fn absent(&self, name: &str) -> Result<Option<Absent>, Failure> {
        let Some(agent) = self.named(name)?.filter(|agent| self.reader.tail(*agent).is_none()) else { return Ok(None) };
        let known = custody::known(&self.reader, agent, None)?;
        let name = local::names(&self.reader)?.remove(&agent);
        Ok(custody::absent(&known, agent, name, self.node()?, &self.home)?)
    }

    /// The branches that are kept here, of one agent or of all.
    pub(crate) fn orphans(&self, agent: Option<AgentId>) -> Result<Vec<Orphan>, Failure> {
        Ok(orphans::all(&self.home, &self.reader, agent)?)
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
        let known = custody::known(&self.reader, agent, Some(&book))?;
        let store = bucket::kind(&self.reader, agent, book.genesis().store)?;
        let durable_on = bucket::durable_on(&self.reader, store)?;
        Ok(AgentInfo { durable_on, ..AgentInfo::at_rest(&name, &book, flags.paused, self.node()?, &known) })
    }
}
