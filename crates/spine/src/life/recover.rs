//! From a journal to an agent that goes on: find the last checkpoint, restore it, replay what came after.
//!
//! Nothing is written here but what a new runtime or a missing init needs; a crash at any point of it changes nothing.

use super::{Life, Parts};
use crate::{
    Error, World,
    guest::Program,
    inspect::{Last, last_checkpoint},
    journal::{Journal, open_content},
    membrane::Inbox,
    replay::{Depth, Replayer},
};
use igor_protocol::{
    AgentId, Body, Commit, Entry, Hash, Manifest, Nanos, Seq,
    entry::{Call, Checkpoint, Genesis, Run},
    ledger::{Book, Remembered},
};
use igor_store::Store;
use std::sync::Arc;

/// What an agent is by its Genesis.
pub(crate) fn read_genesis<S: Store>(store: &S, agent: AgentId) -> Result<(Genesis, Manifest), Error> {
    let body = entry_at(store, agent, Seq(0))?.ok_or(Error::NoJournal(agent))?;
    let fault = |fault| Error::Journal { seq: Seq(0), fault };
    let Body::Genesis(genesis) = body else {
        return Err(fault(igor_protocol::ledger::Fault::Place("a journal begins with its Genesis")));
    };
    let hash = genesis.body.manifest;
    let bytes = store.get_blob(hash, 64 << 10)?.ok_or(Error::MissingBlob { what: "the manifest", hash })?;
    let manifest = Manifest::decode(&bytes).map_err(|_| fault(igor_protocol::ledger::Fault::Blob(hash)))?;
    Ok((genesis, manifest))
}

/// One entry of a journal.
pub(crate) fn entry_at<S: Store>(store: &S, agent: AgentId, seq: Seq) -> Result<Option<Body>, Error> {
    let Some(commit) = store.read(agent, seq)?.next() else { return Ok(None) };
    let commit = commit?;
    let found = commit.entries().find(|(at, ..)| *at == seq);
    Ok(found.map(|(_, _, encoded)| Entry::decode(encoded)).transpose()?.map(|entry| entry.body))
}

/// How long it took to come to the end of a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// To find and restore the last checkpoint.
    pub restore: Nanos,
    /// To execute the runs since.
    pub replay: Nanos,
}

/// A book and an instance at the end of a journal.
struct Recovered<P: Program> {
    book: Book,
    replayer: Replayer<P>,
    took: Recovery,
}

impl<P: Program> Recovered<P> {
    fn into_parts(mut self) -> (Book, Option<P::Guest>, Inbox) {
        self.replayer.keep_open(self.book.ledger());
        let (guest, inbox) = self.replayer.into_parts();
        (self.book, guest, inbox)
    }
}

async fn recover<P: Program, S: Store, W: World>(
    program: &Arc<P>,
    store: &S,
    world: &W,
    agent: AgentId,
) -> Result<Recovered<P>, Error> {
    let begun = world.monotonic();
    let end = store.tail(agent)?.ok_or(Error::NoJournal(agent))?.next;
    let last = last_checkpoint(&|from| store.read(agent, from), end)?;
    recover_from(program, store, (world, begun), agent, end, last).await
}

/// As [`recover`]. Where the state of the last checkpoint is missing, it begins with the one before, or with the
/// beginning: the runs since make it again, and it is kept.
async fn regain<P: Program, S: Store, W: World>(
    program: &Arc<P>,
    store: &S,
    world: &W,
    agent: AgentId,
) -> Result<Recovered<P>, Error> {
    let begun = world.monotonic();
    let end = store.tail(agent)?.ok_or(Error::NoJournal(agent))?.next;
    let (mut before, mut lacks) = (end, false);
    let usable = loop {
        match last_checkpoint(&|from| store.read(agent, from), before)? {
            Some(last) if !store.has_blob(last.checkpoint.root)? => (before, lacks) = (last.commit.first(), true),
            usable => break usable,
        }
    };
    let recovered = recover_from(program, store, (world, begun), agent, end, usable).await?;
    if let Some(state) = recovered.replayer.state().filter(|_| lacks) {
        store.put_blob(state.to_vec()).await?;
    }
    Ok(recovered)
}

async fn recover_from<P: Program, S: Store, W: World>(
    program: &Arc<P>,
    store: &S,
    (world, begun): (&W, Nanos),
    agent: AgentId,
    end: Seq,
    begin: Option<Last>,
) -> Result<Recovered<P>, Error> {
    let (genesis, manifest) = read_genesis(store, agent)?;
    let mut replayer = Replayer::new(program.clone(), manifest.clone(), Depth::Counted);
    let refused = |seq| move |fault| Error::Journal { seq, fault };
    let (mut book, from) = match begin {
        None => (Book::before_genesis(&genesis, manifest).map_err(refused(Seq(0)))?, Seq(0)),
        Some(Last { commit, chain, checkpoint, proof }) => {
            let seq = chain.next;
            same_runtime(program, proof.runtime.as_ref(), end, commit.next(), store, agent)?;
            let remembered = Remembered::decode(&open_content(store, &checkpoint.remembered)?)?;
            let open = open_messages(store, agent, &checkpoint)?;
            let state = store.get_blob(checkpoint.root, checkpoint.bytes)?;
            let state =
                state.ok_or(Error::MissingBlob { what: "the state of the last checkpoint", hash: checkpoint.root })?;
            replayer.begin_at(state, open);
            let begun = Book::before_checkpoint(&genesis, manifest, chain, &checkpoint, remembered);
            let mut book = begun.map_err(refused(seq))?;
            if proof.runtime.as_deref() == Some(program.runtime()) {
                step(&mut replayer, Seq(seq.0 - 1), &Body::Run(proof), &book).await?;
            }
            let rest = book.apply_entries(&commit, seq).map_err(|(seq, fault)| Error::Journal { seq, fault })?;
            follow(&mut replayer, store, &book, rest, program).await?;
            (book, commit.next())
        }
    };
    let restored = world.monotonic();
    if from < end {
        for commit in store.read(agent, from)? {
            let entries = book.apply(&commit?).map_err(|(seq, fault)| Error::Journal { seq, fault })?;
            follow(&mut replayer, store, &book, entries, program).await?;
        }
    }
    let took = Recovery { restore: restored.saturating_sub(begun), replay: world.monotonic().saturating_sub(restored) };
    Ok(Recovered { book, replayer, took })
}

/// Runs of another runtime cannot be replayed here; a checkpoint with nothing after it can be gone on from.
fn same_runtime<P: Program, S: Store>(
    program: &Arc<P>,
    runtime: Option<&String>,
    end: Seq,
    after: Seq,
    store: &S,
    agent: AgentId,
) -> Result<(), Error> {
    let journal = runtime.cloned().unwrap_or_default();
    if journal == program.runtime() || after >= end {
        return Ok(());
    }
    let mut last = journal;
    for commit in store.read(agent, after)? {
        for (_, _, encoded) in commit?.entries() {
            match Entry::decode(encoded)?.body {
                Body::Run(Run { call: Call::Resume, runtime: Some(runtime), .. }) => last = runtime,
                Body::Run(run) if run.outcome.is_ok() && last != program.runtime() => {
                    return Err(Error::Runtime { journal: last, here: program.runtime().to_owned() });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

async fn follow<P: Program, S: Store>(
    replayer: &mut Replayer<P>,
    store: &S,
    book: &Book,
    entries: Vec<(Seq, Hash, Entry)>,
    program: &Arc<P>,
) -> Result<(), Error> {
    for (seq, _, entry) in entries {
        match &entry.body {
            Body::Message(message) => replayer.message(seq, open_content(store, &message.body)?),
            Body::Run(run) if run.runtime.as_deref().is_some_and(|runtime| runtime != program.runtime()) => {
                if run.call == Call::Init && run.outcome.is_ok() {
                    let journal = run.runtime.clone().unwrap_or_default();
                    return Err(Error::Runtime { journal, here: program.runtime().to_owned() });
                }
            }
            body => step(replayer, seq, body, book).await?,
        }
    }
    Ok(())
}

async fn step<P: Program>(replayer: &mut Replayer<P>, seq: Seq, body: &Body, book: &Book) -> Result<(), Error> {
    let tick = if let Body::Run(run) = body { run.tick } else { book.ledger().tick };
    replayer.entry(body, book.ledger()).await.map_err(|what| Error::Diverged { seq, tick, what })
}

/// The bodies of the messages that were open at a checkpoint.
fn open_messages<S: Store>(store: &S, agent: AgentId, checkpoint: &Checkpoint) -> Result<Inbox, Error> {
    let mut inbox = Inbox::default();
    let mut commits: Option<(Seq, igor_store::Commits)> = None;
    let mut current: Option<Commit> = None;
    for open in &checkpoint.ledger.open {
        // Open messages are mostly neighbours; a far one is looked up by itself.
        let near = commits.as_ref().is_some_and(|(at, _)| open.seq.0.saturating_sub(at.0) < 4096);
        if !near && current.as_ref().is_none_or(|commit| commit.next() <= open.seq) {
            commits = Some((open.seq, store.read(agent, open.seq)?));
        }
        while current.as_ref().is_none_or(|commit| commit.next() <= open.seq) {
            let Some((at, rest)) = commits.as_mut() else { break };
            let Some(commit) = rest.next().transpose()? else { break };
            *at = commit.next();
            current = Some(commit);
        }
        let encoded = current.iter().flat_map(Commit::entries).find(|(seq, ..)| *seq == open.seq);
        if let Some(Body::Message(message)) =
            encoded.map(|(_, _, bytes)| Entry::decode(bytes)).transpose()?.map(|e| e.body)
        {
            let body = open_content(store, &message.body)?;
            Arc::make_mut(&mut inbox).insert(open.seq, body.into());
        }
    }
    Ok(inbox)
}

/// An agent at the end of its journal, in an instance of its own. Nothing was written, so a node that has no custody
/// of it may have one.
pub struct Restored<P: Program, S, W> {
    parts: Parts<P, S, W>,
    recovered: Recovered<P>,
}

impl<P: Program, S: Store, W: World> Restored<P, S, W> {
    /// Restores and replays an agent that is in the store. A copy may have been cut off between a checkpoint and its
    /// state: that is made again from what came before, and kept. So this is not for an agent of this node's own, whose
    /// disk has lost what it kept if a state is missing: see [`Life::open`].
    pub async fn new(parts: Parts<P, S, W>, agent: AgentId) -> Result<Self, Error> {
        // On the heap, as below: whoever waits for a life has futures of a bearable size.
        let recovered = Box::pin(regain(&parts.program, &*parts.store, &*parts.world, agent)).await?;
        Ok(Self { parts, recovered })
    }

    /// How long it took to restore it.
    pub const fn took(&self) -> Recovery {
        self.recovered.took
    }

    /// Follows the journal to its end: executes what was run elsewhere meanwhile. After an error it is of no use.
    pub async fn follow(&mut self) -> Result<(), Error> {
        let Recovered { book, replayer, .. } = &mut self.recovered;
        let (store, program) = (&*self.parts.store, &self.parts.program);
        let chain = book.chain();
        let end = store.tail(chain.agent)?.ok_or(Error::NoJournal(chain.agent))?;
        if end.next <= chain.next {
            return Ok(());
        }
        for commit in store.read(chain.agent, chain.next)? {
            let entries = book.apply(&commit?).map_err(|(seq, fault)| Error::Journal { seq, fault })?;
            let runtimes = entries.iter().filter_map(|(_, _, entry)| match &entry.body {
                Body::Run(run) => run.runtime.as_deref(),
                _ => None,
            });
            if let Some(other) = runtimes.into_iter().find(|runtime| *runtime != program.runtime()) {
                return Err(Error::Runtime { journal: other.to_owned(), here: program.runtime().to_owned() });
            }
            let checkpointed = entries.iter().any(|(_, _, entry)| matches!(entry.body, Body::Checkpoint(_)));
            Box::pin(follow(replayer, store, book, entries, program)).await?;
            if checkpointed {
                // A replay begins there from now on.
                replayer.fuel = 0;
            }
        }
        Ok(())
    }

    /// The agent lives on.
    pub async fn live(self) -> Result<Life<P, S, W>, Error> {
        Box::pin(Life::go_on(self.parts, self.recovered)).await
    }
}

impl<P: Program, S: Store, W: World> Life<P, S, W> {
    /// Goes on with an agent that is in the store: exactly at its last committed run.
    pub async fn open(parts: Parts<P, S, W>, agent: AgentId) -> Result<Self, Error> {
        let recovered = Box::pin(recover(&parts.program, &*parts.store, &*parts.world, agent)).await?;
        Restored { parts, recovered }.live().await
    }

    /// How long it took to come to the end of its journal, when this life began or before.
    pub const fn recovery(&self) -> Recovery {
        self.recovery
    }

    async fn go_on(parts: Parts<P, S, W>, recovered: Recovered<P>) -> Result<Self, Error> {
        let Parts { program, store, world, key } = parts;
        let (fuel, executed, took) = (recovered.replayer.fuel, recovered.replayer.executed, recovered.took);
        let (book, guest, inbox) = recovered.into_parts();
        let mut life = Self::assemble(program, Journal::new(store, world, key, book, None));
        life.guest = guest;
        life.inbox = inbox;
        life.replay_fuel = fuel;
        life.replayed = executed;
        life.recovery = took;
        life.resumed = true;
        // Nothing runs after an end. If an order revived it, it has not ended.
        if life.journal.ledger().ended.is_some() {
            return Ok(life);
        }
        match life.journal.ledger().runtime.clone() {
            None => Box::pin(life.init()).await?,
            Some(runtime) => {
                life.gap = Some(life.journal.now().since(life.journal.ledger().run_ended));
                if runtime != life.program.runtime() {
                    Box::pin(life.change_runtime()).await?;
                }
            }
        }
        Ok(life)
    }

    /// The instance as the journal has it, after the one in memory was dropped.
    pub(super) async fn restore(&mut self) -> Result<P::Guest, Error> {
        let agent = self.journal.chain().agent;
        let recovered = Box::pin(recover(&self.program, &*self.journal.store, &*self.journal.world, agent)).await?;
        let fuel = recovered.replayer.fuel;
        let (_, guest, inbox) = recovered.into_parts();
        (self.inbox, self.replay_fuel) = (inbox, fuel);
        guest.ok_or_else(|| Error::Init("it was never initialised".to_owned()))
    }

    /// `agent_init` on the very first instance.
    pub(super) async fn init(&mut self) -> Result<(), Error> {
        let mut guest = self.program.instantiate();
        let finished = self.call(&mut guest, Call::Init, Vec::new()).await?;
        let failed = match &finished.run.outcome {
            igor_protocol::entry::Outcome::Ok { .. } => None,
            igor_protocol::entry::Outcome::Failed { failure, cause } => Some(format!("{}: {cause}", failure.name())),
        };
        self.replay_fuel = finished.run.fuel.0;
        self.journal.push(Body::Run(finished.run))?;
        self.journal.launch(true)?;
        self.journal.land().await?;
        if let Some(cause) = failed {
            return Err(Error::Init(cause));
        }
        self.guest = Some(guest);
        Ok(())
    }

    /// Another runtime goes on from the last checkpoint, which nothing has run since.
    async fn change_runtime(&mut self) -> Result<(), Error> {
        let last = self.journal.ledger().checkpoint;
        let Some(last) = last.filter(|last| last.tick == self.journal.ledger().tick) else {
            let journal = self.journal.ledger().runtime.clone().unwrap_or_default();
            return Err(Error::Runtime { journal, here: self.program.runtime().to_owned() });
        };
        let state = self.journal.store.get_blob(last.root, last.bytes)?;
        let state = state.ok_or(Error::MissingBlob { what: "the state of the last checkpoint", hash: last.root })?;
        let mut guest = self.program.instantiate();
        let finished = self.call(&mut guest, Call::Resume, state).await?;
        if !finished.run.outcome.is_ok() {
            return Err(Error::Init(format!("the last checkpoint does not restore: {:?}", finished.run.outcome)));
        }
        self.journal.push(Body::Run(finished.run))?;
        self.journal.launch(true)?;
        self.journal.land().await?;
        self.guest = Some(guest);
        Ok(())
    }
}
