//! `run`: a whole node in the foreground for one agent.
//!
//! Invariants kept here:
//! - What is printed is durable: events come from the journal.
//! - A signal, or a stdout that nobody reads any more, stops the agent with a checkpoint; only a kill does not, and
//!   then the same command recovers.

mod screen;

use crate::{
    Context, args,
    failure::{Code, Failure},
    module,
    output::note,
    signals::Signals,
};
use igor_node::{
    Creation, Hosted, Node, Wishes,
    api::{self, wire::AgentInfo},
};
use igor_protocol::{AgentId, Hash, Terms, entry::StoreKind};
use igor_spine::Ending;
use screen::Screen;
use std::sync::Arc;

/// Runs an agent until it ends, is stopped or is suspended.
pub(crate) async fn run(context: &Context, args: &args::Run) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let program = module::program(&args.file)?;
    let name = module::name(args.name.as_deref(), &args.file)?;
    let node = tokio::task::block_in_place(|| context.become_node())?;
    let server = api::serve(&node, api::Limits::default()).await?;
    // Nodes that stand by for it have to hear that it is well.
    if node.store_kind() != StoreKind::Disk {
        node.join().await?;
    }
    let ran = Box::pin(live(context, args, &name, program, &node, &mut signals)).await;
    server.shut_down().await;
    ran
}

async fn live(
    context: &Context,
    args: &args::Run,
    name: &str,
    program: Vec<u8>,
    node: &Arc<Node>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let wishes = Wishes { interval: args.interval, checkpoint_interval: args.checkpoint_interval, ticks: args.ticks };
    let begun = async {
        let before = node.resolve(name)?;
        match before {
            Some(agent) if !gives_way(node, agent, args, &program)? => {
                check_same(node, agent, name, &program)?;
                note_ignored(args, name);
                Ok(node.start(agent, wishes).await?)
            }
            _ => {
                let made = node.create(creation(args, name, program, node)?, wishes).await;
                if let Some(old) = before.filter(|old| !matches!(node.resolve(name), Ok(Some(agent)) if agent == *old))
                {
                    note(format!(
                        "igor: the {name} that was here never completed its agent_init; a new agent has the name now, \
                         and the journal of the old one stays as {old}"
                    ));
                }
                Ok(made?)
            }
        }
    };
    let life: Arc<Hosted> = tokio::select! {
        begun = begun => begun.map_err(|e: Failure| e.while_at(format!("agent {name}")))?,
        // What is committed of its beginning is recovered.
        () = signals.stop() => {
            note("stopped before the agent went on; nothing is lost");
            return Ok(());
        }
        broken = node.poisoned() => return Err(broken.into()),
    };
    let info = life.info();
    note_alone(node, &info);
    let mut screen = Screen::new(context, &info);
    let mut events = life.events(node.store().clone());
    let mut stopping = None;
    let mut shown = Ok(());
    loop {
        tokio::select! {
            event = events.next() => match event? {
                None => break,
                Some(event) if shown.is_ok() => {
                    shown = screen.show(&event);
                    if let Err(failure) = &shown {
                        note(format!("igor: {failure}: the agent is stopped, with a checkpoint"));
                        stopping.get_or_insert_with(|| stop(&life));
                    }
                }
                // Nobody reads any more; the life is on its way to its end.
                Some(_) => {}
            },
            () = signals.stop() => {
                screen.clear();
                if stopping.is_some() {
                    let limit = life.info().tick;
                    note(format!("still stopping: tick {limit} has to end, then its state is written; a kill now would lose nothing committed"));
                } else {
                    note("stopping: the tick that runs is finished, then the state is written");
                    stopping = Some(stop(&life));
                }
            }
            broken = node.poisoned() => return Err(broken.into()),
        }
    }
    let over = life.over().await;
    match &*over {
        Ok(Ending::Stopped | Ending::Ended(_)) => shown,
        Ok(Ending::Suspended { cause }) => Err(Failure::failed(format!(
            "agent {name} is suspended: {cause}; look at `igor logs {name}`, then `igor resume {name}` and run it again"
        ))),
        Err(e) => Err(Failure::new(Code::from(e), e)),
    }
}

/// Asks a life to stop, while its events go on.
fn stop(life: &Arc<Hosted>) -> tokio::task::JoinHandle<()> {
    let life = life.clone();
    tokio::spawn(async move { drop(life.stop().await) })
}

/// Whether the agent of this name never completed its init, and something else is to be tried now under its name.
fn gives_way(node: &Node, agent: AgentId, args: &args::Run, program: &[u8]) -> Result<bool, Failure> {
    let Some(genesis) = node.not_begun(agent)? else { return Ok(false) };
    if genesis.program != Hash::of_blob(program) {
        return Ok(true);
    }
    if args.manifest.is_none() && args.survival.given().next().is_none() {
        return Ok(false);
    }
    let manifest = module::manifest(args.manifest.as_deref(), program)?;
    let other_policy = module::policy(&manifest, &args.survival, node.store_kind())? != genesis.policy;
    Ok(other_policy || (args.manifest.is_some() && manifest.manifest.hash() != genesis.manifest))
}

/// An agent goes on with the program of its Genesis, and with no other.
fn check_same(node: &Node, agent: AgentId, name: &str, program: &[u8]) -> Result<(), Failure> {
    let (has, given) = (node.agent(agent)?.program, Hash::of_blob(program));
    if has == given {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "agent {name} runs the program {has}, and this file is {given}: \
         run the file that it was created from, or begin another agent with --name"
    )))
}

fn note_ignored(args: &args::Run, name: &str) {
    let given = [
        ("--budget", args.budget.is_some()),
        ("--price", args.price.is_some()),
        ("--manifest", args.manifest.is_some()),
    ];
    let given: Vec<&str> = given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect();
    if !given.is_empty() {
        let flags = given.join(", ");
        note(format!(
            "igor: {name} exists, so {flags} counts for nothing now; `igor fund {name} CREDITS` gives it more"
        ));
    }
    let given: Vec<&str> = args.survival.given().collect();
    if !given.is_empty() {
        let flags = given.join(", ");
        note(format!(
            "igor: {name} exists, so {flags} counts for nothing now; `igor standby add {name} NODE` changes who goes on with it"
        ));
    }
}

/// Standby nodes that will not go on with it, as things are here, are no secret.
fn note_alone(node: &Node, info: &AgentInfo) {
    if info.standby.is_empty() {
        return;
    }
    if info.standby.iter().all(|standby| *standby == node.id()) {
        note(
            "igor: its only standby is this node itself, so nobody else goes on with it; `igor standby add` names others",
        );
    } else if !node.config().network.is_on() {
        note(
            "igor: its standby nodes cannot hear that it is well, so they do not go on with it: give this node [network] \
             listen or peers in node.toml",
        );
    }
}

fn creation(args: &args::Run, name: &str, program: Vec<u8>, node: &Node) -> Result<Creation, Failure> {
    let manifest = module::manifest(args.manifest.as_deref(), &program)?;
    let policy = module::policy(&manifest, &args.survival, node.store_kind())?;
    let asked = node.terms();
    let terms = Terms { price_per_ns: args.price.unwrap_or(asked.price_per_ns), ..asked };
    let (name, budget, manifest) = (name.to_owned(), module::budget(args.budget)?, manifest.manifest);
    Ok(Creation { name, program, manifest, budget, terms, policy })
}
