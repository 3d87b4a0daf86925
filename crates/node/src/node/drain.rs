//! Emptying a node: every agent goes to a node that takes it.
//!
//! Invariants kept here:
//! - From the first moment on nothing comes in, and agents that may choose where to go are told and get their turn.
//! - What cannot go stays as it was, and it is said why. Every agent that is this node's, or that it gave away and has no
//!   answer for, is told of once.
//! - It comes to an end whatever other nodes do: each agent has a bounded time. What is under way after that is not broken
//!   off; it goes on by itself.

use super::{Node, blocking};
use crate::{
    Error, Hosted,
    api::wire::{AgentInfo, DrainEvent},
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use igor_network::{Request, Response};
use igor_protocol::{AgentId, NodeId, custody::Status, transfer::Reason};
use igor_spine::{custody::Failed, event::Status as Shown};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Agents that are handed on at once.
const AT_ONCE: usize = 4;
/// Time in which an agent that may ask to be moved can choose where to, before the node does.
const CHOOSE_WITHIN: Duration = Duration::from_secs(3);
/// Time in which agents that were on their way here are waited for.
const EXPECT_WITHIN: Duration = Duration::from_secs(15);
/// Time in which the answer to a handoff is waited for; after the next start it is asked for again.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Time in which an agent is handed on, with all attempts; and longer by a second for so many bytes of its state.
const PART_WITHIN: Duration = Duration::from_mins(1);
const PART_BYTES_PER_SECOND: u64 = 1 << 20;
/// Time in which a node is waited for that is not connected any more.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// Pauses before nodes are tried again of which one may take the agent later: the first, and the longest.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(4);
/// Pause between two looks at what is waited for.
const LOOK_AFTER: Duration = Duration::from_millis(100);

/// An agent whose turn it is.
struct Turn {
    agent: AgentId,
    name: String,
    /// Nothing where it is given away already.
    life: Option<Arc<Hosted>>,
}

impl Turn {
    fn of(life: Arc<Hosted>) -> Self {
        Self { agent: life.agent(), name: life.name().to_owned(), life: Some(life) }
    }
}

impl Node {
    /// Whether it gives its agents away and takes none.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Hands every agent that lives here to a node that takes it, those too that were on their way here, and waits for
    /// the answers of nodes that agents were given to before. Each is told of as it had its turn. The node takes none
    /// from now on, until it is started again.
    ///
    /// Nothing new is begun or waited for after `within`.
    pub async fn drain(
        self: &Arc<Self>,
        within: Option<Duration>,
        tell: impl Fn(&DrainEvent) + Send + Sync,
    ) -> Vec<DrainEvent> {
        self.draining.send_replace(true);
        let since = Instant::now();
        let until = within.map(|within| since + within);
        self.ask_around().await;
        let (mut tried, mut events) = (BTreeSet::new(), Vec::new());
        let mut new = self.given_away().await;
        loop {
            let lives = self.lives().by_agent.values().filter(|life| !life.is_over()).cloned().map(Turn::of).collect();
            new.extend::<Vec<Turn>>(lives);
            new.retain(|turn| tried.insert(turn.agent));
            if new.is_empty() && !(self.steward.is_expecting() && since.elapsed() < EXPECT_WITHIN) {
                break;
            }
            if new.is_empty() {
                tokio::time::sleep(LOOK_AFTER).await;
                continue;
            }
            // Those that choose for themselves, or wait for an answer, have the time in which the others are handed on.
            new.sort_by_key(|turn| turn.life.as_ref().is_none_or(|life| life.may_migrate()));
            let part = new.drain(..).map(|turn| self.part_with(turn, since, until, &tell).boxed());
            for (agent, event) in futures_util::stream::iter(part).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
                match event {
                    Some(event) => events.push(event),
                    // It is back: if it lives, that is its turn.
                    None => drop(tried.remove(&agent)),
                }
            }
        }
        let resting = self.resting(&tried).await;
        resting.iter().for_each(&tell);
        events.extend(resting);
        events
    }

    async fn part_with(
        self: &Arc<Self>,
        turn: Turn,
        since: Instant,
        until: Option<Instant>,
        tell: &(impl Fn(&DrainEvent) + Send + Sync),
    ) -> (AgentId, Option<DrainEvent>) {
        let Turn { agent, name, life } = turn;
        let event = match self.see_off(agent, life.as_deref(), since, until).await {
            Ok(to) => Some(DrainEvent::Moved { agent, name, to }),
            Err(Some(why)) => Some(DrainEvent::Stays { agent, name, why }),
            Err(None) => None,
        };
        event.iter().for_each(tell);
        (agent, event)
    }

    /// What is on its way out already, and has no answer.
    async fn given_away(self: &Arc<Self>) -> Vec<Turn> {
        let given = |node: &Self, info: &AgentInfo| {
            let unanswered = matches!(node.steward.status(info.agent), Ok(Status::Given(_) | Status::Unfinished));
            unanswered || node.steward.is_handing_over(info.agent)
        };
        let given = self.at_rest(given).await;
        given.into_iter().map(|info| Turn { agent: info.agent, name: info.name, life: None }).collect()
    }

    /// Agents of this node that have no life and have not ended: they stay where their operator looks for them.
    async fn resting(self: &Arc<Self>, tried: &BTreeSet<AgentId>) -> Vec<DrainEvent> {
        let rests = |node: &Self, info: &AgentInfo| {
            let own = matches!(node.steward.status(info.agent), Ok(Status::Custodian | Status::Suspended(_)));
            own && info.status != Shown::Ended.name()
        };
        let stays = |info: AgentInfo| {
            let why = format!("it does not run: it is {}", info.status);
            DrainEvent::Stays { agent: info.agent, name: info.name, why }
        };
        let resting = self.at_rest(rests).await;
        resting.into_iter().filter(|info| !tried.contains(&info.agent)).map(stays).collect()
    }

    /// Those agents without a life of which this holds.
    async fn at_rest(self: &Arc<Self>, which: impl Fn(&Self, &AgentInfo) -> bool + Send + 'static) -> Vec<AgentInfo> {
        let node = self.clone();
        let found = blocking(move || {
            let mut agents = node.agents()?;
            agents.retain(|info| node.life(info.agent).is_none_or(|life| life.is_over()) && which(&node, info));
            Ok::<_, Error>(agents)
        });
        found.await.unwrap_or_else(|error| {
            tracing::error!(%error, "which agents rest here cannot be told");
            Vec::new()
        })
    }

    /// What nodes said of themselves may be from before they were started again.
    async fn ask_around(&self) {
        let Some(network) = self.peers().network() else { return };
        let connected = network.peers().into_iter().filter(|peer| peer.connected);
        let asked = connected.map(|peer| async move {
            match network.request(peer.node, Request::Status).await {
                Ok(Response::Status { status }) => network.learn_status(peer.node, status),
                Ok(_) => {}
                Err(error) => tracing::debug!(node = %peer.node, %error, "a node does not say what it has room for"),
            }
        });
        futures_util::future::join_all(asked).await;
    }

    /// Waits for an agent that may go by itself, and hands it on where it did not; or for the answer of the node that has
    /// it already. Gives where it is, or why it stays; neither where it came back.
    async fn see_off(
        self: &Arc<Self>,
        agent: AgentId,
        life: Option<&Hosted>,
        since: Instant,
        until: Option<Instant>,
    ) -> Result<NodeId, Option<String>> {
        let by = |at: Instant| until.map_or(at, |until| at.min(until));
        let (mut why, mut answered) = (None, by(since + ANSWER_WITHIN));
        if let Some(life) = life {
            if life.may_migrate() {
                drop(tokio::time::timeout_at(by(since + CHOOSE_WITHIN).into(), life.over()).await);
            }
            let state = Duration::from_secs(life.began().checkpoint_bytes / PART_BYTES_PER_SECOND);
            why = Some(self.hand_on(life, by(Instant::now() + PART_WITHIN + state)).await);
            answered = by(Instant::now() + ANSWER_WITHIN);
        }
        let waits = || match self.steward.status(agent) {
            Ok(Status::Given(_) | Status::Unfinished) => true,
            // Not given yet, by a move that began before, or that the agent itself asked for.
            Ok(Status::Custodian) => self.steward.is_handing_over(agent) && life.is_none_or(Hosted::is_over),
            _ => false,
        };
        while waits() && Instant::now() < answered {
            tokio::time::sleep(LOOK_AFTER).await;
        }
        match self.steward.status(agent) {
            Ok(Status::Custodian | Status::Suspended(_)) => Err(why),
            Ok(Status::Given(to)) => {
                Err(Some(format!("it is on its way to {to}, which has not answered; it is asked again")))
            }
            Ok(Status::Unfinished) => Err(Some("its move is not finished yet; that goes on".to_owned())),
            Ok(Status::Absent | Status::Elsewhere | Status::Undecided) => {
                let node = self.clone();
                let book = blocking(move || node.book(agent)).await;
                book.map(|book| book.custodian()).map_err(|error| Some(error.to_string()))
            }
            Err(error) => Err(Some(error.to_string())),
        }
    }

    /// Hands an agent to one of those that take it, trying again those that may take it later. Says why it is here, if
    /// it is.
    async fn hand_on(self: &Arc<Self>, life: &Hosted, until: Instant) -> String {
        const NOBODY: &str = "no other node is connected that this one names in node.toml, has room, and is allowed by the agent's owner";
        let agent = life.agent();
        let (mut refused, mut later) = (BTreeSet::new(), BTreeSet::new());
        let (mut why, mut pause) = (NOBODY.to_owned(), AGAIN_AFTER);
        // When one of them last said, or showed, that it may.
        let mut failed: Option<Instant> = None;
        while matches!(self.steward.status(agent), Ok(Status::Custodian)) && !life.is_over() {
            if Instant::now() >= until {
                return why;
            }
            // A move that began before, by the agent or its operator, comes to its end first.
            if self.steward.is_handing_over(agent) {
                "it is being handed on, which goes on".clone_into(&mut why);
                tokio::time::sleep(LOOK_AFTER).await;
                continue;
            }
            let takers = self.takers(life.genesis());
            let taker = takers.iter().find(|taker| !refused.contains(&taker.node) && !later.contains(&taker.node));
            let Some(taker) = taker.map(|taker| taker.node) else {
                // All have refused it, or none of the others came back.
                if failed.is_none_or(|at| at.elapsed() > BACK_WITHIN) {
                    return why;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(AGAIN_AFTER_MAX);
                later.clear();
                continue;
            };
            match self.give_until(agent, taker, until).await {
                Some(Ok(())) => {}
                Some(Err(Error::Move(Failed::Moving))) => tokio::time::sleep(LOOK_AFTER).await,
                Some(Err(error)) if may_pass(&error) => {
                    why = error.to_string();
                    later.insert(taker);
                    failed = Some(Instant::now());
                }
                Some(Err(error)) => {
                    why = error.to_string();
                    refused.insert(taker);
                }
                None => why = format!("it is being handed to {taker}, which takes its time; that goes on"),
            }
        }
        if life.is_over() { "it does not run any more".to_owned() } else { why }
    }

    /// Hands an agent to a node as a task of its own, which goes on if it takes longer; then nothing comes back.
    async fn give_until(self: &Arc<Self>, agent: AgentId, to: NodeId, until: Instant) -> Option<Result<(), Error>> {
        let node = self.clone();
        let given: BoxFuture<'static, _> = async move { node.give(agent, to, |_| ()).await.map(drop) }.boxed();
        match tokio::time::timeout_at(until.into(), tokio::spawn(given)).await {
            Ok(Ok(given)) => Some(given),
            Ok(Err(e)) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Ok(Err(_)) => Some(Err(Error::Vanished)),
            Err(_) => None,
        }
    }
}

/// Whether the same node may take the agent in a moment.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Move(Failed::Before(_)) => true,
        Error::Move(Failed::Refused(refusal)) => matches!(refusal.reason, Reason::Busy),
        _ => false,
    }
}
