//! `key`: who this home is.

use crate::{Context, args, failure::Failure};
use igor_node::home::{Home, Role};
use igor_store::disk::{Disk, Options};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Row {
    role: &'static str,
    key: String,
    file: String,
}

/// Shows the public keys, and where the secret ones lie. With `--create`, makes them first.
pub(crate) fn key(context: &Context, args: &args::Key) -> Result<(), Failure> {
    let (home, _lock) = if args.create {
        let home = Home::open_or_create(&context.path)?;
        // Keys are made by whoever has the home.
        let lock = Disk::open(home.path(), &Options { note: "igor key".to_owned(), ..Options::default() })?;
        (home, Some(lock))
    } else {
        (context.home()?, None)
    };
    let keys = home.keys();
    for (role, what) in
        [(Role::Owner, "signs your agents and your orders"), (Role::Node, "signs what this node appends")]
    {
        let pair = if args.create { keys.read_or_create(role) } else { keys.read(role) }?;
        let row =
            Row { role: role.name(), key: pair.public().to_string(), file: keys.path(role).display().to_string() };
        context.out.say(&row, || format!("{:<6} {}\n       {what}; secret in {}", row.role, row.key, row.file))?;
    }
    context
        .out
        .words("Keep a copy of the owner key: whoever has it owns the agents, whoever lost it cannot fund or end them.")
}
