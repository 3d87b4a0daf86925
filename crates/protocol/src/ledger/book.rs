//! An agent's journal as it is known up to some entry: chain, ledger and what both are checked against.

use super::{Fault, Ledger, Remembered, rules};
use crate::{
    AgentId, Chain, Commit, Entry, Hash, KeyPair, Manifest, NodeId, Terms, codec,
    custody::{Held, Standing},
    entry::{
        Body, Checkpoint, CheckpointKind, Content, Custody, Genesis, GenesisBody, Order, Phase, Policy, Receipt, Seal,
    },
    units::{Seq, Tick, Timestamp},
};

/// The fold over a journal, with what its entries are checked against.
///
/// After an error the book is ahead of the journal and must be dropped.
#[derive(Clone, Debug)]
pub struct Book {
    pub(super) genesis: GenesisBody,
    pub(super) manifest: Manifest,
    pub(super) chain: Chain,
    pub(super) ledger: Ledger,
    pub(super) remembered: Remembered,
    pub(super) barrier: Barrier,
    /// The seal of this process's own commits is not verified again.
    own: bool,
    sealed: bool,
}

/// How far a state checkpoint is. Its entries are committed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Barrier {
    /// None is under way.
    Open,
    /// Run(checkpoint) stands; the Run(resume) that proves its state, or fails, follows.
    Taken,
    /// The state was proved; Checkpoint follows.
    Proved,
}

/// An entry with its position and the chain's head after it.
pub type Placed = (Seq, Hash, Entry);

/// Entries that were pushed and will become one commit.
#[derive(Debug)]
pub struct Draft {
    start: Chain,
    entries: Vec<Vec<u8>>,
}

impl Draft {
    /// Whether nothing was pushed.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries were pushed.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The bytes of all entries so far.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(Vec::len).sum()
    }
}

impl Book {
    /// Begins a journal with its Genesis.
    pub fn begin(genesis: Genesis, manifest: Manifest, at: Timestamp) -> Result<(Self, Draft), Fault> {
        let mut book = Self::before_genesis(&genesis, manifest)?;
        let mut draft = book.draft();
        book.push(&mut draft, Entry { at, body: Body::Genesis(genesis) })?;
        Ok((book, draft))
    }

    /// The book of an agent before its first entry.
    pub fn before_genesis(genesis: &Genesis, manifest: Manifest) -> Result<Self, Fault> {
        let body = genesis.body.clone();
        if manifest.hash() != body.manifest {
            return Err(Fault::Blob(body.manifest));
        }
        let chain = Chain::begin(body.agent_id());
        let (ledger, remembered) = (Ledger::default(), Remembered::default());
        Ok(Self {
            genesis: body,
            manifest,
            chain,
            ledger,
            remembered,
            barrier: Barrier::Open,
            own: false,
            sealed: false,
        })
    }

    /// The book before a Checkpoint entry at `chain.next`, from what that entry holds.
    ///
    /// What came before is believed: it is the reader's own journal, or was pruned.
    pub fn before_checkpoint(
        genesis: &Genesis,
        manifest: Manifest,
        chain: Chain,
        checkpoint: &Checkpoint,
        remembered: Remembered,
    ) -> Result<Self, Fault> {
        let mut book = Self::before_genesis(genesis, manifest)?;
        if chain.agent != book.chain.agent {
            return Err(Fault::Link("it is another agent's"));
        }
        book.chain = chain;
        book.ledger = checkpoint.ledger.clone();
        book.remembered = remembered;
        book.barrier = Barrier::Proved;
        Ok(book)
    }

    /// Says that from here on entries are this process's own, whose seals it need not verify.
    pub const fn append_own(&mut self) {
        self.own = true;
    }

    /// Says that from here on entries may be anybody's.
    pub const fn append_foreign(&mut self) {
        self.own = false;
    }

    /// Whether an order could be the next entry.
    pub fn check_order(&self, order: &Order) -> Result<(), Fault> {
        let body = Body::Order(order.clone());
        rules::check_place(self, &body, self.ledger.at)?;
        rules::check_order(self, order)
    }

    /// Whether the last entry is a seal, or a custody entry, which seals itself and all before it.
    pub const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// An empty draft at the end of the journal.
    pub const fn draft(&self) -> Draft {
        Draft { start: self.chain, entries: Vec::new() }
    }

    /// Checks an entry, takes it into account and adds it to a draft. Returns its position and the head after it.
    #[allow(clippy::needless_pass_by_value)] // it is the journal's from here on
    pub fn push(&mut self, draft: &mut Draft, entry: Entry) -> Result<(Seq, Hash), Fault> {
        let encoded = entry.encode();
        let seq = self.chain.next;
        self.take(&entry, &encoded, draft.is_empty())?;
        self.chain = self.chain.link(&encoded);
        self.settle(&entry);
        if draft.is_empty() {
            // The first entry may have raised it.
            draft.start.epoch = self.chain.epoch;
        }
        draft.entries.push(encoded);
        Ok((seq, self.chain.head))
    }

    /// Seals all that was pushed so far.
    pub fn push_seal(&mut self, draft: &mut Draft, node: &KeyPair, at: Timestamp) -> Result<(Seq, Hash), Fault> {
        let seal = self.seal(node);
        self.push(draft, Entry { at, body: Body::Seal(seal) })
    }

    /// A seal over the end of the journal.
    pub fn seal(&self, node: &KeyPair) -> Seal {
        let last = Seq(self.chain.next.0.saturating_sub(1));
        Seal::sign(node, &self.chain.agent, self.chain.epoch, last, &self.chain.head)
    }

    /// Pushes a Checkpoint of this state. It must follow the Run(resume) that proved it.
    pub fn push_checkpoint(
        &mut self,
        draft: &mut Draft,
        node: &KeyPair,
        root: Hash,
        bytes: u64,
        at: Timestamp,
    ) -> Result<(Seq, Hash), Fault> {
        let checkpoint = Checkpoint {
            kind: CheckpointKind::State,
            tick: self.ledger.tick,
            root,
            bytes,
            ledger: self.ledger.clone(),
            remembered: Content::of(&self.remembered.encode()),
            receipt: Receipt::sign(self.receipt_due(), node),
        };
        self.push(draft, Entry { at, body: Body::Checkpoint(checkpoint) })
    }

    /// The commit of what was pushed. A checkpoint must be complete: the run that took the state, the one that proved it, and the entry.
    pub fn commit(&self, draft: Draft) -> Result<Commit, Fault> {
        if self.barrier != Barrier::Open {
            return Err(Fault::Place("a checkpoint and the runs that took and proved it are committed together"));
        }
        Ok(Commit::from_encoded(draft.start, draft.entries))
    }

    /// Checks a commit that was read and takes it into account. Returns its entries with their positions and heads.
    pub fn apply(&mut self, commit: &Commit) -> Result<Vec<Placed>, (Seq, Fault)> {
        let first = commit.first();
        if commit.agent() != self.chain.agent {
            return Err((first, Fault::Link("it is another agent's")));
        }
        if commit.first() != self.chain.next {
            return Err((first, Fault::Link("entries are missing or repeated")));
        }
        if commit.prev() != self.chain.head {
            return Err((first, Fault::Link("it follows another history")));
        }
        self.apply_entries(commit, first)
    }

    /// As [`Book::apply`], for the rest of a commit from `from` on, where the book begins within it.
    pub fn apply_entries(&mut self, commit: &Commit, from: Seq) -> Result<Vec<Placed>, (Seq, Fault)> {
        let mut entries = Vec::new();
        for (seq, head, encoded) in commit.entries().filter(|(seq, ..)| *seq >= from) {
            let entry = Entry::decode(encoded).map_err(|e| (seq, e.into()))?;
            if commit.epoch() != self.chain.epoch && !matches!(entry.body, Body::Custody(_)) {
                return Err((seq, Fault::Link("its epoch is not the one that custody has")));
            }
            self.take(&entry, encoded, seq == commit.first()).map_err(|fault| (seq, fault))?;
            if self.chain.epoch != commit.epoch() {
                return Err((seq, Fault::Link("its epoch is not the one that its custody entry begins")));
            }
            // Within a commit each entry leads to the next; whether the first follows from here is not known yet.
            if entries.is_empty() && self.chain.link(encoded).head != head {
                return Err((seq, Fault::Link("it follows another history")));
            }
            self.chain = Chain { next: seq.next(), head, ..self.chain };
            self.settle(&entry);
            entries.push((seq, head, entry));
        }
        if self.barrier != Barrier::Open {
            let fault = Fault::Place("a checkpoint and the runs that took and proved it are committed together");
            return Err((commit.first(), fault));
        }
        Ok(entries)
    }

    /// `first` says whether it is the first entry of its commit. The caller links it, and then settles it.
    fn take(&mut self, entry: &Entry, encoded: &[u8], first: bool) -> Result<(), Fault> {
        if encoded.len() > crate::limits::ENTRY_BYTES_MAX {
            let (bytes, max) = (encoded.len() as u64, crate::limits::ENTRY_BYTES_MAX as u64);
            return Err(codec::Error::TooLarge { what: "journal entry", bytes, max }.into());
        }
        let Entry { at, body } = entry;
        let at = *at;
        rules::check_place(self, body, at)?;
        match body {
            Body::Genesis(genesis) => rules::genesis(self, genesis, at)?,
            Body::Run(run) => rules::run(self, run, at)?,
            Body::Message(message) => rules::message(self, message)?,
            Body::Checkpoint(checkpoint) => rules::checkpoint(self, checkpoint)?,
            Body::Order(order) => rules::order(self, order.clone())?,
            Body::Custody(record) => rules::custody(self, record, at, first)?,
            Body::Seal(_) if self.own => {}
            Body::Seal(seal) => rules::seal(self, seal)?,
            Body::End(cause) => rules::end(self, *cause)?,
        }
        Ok(())
    }

    /// What follows for the book once an entry is linked.
    fn settle(&mut self, Entry { at, body }: &Entry) {
        self.ledger.at = *at;
        self.sealed = matches!(body, Body::Seal(_) | Body::Custody(_));
        if !matches!(body, Body::Message(_) | Body::Seal(_)) {
            self.ledger.settled = self.chain.next;
        }
    }

    /// The receipt for everything since the last one, not signed yet.
    pub(super) fn receipt_due(&self) -> Receipt {
        let from = self.ledger.receipts.last().map_or(Tick(1), |last| Tick(last.to.0 + 1));
        Receipt {
            agent: self.chain.agent,
            from,
            to: self.ledger.tick,
            cost: self.ledger.spent.checked_sub(self.ledger.receipted).unwrap_or_default(),
            balance: self.ledger.balance,
            head: self.chain.head,
            signature: crate::Signature([0; 64]),
        }
    }

    /// Whose journal it is.
    pub const fn agent(&self) -> AgentId {
        self.chain.agent
    }

    /// Who has custody at the end, and at which price: of a run that comes next, the payee.
    pub fn custodian(&self) -> NodeId {
        self.ledger.custody.as_ref().map_or(self.genesis.custodian, |standing| standing.custodian)
    }

    /// What the next run costs.
    pub fn terms(&self) -> Terms {
        self.ledger.custody.as_ref().map_or(self.genesis.terms, |standing| standing.terms)
    }

    /// Whether the journal ends with a handoff that has no answer yet: nobody may run the agent.
    pub fn is_given(&self) -> bool {
        let last = self.ledger.custody.as_ref().and_then(|standing| standing.last());
        last.is_some_and(|record| matches!(record.phase, Phase::Handoff(_)))
    }

    /// The end of the journal, as far as custody depends on it.
    pub fn held(&self) -> Held {
        let first = || Standing::first(self.genesis.custodian, self.genesis.terms);
        Held {
            chain: self.chain,
            at: self.ledger.at,
            standing: self.ledger.custody.as_deref().cloned().unwrap_or_else(first),
            sealed: self.sealed,
            ended: self.ledger.ended,
            order_counter: self.ledger.order_counter,
            first: self.genesis.custodian,
            policy: self.policy().clone(),
            ordered: self.ledger.policy.is_some(),
            store: self.genesis.store,
        }
    }

    /// What the owner allows of custody.
    pub fn policy(&self) -> &Policy {
        self.ledger.policy.as_deref().unwrap_or(&self.genesis.policy)
    }

    /// Begins a draft with a change of custody; the rest of its commit follows under the new epoch.
    pub fn push_custody(&mut self, draft: &mut Draft, record: Custody) -> Result<(Seq, Hash), Fault> {
        let at = record.phase.place().map_or(self.ledger.at, |place| place.at);
        self.push(draft, Entry { at, body: Body::Custody(record) })
    }

    /// The end of the journal.
    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// The ledger after the last entry.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The message ids that are remembered.
    pub const fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// What Genesis says.
    pub const fn genesis(&self) -> &GenesisBody {
        &self.genesis
    }

    /// The manifest that Genesis names.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}
