//! Who has the home of a command, and how long a command waits for that to be clear.
//!
//! Invariants kept here:
//! - A node is asked as long as it has the home; the files are for when no node has them.
//! - While a node starts or stops, or another command has the home for its moment, every verb tries again in the same
//!   way, and gives up after the same time.

use super::{Local, wait};
use crate::{Context, failure::Failure};
use igor_node::{
    client::{Address, Client, Error},
    home::Home,
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a home may be on its way from one keeper to the next, during which it is locked and nobody answers.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Who has the home.
pub(crate) enum Keeper {
    /// A node that answers.
    Node(Client),
    /// Nobody; its files can be read.
    Nobody(Local),
}

impl Keeper {
    /// The node that has a home, if one answers.
    pub(crate) fn answering(home: &Home) -> Result<Option<Client>, Failure> {
        let client = Client::new(Address::Socket(home.socket()));
        match wait(client.node()) {
            Ok(_) => Ok(Some(client)),
            Err(Error::Unreachable { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Finds out who has the home of this command.
    pub(crate) fn find(context: &Context) -> Result<Self, Failure> {
        if let Some(address) = &context.node {
            return Ok(Self::Node(Client::new(address.clone())));
        }
        let home = context.home()?;
        patiently(|| {
            if let Some(client) = Self::answering(&home)? {
                return Ok(Self::Node(client));
            }
            match Local::open(&home) {
                Err(igor_store::Error::Locked { pid, .. }) => {
                    let path = home.path().display();
                    let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                    let why = format!("{who} has {path}, but does not answer; wait for it or end it");
                    Err(Failure::unreachable(why).passing())
                }
                other => Ok(Self::Nobody(other?)),
            }
        })
    }
}

/// Does something through whoever has the home, and again from the start when the home changed hands meanwhile.
pub(crate) fn patiently<T>(mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(failure) if failure.is_passing() && begun.elapsed() < PATIENCE => thread::sleep(PAUSE),
            done => return done,
        }
    }
}
