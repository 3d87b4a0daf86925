//! Deleting what is here of the journal of an agent that others have.
//!
//! Invariants kept here:
//! - Only an archive, a copy or the beginning of one that came is deleted: where this node is the custodian, has given the
//!   agent away without an answer, has not answered itself, or cannot tell, the journal stays.
//! - What this node knows and signed of the agent's custody stays for ever: it answers whoever asks as before, and begins
//!   no agent a second time.

use super::{Error, Host, Peers, Steward};
use crate::World;
use igor_protocol::{
    AgentId, NodeId, Seq,
    custody::{Doubt, Status},
};
use igor_store::Store;

/// Why nothing is deleted.
#[derive(Debug, thiserror::Error)]
pub enum NotDeleted {
    /// It is this node's.
    #[error(
        "agent {0} is this node's, and its journal here the one that counts: `igor migrate` hands it to another node \
         first; one that has ended stays"
    )]
    Own(AgentId),
    /// It is on its way out.
    #[error("agent {agent} was given to {to}, which has not answered: what is here is kept until it has")]
    Given {
        /// The agent.
        agent: AgentId,
        /// To which node.
        to: NodeId,
    },
    /// It is on its way in.
    #[error("agent {0} was given to this node, which has not answered yet: what is here is kept until it has")]
    Undecided(AgentId),
    /// It cannot be told whose it is.
    #[error(
        "agent {agent} is suspended, and what is here may decide whose it is: {doubt}; `igor takeover` comes first"
    )]
    Suspended {
        /// The agent.
        agent: AgentId,
        /// Why.
        doubt: Doubt,
    },
    /// Somebody brings it in.
    #[error("agent {0} is coming in; ask again in a moment")]
    Coming(AgentId),
    /// There is nothing.
    #[error("there is no journal of agent {0} on this node")]
    Nothing(AgentId),
    /// This side failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl<S: Store, W: World, P: Peers, H: Host> Steward<S, W, P, H> {
    /// Why what is here of an agent's journal may not be deleted, if it may not.
    pub fn may_delete(&self, agent: AgentId) -> Result<(), NotDeleted> {
        match self.status(agent)? {
            Status::Elsewhere => Ok(()),
            Status::Absent => Err(NotDeleted::Nothing(agent)),
            Status::Custodian | Status::Unfinished => Err(NotDeleted::Own(agent)),
            Status::Given(to) => Err(NotDeleted::Given { agent, to }),
            Status::Undecided => Err(NotDeleted::Undecided(agent)),
            Status::Suspended(doubt) => Err(NotDeleted::Suspended { agent, doubt }),
        }
    }

    /// Deletes what is here of the journal of an agent that others have. Gives how many entries that were.
    pub async fn delete(&self, agent: AgentId) -> Result<Seq, NotDeleted> {
        self.keep_news_now(agent).await?;
        let _nothing_comes = self.coming.begin(agent).ok_or(NotDeleted::Coming(agent))?;
        let turn = self.turn(agent);
        let desk = turn.lock().await;
        self.may_delete(agent)?;
        if desk.is_leased() {
            return Err(NotDeleted::Own(agent));
        }
        let end = self.store.tail(agent).map_err(Error::from)?.ok_or(NotDeleted::Nothing(agent))?;
        self.store.remove(agent).await.map_err(Error::from)?;
        Ok(end.next)
    }
}
