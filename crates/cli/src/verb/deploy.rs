//! `deploy`: a node carries an agent of this home's owner.
//!
//! Invariants kept here:
//! - The owner's key is read here and goes nowhere: the node gets a signed deployment.
//! - What is signed names the node, its price and an end of its validity, and the same is sent again where an answer
//!   was lost: one command makes one agent.

use crate::{
    Context, args,
    failure::{Code, Failure},
    module,
    output::{Tone, note},
    source::{Keeper, patiently, wait},
    words,
};
use igor_node::{
    GENESIS_WITHIN, RealWorld,
    api::wire::{AgentInfo, DeployedInfo, NodeInfo},
    client::{Client, Error, Pace},
    home::{self, Role},
};
use igor_protocol::{Hash, KeyPair, Seq, entry::GenesisBody};
use igor_spine::{World, inspect};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Row<'a> {
    created: bool,
    node: String,
    #[serde(flatten)]
    agent: &'a AgentInfo,
}

/// Deploys an agent.
pub(crate) fn deploy(context: &Context, args: &args::Deploy) -> Result<(), Failure> {
    let program = module::program(&args.file)?;
    let name = module::name(args.name.as_deref(), &args.file)?;
    let read = module::manifest(args.manifest.as_deref(), &program)?;
    let budget = module::budget(args.budget)?;
    let owner = owner(context)?;
    let client = node(context)?;
    let info = wait(client.node())?;
    let strange = || Failure::failed(format!("the node says a price that none can ask: {}", info.price_per_second));
    let store = info.store_kind().ok_or_else(|| Failure::failed("the node names a store that none can be"))?;
    let (policy, manifest) = (module::policy(&read, &args.survival, store)?, read.manifest);
    let mut nonce = [0; 16];
    RealWorld.random(&mut nonce);
    let body = GenesisBody {
        owner: owner.public(),
        nonce,
        name: name.clone(),
        program: Hash::of_blob(&program),
        manifest: manifest.hash(),
        runtime: info.runtime.clone(),
        custodian: info.node,
        terms: info.terms().ok_or_else(strange)?,
        budget,
        issuer: owner.public(),
        policy,
        expires: RealWorld.wall_clock().after(GENESIS_WITHIN),
        store,
    };
    let deployment = body.clone().deploy(&owner);
    let (encoded, pace) =
        (manifest.encode(), Pace { interval: args.interval, checkpoint_interval: args.checkpoint_interval });
    let deployed = patiently(|| match wait(client.deploy(&deployment, &encoded, &program, pace)) {
        Err(Error::Refused { code, .. }) if code == "name_taken" && is_the_same(&client, &name, &body)? => {
            let agent = wait(client.agent(&name))?;
            // It was there, and is elsewhere now.
            agent.check_custody()?;
            note(format!("igor: {name} is there already, as it is asked for here; it stays as it is"));
            Ok(DeployedInfo { created: false, agent })
        }
        answer => Ok(answer?),
    });
    let DeployedInfo { created, agent } = deployed.map_err(|why| match why.code {
        Code::Unreachable => {
            why.while_at("it is unknown whether the node took the agent; the same command again is the same agent")
        }
        _ => why,
    })?;
    let row = Row { created, node: info.node.to_string(), agent: &agent };
    context.out.say(&row, || in_words(context, &client, &info, &row))
}

fn in_words(context: &Context, client: &Client, info: &NodeInfo, row: &Row<'_>) -> String {
    let (name, agent) = (&row.agent.name, &row.agent);
    let there = if context.node.is_some() { format!(" --node {}", client.address()) } else { String::new() };
    let begins = if row.created { "begins" } else { "is" };
    [
        format!("{} {begins} at {}   {}", context.out.tone(Tone::Strong, name), info.node, agent.agent),
        format!(
            "  price       {} credits a second of execution; it has {}",
            agent.price_per_second,
            words::money(agent.balance)
        ),
        format!("  durable on  {}, at that node", agent.durable_on),
        format!("  talk to it  igor call {name} MESSAGE{there}"),
        format!("  money       igor fund {name} CREDITS{there}   (signed by your owner key, wherever it runs)"),
        format!("  end         igor end {name}{there}"),
    ]
    .join("\n")
}

/// The key that signs.
fn owner(context: &Context) -> Result<KeyPair, Failure> {
    let missing = |why: home::Error| match why {
        home::Error::Absent { .. } | home::Error::NoKey { .. } => Failure::refused(format!(
            "there is no owner key in {}; `igor key --create` makes one, then the node's operator adds it to policy.owners",
            context.path.display()
        )),
        other => other.into(),
    };
    let home = home::Home::existing(&context.path).map_err(missing)?;
    home.keys().read(Role::Owner).map_err(missing)
}

/// The node that was named, or the one that has this home.
fn node(context: &Context) -> Result<Client, Failure> {
    match Keeper::find(context)? {
        Keeper::Node(client) => Ok(client),
        Keeper::Nobody(_) => Err(Failure::unreachable(
            "no node has this home; start one with `igor node start`, or name another with --node",
        )),
    }
}

/// Whether the agent of this name is what is to be deployed: it may be the one that an answer was lost of.
fn is_the_same(client: &Client, name: &str, wanted: &GenesisBody) -> Result<bool, Failure> {
    let mut journal = wait(client.journal(name, Seq(0), false))?;
    let Some(first) = wait(journal.next())? else { return Ok(false) };
    let there = inspect::genesis::<Failure>(&first)?.body;
    let GenesisBody { nonce, expires, .. } = there;
    Ok(there == GenesisBody { nonce, expires, ..wanted.clone() })
}
