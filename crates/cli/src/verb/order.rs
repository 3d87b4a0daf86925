//! `fund` and `end`: orders of an agent's owner.
//!
//! Invariants kept here:
//! - An order counts once. A command signs one, and keeps it as long as it may be in a journal, also when it goes on at
//!   another node. After an answer that did not come, the journal that is there, an archive too, says whether the order
//!   is in it; only if it is not is the same order, with the same counter and total, given again.
//! - A failure after which the order may stand says so, and how to give it so that it counts once.
//! - The owner's key is read here and goes nowhere: the node gets the signed order.

use crate::{
    Context, Kept, args,
    failure::Failure,
    source::{Commits, Keeper, Source, patiently, wait},
    words,
};
use igor_node::{Error, Node, RealWorld, client::Client, home::Role};
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
    /// Of its order; nothing where none was needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Ended {
    agent: String,
    name: String,
    seq: u64,
}

/// Gives an agent money.
pub(crate) fn fund(context: &Context, args: &args::Fund, kept: &mut Kept) -> Result<(), Failure> {
    let given = give(context, &args.name, &mut kept.order, |book| {
        let funded = book.ledger().funded;
        let total = match (args.amount, args.total) {
            (_, Some(total)) if total <= funded => return Ok(None),
            (_, Some(total)) => Some(total),
            (amount, None) => funded.checked_add(amount.unwrap_or(Credits::ZERO)),
        };
        let total = total.ok_or_else(|| {
            Failure::refused("too much: that and what it was given before cannot be counted together")
        })?;
        Ok(Some(Action::Fund { total }))
    })?;
    let ledger = given.book.ledger();
    let funded = match given.order.as_ref().map(|order| &order.body.action) {
        Some(Action::Fund { total }) => *total,
        Some(Action::Recall | Action::Takeover { .. } | Action::Policy(_)) | None => ledger.funded,
    };
    let added = funded.checked_sub(ledger.funded).unwrap_or(Credits::ZERO);
    let row = Funded {
        agent: given.agent.to_string(),
        name: args.name.clone(),
        added: added.to_string(),
        total: funded.to_string(),
        balance: ledger.balance.checked_add(added).unwrap_or(Credits::MAX).to_string(),
        seq: given.order.is_some().then_some(given.seq.0),
    };
    context.out.say(&row, || {
        if given.order.is_none() {
            return format!("{} was given {} in all before; nothing was added", row.name, words::money(funded));
        }
        let revived = match (given.running, ledger.ended.is_some()) {
            (false, true) => "\nit can live again: give the `igor run` command that started it",
            (false, false) => "\nit does not run now; the `igor run` command that started it goes on",
            (true, _) => "",
        };
        format!("{} has {} more, in all {}{revived}", row.name, words::money(added), words::money(funded))
    })
}

/// Ends an agent for good.
pub(crate) fn end(context: &Context, args: &args::Named, kept: &mut Kept) -> Result<(), Failure> {
    let given = give(context, &args.name, &mut kept.order, |_| Ok(Some(Action::Recall)))?;
    let row = Ended { agent: given.agent.to_string(), name: args.name.clone(), seq: given.seq.0 };
    context.out.say(&row, || {
        if given.running {
            format!("{} ends, after a last checkpoint", row.name)
        } else {
            format!("the order stands in the journal of {}; it ends when it runs next", row.name)
        }
    })
}

/// An order that is in the journal, or what stood there without one.
pub(crate) struct Given {
    pub(crate) agent: AgentId,
    /// Nothing where none was needed.
    pub(crate) order: Option<Order>,
    /// Where it is, or the last entry.
    pub(crate) seq: Seq,
    /// What the agent was before it.
    pub(crate) book: Book,
    pub(crate) running: bool,
}

/// Gives an order, to the node that has the home or else to the journal itself, where `action` says that one is needed.
/// `tried` is the order of this command, as long as it may be in a journal.
pub(crate) fn give(
    context: &Context,
    name: &str,
    tried: &mut Option<(Order, Book)>,
    action: impl Fn(&Book) -> Result<Option<Action>, Failure>,
) -> Result<Given, Failure> {
    let owner = context.home()?.keys().read(Role::Owner)?;
    let given = patiently(|| {
        let place = Place::find(context, name)?;
        let given = if let Some((order, book)) = tried.clone() {
            place.give_again(order, book)
        } else {
            place.check_custody()?;
            let book = place.book()?;
            let Some(action) = action(&book)? else { return Ok(place.needs_none(book)) };
            let order = sign(&book, action, &owner)?;
            *tried = Some((order.clone(), book.clone()));
            place.give(order, book)
        };
        given.map_err(|unsure| {
            if unsure.stands_nowhere {
                *tried = None;
            }
            unsure.why
        })
    });
    given.map_err(|why| match tried {
        Some((order, _)) => why.while_at(unknown(name, order)),
        None => why,
    })
}

/// What is to be done when nobody knows whether an order stands.
fn unknown(name: &str, order: &Order) -> String {
    let counter = order.body.counter;
    match order.body.action {
        Action::Fund { total } => format!(
            "it is unknown whether the order stands (number {counter}, {} in all); give `igor fund {name} --total {total}`, \
             which adds nothing where it does",
            words::money(total)
        ),
        Action::Recall | Action::Takeover { .. } | Action::Policy(_) => {
            format!("it is unknown whether the order stands (number {counter}); the same command again is safe")
        }
    }
}

/// Why an order has no answer.
struct Unsure {
    why: Failure,
    /// It is certain that it is in no journal.
    stands_nowhere: bool,
}

impl From<Failure> for Unsure {
    fn from(why: Failure) -> Self {
        Self { why, stands_nowhere: false }
    }
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
                Ok(Self::Node(client, source))
            }
            Keeper::Nobody(local) => {
                let agent = local.resolve(name)?;
                drop(local);
                Ok(Self::Home(context.become_node()?, agent))
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

    /// Refuses what only the custodian may do.
    fn check_custody(&self) -> Result<(), Failure> {
        match self {
            Self::Node(_, source) => Ok(source.info()?.check_custody()?),
            Self::Home(node, agent) => Ok(node.check_custody(*agent)?),
        }
    }

    fn give(&self, order: Order, book: Book) -> Result<Given, Unsure> {
        let given = match self {
            Self::Node(client, source) => wait(client.order(&source.agent().to_string(), &order))
                .map_err(|e| Unsure { stands_nowhere: e.did_nothing(), why: e.into() }),
            Self::Home(node, agent) => wait(node.order(*agent, order.clone())).map_err(|e| {
                let before_all = matches!(e, Error::Order(_) | Error::NotCustodian(_) | Error::Moving { .. });
                Unsure { stands_nowhere: before_all, why: e.into() }
            }),
        };
        given.map(|seq| self.given(order, seq, book))
    }

    /// Gives an order that was given before, unless it stands in the journal that is there: nobody said what became of
    /// it.
    fn give_again(&self, order: Order, book: Book) -> Result<Given, Unsure> {
        // Before anything is said of custody: what was committed here went along with the agent.
        if let Some(seq) = self.find_order(&order, &book)? {
            return Ok(self.given(order, seq, book));
        }
        self.check_custody()?;
        if self.book()?.ledger().order_counter >= order.body.counter {
            let why = Failure::refused("another order came first; see `igor show`, and decide again");
            return Err(Unsure { why, stands_nowhere: true });
        }
        self.give(order.clone(), book.clone()).or_else(|unsure| match self.find_order(&order, &book) {
            // The first came through in between, and the second was refused.
            Ok(Some(seq)) => Ok(self.given(order, seq, book)),
            Ok(None) | Err(_) => Err(unsure.why.into()),
        })
    }

    fn given(&self, order: Order, seq: Seq, book: Book) -> Given {
        Given { agent: self.agent(), order: Some(order), seq, book, running: self.is_node() }
    }

    fn needs_none(&self, book: Book) -> Given {
        let seq = Seq(book.chain().next.0.saturating_sub(1));
        Given { agent: self.agent(), order: None, seq, book, running: self.is_node() }
    }

    const fn is_node(&self) -> bool {
        matches!(self, Self::Node(..))
    }

    /// Where an order is in the journal, which it can only be after what was known when it was signed.
    fn find_order(&self, order: &Order, signed_at: &Book) -> Result<Option<Seq>, Failure> {
        let (agent, from) = (self.agent(), signed_at.chain().next);
        let end = match self {
            Self::Node(client, _) => wait(client.agent(&agent.to_string()))?.seq.next(),
            Self::Home(node, _) => node.store().tail(agent)?.map_or(Seq(0), |chain| chain.next),
        };
        if from >= end {
            return Ok(None);
        }
        let commits: Commits<'_> = match self {
            Self::Node(_, source) => source.commits(from)?,
            Self::Home(node, agent) => Box::new(node.store().read(*agent, from)?.map(|commit| Ok(commit?))),
        };
        for commit in commits {
            for (seq, _, bytes) in commit?.entries() {
                let entry = Entry::decode(bytes).map_err(Failure::integrity)?;
                if matches!(&entry.body, Body::Order(there) if there == order) {
                    return Ok(Some(seq));
                }
            }
        }
        Ok(None)
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
