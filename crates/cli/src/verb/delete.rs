//! `delete`: what a node does not keep any more of an agent that others have. What may go is the node's to say.

use crate::{
    Context, args,
    failure::Failure,
    source::{Keeper, patiently, wait},
    words,
};
use igor_node::api::wire::Deleted;

/// Deletes an archive, or orphaned branches.
pub(crate) fn delete(context: &Context, args: &args::Delete) -> Result<(), Failure> {
    let (name, orphans) = (args.name.as_str(), args.orphans);
    let (row, at_once) = patiently(|| match Keeper::find(context)? {
        Keeper::Node(client) => Ok((wait(client.delete(name, orphans))?, false)),
        Keeper::Nobody(local) => {
            drop(local);
            // For this moment, this command is the node.
            let node = context.become_node()?;
            node.carry_none();
            let agent = node.find(name)?;
            let row = if orphans { wait(node.delete_orphans(agent)) } else { wait(node.delete(agent)) }?;
            wait(node.free_blobs())?;
            Ok((row, true))
        }
    })?;
    context.out.say(&row, || tell(name, &row, orphans, at_once))
}

fn tell(name: &str, row: &Deleted, orphans: bool, at_once: bool) -> String {
    if orphans {
        return match row.orphans {
            0 => format!("no branch of {name} is kept here"),
            1 => format!("deleted: the orphaned branch of {name}, {}", words::bytes(row.bytes)),
            n => format!("deleted: {n} orphaned branches of {name}, {}", words::bytes(row.bytes)),
        };
    }
    let freed = if at_once {
        "programs and states that no other journal here names are gone too"
    } else {
        "programs and states that no other journal here names go when this node is started next"
    };
    format!(
        "deleted: {} of {name}, which counted for {}\n{freed}\nwhat this node signed of its custody stays, so it may come here again",
        words::count(row.entries, "entry"),
        words::bytes(row.bytes)
    )
}
