//! As whom messages are sent, from one node to the next.
//!
//! A message is known by its sender and its name, and the sender is how a node knows its caller: a user of its machine,
//! a token. So one caller may be two senders at two nodes, and what it sends again at the second is another message.
//!
//! Invariant: once a message was taken from one sender, or may have been, none goes out from another.

use super::{Client, Error};
use crate::api::wire::{MessageAnswer, Outgoing, SenderInfo};

/// Who sends, once anything was taken, or may have been. To be kept as long as the same messages are sent, wherever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentAs(Option<String>);

impl SentAs {
    /// The sender, once it matters.
    pub fn sender(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// What there is was sent by this sender.
    pub(super) fn is_by(&mut self, sender: &str) {
        self.0 = Some(sender.to_owned());
    }

    /// Refuses to go on as another sender.
    pub(super) fn check(&self, sender: &str) -> Result<(), Error> {
        match &self.0 {
            Some(asked) if asked != sender => {
                let why = crate::Error::OtherSender { asked: asked.clone(), is: sender.to_owned() };
                let (code, message) = ("other_sender".to_owned(), why.to_string());
                Err(Error::Refused { status: 409, code, message, retry_after: None })
            }
            _ => Ok(()),
        }
    }
}

impl Client {
    /// Who this caller is to the node.
    pub async fn sender(&self) -> Result<String, Error> {
        self.get::<SenderInfo>("/v1/sender").await.map(|answer| answer.sender)
    }

    /// Sends messages as [`Client::send`] does, but only as the sender that sent the others before. Where it is dropped
    /// before it ends, they count as sent.
    pub async fn send_as(
        &self,
        name: &str,
        messages: Vec<Outgoing>,
        sent_as: &mut SentAs,
    ) -> Result<Vec<MessageAnswer>, Error> {
        let before = sent_as.clone();
        let sender = match &before.0 {
            Some(sender) => sender.clone(),
            None => self.sender().await?,
        };
        sent_as.is_by(&sender);
        let answers = self.put(name, messages, Some(sender)).await;
        let nothing_taken = match &answers {
            Ok(answers) => answers.iter().all(|answer| matches!(answer, MessageAnswer::Refused { status: ..500, .. })),
            Err(error) => error.did_nothing(),
        };
        if nothing_taken {
            *sent_as = before;
        }
        answers
    }
}
