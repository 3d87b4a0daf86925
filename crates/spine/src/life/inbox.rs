//! Messages on their way in: many become one commit, each is answered once it is durable.

use super::Life;
use crate::{
    Error, World,
    command::{Command, Delivered, Lookup, Parcel, Refused},
    event::{Outbox, Status},
    guest::Program,
};
use igor_protocol::{
    Body, Seq,
    entry::{Content, Message, MessageId, Sender},
    ledger::Known,
};
use igor_store::Store;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Messages in one commit.
const BATCH_MAX: usize = 256;
/// Body bytes in one commit.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A message and who waits for its answer.
pub(super) type Delivery = (Parcel, oneshot::Sender<Result<Delivered, Refused>>);

impl<P: Program, S: Store, W: World> Life<P, S, W> {
    /// Commits a message and those right behind it in the channel, then answers all of them. Gives the first command
    /// that is no message.
    pub(super) async fn deliver(
        &mut self,
        first: Delivery,
        commands: &mut mpsc::Receiver<Command>,
        outbox: &mut impl Outbox,
    ) -> Result<Option<Command>, Error> {
        let (mut answers, mut bytes, mut other) = (Vec::new(), 0, None);
        let mut next = Some(first);
        while let Some((parcel, answer)) = next.take() {
            bytes += parcel.body.len();
            let taken = self.take_in(parcel).await?;
            answers.push((answer, taken));
            if answers.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX && self.deferred.is_empty() {
                match commands.try_recv() {
                    Ok(Command::Deliver { parcel, answer }) => next = Some((parcel, answer)),
                    Ok(command) => other = Some(command),
                    Err(_) => {}
                }
            }
        }
        // The answers vouch for the end of the journal, so all of it must be durable, ticks under way included.
        self.commit(true, outbox).await?;
        outbox.watch(&self.snapshot(Status::Running));
        let (epoch, (last, head, seal)) = (self.journal.chain().epoch, self.journal.vouch());
        for (answer, taken) in answers {
            let delivered =
                taken.map(|(seq, duplicate)| Delivered { seq, duplicate, epoch, sealed: (last, head), seal });
            // Who no longer waits asks again and learns that it came.
            let _ = answer.send(delivered);
        }
        Ok(other)
    }

    /// Adds a message to the next commit, or says where it is already.
    async fn take_in(&mut self, parcel: Parcel) -> Result<Result<(Seq, bool), Refused>, Error> {
        let limits = self.journal.manifest().limits;
        if parcel.body.len() > limits.message_bytes as usize {
            let (bytes, max) = (parcel.body.len(), limits.message_bytes);
            return Ok(Err(Refused::TooLarge(format!(
                "the message has {bytes} bytes; this agent takes at most {max}"
            ))));
        }
        match self.journal.book().remembered().lookup(&parcel.sender, &parcel.id) {
            Known::New => {}
            Known::Came(seq) if self.is_below_highest(&parcel) => return Ok(Ok((seq, true))),
            Known::Came(seq) => return self.came_before(seq, &parcel).map(|known| known.map(|seq| (seq, true))),
            Known::Gap { expected } => return Ok(Err(Refused::Gap { expected })),
            Known::Refused(why) => return Ok(Err(Refused::TooLarge(why.to_owned()))),
        }
        let ledger = self.journal.ledger();
        if let Some(cause) = ledger.ended {
            return Ok(Err(Refused::Ended(cause.name())));
        }
        let open_bytes: u64 = ledger.open.iter().map(|open| open.bytes).sum();
        if ledger.open.len() >= limits.inbox_messages as usize
            || open_bytes + parcel.body.len() as u64 > limits.inbox_bytes
        {
            return Ok(Err(Refused::Full { messages: ledger.open.len() }));
        }
        let body = self.journal.keep(parcel.body.clone()).await?;
        let message = Message { sender: parcel.sender, id: parcel.id, body };
        let (seq, _) = self.journal.push(Body::Message(message))?;
        Arc::make_mut(&mut self.inbox).insert(seq, parcel.body.into());
        Ok(Ok((seq, false)))
    }

    /// The same id again: the same message if it has the same body, where that can still be told.
    fn came_before(&self, seq: Seq, parcel: &Parcel) -> Result<Result<Seq, Refused>, Error> {
        let same = match self.inbox.get(&seq) {
            Some(body) => **body == *parcel.body,
            None => match self.message_at(seq)? {
                Some(message) => message.body.hash() == Content::of(&parcel.body).hash(),
                None => true,
            },
        };
        Ok(if same { Ok(seq) } else { Err(Refused::Conflict(seq)) })
    }

    /// Below the highest number of a stream: that one came, and its own entry is further back.
    fn is_below_highest(&self, parcel: &Parcel) -> bool {
        let MessageId::Numbered { stream, n } = &parcel.id else { return false };
        let highest = self.journal.book().remembered().stream(&parcel.sender, stream);
        highest.is_some_and(|(highest, _)| *n < highest)
    }

    fn message_at(&self, seq: Seq) -> Result<Option<Message>, Error> {
        super::recover::entry_at(&*self.journal.store, self.journal.chain().agent, seq).map(|entry| match entry {
            Some(Body::Message(message)) => Some(message),
            _ => None,
        })
    }

    /// What is known of a message.
    pub(super) fn lookup(&self, sender: &Sender, id: &MessageId) -> Lookup {
        if let MessageId::Numbered { stream, n: 0 } = id {
            let highest = self.journal.book().remembered().stream(sender, stream);
            return Lookup::Stream(highest.map_or(0, |(highest, _)| highest));
        }
        match self.journal.book().remembered().lookup(sender, id) {
            Known::Came(seq) if self.journal.ledger().open.iter().any(|open| open.seq == seq) => Lookup::Open(seq),
            Known::Came(seq) => Lookup::Closed(seq),
            Known::New | Known::Gap { .. } | Known::Refused(_) => Lookup::Unknown,
        }
    }
}
