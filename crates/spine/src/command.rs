//! What can be asked of an agent that lives.

use igor_protocol::{
    Epoch, Hash, Seq,
    entry::{MessageId, Order, Seal, Sender},
    ledger::Fault,
};
use tokio::sync::oneshot;

/// One thing to do. Each answers when it is durable; a dropped answer means that its fate is unknown.
#[derive(Debug)]
pub enum Command {
    /// Take a message in.
    Deliver {
        /// The message.
        parcel: Parcel,
        /// Where it is, once committed.
        answer: oneshot::Sender<Result<Delivered, Refused>>,
    },
    /// Commit an owner's order.
    Order {
        /// The order.
        order: Order,
        /// Its position, once committed.
        answer: oneshot::Sender<Result<Seq, Refused>>,
    },
    /// What is known of a message.
    Lookup {
        /// Who sent it.
        sender: Sender,
        /// Its id.
        id: MessageId,
        /// What is known.
        answer: oneshot::Sender<Lookup>,
    },
    /// Stop ticking until [`Command::Resume`]. Messages are still taken in.
    Pause {
        /// Once no tick is under way.
        answer: oneshot::Sender<()>,
    },
    /// Go on: after a pause, or once more after a suspension.
    Resume {
        /// At once.
        answer: oneshot::Sender<()>,
    },
    /// Seal what was done so far, for a move that goes ahead. No checkpoint is planned for 10 s after it, since its state
    /// would have to go over in the pause.
    Seal {
        /// Once it is durable.
        answer: oneshot::Sender<()>,
    },
    /// Checkpoint and stop. The life ends with [`crate::Ending::Stopped`].
    Stop,
    /// Seal and stop where it is, without a checkpoint: whoever goes on executes again what came after the last one.
    Freeze,
}

/// A message on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Who sends it, authenticated.
    pub sender: Sender,
    /// Its id.
    pub id: MessageId,
    /// Its body.
    pub body: Vec<u8>,
}

/// A message that is committed, now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The position of its entry; for a number below the highest of its stream, of a later one.
    pub seq: Seq,
    /// It came before; nothing was added.
    pub duplicate: bool,
    /// The epoch that it was committed under.
    pub epoch: Epoch,
    /// The last position and the head of the chain that the seal is over.
    pub sealed: (Seq, Hash),
    /// The custodian's signature over (agent, epoch, sealed position, head).
    pub seal: Seal,
}

/// What is known of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It never came, or is no longer remembered.
    Unknown,
    /// It waits for a tick.
    Open(Seq),
    /// It was closed; its reply is in the journal after this position.
    Closed(Seq),
    /// The stream's highest number is this one.
    Stream(u64),
}

/// Why a message or an order was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The inbox is full; try again when the agent has taken some.
    #[error("the inbox is full: {messages} open messages; send again when the agent has taken some")]
    Full {
        /// Open messages.
        messages: usize,
    },
    /// The same id with another body.
    #[error("a message with this id came before, with another body (seq=`{0}`); use another id")]
    Conflict(Seq),
    /// Numbered messages come one after the other.
    #[error("the stream goes on with number {expected}; send that one first")]
    Gap {
        /// The number that is next.
        expected: u64,
    },
    /// A body or id that is too long.
    #[error("{0}")]
    TooLarge(String),
    /// The agent has ended.
    #[error("the agent has ended ({0}); it takes no messages")]
    Ended(&'static str),
    /// An order that does not count.
    #[error("{0}")]
    Order(Fault),
    /// The store cannot take it.
    #[error("the store failed; it is unknown whether this was taken: {0}")]
    Store(String),
}
