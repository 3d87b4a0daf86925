//! `import`: a journal that comes by file, for looking, proving and passing on; or, where the file gives the agent to
//! this node, the agent itself. What is taken and what is refused is the node's to say.

use crate::{
    Context, args,
    failure::Failure,
    source::{Keeper, patiently, wait},
    words,
};
use igor_node::{
    Import,
    api::wire::Imported,
    client::Client,
    home::{self, Home},
};
use std::path::Path;

/// What was taken in.
pub(crate) type Taken = Imported;

/// Takes a file in.
pub(crate) fn import(context: &Context, args: &args::Import) -> Result<(), Failure> {
    let row = bring(context, &args.file, args.quota << 20, args.name.as_deref(), args.archive)?;
    context.out.say(&row, || {
        let (all, name) = (words::count(row.entries, "entry"), &row.name);
        if row.custody {
            let again = if row.added == 0 { "has come here before, and " } else { "" };
            return format!("{name} {again}lives on this node: {all}, all good\nsee it with: igor show {name}");
        }
        let new = match row.added {
            0 => format!("nothing new: {name} has here all that the file has, {all}"),
            added if added == row.entries => format!("{name} is kept here as an archive: {all}, all good"),
            added => format!("{name} went on here by {} to {all}, all good", words::count(added, "entry")),
        };
        format!(
            "{new}\nlook into it with: igor timeline {name}, igor replay {name} --at TICK, igor verify {name} --execute"
        )
    })
}

/// Has whoever has the home take a file in.
pub(crate) fn bring(
    context: &Context,
    path: &Path,
    bytes_max: u64,
    name: Option<&str>,
    archive: bool,
) -> Result<Taken, Failure> {
    let import = Import { path: path.to_owned(), bytes_max, name: name.map(str::to_owned), archive, by_operator: true };
    patiently(|| {
        let node = match (&context.node, Home::existing(&context.path)) {
            (Some(address), _) => Some(Client::new(address.clone())),
            (None, Ok(home)) => Keeper::answering(&home)?,
            (None, Err(home::Error::Absent { .. })) => {
                // A home is made for what comes in, once that was found to be good.
                import.check()?;
                None
            }
            (None, Err(e)) => return Err(e.into()),
        };
        let Some(client) = node else { return here(context, &import) };
        check_size(path, bytes_max)?;
        wait(client.import(path, name, archive)).map_err(|why| Failure::from(why).while_at(path.display()))
    })
}

/// For this moment, this command is the node.
fn here(context: &Context, import: &Import) -> Result<Taken, Failure> {
    let node = context.become_node()?;
    // What comes lives when a node carries it.
    node.carry_none();
    Ok(wait(node.import(import.clone()))?)
}

fn check_size(path: &Path, bytes_max: u64) -> Result<(), Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::failed(format!("{}: {why}", path.display()));
    let found = std::fs::metadata(path).map_err(|e| failed(&e))?;
    if found.is_dir() {
        return Err(failed(&"this is a directory; name a file"));
    }
    if found.len() > bytes_max {
        let (path, mib) = (path.display(), bytes_max >> 20);
        return Err(Failure::refused(format!("{path}: larger than {mib} MiB; raise --quota if you trust it")));
    }
    Ok(())
}
