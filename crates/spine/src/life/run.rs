//! One call into the guest: limits, membrane, measure, and the Run entry that comes of it.

use super::Life;
use crate::{
    Error, World,
    guest::{Ended, Guest, Input, Program, Stop},
    journal::Journal,
    membrane::{Inbox, LiveMembrane, Record, Seen},
    meter::{Took, metered},
};
use igor_protocol::{
    Credits, Fuel, Nanos, Seq,
    entry::{Call, Failure, Outcome, Receipt, Run, Trigger},
};
use igor_store::Store;
use std::{future::Future, sync::Arc};

/// The longest time that `agent_init` may take, whatever the manifest says: until it returns nobody knows what a
/// stranger's module does.
const INIT_TIME_MAX: Nanos = Nanos::from_millis(2_500);

/// A run that is over and not yet committed.
pub(super) struct Finished {
    pub(super) run: Run,
    pub(super) record: Record,
    /// Bodies that an entry names by hash; durable before it.
    pub(super) blobs: Vec<Vec<u8>>,
    /// What a checkpoint gave.
    pub(super) state: Option<Vec<u8>>,
}

/// What the journal says of a run that the membrane stopped.
pub(crate) fn stopped(stop: &Stop) -> Outcome {
    match stop {
        Stop::OverLimit(limit) => Outcome::failed(
            Failure::OverLimit,
            format!("over {limit} of the manifest; raise it in agent.toml or do less in one run"),
        ),
        Stop::Timeout => timeout(),
        Stop::Diverged { journaled, replayed } => {
            Outcome::failed(Failure::Trap, format!("replay has {journaled} next, the program asks for {replayed}"))
        }
    }
}

fn timeout() -> Outcome {
    Outcome::failed(Failure::Timeout, "over limits.tick_time of the manifest (at most 2.5 s for agent_init)")
}

/// A run that has everything it needs and has not begun.
pub(super) struct Prepared<W> {
    call: Call,
    input: Input,
    fuel: Fuel,
    fuel_is_money: bool,
    money: (Credits, u64, Nanos),
    time: Nanos,
    started_seq: Seq,
    membrane: Arc<LiveMembrane<W>>,
    world: Arc<W>,
}

/// What a guest did, measured.
pub(super) struct Measured {
    call: Call,
    started_seq: Seq,
    outcome: Outcome,
    fuel: Fuel,
    took: Took,
    record: Record,
    state: Option<Vec<u8>>,
}

/// Collects what a run may see and use.
pub(super) fn prepare<S: Store, W: World>(
    journal: &Journal<S, W>,
    receipts: &Arc<[Receipt]>,
    inbox: &Inbox,
    call: Call,
    state: Vec<u8>,
) -> Prepared<W> {
    let (limits, terms) = (journal.manifest().limits, journal.book().terms());
    let balance = journal.ledger().balance;
    let started_seq = journal.chain().next;
    let (inbox, inbox_end) = if call.is_tick() { (inbox.clone(), started_seq) } else { (Inbox::default(), Seq(0)) };
    let gap = if let Call::Tick(Trigger::Resumed { gap }) = call { gap } else { Nanos::ZERO };
    // One unit of fuel more than the balance pays, so that what stops there has spent all of it.
    let affordable = balance.units().checked_div(u128::from(terms.price_per_fuel)).map(|fuel| fuel.saturating_add(1));
    let affordable = affordable.and_then(|fuel| u64::try_from(fuel).ok()).filter(|_| call.is_tick());
    let fuel = Fuel(affordable.map_or(limits.tick_fuel.0, |fuel| fuel.min(limits.tick_fuel.0)));
    let seen = Seen {
        limits,
        balance,
        node: journal.book().custodian(),
        terms,
        receipts: receipts.clone(),
        inbox,
        inbox_end,
        gap,
        started: (journal.now(), journal.world.monotonic()),
    };
    Prepared {
        call,
        input: match call {
            Call::Init => Input::Init,
            Call::Tick(trigger) => Input::Tick(trigger),
            Call::Checkpoint => Input::Checkpoint,
            Call::Resume => Input::Resume(state),
        },
        fuel,
        fuel_is_money: fuel < limits.tick_fuel,
        money: (balance, terms.price_per_ns, journal.manifest().ceiling.base),
        time: if call == Call::Init { limits.tick_time.min(INIT_TIME_MAX) } else { limits.tick_time },
        started_seq,
        membrane: Arc::new(LiveMembrane::new(journal.world.clone(), seen)),
        world: journal.world.clone(),
    }
}

impl<W: World> Prepared<W> {
    /// Calls the guest, and stops it when its time or its money ends.
    pub(super) async fn execute<G: Guest>(self, guest: &mut G) -> Result<Measured, Error> {
        let (balance, price, ceiling) = self.money;
        let is_tick = self.call.is_tick();
        let membrane = self.membrane.clone();
        // Only what the run itself took counts: neither a slow disk nor other agents make it time out.
        let stop = |busy: Nanos| {
            let cost = u128::from(busy.min(ceiling).0) * u128::from(price);
            if is_tick && cost > balance.units() {
                Some(Failure::OutOfMoney)
            } else {
                (busy.saturating_add(membrane.waited()) > self.time).then_some(Failure::Timeout)
            }
        };
        let running = guest.run(self.input, self.fuel, self.membrane.clone());
        let (ended, took) = metered(&*self.world, running, stop).await;
        let record = self.membrane.take();
        let (outcome, fuel, state) = match ended {
            Ok(report) => {
                let (outcome, state) = match report.ended {
                    Ended::Returned { more_work } => (Outcome::Ok { more_work: more_work && is_tick }, None),
                    Ended::State(state) => (Outcome::Ok { more_work: false }, Some(state)),
                    Ended::Failed(Failure::OutOfFuel, _) if self.fuel_is_money => (out_of_money(), None),
                    Ended::Failed(failure, cause) => (Outcome::failed(failure, cause), None),
                    Ended::Stopped(stop) => (stopped(&stop), None),
                    Ended::HostFailed(cause) => return Err(Error::Host(cause)),
                };
                (outcome, report.fuel, state)
            }
            Err(Failure::OutOfMoney) => (out_of_money(), guest.fuel_used(), None),
            Err(_) => (timeout(), guest.fuel_used(), None),
        };
        let fuel = fuel.min(self.fuel);
        Ok(Measured { call: self.call, started_seq: self.started_seq, outcome, fuel, took, record, state })
    }
}

fn out_of_money() -> Outcome {
    Outcome::failed(Failure::OutOfMoney, "the balance cannot pay for this run")
}

impl Measured {
    /// The Run entry. A tick that its balance cannot pay does not count.
    pub(super) fn finish<S: Store, W: World>(self, journal: &Journal<S, W>, runtime: &str) -> Finished {
        let ledger = journal.ledger();
        let (requests, blobs) = self.record.requests();
        let asks = self.outcome.is_ok() && self.call.is_tick();
        let mut run = Run {
            call: self.call,
            tick: if self.call.is_tick() { igor_protocol::Tick(ledger.tick.0 + 1) } else { ledger.tick },
            started_seq: self.started_seq,
            observations: self.record.observations.clone(),
            requests: if asks { requests } else { Vec::new() },
            logs: self.record.logs.clone(),
            outcome: self.outcome,
            fuel: self.fuel,
            duration: self.took.busy,
            waited: self.took.waited,
            cost: Credits::ZERO,
            runtime: matches!(self.call, Call::Init | Call::Resume).then(|| runtime.to_owned()),
        };
        let (bill, _) = journal.bill(&run);
        if bill > ledger.balance && run.outcome.is_ok() && run.call.is_tick() {
            run.outcome = out_of_money();
            run.requests.clear();
        }
        run.cost = journal.bill(&run).1;
        let blobs = if run.requests.is_empty() { Vec::new() } else { blobs };
        Finished { run, record: self.record, blobs, state: self.state }
    }
}

impl<P: Program, S: Store, W: World> Life<P, S, W> {
    /// Prepares a call that is no tick, runs it on `guest` and gives the entry.
    pub(super) fn call<'a>(
        &'a self,
        guest: &'a mut P::Guest,
        call: Call,
        state: Vec<u8>,
    ) -> impl Future<Output = Result<Finished, Error>> + 'a {
        let prepared = prepare(&self.journal, &self.receipts, &self.inbox, call, state);
        async move {
            let measured = prepared.execute(guest).await?;
            Ok(measured.finish(&self.journal, self.program.runtime()))
        }
    }
}
