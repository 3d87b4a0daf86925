//! What objects are called.

use igor_protocol::{
    AgentId, Hash,
    units::{Epoch, Slot},
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

/// A blob that entries of an epoch name. Each epoch has copies of its own, so that whoever had custody before deletes
/// nothing that is named since.
pub(super) fn blob(agent: AgentId, epoch: Epoch, hash: Hash) -> String {
    format!("agents/{}/blobs/{}.{}/{hash}", agent.0, epoch.term, epoch.n)
}
