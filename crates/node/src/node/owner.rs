//! What decides where an agent lives without the other node's help: the owner's takeover, and a release by file; and what
//! this node can say of agents that live elsewhere.
//!
//! Invariants kept here:
//! - A takeover is carried out only as the owner signed it, by the node that it names, and only if the operator would
//!   have taken the agent on; what it answers is durable.
//! - What other nodes say of an agent that never was here is told as that, and changes nothing here.

use super::{Node, blocking, moving::STORE_WITHIN, phases::millis};
use crate::{
    Error, Rejected,
    api::wire::{Absent, Elsewhere, Orphan, Released},
    custody, local, orphans,
};
use futures_util::{StreamExt, stream};
use igor_network::{Network, Request, Response};
use igor_protocol::{
    AgentId, Chain, Credits, Epoch, NodeId, OwnerId, Terms,
    custody::{Refusal, Status, Tidings},
    entry::{Action, Custody, Order, Phase},
};
use igor_store::Store;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Nodes that are asked at once where an agent is.
const ASK_AT_ONCE: usize = 16;
/// Time that they have to answer.
const ASKED_WITHIN: Duration = Duration::from_secs(5);
/// Messages, and replies, of an orphaned branch that the log names; `igor show` names more.
const LOGGED_MAX: usize = 20;

impl Node {
    /// Carries out the owner's order to go on with an agent from the journal that is here, as a task of its own. An
    /// order that was carried out before is no error.
    pub async fn take_over(self: &Arc<Self>, agent: AgentId, order: Order) -> Result<Epoch, Error> {
        let node = self.clone();
        match tokio::spawn(async move { Box::pin(node.obey(agent, order)).await }).await {
            Ok(done) => done,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => Err(Error::Vanished),
        }
    }

    async fn obey(self: &Arc<Self>, agent: AgentId, order: Order) -> Result<Epoch, Error> {
        let epoch = Epoch { term: order.body.counter, n: 0 };
        let Action::Takeover { custodian, terms, .. } = order.body.action else {
            return Err(Error::NotATakeover);
        };
        let here = self.id();
        if order.body.agent != agent || custodian != here {
            return Err(Rejected::Custodian { named: custodian, here }.into());
        }
        let book = {
            let node = self.clone();
            blocking(move || node.book(agent)).await?
        };
        let owner = book.genesis().owner;
        if !self.config.policy.serves(&owner, &self.owner.public()) {
            return Err(Rejected::Owner { owner }.into());
        }
        if !terms.covers(&self.terms) {
            return Err(Rejected::Price { offered: terms, asked: self.terms }.into());
        }
        if self.is_draining() {
            return Err(self.closed());
        }
        let _coming = self.steward.coming(agent).ok_or_else(|| Error::Starting { name: agent.to_string() })?;
        self.stopwatches.begin(agent, None);
        let taken = self.steward.take_over(agent, order).await;
        // It is carried out, whatever is read now: an error would say that it is not.
        let is_here = taken.is_ok() && matches!(self.steward.status(agent), Ok(Status::Custodian));
        if !is_here {
            self.stopwatches.end(agent);
            // What was ready to go on was used up.
            self.remember(agent).await;
        }
        match taken {
            Ok(()) if !is_here => {
                tracing::warn!(%agent, %epoch, "an owner's takeover was carried out, and the agent does not live here: others have gone on with it since");
            }
            Ok(()) => tracing::warn!(%agent, %epoch, "an owner's takeover: the agent is this node's from now on"),
            Err(igor_spine::custody::Error::Refused(Refusal::Known)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(epoch)
    }

    /// Reads an agent's journal from the bucket, or on to its end: wherever its nodes are, its owner may have this one go on
    /// with it. Nothing happens where it is on this disk only.
    pub async fn attach(self: &Arc<Self>, agent: AgentId) -> Result<(), Error> {
        if self.store.tail(agent)?.is_some() {
            if !self.steward.is_shared(agent) {
                return Ok(());
            }
            let read = tokio::time::timeout(STORE_WITHIN, self.read_to_end(agent)).await;
            return read.map_err(|_| Error::StoreSilent { agent })?;
        }
        if self.store.wing().is_none() {
            return Err(Error::UnknownAgent { name: agent.to_string() });
        }
        let _coming = self.steward.coming(agent).ok_or_else(|| Error::Starting { name: agent.to_string() })?;
        let begun = Instant::now();
        self.read_to_end(agent).await?;
        let read_ms = millis(begun.elapsed());
        if self.store.tail(agent)?.is_none() {
            return Err(Error::UnknownAgent { name: agent.to_string() });
        }
        let node = self.clone();
        let owner = blocking(move || node.book(agent)).await?.genesis().owner;
        if self.config.policy.serves(&owner, &self.owner.public()) {
            tracing::info!(%agent, read_ms, "an agent's journal was read from the bucket");
            return Ok(());
        }
        // The bucket has it.
        self.close_account(agent).await?;
        self.store.remove(agent).await?;
        Err(Rejected::Owner { owner }.into())
    }

    /// Reads an agent's journal in the bucket to its end; where others append to it, as far as there is room for it here.
    pub(super) async fn read_to_end(self: &Arc<Self>, agent: AgentId) -> Result<(), Error> {
        if matches!(self.steward.status(agent), Ok(Status::Custodian)) {
            return Ok(self.store.refresh(agent).await?);
        }
        let read = self.store.attach(agent, None, self.admission.accounts().room(agent)).await;
        let node = self.clone();
        // What came before it failed is counted too, so that there is less room the next time.
        blocking(move || node.admission.accounts().of(agent).catch_up(&node.store)).await?;
        Ok(read?)
    }

    /// Gives an agent to a node by file: it stands still from then on, until that node's answer is heard. Said again, it
    /// is the same handoff. `per_second` is the price from then on; where nothing is said, what the agent pays now.
    pub async fn release(
        self: &Arc<Self>,
        agent: AgentId,
        to: NodeId,
        per_second: Option<Credits>,
    ) -> Result<Released, Error> {
        let node = self.clone();
        let released = tokio::spawn(async move {
            let book = {
                let node = node.clone();
                blocking(move || node.book(agent)).await?
            };
            let paid = book.held().standing.terms;
            let terms = match per_second {
                None => paid,
                Some(price) => terms_of(price, paid).ok_or(Error::NoPrice { price })?,
            };
            if let Status::Given(before) = node.steward.status(agent)?
                && before != to
            {
                return Err(Error::Given { agent, to: before });
            }
            // Whoever brings it in or takes it over comes first.
            let coming = node.steward.coming(agent).ok_or_else(|| Error::Starting { name: agent.to_string() })?;
            let handoff = Box::pin(node.steward.give_by_file(agent, to, terms)).await;
            drop(coming);
            // What has no answer yet is attended to; what failed lives on.
            node.settled(agent).await;
            let handoff = match handoff {
                Err(igor_spine::custody::Error::Refused(Refusal::NotCustodian)) => {
                    let node = node.clone();
                    blocking(move || node.check_custody(agent)).await?;
                    return Err(Error::Custody(Refusal::NotCustodian.into()));
                }
                other => other?,
            };
            let accepted = !matches!(node.steward.status(agent)?, Status::Given(_));
            tracing::info!(%agent, %to, epoch = %handoff.place.epoch, "an agent was given away by file");
            let (epoch, price_per_second) = (handoff.place.epoch, handoff.terms.per_second());
            Ok(Released { to, epoch, price_per_second, accepted })
        });
        match released.await {
            Ok(done) => done,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => Err(Error::Vanished),
        }
    }

    /// Where an agent is that this node has no journal of, by its name or id.
    pub(crate) fn known_elsewhere(&self, name: &str) -> Result<Option<Elsewhere>, Error> {
        let Some(agent) = self.gone(name)? else { return Ok(None) };
        let known = custody::known(&*self.store, agent, None)?;
        Ok(custody::elsewhere(&known, agent, Some(self.id())).map(|found| self.with_addresses(found)))
    }

    /// The id, where there is no journal of it here.
    fn gone(&self, name: &str) -> Result<Option<AgentId>, Error> {
        let agent = match name.parse() {
            Ok(agent) => Some(agent),
            Err(_) => local::agent_named(&*self.store, name)?,
        };
        match agent {
            Some(agent) if self.store.tail(agent)?.is_none() => Ok(Some(agent)),
            _ => Ok(None),
        }
    }

    /// An agent that this node has no journal of, by its name or id, if it knows anything of it. Waits for disks.
    pub fn absent(&self, name: &str) -> Result<Option<Absent>, Error> {
        let Some(agent) = self.gone(name)? else { return Ok(None) };
        let known = custody::known(&*self.store, agent, None)?;
        let name = local::names(&*self.store)?.remove(&agent);
        let found = custody::absent(&known, agent, name, Some(self.id()), &self.home)?;
        Ok(found.map(|absent| Absent { at: self.with_addresses(absent.at), ..absent }))
    }

    /// The branches of an agent that are kept here, or of all. Reads the files.
    pub fn orphans(&self, agent: Option<AgentId>) -> Result<Vec<Orphan>, Error> {
        orphans::all(&self.home, &*self.store, agent)
    }

    /// Keeps the journal that is here as a file among the orphans, before it leaves the store, and says what is on that
    /// branch only. Waits for disks.
    pub(crate) fn keep_orphan(&self, agent: AgentId, base: Chain) -> Result<(), Error> {
        let end = self.store.tail(agent)?.ok_or_else(|| Error::UnknownAgent { name: agent.to_string() })?;
        let kept = orphans::keep(&self.store, &self.home, end, base)?;
        let orphan = orphans::read(&kept, None);
        let words = orphan.in_words();
        tracing::warn!(%agent, file = %kept.path.display(), only_there = words, "this journal is not the branch that counts; it is kept as a file, and runs no more");
        for message in orphan.messages.iter().take(LOGGED_MAX) {
            let (id, stream) = (message.id.as_deref(), message.stream.as_deref());
            tracing::warn!(%agent, seq = %message.seq, sender = message.sender, id, stream, n = message.n, "a message that was acknowledged is on the orphaned branch only");
        }
        for reply in orphan.replies.iter().take(LOGGED_MAX) {
            tracing::warn!(%agent, seq = %reply.seq, message = %reply.message, "a reply is on the orphaned branch only");
        }
        Ok(())
    }

    /// Counts an agent no more, whose journal is about to leave the store. What comes after a kill counts it anew.
    pub(crate) async fn close_account(&self, agent: AgentId) -> Result<(), Error> {
        local::remove_stored(&*self.store, agent).await?;
        self.admission.accounts().close(agent);
        self.admission.accounts().orphans_are(orphans::bytes(&self.home)?);
        Ok(())
    }

    /// The same with where other nodes reach that node, as far as is known here.
    pub(super) fn with_addresses(&self, found: Elsewhere) -> Elsewhere {
        let Some(network) = self.peers().network() else { return found };
        let peers = network.peers().into_iter().find(|peer| peer.node == found.node);
        let addresses = peers.into_iter().flat_map(|peer| peer.addresses).map(|address| address.to_string()).collect();
        Elsewhere { addresses, ..found }
    }

    /// Who has an agent: by what is known here, else by what other nodes say; and whether that node answers now.
    /// Nothing where nobody knows, and where the agent lives here.
    pub async fn whereabouts(self: &Arc<Self>, agent: AgentId) -> Result<Option<Elsewhere>, Error> {
        let network = self.peers().network().cloned();
        let node = self.clone();
        let known = blocking(move || node.elsewhere(agent)).await?;
        let lives_here = matches!(self.steward.status(agent)?, Status::Custodian | Status::Unfinished);
        if lives_here {
            return Ok(None);
        }
        let said = match &network {
            Some(network) => {
                let node = self.clone();
                let owner = blocking(move || Ok::<_, Error>(node.steward.owner(agent).ok())).await?;
                self.ask_all(network, agent, owner).await
            }
            None => None,
        };
        // What was asked for may have been heard: records that follow from those here are taken in as they come.
        let node = self.clone();
        let known = blocking(move || node.elsewhere(agent)).await?.or(known);
        let newest = match (known, said) {
            (Some(known), Some(said)) if said.epoch > known.epoch => Some(said),
            (known, said) => known.or(said),
        };
        let Some(newest) = newest else { return Ok(None) };
        let answers = match &network {
            Some(_) if newest.node == self.id() => Some(true),
            Some(network) => Some(is_answered(&network.request(newest.node, Request::Status).await)),
            None => None,
        };
        Ok(Some(Elsewhere { answers, ..self.with_addresses(newest) }))
    }

    /// The newest record that other nodes have of an agent. Those that follow from what is known here are heard.
    async fn ask_all(&self, network: &Network, agent: AgentId, owner: Option<OwnerId>) -> Option<Elsewhere> {
        let lists = |peer| self.config().policy.nodes.contains(&peer) || self.config().network.allow.contains(&peer);
        let peers = network.peers().into_iter().filter(|peer| peer.connected || peer.listed);
        let peers = peers.map(|peer| (peer.node, peer.listed || lists(peer.node)));
        let answers = stream::iter(peers).map(|(peer, listed)| async move {
            (listed, network.request(peer, Request::Custody { agents: vec![agent] }).await)
        });
        let within = tokio::time::sleep(ASKED_WITHIN);
        let answers: Vec<_> = answers.buffer_unordered(ASK_AT_ONCE).take_until(within).collect().await;
        let mut newest: Option<Elsewhere> = None;
        for (listed, answer) in answers {
            let Ok(Response::Custody { records, .. }) = answer else { continue };
            let Some(Ok(tidings)) = records.first().map(|record| Tidings::decode(&record.0)) else { continue };
            if tidings.agent != agent {
                continue;
            }
            // Where the agent is known, what strangers say counts only if it follows from that.
            let believed = if owner.is_none() || listed { &tidings.records[..] } else { &[] };
            for record in believed {
                let Some((node, epoch)) = settled(record, agent, owner.as_ref()) else { continue };
                if newest.as_ref().is_none_or(|newest| epoch > newest.epoch) {
                    let by = custody::HEARSAY.to_owned();
                    newest = Some(Elsewhere { agent, node, epoch, addresses: Vec::new(), answers: None, by });
                }
            }
            if self.steward.is_shared(agent) {
                self.hear_of_shared(agent);
            } else if let Err(error) = self.steward.hear(tidings).await {
                tracing::debug!(%agent, %error, "what a node answered about an agent's custody is refused");
            }
        }
        newest
    }

    /// Another node is connected now: whoever slept through an owner's takeover hears of it, from everyone who knows. It
    /// is told of all that are known here, one after the other, as long as it is there; when it comes again, once more.
    pub(crate) async fn meet(self: &Arc<Self>, peer: NodeId) {
        let Some(_telling) = self.peers().begin_telling(peer) else { return };
        let node = self.clone();
        let noted = match blocking(move || custody::noted(&*node.store)).await {
            Ok(noted) => noted,
            Err(error) => return tracing::warn!(%error, "what is known of custody does not read; {peer} is not told"),
        };
        // Of those in a shared store that store tells.
        for agent in noted.into_iter().filter(|agent| !self.steward.is_shared(*agent)) {
            let node = self.clone();
            match blocking(move || node.steward.records(agent)).await {
                Ok(records) if records.iter().any(|record| matches!(record.phase, Phase::Takeover(_))) => {
                    if !self.peers().has_told(peer, Tidings { agent, records }).await {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%agent, %error, "what is known of custody does not read; {peer} is not told");
                }
            }
        }
    }
}

/// Whether a node is there, also where it refuses to answer.
const fn is_answered(answer: &Result<Response, igor_network::Error>) -> bool {
    matches!(answer, Ok(_) | Err(igor_network::Error::Refused { .. }))
}

/// Who has the agent by this record, if it says so for good and hangs together. Where its owner is not known, neither is
/// whether a takeover was ordered by it.
fn settled(record: &Custody, agent: AgentId, owner: Option<&OwnerId>) -> Option<(NodeId, Epoch)> {
    let settles = matches!(record.phase, Phase::Accept(_) | Phase::Return(_) | Phase::Takeover(_));
    let anybody = match &record.phase {
        Phase::Takeover(takeover) => takeover.custodian,
        other => other.writer(),
    };
    let holds = match record.check(owner.unwrap_or(&anybody)) {
        Ok(()) => true,
        // All but the owner's signature was looked at before that.
        Err(igor_protocol::ledger::Fault::Signature(what)) => {
            owner.is_none() && what == igor_protocol::entry::TAKEOVER_ORDER
        }
        Err(_) => false,
    };
    (settles && holds && record.phase.agent() == agent).then(|| (record.phase.writer(), record.phase.epoch()))
}

/// The terms with this price for a second, and what is paid for fuel as before; nothing where no node can ask that.
fn terms_of(price: Credits, paid: Terms) -> Option<Terms> {
    let price_per_ns = u64::try_from(price.units() / 1_000_000_000).ok()?;
    let terms = Terms { price_per_ns, ..paid };
    (terms.per_second() == price).then_some(terms)
}
