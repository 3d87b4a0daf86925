//! What objects are called.

use igor_protocol::{
    AgentId, Hash,
    slot::{Rule, Rules},
    units::{Epoch, Seq, Slot},
};

/// A slot of a journal.
pub fn slot(agent: AgentId, number: Slot) -> String {
    format!("agents/{}/log/{:020}", agent.0, number.0)
}

/// The bundle of this number, of the run that began with a slot.
pub(super) fn bundle(agent: AgentId, run: Slot, index: u32) -> String {
    format!("agents/{}/bundles/{:020}/{index:010}", agent.0, run.0)
}

/// The slots of a bundle.
pub(super) fn pack(agent: AgentId, hash: Hash) -> String {
    format!("agents/{}/packs/{hash}", agent.0)
}

/// A blob that a commit names, which begins at this position. Each commit has copies of its own: a delete of one that comes
/// late, or from who had custody before, takes nothing that is named since.
pub(super) fn blob(rules: Rules, agent: AgentId, epoch: Epoch, first: Seq, hash: Hash) -> String {
    if !rules.keep(Rule::OwnBlobs) {
        return format!("agents/{}/blobs/{hash}", agent.0);
    }
    format!("agents/{}/blobs/{}.{}/{:020}/{hash}", agent.0, epoch.term, epoch.n, first.0)
}
