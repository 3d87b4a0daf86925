//! What a run may have seen, asked for and cost.

use super::super::{Book, Fault, OpenMessage, book::Barrier};
use crate::{
    codec,
    entry::{Call, Failure, Listed, Observation, Outcome, Request, Run, Trigger},
    limits::{CAUSE_BYTES_MAX, MESSAGE_ATTEMPTS_MAX, NODES_LISTED_MAX, RESUMED_APART},
    units::{Credits, Nanos, Seq, Tick, Timestamp},
};

pub(crate) fn run(book: &mut Book, run: &Run, at: Timestamp) -> Result<(), Fault> {
    check_call(book, run)?;
    check_time(book, run, at)?;
    check_observations(book, run, at)?;
    check_limits(book, run)?;
    charge(book, run)?;
    close_messages(book, run);
    let started = Timestamp(at.0.saturating_sub(run.duration.0.saturating_add(run.waited.0)));
    let ledger = &mut book.ledger;
    ledger.run_ended = at;
    if run.outcome.is_ok() && matches!(run.call, Call::Init | Call::Resume) {
        ledger.runtime.clone_from(&run.runtime);
    }
    if run.call == Call::Checkpoint {
        ledger.checkpoint_tried = Some(run.tick);
    }
    book.barrier = match (book.barrier, run.call, run.outcome.is_ok()) {
        (Barrier::Open, Call::Checkpoint, true) => Barrier::Taken,
        (Barrier::Taken, Call::Resume, true) => Barrier::Proved,
        _ => Barrier::Open,
    };
    if let Call::Tick(_) = run.call {
        ledger.tick = run.tick;
        ledger.tick_started = started;
        match &run.outcome {
            Outcome::Ok { more_work } => {
                ledger.failures = 0;
                ledger.more_work = *more_work;
                if ledger.wake_at.is_some_and(|wake| wake <= started) {
                    ledger.wake_at = None;
                }
                ledger.move_to = None;
                for request in &run.requests {
                    match request {
                        Request::WakeAt(time) => ledger.wake_at = Some(*time),
                        Request::Finish => ledger.finished = true,
                        Request::MigrateTo(to) => ledger.move_to = Some(*to),
                        Request::Reply { .. } => {}
                    }
                }
            }
            // What paid its last unit ends the agent; it did not fail by itself.
            Outcome::Failed { failure: Failure::OutOfMoney, .. } if ledger.is_exhausted() => {}
            Outcome::Failed { .. } => ledger.failures = ledger.failures.saturating_add(1),
        }
    }
    Ok(())
}

fn check_call(book: &Book, run: &Run) -> Result<(), Fault> {
    let ledger = &book.ledger;
    let expected = match run.call {
        Call::Tick(_) => Tick(ledger.tick.0.saturating_add(1)),
        _ => ledger.tick,
    };
    if run.tick != expected {
        return Err(Fault::Place("ticks are numbered one by one"));
    }
    match run.call {
        Call::Init if ledger.runtime.is_some() => return Err(Fault::Place("the agent was initialised before")),
        Call::Tick(_) | Call::Checkpoint | Call::Resume if ledger.runtime.is_none() => {
            return Err(Fault::Place("the agent was not initialised"));
        }
        _ => {}
    }
    if matches!(run.call, Call::Init | Call::Resume) != run.runtime.is_some() {
        return Err(Fault::Place("init and resume name the runtime, and no other run does"));
    }
    check_runtime(book, run)?;
    if run.call == Call::Checkpoint && ledger.checkpoint_tried == Some(ledger.tick) {
        return Err(Fault::Place("a checkpoint is tried once after a tick"));
    }
    if let Outcome::Failed { cause, .. } = &run.outcome
        && cause.len() > CAUSE_BYTES_MAX
    {
        return Err(Fault::Limit("the cause of a failure has at most 512 bytes"));
    }
    if run.started_seq < ledger.settled || run.started_seq > book.chain.next {
        return Err(Fault::Place("a run starts after all that was settled, and only messages come in while it runs"));
    }
    Ok(())
}

/// The runtime changes only where an agent goes on from a checkpoint that nothing has run since.
fn check_runtime(book: &Book, run: &Run) -> Result<(), Fault> {
    let ledger = &book.ledger;
    match (run.call, book.barrier) {
        (Call::Init, _) if run.runtime.as_ref() != Some(&book.genesis.runtime) => {
            Err(Fault::Place("the first runtime is the one that Genesis names"))
        }
        (Call::Resume, Barrier::Open) => {
            let at_checkpoint = ledger.checkpoint.is_some_and(|checkpoint| checkpoint.tick == ledger.tick);
            if at_checkpoint && run.runtime != ledger.runtime {
                Ok(())
            } else {
                Err(Fault::Place("a resume on its own goes on from the last checkpoint, with another runtime"))
            }
        }
        (Call::Resume, _) if run.runtime != ledger.runtime => {
            Err(Fault::Place("a checkpoint is proved by the runtime that made it"))
        }
        _ => Ok(()),
    }
}

/// A tick has the cause that it names: nobody is billed for ticks that nothing asked for.
fn check_trigger(book: &Book, run: &Run, started: Timestamp) -> Result<(), Fault> {
    let ledger = &book.ledger;
    match run.call {
        Call::Tick(Trigger::Interval)
            if ledger.tick > Tick(0) && started < ledger.tick_started.after(book.manifest.interval_min) =>
        {
            return Err(Fault::Time("interval ticks are closer than tick.interval_min of the manifest"));
        }
        Call::Tick(Trigger::Message) if !ledger.open.iter().any(|open| open.seq < run.started_seq) => {
            return Err(Fault::Place("a tick was run for a message, and none was open"));
        }
        Call::Tick(Trigger::Wake) if ledger.wake_at.is_none_or(|wake| wake > started) => {
            return Err(Fault::Time("a tick was run for a wake that was not due"));
        }
        Call::Tick(Trigger::MoreWork) if !ledger.more_work => {
            return Err(Fault::Place("a tick was run for more work, and the last said that there is none"));
        }
        Call::Tick(Trigger::Resumed { .. }) if started < ledger.tick_started.after(RESUMED_APART) => {
            return Err(Fault::Time("the agent was resumed sooner after its last tick than anybody may"));
        }
        Call::Tick(Trigger::Resumed { gap }) if gap > started.since(ledger.tick_started) => {
            return Err(Fault::Time("a tick was told of a longer gap than there was"));
        }
        _ => {}
    }
    Ok(())
}

fn check_time(book: &Book, run: &Run, at: Timestamp) -> Result<(), Fault> {
    let took = Nanos(run.duration.0.checked_add(run.waited.0).ok_or(Fault::Time("a run lasts longer than time"))?);
    if took > at.since(book.ledger.run_ended) {
        return Err(Fault::Time("a run lasts longer than the time since the run before it"));
    }
    check_trigger(book, run, Timestamp(at.0 - took.0))
}

/// Answers that follow from the ledger must be those of the ledger; messages are taken in order, none left out.
fn check_observations(book: &Book, run: &Run, at: Timestamp) -> Result<(), Fault> {
    let ledger = &book.ledger;
    let (tick, max) = (run.call.is_tick(), u64::from(book.manifest.limits.observed_bytes));
    let mut inbox = ledger.open.iter().filter(|m| tick && m.seq < run.started_seq).peekable();
    let mut clock = ledger.run_ended;
    let mut weight = 0_u64;
    for seen in &run.observations {
        let body = if matches!(seen, Observation::Message(_)) { inbox.peek().map_or(0, |next| next.bytes) } else { 0 };
        weight = weight.saturating_add(seen.weight(body));
        match seen {
            Observation::Clock(time) => {
                if *time < clock || *time > at {
                    return Err(Fault::Time("the clock that a run saw went back, or was not the time of the run"));
                }
                clock = *time;
            }
            Observation::Random(_) | Observation::Waited | Observation::Receipt(None) | Observation::Draining(_) => {}
            Observation::Nodes(list) => check_list(book, list)?,
            Observation::Balance(micro) if *micro == ledger.balance.to_guest_micro() => {}
            Observation::Balance(_) => return Err(Fault::Observation("the balance")),
            Observation::Price(micro) if *micro == book.terms().per_second().to_guest_micro() => {}
            Observation::Price(_) => return Err(Fault::Observation("the price")),
            Observation::ReceiptCount(count) if *count as usize == ledger.receipts.len() => {}
            Observation::ReceiptCount(_) => return Err(Fault::Observation("the number of receipts")),
            Observation::Receipt(Some(bytes)) => {
                if !ledger.receipts.iter().any(|receipt| codec::encode(receipt) == bytes.as_slice()) {
                    return Err(Fault::Observation("a receipt"));
                }
            }
            Observation::Message(seq) => {
                if inbox.next().is_none_or(|next| next.seq != *seq) {
                    return Err(Fault::Message("a run took another message than the next"));
                }
            }
            Observation::NoMessage => {
                if inbox.peek().is_some() {
                    return Err(Fault::Message("a run was told that no message is there, but one was"));
                }
            }
            Observation::MessageTooLong { bytes } => {
                if inbox.peek().is_none_or(|next| next.bytes != u64::from(*bytes)) {
                    return Err(Fault::Message("a run was told another length than that of the next message"));
                }
            }
            Observation::NoRoom => {
                let fits = |next: &&OpenMessage| {
                    weight.saturating_add(Observation::Message(next.seq).weight(next.bytes)) <= max
                };
                if inbox.peek().is_none_or(fits) {
                    return Err(Fault::Message("a run was refused a message that it could have taken"));
                }
            }
        }
    }
    if weight > max {
        return Err(Fault::Limit("limits.observed_bytes"));
    }
    Ok(())
}

/// What others ask is the node's assertion; what is paid here is in the journal.
fn check_list(book: &Book, list: &[Listed]) -> Result<(), Fault> {
    if list.len() > NODES_LISTED_MAX {
        return Err(Fault::Limit("a list of nodes has at most 16"));
    }
    let here = Listed { node: book.custodian(), terms: book.terms() };
    if list.first() == Some(&here) { Ok(()) } else { Err(Fault::Observation("the node that it is on")) }
}

fn check_limits(book: &Book, run: &Run) -> Result<(), Fault> {
    let limits = &book.manifest.limits;
    if run.fuel > limits.tick_fuel {
        return Err(Fault::Limit("limits.tick_fuel"));
    }
    if run.observations.len() > limits.observations as usize {
        return Err(Fault::Limit("limits.observations"));
    }
    if run.logs.iter().map(|line| line.len().max(1)).sum::<usize>() > limits.log_bytes as usize {
        return Err(Fault::Limit("limits.log_bytes"));
    }
    let may_ask = run.outcome.is_ok() && run.call.is_tick();
    if !may_ask && !run.requests.is_empty() {
        return Err(Fault::Place("only a tick that counts asks for anything"));
    }
    let moves = run.requests.iter().any(|request| matches!(request, Request::MigrateTo(_)))
        || run.observations.iter().any(|seen| matches!(seen, Observation::Draining(_) | Observation::Nodes(_)));
    if moves && !book.manifest.capabilities.migrate {
        return Err(Fault::Limit("capabilities.migrate"));
    }
    // Replies are in the order in which messages were taken.
    let mut taken = run.taken();
    for request in &run.requests {
        if let Request::Reply { message, body } = request {
            if !taken.any(|taken| taken == *message) {
                return Err(Fault::Message("a reply is to a message that the run took, and there is one reply"));
            }
            if !body.is_well_formed() || body.len() > u64::from(limits.message_bytes) {
                return Err(Fault::Limit("limits.message_bytes"));
            }
        }
    }
    Ok(())
}

fn charge(book: &mut Book, run: &Run) -> Result<(), Fault> {
    let ceiling = book.manifest.ceiling.of(run.fuel, run.hostcalls());
    let bill = book.terms().bill(run.duration, ceiling, run.fuel);
    let ledger = &mut book.ledger;
    let allowed = bill.min(ledger.balance);
    if run.cost != allowed {
        return Err(Fault::Bill { charged: run.cost, allowed });
    }
    if bill > ledger.balance && run.call.is_tick() && run.outcome.is_ok() {
        return Err(Fault::Money("a tick that its balance cannot pay does not count"));
    }
    let sum = |a: Credits, b: Credits| a.checked_add(b).ok_or(Fault::Money("the sum of costs overflows"));
    ledger.balance = ledger.balance.checked_sub(run.cost).ok_or(Fault::Money("the balance is below zero"))?;
    ledger.spent = sum(ledger.spent, run.cost)?;
    if sum(ledger.balance, ledger.spent)? != ledger.funded {
        return Err(Fault::Money("funding is not balance plus costs"));
    }
    Ok(())
}

fn close_messages(book: &mut Book, run: &Run) {
    let counts = run.outcome.is_ok();
    // That money ended is not the message's fault: it waits for the revival.
    if matches!(run.outcome, Outcome::Failed { failure: Failure::OutOfMoney, .. }) {
        return;
    }
    let mut taken = run.taken().peekable();
    if taken.peek().is_none() {
        return;
    }
    let taken: Vec<Seq> = taken.collect();
    book.ledger.open.retain_mut(|open| {
        // Messages are taken in order, so those that were taken are sorted.
        if taken.binary_search(&open.seq).is_err() {
            return true;
        }
        open.attempts += 1;
        !counts && open.attempts < MESSAGE_ATTEMPTS_MAX
    });
}
