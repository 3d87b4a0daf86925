//! What an offer proves by itself, before it costs the target anything that lasts.
//!
//! Invariant: only a node gets further whose offer, taken for itself, shows that it has the agent. Whether its last
//! record follows from those before, and is still the last, the journal shows, of which nothing is kept that does not
//! verify.

use igor_protocol::{
    NodeId,
    entry::Phase,
    transfer::{Offer, Reason, Refusal},
};

/// Why the offer is refused whatever else is known, if it is. `to` is this node.
pub(super) fn check(offer: &Offer, from: NodeId, to: NodeId) -> Result<(), Refusal> {
    let refuse = |why: &dyn std::fmt::Display| Err(Refusal::new(Reason::History, why));
    let body = &offer.genesis.body;
    if !offer.genesis.is_signed() {
        return refuse(&"Genesis is not signed by owner and first custodian");
    }
    if offer.manifest.hash() != body.manifest {
        return refuse(&"the manifest is not the one that Genesis names");
    }
    let agent = offer.agent();
    for record in &offer.records {
        if record.phase.agent() != agent {
            return refuse(&"a record of custody is another agent's");
        }
        if let Err(fault) = record.check(&body.owner) {
            return refuse(&format_args!("a record of custody is bad: {fault}"));
        }
    }
    let last = offer.records.last().map(|record| &record.phase);
    let has_it = match last {
        None => body.custodian,
        Some(Phase::Decline(_)) => return refuse(&"a decline does not show who has the agent"),
        Some(phase) => phase.writer(),
    };
    if has_it != from {
        return refuse(&format_args!("its records show that {has_it} has the agent, and not {from}"));
    }
    let given = matches!(last, Some(Phase::Handoff(handoff)) if handoff.to == to);
    if !offer.given && matches!(last, Some(Phase::Handoff(_))) {
        return refuse(&"its records show that it gave the agent away");
    }
    if offer.given && !given {
        return refuse(&"it says that the agent was given to this node, and shows no handoff to it");
    }
    Ok(())
}
