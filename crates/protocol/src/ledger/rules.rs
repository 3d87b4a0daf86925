//! One function for each kind of entry: whether it may stand here, and what it changes.

mod custody;
mod run;

pub(super) use custody::custody;
pub(super) use run::run;

use super::{Book, CheckpointRef, Fault, Known, OpenMessage, book::Barrier};
use crate::{
    entry::{
        Action, Body, Call, Checkpoint, CheckpointKind, Content, EndCause, Genesis, Message, Order, Policy, Run, Seal,
        StoreKind,
    },
    limits::{CUSTODIANS_MAX, NAME_BYTES_MAX, RECEIPTS_KEPT, SILENT_MIN, STANDBY_MAX},
    units::{Seq, Timestamp},
};

/// What holds for every kind: time, the barrier of a checkpoint, and what may follow an end.
pub(super) fn check_place(book: &Book, body: &Body, at: Timestamp) -> Result<(), Fault> {
    if at < book.ledger.at {
        return Err(Fault::Time("an entry is older than the one before it"));
    }
    if (book.chain.next == Seq(0)) != matches!(body, Body::Genesis(_)) {
        return Err(Fault::Place("a journal begins with its Genesis, and has no other"));
    }
    match (book.barrier, body) {
        (Barrier::Open, Body::Checkpoint(_)) => {
            return Err(Fault::Place("a checkpoint follows the runs that took and proved it"));
        }
        (Barrier::Open, _)
        | (Barrier::Taken, Body::Run(Run { call: Call::Resume, .. }))
        | (Barrier::Proved, Body::Checkpoint(_)) => {}
        (Barrier::Taken | Barrier::Proved, _) => {
            return Err(Fault::Place("a checkpoint and the runs that took and proved it stand together"));
        }
    }
    if !matches!(body, Body::Custody(_)) && book.is_given() {
        return Err(Fault::Place("after a handoff only its answer or a takeover follows"));
    }
    match (book.ledger.ended, body) {
        (None, _) | (Some(_), Body::Seal(_)) | (Some(EndCause::Exhausted), Body::Order(_) | Body::Custody(_)) => {}
        (Some(_), _) => return Err(Fault::Place("the agent has ended")),
    }
    Ok(())
}

pub(super) fn genesis(book: &mut Book, genesis: &Genesis, at: Timestamp) -> Result<(), Fault> {
    let body = &genesis.body;
    if *body != book.genesis {
        return Err(Fault::Link("it is another agent's"));
    }
    if !genesis.is_signed() {
        return Err(Fault::Signature("Genesis, by owner and first custodian,"));
    }
    if body.name.is_empty() || body.name.len() > NAME_BYTES_MAX {
        return Err(Fault::Limit("a name has 1 to 64 bytes"));
    }
    if at > body.expires {
        return Err(Fault::Time("Genesis had expired"));
    }
    if !body.policy.allows(&body.terms) {
        return Err(Fault::Limit("the terms are above what the owner's policy allows"));
    }
    check_policy(body.store, &body.policy)?;
    if body.issuer != body.owner && body.budget != crate::Credits::ZERO {
        return Err(Fault::Money("an issuer that is not the owner funds by its own order, not by the owner's Genesis"));
    }
    book.ledger.funded = body.budget;
    book.ledger.balance = body.budget;
    book.ledger.run_ended = at;
    Ok(())
}

pub(super) fn message(book: &mut Book, message: &Message) -> Result<(), Fault> {
    let limits = &book.manifest.limits;
    let bytes = message.body.len();
    if !message.body.is_well_formed() {
        return Err(Fault::Message("a short body is inline, a long one a blob"));
    }
    if bytes > u64::from(limits.message_bytes) {
        return Err(Fault::Limit("limits.message_bytes"));
    }
    if book.ledger.open.len() >= limits.inbox_messages as usize {
        return Err(Fault::Limit("limits.inbox_messages"));
    }
    if book.ledger.open.iter().map(|m| m.bytes).sum::<u64>() + bytes > limits.inbox_bytes {
        return Err(Fault::Limit("limits.inbox_bytes"));
    }
    match book.remembered.lookup(&message.sender, &message.id) {
        Known::New => {}
        Known::Came(_) => return Err(Fault::Message("it came before")),
        Known::Gap { .. } => return Err(Fault::Message("the numbers of a stream have no gaps")),
        Known::Refused(why) => return Err(Fault::Message(why)),
    }
    let seq = book.chain.next;
    book.remembered.insert(&message.sender, &message.id, seq);
    book.ledger.open.push(OpenMessage { seq, bytes, attempts: 0 });
    Ok(())
}

pub(super) fn checkpoint(book: &mut Book, checkpoint: &Checkpoint) -> Result<(), Fault> {
    if checkpoint.kind != CheckpointKind::State {
        return Err(Fault::Checkpoint("memory checkpoints are not known to this version of igor"));
    }
    if checkpoint.tick != book.ledger.tick {
        return Err(Fault::Checkpoint("it includes another tick than the last"));
    }
    if checkpoint.bytes > book.manifest.limits.state_bytes {
        return Err(Fault::Limit("limits.state_bytes"));
    }
    if checkpoint.ledger != book.ledger {
        return Err(Fault::Checkpoint("its ledger is not that of the journal"));
    }
    if checkpoint.remembered != Content::of(&book.remembered.encode()) {
        return Err(Fault::Checkpoint("its message ids are not those of the journal"));
    }
    let due = book.receipt_due();
    let unsigned = crate::entry::Receipt { signature: due.signature, ..checkpoint.receipt.clone() };
    if unsigned != due {
        return Err(Fault::Checkpoint("its receipt is not what was paid"));
    }
    if !checkpoint.receipt.is_signed_by(&book.custodian()) {
        return Err(Fault::Signature("the receipt"));
    }
    book.ledger.receipts.push(checkpoint.receipt.clone());
    if book.ledger.receipts.len() > RECEIPTS_KEPT {
        book.ledger.receipts.remove(0);
    }
    book.ledger.receipted = book.ledger.spent;
    book.ledger.checkpoint = Some(CheckpointRef {
        seq: book.chain.next,
        tick: checkpoint.tick,
        root: checkpoint.root,
        bytes: checkpoint.bytes,
    });
    book.barrier = Barrier::Open;
    Ok(())
}

/// Whether an order counts here. Cheap for what is not: the signature comes after the plain comparisons.
pub(super) fn check_order(book: &Book, order: &Order) -> Result<(), Fault> {
    let body = &order.body;
    if body.agent != book.chain.agent {
        return Err(Fault::Order("it is for another agent"));
    }
    if body.term != book.chain.epoch.term {
        return Err(Fault::Order("it is for another branch: its term is not the journal's"));
    }
    if body.counter <= book.ledger.order_counter {
        return Err(Fault::Order("its counter is not above that of the last order: it was given before, or is stale"));
    }
    let signer = match body.action {
        Action::Fund { .. } => &book.genesis.issuer,
        Action::Recall | Action::Policy(_) => &book.genesis.owner,
        Action::Takeover { .. } => {
            return Err(Fault::Order("a takeover order stands in the custody entry of the node that carries it out"));
        }
    };
    if !order.is_signed_by(signer) {
        return Err(Fault::Signature("the order"));
    }
    match &body.action {
        Action::Fund { total } if *total <= book.ledger.funded => {
            Err(Fault::Order("its total is not above what was funded before"))
        }
        Action::Recall if book.ledger.ended.is_some() => Err(Fault::Order("the agent has ended")),
        Action::Policy(policy) => check_policy(book.genesis.store, policy),
        _ => Ok(()),
    }
}

pub(super) fn order(book: &mut Book, order: Order) -> Result<(), Fault> {
    check_order(book, &order)?;
    let ledger = &mut book.ledger;
    ledger.order_counter = order.body.counter;
    match &order.body.action {
        Action::Fund { total } => {
            let total = *total;
            let added = total.checked_sub(ledger.funded).ok_or(Fault::Money("the funding falls"))?;
            // funded = balance + spent, so the balance cannot overflow where the total does not.
            ledger.balance = ledger.balance.checked_add(added).ok_or(Fault::Money("the balance overflows"))?;
            ledger.funded = total;
            ledger.ended = None;
            ledger.fund_order = Some(order);
        }
        // Refused above.
        Action::Takeover { .. } => {}
        Action::Recall => ledger.recalled = true,
        Action::Policy(policy) => ledger.policy = Some(Box::new(policy.clone())),
    }
    Ok(())
}

/// What a policy cannot say.
fn check_policy(store: StoreKind, policy: &Policy) -> Result<(), Fault> {
    if policy.custodians.len() > CUSTODIANS_MAX || policy.standby.nodes.len() > STANDBY_MAX {
        return Err(Fault::Limit("a policy names at most 64 custodians and 16 standby nodes"));
    }
    if policy.standby.silent_for.is_some_and(|time| time < SILENT_MIN) {
        return Err(Fault::Limit("a standby waits for 600 ms of silence at least"));
    }
    if store == StoreKind::Disk && !policy.standby.nodes.is_empty() {
        return Err(Fault::Custody("standby nodes need a store that they share with the custodian"));
    }
    Ok(())
}

pub(super) fn seal(book: &Book, seal: &Seal) -> Result<(), Fault> {
    let chain = &book.chain;
    let last = Seq(chain.next.0.saturating_sub(1));
    if seal.is_signed_by(&book.custodian(), &chain.agent, chain.epoch, last, &chain.head) {
        Ok(())
    } else {
        Err(Fault::Signature("the seal"))
    }
}

pub(super) fn end(book: &mut Book, cause: EndCause) -> Result<(), Fault> {
    let due = match cause {
        EndCause::Exhausted => book.ledger.is_exhausted(),
        EndCause::Completed => book.ledger.finished,
        EndCause::Recalled => book.ledger.recalled,
    };
    if !due {
        return Err(Fault::Place("nothing in the journal ends the agent for this cause"));
    }
    book.ledger.ended = Some(cause);
    Ok(())
}
