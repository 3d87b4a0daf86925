//! One entry, for scripts and in words.

use crate::words::{count, duration, fuel, money, safe, time};
use igor_protocol::{
    Body, Credits, Entry, Epoch, Hash, Nanos, Seq,
    entry::{
        Accept, Action, Call, Content, Decline, Declined, Destination, Given, Handoff, MessageId, Observation, Outcome,
        Phase, Request, Return, Trigger,
    },
};
use serde::Serialize;

/// Characters of a message or cause that a line shows.
const SHOWN: usize = 60;

/// The money of an agent, added up entry by entry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Purse {
    pub(crate) balance: Credits,
    pub(crate) funded: Credits,
    /// What the last fund order added.
    added: Credits,
}

impl Purse {
    /// Takes an entry into account. What does not add up is for `verify` to say; here it stays where it was.
    pub(crate) fn take(&mut self, body: &Body) {
        match body {
            Body::Genesis(genesis) => (self.balance, self.funded) = (genesis.body.budget, genesis.body.budget),
            Body::Run(run) => self.balance = self.balance.checked_sub(run.cost).unwrap_or_default(),
            Body::Order(order) => {
                if let Action::Fund { total } = order.body.action {
                    self.added = total.checked_sub(self.funded).unwrap_or_default();
                    self.balance = self.balance.checked_add(self.added).unwrap_or(self.balance);
                    self.funded = total;
                }
            }
            _ => {}
        }
    }
}

/// One entry, as scripts read it.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    seq: u64,
    epoch: String,
    kind: &'static str,
    at: String,
    head: String,
    #[serde(flatten)]
    detail: Detail,
}

/// What an entry has beyond its place.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Detail {
    Genesis {
        name: String,
        owner: String,
        custodian: String,
        program: String,
        runtime: String,
        budget: String,
        price_per_second: String,
        #[serde(skip)]
        shown: Credits,
    },
    Run {
        call: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        trigger: Option<&'static str>,
        tick: u64,
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        fuel: u64,
        duration_ns: u64,
        waited_ns: u64,
        cost: String,
        balance: String,
        messages: Vec<u64>,
        replies: usize,
        logs: usize,
        /// Where it asked to be moved to: a node, or `anywhere`.
        #[serde(skip_serializing_if = "Option::is_none")]
        migrate_to: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        runtime: Option<String>,
        #[serde(skip)]
        words: String,
    },
    Message {
        sender: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        n: Option<u64>,
        bytes: u64,
        #[serde(skip)]
        body: String,
    },
    Checkpoint {
        tick: u64,
        root: String,
        bytes: u64,
        balance: String,
    },
    Order {
        action: &'static str,
        counter: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        added: Option<String>,
        balance: String,
        #[serde(skip)]
        shown: (Credits, Credits),
    },
    Custody {
        phase: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        to: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        price_per_second: Option<String>,
    },
    Seal {},
    End {
        cause: &'static str,
    },
}

impl Row {
    /// The row of an entry, with the purse after it.
    pub(crate) fn new(seq: Seq, epoch: Epoch, head: Hash, entry: &Entry, purse: &Purse) -> Self {
        Self {
            seq: seq.0,
            epoch: epoch.to_string(),
            kind: entry.body.kind(),
            at: time(entry.at),
            head: head.to_string(),
            detail: Detail::new(&entry.body, purse),
        }
    }

    pub(crate) const fn seq(&self) -> u64 {
        self.seq
    }

    /// What happened, in words.
    pub(crate) fn words(&self) -> String {
        match &self.detail {
            Detail::Genesis { name, price_per_second, shown: budget, .. } => {
                format!("{name} begins with {}, at {price_per_second} credits a second", money(*budget))
            }
            Detail::Run { words, .. } => words.clone(),
            Detail::Message { sender, id, stream, n, body, .. } => {
                let name = match (id, stream, n) {
                    (Some(id), ..) => safe(id, 20),
                    (_, Some(stream), Some(n)) => format!("{}#{n}", safe(stream, 8)),
                    _ => String::new(),
                };
                format!("message {name} from {}: {body}", safe(sender, SHOWN))
            }
            Detail::Checkpoint { tick, root, bytes, .. } => {
                format!("checkpoint of tick {tick}: {} of state, root {}", crate::words::bytes(*bytes), &root[..12])
            }
            Detail::Order { action: "fund", shown: (added, balance), .. } => {
                format!("its owner gave it {}; it has {}", money(*added), money(*balance))
            }
            Detail::Order { action: "policy", .. } => {
                "its owner changed who may have it or stands by for it".to_owned()
            }
            Detail::Order { .. } => "its owner ordered its end".to_owned(),
            Detail::Custody { phase, from, to, .. } => match (*phase, from) {
                ("handoff", _) => format!("given to {to}, which has not answered yet"),
                ("accept", Some(from)) => format!("{to} accepted it from {from} and goes on"),
                ("return", Some(from)) => format!("{to} declined it; {from} goes on"),
                ("fence", Some(from)) if from == to => {
                    format!("{to} goes on as a new process; what its earlier ones still send counts for nothing")
                }
                ("fence", Some(from)) => format!("{to} goes on with it; {from} was silent, and appends no more"),
                _ => format!("its owner made {to} its custodian"),
            },
            Detail::Seal {} => "sealed: the node vouches for everything up to here".to_owned(),
            Detail::End { cause } => match *cause {
                "exhausted" => "ended: its money is spent; `igor fund` revives it".to_owned(),
                "completed" => "ended: it said that it is done".to_owned(),
                _ => "ended, as its owner ordered".to_owned(),
            },
        }
    }
}

impl Detail {
    fn new(body: &Body, purse: &Purse) -> Self {
        match body {
            Body::Genesis(genesis) => {
                let body = &genesis.body;
                Self::Genesis {
                    name: body.name.clone(),
                    owner: body.owner.to_string(),
                    custodian: body.custodian.to_string(),
                    program: body.program.to_string(),
                    runtime: body.runtime.clone(),
                    budget: body.budget.to_string(),
                    price_per_second: body.terms.per_second().to_string(),
                    shown: body.budget,
                }
            }
            Body::Run(run) => Self::run(run, purse),
            Body::Message(message) => {
                let (id, stream, n) = match &message.id {
                    MessageId::Opaque(id) => (Some(id.clone()), None, None),
                    MessageId::Numbered { stream, n } => (None, Some(stream.clone()), Some(*n)),
                };
                let body = match &message.body {
                    Content::Inline(bytes) => match std::str::from_utf8(bytes) {
                        Ok(text) => format!("`{}`", safe(text, SHOWN)),
                        Err(_) => crate::words::bytes(bytes.len() as u64),
                    },
                    Content::Blob { bytes, .. } => crate::words::bytes(*bytes),
                };
                Self::Message { sender: message.sender.label(), id, stream, n, bytes: message.body.len(), body }
            }
            Body::Checkpoint(checkpoint) => Self::Checkpoint {
                tick: checkpoint.tick.0,
                root: checkpoint.root.to_string(),
                bytes: checkpoint.bytes,
                balance: checkpoint.ledger.balance.to_string(),
            },
            Body::Order(order) => {
                let (action, total, added) = match order.body.action {
                    Action::Fund { total } => ("fund", Some(total.to_string()), Some(purse.added.to_string())),
                    Action::Recall => ("end", None, None),
                    Action::Takeover { .. } => ("takeover", None, None),
                    Action::Policy(_) => ("policy", None, None),
                };
                let (counter, balance) = (order.body.counter, purse.balance.to_string());
                Self::Order { action, counter, total, added, balance, shown: (purse.added, purse.balance) }
            }
            Body::Custody(record) => Self::custody(&record.phase),
            Body::Seal(_) => Self::Seal {},
            Body::End(cause) => Self::End { cause: cause.name() },
        }
    }

    fn custody(phase: &Phase) -> Self {
        // After a return it is the price from before, which this entry does not say.
        let (from, to, terms) = match phase {
            Phase::Takeover(takeover) => (None, takeover.custodian, Some(takeover.terms)),
            Phase::Fence(fence) => (Some(fence.from), fence.custodian, Some(fence.terms)),
            Phase::Handoff(Handoff { from, to, terms, .. })
            | Phase::Accept(Accept { given: Given { handoff: Handoff { from, to, terms, .. }, .. }, .. }) => {
                (Some(*from), *to, Some(*terms))
            }
            Phase::Decline(Decline { given, .. })
            | Phase::Return(Return { declined: Declined { decline: Decline { given, .. }, .. }, .. }) => {
                (Some(given.handoff.from), given.handoff.to, None)
            }
        };
        Self::Custody {
            phase: phase.name(),
            from: from.map(|node| node.to_string()),
            to: to.to_string(),
            price_per_second: terms.map(|terms| terms.per_second().to_string()),
        }
    }

    fn run(run: &igor_protocol::entry::Run, purse: &Purse) -> Self {
        let trigger = match run.call {
            Call::Tick(trigger) => Some(trigger.name()),
            _ => None,
        };
        let cause = match &run.outcome {
            Outcome::Ok { .. } => None,
            Outcome::Failed { cause, .. } => Some(cause.clone()),
        };
        Self::Run {
            call: run.call.name(),
            trigger,
            tick: run.tick.0,
            outcome: run.outcome.name(),
            cause,
            fuel: run.fuel.0,
            duration_ns: run.duration.0,
            waited_ns: run.waited.0,
            cost: run.cost.to_string(),
            balance: purse.balance.to_string(),
            messages: run.taken().map(|seq| seq.0).collect(),
            replies: replies(run),
            logs: run.logs.len(),
            migrate_to: migrate_to(run),
            runtime: run.runtime.clone(),
            words: run_words(run, purse),
        }
    }
}

fn migrate_to(run: &igor_protocol::entry::Run) -> Option<String> {
    run.requests.iter().find_map(|request| match request {
        Request::MigrateTo(Destination::Anywhere) => Some("anywhere".to_owned()),
        Request::MigrateTo(Destination::Node(node)) => Some(node.to_string()),
        _ => None,
    })
}

fn replies(run: &igor_protocol::entry::Run) -> usize {
    run.requests.iter().filter(|request| matches!(request, Request::Reply { .. })).count()
}

fn run_words(run: &igor_protocol::entry::Run, purse: &Purse) -> String {
    let what = match run.call {
        Call::Init => "init".to_owned(),
        Call::Checkpoint => "state taken".to_owned(),
        Call::Resume => "state restored".to_owned(),
        Call::Tick(trigger) => format!("tick {}{}", run.tick, why(trigger)),
    };
    let spent = format!("{}, {} fuel, cost {}", duration(run.duration), fuel(run.fuel), money(run.cost));
    let mut parts = vec![match &run.outcome {
        Outcome::Ok { .. } => format!("{what}: {spent}, has {}", money(purse.balance)),
        Outcome::Failed { failure, cause } => {
            format!("{what} undone, {}: {}; {spent}", failure.name().replace('_', " "), safe(cause, 2 * SHOWN))
        }
    }];
    let mut some = |number: usize, noun: &str| {
        if number > 0 {
            parts.push(count(number as u64, noun));
        }
    };
    some(run.taken().count(), "message");
    some(replies(run), "reply");
    some(run.logs.len(), "log line");
    some(run.observations.iter().filter(|seen| matches!(seen, Observation::Random(_))).count(), "random draw");
    for request in &run.requests {
        match request {
            Request::WakeAt(at) => parts.push(format!("wake at {}", time(*at))),
            Request::Finish => parts.push("it is done".to_owned()),
            Request::MigrateTo(to) => parts.push(format!("asks to be moved to {to}")),
            Request::Reply { .. } => {}
        }
    }
    parts.join("; ")
}

fn why(trigger: Trigger) -> String {
    match trigger {
        Trigger::Interval => String::new(),
        Trigger::Message => " on a message".to_owned(),
        Trigger::Wake => " on its own wake".to_owned(),
        Trigger::MoreWork => " with more to do".to_owned(),
        Trigger::Resumed { gap: Nanos::ZERO } => " after a restart".to_owned(),
        Trigger::Resumed { gap } => format!(" after a gap of {}", duration(gap)),
    }
}
