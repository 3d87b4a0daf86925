//! `replay`: an agent as it was after some tick.

use crate::{
    Context, args,
    execute::{Fallen, execute},
    failure::Failure,
    output::Progress,
    source::Source,
    words,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use igor_protocol::entry::{Call, Listed, Observation};
use serde::Serialize;

/// Observations that people see.
const SIGHTS_SHOWN: usize = 8;
/// Characters of a state that people see.
const STATE_SHOWN: usize = 2_000;

/// What scripts read.
#[derive(Debug, Serialize)]
struct Place {
    tick: u64,
    seq: u64,
    state_root: String,
    balance: String,
    trigger: &'static str,
    outcome: &'static str,
    fuel: u64,
    cost: String,
    observations: Vec<Seen>,
    logs: Vec<String>,
    state_bytes: usize,
    state: String,
    executed: u64,
}

/// One observation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Seen {
    Clock(String),
    Random(String),
    Balance(i64),
    Price(i64),
    ReceiptCount(u32),
    Receipt(Option<String>),
    Message(u64),
    NoMessage,
    MessageTooLong(u32),
    Waited,
    NoRoom,
    Draining(bool),
    Nodes(Vec<String>),
}

/// Re-executes up to a tick.
pub(crate) fn replay(context: &Context, args: &args::Replay) -> Result<(), Failure> {
    let source = Source::find(context, &args.name)?;
    let mut progress = Progress::new("executing");
    let executed = execute(context, &source, Some(args.at), |done| progress.at(|| words::count(done, "entry")));
    drop(progress);
    let execution = executed.map_err(|Fallen { seq, why }| match seq {
        Some(seq) => why.while_at(format!("entry seq=`{seq}` is bad")),
        None => why,
    })?;
    let moment = execution.moment.ok_or_else(|| Failure::failed(format!("the journal has no tick {}", args.at)))?;
    let run = &moment.run;
    let place = Place {
        tick: run.tick.0,
        seq: moment.seq.0,
        state_root: moment.state_root.to_string(),
        balance: moment.balance.to_string(),
        trigger: match run.call {
            Call::Tick(trigger) => trigger.name(),
            other => other.name(),
        },
        outcome: run.outcome.name(),
        fuel: run.fuel.0,
        cost: run.cost.to_string(),
        observations: run.observations.iter().map(seen).collect(),
        logs: run.logs.clone(),
        state_bytes: moment.state.len(),
        state: STANDARD.encode(&moment.state),
        executed: execution.executed,
    };
    context.out.say(&place, || {
        let mut lines = vec![
            format!("after tick {} (entry {}), triggered by: {}", place.tick, place.seq, place.trigger),
            format!("balance   {}", words::money(moment.balance)),
            format!("root      {}", place.state_root),
            format!("it cost   {}, {} fuel", words::money(run.cost), words::fuel(run.fuel)),
        ];
        lines.extend(run.observations.iter().take(SIGHTS_SHOWN).map(|seen| format!("it saw    {}", sight(seen))));
        if let Some(more) = run.observations.len().checked_sub(SIGHTS_SHOWN).filter(|more| *more > 0) {
            lines.push(format!("          and {more} more; --json has all"));
        }
        lines.extend(run.logs.iter().map(|log| format!("it said   {}", words::safe(log, 200))));
        lines.push(match std::str::from_utf8(&moment.state) {
            Ok(text) => format!("state     {}", words::safe(text, STATE_SHOWN)),
            Err(_) => format!(
                "state     {} that are not text; --json has them in base64",
                words::bytes(moment.state.len() as u64)
            ),
        });
        lines.join("\n")
    })
}

fn seen(seen: &Observation) -> Seen {
    match seen {
        Observation::Clock(at) => Seen::Clock(words::time(*at)),
        Observation::Random(bytes) => Seen::Random(hex::encode(bytes)),
        Observation::Balance(micro) => Seen::Balance(*micro),
        Observation::Price(micro) => Seen::Price(*micro),
        Observation::ReceiptCount(count) => Seen::ReceiptCount(*count),
        Observation::Receipt(receipt) => Seen::Receipt(receipt.as_ref().map(|bytes| STANDARD.encode(bytes.as_slice()))),
        Observation::Message(seq) => Seen::Message(seq.0),
        Observation::NoMessage => Seen::NoMessage,
        Observation::MessageTooLong { bytes } => Seen::MessageTooLong(*bytes),
        Observation::Waited => Seen::Waited,
        Observation::NoRoom => Seen::NoRoom,
        Observation::Draining(draining) => Seen::Draining(*draining),
        Observation::Nodes(list) => Seen::Nodes(Listed::text(list).lines().map(str::to_owned).collect()),
    }
}

fn sight(seen: &Observation) -> String {
    match seen {
        Observation::Clock(at) => format!("the time {}", words::time(*at)),
        Observation::Random(bytes) => words::count(bytes.len() as u64, "random byte"),
        Observation::Balance(micro) => format!("its balance, {micro} microcredits"),
        Observation::Price(micro) => format!("the price, {micro} microcredits a second"),
        Observation::ReceiptCount(count) => words::count(u64::from(*count), "receipt"),
        Observation::Receipt(Some(_)) => "a receipt".to_owned(),
        Observation::Receipt(None) => "that there is no such receipt".to_owned(),
        Observation::Message(seq) => format!("the message of entry {seq}"),
        Observation::NoMessage => "that no message is there".to_owned(),
        Observation::MessageTooLong { bytes } => {
            format!("that the next message, of {bytes} bytes, is too long for its buffer")
        }
        Observation::Waited => "that time had passed".to_owned(),
        Observation::NoRoom => "that no more messages fit into this tick".to_owned(),
        Observation::Draining(true) => "that its node is about to stop".to_owned(),
        Observation::Draining(false) => "that its node goes on".to_owned(),
        Observation::Nodes(list) => words::count(list.len() as u64, "node"),
    }
}
