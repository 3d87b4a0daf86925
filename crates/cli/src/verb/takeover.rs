//! `takeover`: the owner's order that another node goes on with an agent whose node is gone for good.
//!
//! Invariants kept here:
//! - The owner's key is read here and goes nowhere: the node gets the signed order.
//! - No two orders of an agent have the same counter: the one that is used is durable in the owner's home before
//!   anything is signed with it. So two orders, whatever became of the first, are never two equal branches.
//! - Where the node that has the agent still answers, nothing is ordered unless that is asked for in so many words.

use crate::{
    Context, args,
    failure::{Code, Failure},
    output::{Tone, note},
    source::{Keeper, Source, named_file, patiently, wait},
    verb::import::{self, Taken},
};
use igor_node::{
    Node, RealWorld,
    api::wire::{AgentInfo, Elsewhere},
    client::Client,
    custody::MOVING,
    home::{self, Home, Keys, Role},
};
use igor_protocol::{
    AgentId, Epoch, NodeId, Seq, Terms,
    entry::{Action, OrderBody, StoreKind},
    ledger::Book,
};
use igor_spine::World;
use serde::Serialize;
use std::sync::Arc;

/// Orders that are signed while a node that has the agent appends to its journal in the bucket.
const ATTEMPTS: u32 = 8;
/// By how much others' word may raise the counter of an order above those in the journal: far more than takeovers.
const COUNTERS_HEARD_MAX: u64 = 1 << 20;

#[derive(Debug, Serialize)]
struct Row {
    agent: String,
    name: String,
    custodian: String,
    epoch: String,
    base_seq: u64,
    base_head: String,
    price_per_second: String,
    /// Who had it, as far as was known.
    before: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before_answers: Option<bool>,
}

/// Orders a takeover, and has it carried out.
pub(crate) fn takeover(context: &Context, args: &args::Takeover) -> Result<(), Failure> {
    let keys = owner_keys(context)?;
    let owner = keys.read(Role::Owner).map_err(missing_key(context))?;
    // From a file: its history is kept at the node first, and gives nobody custody.
    let name = match named_file(&args.name) {
        Some(path) => {
            let taken: Taken = import::bring(context, path, args.quota << 20, args.as_name.as_deref(), true)?;
            taken.agent.to_string()
        }
        None => args.name.clone(),
    };
    let mut place = patiently(|| Place::find(context, &name))?;
    let (mut info, mut book) = (place.info()?, place.book()?);
    let agent = book.agent();
    if book.genesis().owner != owner.public() {
        return Err(Failure::refused(format!(
            "only {} may order this, and the owner key of {} is {}",
            book.genesis().owner,
            context.path.display(),
            owner.public()
        )));
    }
    let (node, terms) = place.node()?;
    let mut before = place.whereabouts(agent)?;
    check(&info, &book, node, before.as_ref(), args)?;
    let mut attempts = 1;
    let (base, epoch) = loop {
        let base = book.chain();
        let counter = keys.next_counter(agent, counter_above(book.ledger().order_counter, before.as_ref()));
        let base_seq = Seq(base.next.0.saturating_sub(1));
        let action = Action::Takeover { base_seq, base_head: base.head, custodian: node, terms };
        let (counter, at) = (counter?, RealWorld.wall_clock());
        let order = OrderBody { agent, term: base.epoch.term, counter, at, action }.sign(&owner);
        match patiently(|| place.take_over(agent, &order)) {
            Ok(epoch) => break (base, epoch),
            Err(why) if why.code == Code::Unreachable => {
                return Err(why.while_at("it is unknown whether the takeover was carried out; see `igor show`"));
            }
            // Whoever has it appended meanwhile, so that the order names another place.
            Err(why) if info.is_shared() => {
                let Ok(further) = place.read_on(agent) else { return Err(why) };
                place = further;
                let now = place.book()?;
                if now.chain().epoch.term == counter {
                    break (base, Epoch { term: counter, n: 0 }); // it was carried out, and that could not be said
                }
                if now.chain() == base || attempts == ATTEMPTS {
                    return Err(why);
                }
                if now.chain().epoch != base.epoch {
                    // Somebody else went on with it, and may be well.
                    (info, before) = (place.info()?, place.whereabouts(agent)?);
                    check(&info, &now, node, before.as_ref(), args)?;
                }
                (book, attempts) = (now, attempts + 1);
            }
            Err(why) => return Err(why),
        }
    };
    let base_seq = Seq(base.next.0.saturating_sub(1));
    let had = before.as_ref().map_or_else(|| book.custodian(), |before| before.node);
    let row = Row {
        agent: agent.to_string(),
        name: info.name.clone(),
        custodian: node.to_string(),
        epoch: epoch.to_string(),
        base_seq: base_seq.0,
        base_head: base.head.to_string(),
        price_per_second: terms.per_second().to_string(),
        before: had.to_string(),
        before_answers: before.as_ref().and_then(|before| before.answers),
    };
    context.out.say(&row, || in_words(context, &row, &place, (&info, &book)))
}

fn in_words(context: &Context, row: &Row, place: &Place, (info, book): (&AgentInfo, &Book)) -> String {
    let (name, tick) = (&row.name, book.ledger().tick.0);
    let goes_on = match place {
        Place::Node(..) => format!("{} goes on at {}", context.out.tone(Tone::Strong, name), row.custodian),
        Place::Home(..) => {
            format!("{} is this node's; `igor node start` runs it", context.out.tone(Tone::Strong, name))
        }
    };
    let goes_on = [
        format!("{goes_on}, in epoch {}, from entry {} (tick {tick})", row.epoch, row.base_seq),
        format!("  price       {} credits a second of execution", row.price_per_second),
    ];
    if info.is_shared() {
        let before = format!(
            "  before      {}: all that it committed is there; it stops the agent at its next append",
            row.before
        );
        return [goes_on.as_slice(), &[before]].concat().join("\n");
    }
    if book.genesis().store != StoreKind::Disk {
        let before = [
            format!("  before      {}: what it did after that entry counts nowhere any more. It will", row.before),
            "              never hear of this: where its bucket is there again, do not start it with that".to_owned(),
        ];
        return [goes_on.as_slice(), &before].concat().join("\n");
    }
    let before = [
        format!("  before      {}: what it did after that entry counts nowhere any more.", row.before),
        "              When it comes back and meets a node that knows of this, it stops the agent, keeps its branch as a"
            .to_owned(),
        "              file, and says what is on it only: `igor show` and `igor ps --orphans` there".to_owned(),
    ];
    [goes_on.as_slice(), &before].concat().join("\n")
}

/// Refuses what is no takeover, or would make two of an agent that is well.
fn check(
    info: &AgentInfo,
    book: &Book,
    node: NodeId,
    before: Option<&Elsewhere>,
    args: &args::Takeover,
) -> Result<(), Failure> {
    let name = &info.name;
    if info.moved.is_none() && before.is_none() && !info.in_doubt && info.status != MOVING {
        return Err(Failure::refused(format!(
            "{name} is this node's already ({node}); there is nothing to take over. Where it does not run: `igor resume {name}`"
        )));
    }
    if let Some(cause) = book.ledger().ended.filter(|cause| *cause != igor_protocol::entry::EndCause::Exhausted) {
        return Err(Failure::refused(format!("{name} has ended for good ({}); nobody goes on with it", cause.name())));
    }
    let Some(before) = before else { return Ok(()) };
    let newer = before.epoch > book.chain().epoch;
    let had = before.node;
    match before.answers {
        Some(true) if had != node && !args.force && info.is_shared() => {
            return Err(Failure::refused(format!(
                "{had}, which has {name} (epoch {}), answers. Move it instead: `igor migrate {name} {node}` there, which has a \
                 shorter pause. If that node will not give it away: --force; it loses the agent, and nothing is lost",
                before.epoch
            )));
        }
        Some(true) if had != node && !args.force => {
            return Err(Failure::refused(format!(
                "{had}, which has {name} (epoch {}), answers: a takeover now makes two of it, whose money and messages \
                 are spent twice, until that node hears of the order. Move it instead: `igor migrate {name} {node}` there. \
                 If that node has lost the agent, or will not give it away: --force",
                before.epoch
            )));
        }
        Some(true) if had != node => {
            note(format!("igor: {had} answers, and has {name}; it stops when it hears of this order"));
        }
        Some(false) if newer && !args.force => {
            return Err(Failure::refused(format!(
                "{had} has {name} in epoch {}, and the journal here ends in epoch {}: what was done since would be lost. \
                 Look for a later copy (an export, an archive on another node); if there is none: --force",
                before.epoch,
                book.chain().epoch
            )));
        }
        Some(_) => {}
        None if info.is_shared() => {}
        None => note(format!(
            "igor: this node is on no network, so nobody asked whether {had} still has {name}; if it does, there are two \
             of it until it hears of this order"
        )),
    }
    Ok(())
}

/// What the order's counter must be above: those of orders in the journal, and the term of a later takeover. That is
/// somebody's word, and must not use up the counters.
fn counter_above(of_journal: u64, before: Option<&Elsewhere>) -> u64 {
    let heard = before.map_or(0, |before| before.epoch.term);
    heard.min(of_journal.saturating_add(COUNTERS_HEARD_MAX)).max(of_journal)
}

fn owner_keys(context: &Context) -> Result<Keys, Failure> {
    Ok(Home::existing(&context.path).map_err(missing_key(context))?.keys())
}

fn missing_key(context: &Context) -> impl Fn(home::Error) -> Failure {
    move |why| match why {
        home::Error::Absent { .. } | home::Error::NoKey { .. } => Failure::refused(format!(
            "there is no owner key in {}; name the home that has it with --home, and the node with --node",
            context.path.display()
        )),
        other => other.into(),
    }
}

/// Where the order is carried out.
enum Place {
    /// At a node, as a client and as what it has of the agent.
    Node(Client, Source),
    /// In the home, which this command has for itself.
    Home(Arc<Node>, AgentId),
}

impl Place {
    fn find(context: &Context, name: &str) -> Result<Self, Failure> {
        // By its id an agent is found that only the bucket has a journal of.
        let id: Option<AgentId> = name.parse().ok();
        match Keeper::find(context)? {
            Keeper::Node(client) => {
                let agent = match id {
                    Some(agent) => agent,
                    None => wait(client.agent(name))?.agent,
                };
                Self::at_node(client, agent)
            }
            Keeper::Nobody(local) => {
                let agent = id.map_or_else(|| local.resolve(name), Ok)?;
                drop(local);
                let node = context.become_node()?;
                // It lives when a node carries it.
                node.carry_none();
                wait(node.attach(agent))?;
                Ok(Self::Home(node, agent))
            }
        }
    }

    /// At a node, which reads its journal in the bucket to the end first.
    fn at_node(client: Client, agent: AgentId) -> Result<Self, Failure> {
        wait(client.attach(agent))?;
        Ok(Self::Node(client.clone(), Source::at_node(client, &agent.to_string())?))
    }

    /// The same place, with what was appended to the journal in the bucket since.
    fn read_on(self, agent: AgentId) -> Result<Self, Failure> {
        match self {
            Self::Node(client, _) => Self::at_node(client, agent),
            Self::Home(node, agent) => {
                wait(node.attach(agent))?;
                Ok(Self::Home(node, agent))
            }
        }
    }

    fn info(&self) -> Result<AgentInfo, Failure> {
        match self {
            Self::Node(_, source) => source.info(),
            Self::Home(node, agent) => Ok(node.agent(*agent)?),
        }
    }

    fn book(&self) -> Result<Book, Failure> {
        match self {
            Self::Node(_, source) => source.book(),
            Self::Home(node, agent) => Ok(node.book(*agent)?),
        }
    }

    /// The node that goes on, and its price.
    fn node(&self) -> Result<(NodeId, Terms), Failure> {
        match self {
            Self::Node(client, _) => {
                let info = wait(client.node())?;
                let strange =
                    || Failure::failed(format!("the node says a price that none can ask: {}", info.price_per_second));
                Ok((info.node, info.terms().ok_or_else(strange)?))
            }
            Self::Home(node, _) => Ok((node.id(), node.terms())),
        }
    }

    fn whereabouts(&self, agent: AgentId) -> Result<Option<Elsewhere>, Failure> {
        match self {
            Self::Node(client, _) => Ok(wait(client.whereabouts(agent))?),
            Self::Home(node, _) => Ok(wait(node.whereabouts(agent))?),
        }
    }

    fn take_over(&self, agent: AgentId, order: &igor_protocol::entry::Order) -> Result<Epoch, Failure> {
        match self {
            Self::Node(client, _) => Ok(wait(client.take_over(&agent.to_string(), order))?),
            Self::Home(node, _) => Ok(wait(node.take_over(agent, order.clone()))?),
        }
    }
}

#[cfg(test)]
mod tests;
