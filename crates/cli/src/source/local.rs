//! The files of a home that no node has.

use crate::failure::Failure;
use igor_node::{api::wire::AgentInfo, local};
use igor_protocol::{AgentId, Seq};
use igor_spine::{event::Snapshot, inspect};
use igor_store::disk::Reader;
use std::path::Path;

/// A view of a home.
pub(crate) struct Local {
    pub(crate) reader: Reader,
}

impl Local {
    pub(crate) fn open(home: &Path) -> Result<Self, igor_store::Error> {
        Ok(Self { reader: Reader::open(home)? })
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
        let now = Snapshot::at_rest(&book, flags.paused);
        let mut info = AgentInfo::new(&name, book.genesis(), book.ledger().runtime.as_deref(), &now);
        if self.reader.is_archive(agent) {
            "archived".clone_into(&mut info.status);
        }
        Ok(info)
    }
}
