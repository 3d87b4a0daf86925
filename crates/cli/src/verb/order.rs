//! `fund` and `end`: orders of an agent's owner.
//!
//! Invariants kept here:
//! - An order counts once. After an answer that did not come, the journal says whether the order is in it; only if
//!   it is not is the same order, with the same counter and total, given again.
//! - The owner's key is read here and goes nowhere: the node gets the signed order.

use crate::{
    Context, args,
    failure::Failure,
    source::{Source, wait},
    words,
};
use igor_node::{RealWorld, client, home::Role};
use igor_protocol::{
    AgentId, Body, Credits, Entry, KeyPair, Seq,
    entry::{Action, EndCause, Order, OrderBody},
    ledger::Book,
};
use igor_spine::World;
use serde::Serialize;
use std::{thread, time::Duration};

/// How often an order is given while its node comes and goes.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize)]
struct Funded {
    agent: String,
    name: String,
    added: String,
    #[serde(rename = "funded")]
    total: String,
    balance: String,
    seq: u64,
}

#[derive(Debug, Serialize)]
struct Ended {
    agent: String,
    name: String,
    seq: u64,
}

/// Gives an agent money.
pub(crate) fn fund(context: &Context, args: &args::Fund) -> Result<(), Failure> {
    let given = give(context, &args.name, |book| {
        let total = book.ledger().funded.checked_add(args.amount);
        total.map(|total| Action::Fund { total }).ok_or_else(|| {
            Failure::refused(format!("too much: {} and what it was given before cannot be counted", args.amount))
        })
    })?;
    let (funded, before) = match given.order.body.action {
        Action::Fund { total } => (total, given.book.ledger().balance),
        Action::Recall | Action::Takeover { .. } => (Credits::ZERO, Credits::ZERO),
    };
    let balance = before.checked_add(args.amount).unwrap_or(Credits::MAX);
    let row = Funded {
        agent: given.agent.to_string(),
        name: args.name.clone(),
        added: args.amount.to_string(),
        total: funded.to_string(),
        balance: balance.to_string(),
        seq: given.seq.0,
    };
    context.out.say(&row, || {
        let revived = match (given.running, given.book.ledger().ended.is_some()) {
            (false, true) => "\nit can live again: give the `igor run` command that started it",
            (false, false) => "\nit does not run now; the `igor run` command that started it goes on",
            (true, _) => "",
        };
        format!("{} has {} more, in all {}{revived}", row.name, words::money(args.amount), words::money(funded))
    })
}

/// Ends an agent for good.
pub(crate) fn end(context: &Context, args: &args::Named) -> Result<(), Failure> {
    let given = give(context, &args.name, |_| Ok(Action::Recall))?;
    let row = Ended { agent: given.agent.to_string(), name: args.name.clone(), seq: given.seq.0 };
    context.out.say(&row, || {
        if given.running {
            format!("{} ends, after a last checkpoint", row.name)
        } else {
            format!("the order stands in the journal of {}; it ends when it runs next", row.name)
        }
    })
}

/// An order that is in the journal.
struct Given {
    agent: AgentId,
    order: Order,
    seq: Seq,
    /// What the agent was before it.
    book: Book,
    running: bool,
}

/// Gives an order, to the node that has the home or else to the journal itself.
fn give(context: &Context, name: &str, action: impl Fn(&Book) -> Result<Action, Failure>) -> Result<Given, Failure> {
    let owner = context.home()?.keys().read(Role::Owner)?;
    let mut given: Option<(Order, Book)> = None;
    let mut why = Failure::unreachable("the node comes and goes");
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            thread::sleep(PAUSE);
        }
        let source = Source::agent_named(context, name)?;
        let (agent, running) = (source.agent(), matches!(source, Source::Node(..)));
        let now = source.book()?;
        let (order, book) = match given.take() {
            // It was given before, and nobody said what became of it: the journal knows.
            Some((order, book)) if now.ledger().order_counter >= order.body.counter => {
                let seq = find(&source, &order)?;
                let seq =
                    seq.ok_or_else(|| Failure::refused("another order came first; see `igor show`, and decide again"))?;
                return Ok(Given { agent, order, seq, book, running });
            }
            Some(again) => again,
            None => (sign(&now, action(&now)?, &owner)?, now),
        };
        let taken = match source {
            Source::Node(client, _) => to_node(&client, agent, &order)?,
            // Reading shares the home; writing needs it alone.
            Source::Home(..) => {
                drop(source);
                to_journal(context, agent, &order)?
            }
            Source::File(_) => return Err(Failure::refused("a file takes no orders")),
        };
        match taken {
            Ok(seq) => return Ok(Given { agent, order, seq, book, running }),
            Err(unknown) => why = unknown,
        }
        given = Some((order, book));
    }
    Err(why.while_at("it is unknown whether the order was taken; see `igor show`"))
}

fn sign(book: &Book, action: Action, owner: &KeyPair) -> Result<Order, Failure> {
    let genesis = book.genesis();
    let signer = if matches!(action, Action::Fund { .. }) { genesis.issuer } else { genesis.owner };
    if signer != owner.public() {
        return Err(Failure::refused(format!(
            "only {signer} may order this, and this home's owner key is {}",
            owner.public()
        )));
    }
    if let Some(cause) = book.ledger().ended.filter(|cause| *cause != EndCause::Exhausted) {
        return Err(Failure::refused(format!("the agent has ended for good ({}); it takes no orders", cause.name())));
    }
    let counter =
        book.ledger().order_counter.checked_add(1).ok_or_else(|| Failure::refused("no order counter is left"))?;
    let (agent, term, at) = (book.agent(), book.chain().epoch.term, RealWorld.wall_clock());
    Ok(OrderBody { agent, term, counter, at, action }.sign(owner))
}

/// Where an order went; an inner error leaves that unknown.
type Taken = Result<Seq, Failure>;

fn to_node(client: &client::Client, agent: AgentId, order: &Order) -> Result<Taken, Failure> {
    match wait(client.order(&agent.to_string(), order)) {
        Ok(seq) => Ok(Ok(seq)),
        Err(e) if e.is_passing() => Ok(Err(e.into())),
        Err(e) => Err(e.into()),
    }
}

/// As the node that nobody runs now.
fn to_journal(context: &Context, agent: AgentId, order: &Order) -> Result<Taken, Failure> {
    match context.become_node() {
        Ok(node) => Ok(Ok(wait(node.order(agent, order.clone()))?)),
        Err(locked @ igor_node::Error::Store(igor_store::Error::Locked { .. })) => Ok(Err(locked.into())),
        Err(e) => Err(e.into()),
    }
}

/// Where an order is in a journal; the last entries are the likely ones.
fn find(source: &Source, order: &Order) -> Result<Option<Seq>, Failure> {
    let mut found = None;
    for commit in source.commits(Seq(0))? {
        for (seq, _, bytes) in commit?.entries() {
            let entry = Entry::decode(bytes).map_err(Failure::integrity)?;
            if matches!(&entry.body, Body::Order(there) if there == order) {
                found = Some(seq);
            }
        }
    }
    Ok(found)
}
