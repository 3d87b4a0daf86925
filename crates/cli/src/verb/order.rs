//! `fund` and `end`: orders of an agent's owner.
//!
//! Invariants kept here:
//! - An order counts once. After an answer that did not come, the journal says whether the order is in it; only if
//!   it is not is the same order, with the same counter and total, given again.
//! - The owner's key is read here and goes nowhere: the node gets the signed order.

use crate::{
    Context, args,
    failure::Failure,
    source::{Commits, Keeper, Source, patiently, wait},
    words,
};
use igor_node::{Node, RealWorld, client::Client, home::Role};
use igor_protocol::{
    AgentId, Body, Credits, Entry, KeyPair, Seq,
    entry::{Action, EndCause, Order, OrderBody},
    ledger::Book,
};
use igor_spine::World;
use igor_store::Store;
use serde::Serialize;
use std::sync::Arc;

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
    let mut tried: Option<(Order, Book)> = None;
    let given = patiently(|| {
        let place = Place::find(context, name)?;
        let (agent, running, now) = (place.agent(), matches!(place, Place::Node(..)), place.book()?);
        let (order, book) = match &tried {
            // It was given before, and nobody said what became of it: the journal knows.
            Some((order, book)) if now.ledger().order_counter >= order.body.counter => {
                let seq = place.find_order(order)?;
                let seq =
                    seq.ok_or_else(|| Failure::refused("another order came first; see `igor show`, and decide again"))?;
                return Ok(Given { agent, order: order.clone(), seq, book: book.clone(), running });
            }
            Some(again) => again.clone(),
            None => (sign(&now, action(&now)?, &owner)?, now),
        };
        tried = Some((order.clone(), book.clone()));
        let seq = place.give(&order)?;
        Ok(Given { agent, order, seq, book, running })
    });
    given.map_err(|why| match tried {
        Some(_) if why.is_passing() => why.while_at("it is unknown whether the order was taken; see `igor show`"),
        _ => why,
    })
}

/// Where an order is given.
enum Place {
    /// At the node that has the home, as a client and as what it has of the agent.
    Node(Client, Source),
    /// In the home, which this command has for itself: what it reads stays so until the order is in it.
    Home(Arc<Node>, AgentId),
}

impl Place {
    fn find(context: &Context, name: &str) -> Result<Self, Failure> {
        match Keeper::find(context)? {
            Keeper::Node(client) => {
                let source = Source::at_node(client.clone(), name)?;
                if let Source::Node(_, info) = &source {
                    info.check_custody()?;
                }
                Ok(Self::Node(client, source))
            }
            Keeper::Nobody(local) => {
                let agent = local.resolve(name)?;
                drop(local);
                let node = context.become_node()?;
                node.check_custody(agent)?;
                Ok(Self::Home(node, agent))
            }
        }
    }

    fn agent(&self) -> AgentId {
        match self {
            Self::Node(_, source) => source.agent(),
            Self::Home(_, agent) => *agent,
        }
    }

    fn book(&self) -> Result<Book, Failure> {
        match self {
            Self::Node(_, source) => source.book(),
            Self::Home(node, agent) => Ok(node.book(*agent)?),
        }
    }

    fn give(&self, order: &Order) -> Result<Seq, Failure> {
        match self {
            Self::Node(client, source) => Ok(wait(client.order(&source.agent().to_string(), order))?),
            Self::Home(node, agent) => Ok(wait(node.order(*agent, order.clone()))?),
        }
    }

    /// Where an order is in the journal.
    fn find_order(&self, order: &Order) -> Result<Option<Seq>, Failure> {
        let commits: Commits<'_> = match self {
            Self::Node(_, source) => source.commits(Seq(0))?,
            Self::Home(node, agent) => Box::new(node.store().read(*agent, Seq(0))?.map(|commit| Ok(commit?))),
        };
        let mut found = None;
        for commit in commits {
            for (seq, _, bytes) in commit?.entries() {
                let entry = Entry::decode(bytes).map_err(Failure::integrity)?;
                if matches!(&entry.body, Body::Order(there) if there == order) {
                    found = Some(seq);
                }
            }
        }
        Ok(found)
    }
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
