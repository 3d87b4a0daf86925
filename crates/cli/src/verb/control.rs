//! `pause` and `resume`: what the operator of a node says of an agent. It holds over restarts.

use crate::{
    Context, args,
    failure::Failure,
    source::{Keeper, patiently, wait},
};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Controlled {
    name: String,
    status: String,
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Pause,
    Resume,
}

/// Stops an agent's ticks.
pub(crate) fn pause(context: &Context, args: &args::Named) -> Result<(), Failure> {
    control(context, args, Word::Pause)
}

/// Lets an agent go on.
pub(crate) fn resume(context: &Context, args: &args::Named) -> Result<(), Failure> {
    control(context, args, Word::Resume)
}

fn control(context: &Context, args: &args::Named, word: Word) -> Result<(), Failure> {
    let name = args.name.as_str();
    // Said twice it is the same, so whatever came of an attempt, it may be made again.
    let (status, running) = patiently(|| match Keeper::find(context)? {
        Keeper::Node(client) => {
            let status = match word {
                Word::Pause => wait(client.pause(name)),
                Word::Resume => wait(client.resume(name)),
            }?;
            Ok((status, true))
        }
        Keeper::Nobody(local) => {
            let agent = local.resolve(name)?;
            drop(local);
            // For this moment, this command is the node.
            let node = context.become_node()?;
            match word {
                Word::Pause => wait(node.pause(agent)),
                Word::Resume => wait(node.resume(agent)),
            }?;
            Ok((node.agent(agent)?.status, false))
        }
    })?;
    let row = Controlled { name: name.to_owned(), status };
    context.out.say(&row, || match (word, running) {
        (Word::Pause, _) => {
            format!("{name} is paused: no ticks until `igor resume {name}`; messages are still taken in")
        }
        (Word::Resume, true) => format!("{name} goes on"),
        (Word::Resume, false) => format!("{name} goes on when it is run next"),
    })
}
