//! The command line: every verb with its flags, and the texts of the help.
//!
//! Invariant: what is parsed here is within its bounds; verbs do not check syntax again.

mod examples;
mod values;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use examples::{
    DELETE_EXAMPLES, DEPLOY_EXAMPLES, EXPORT_EXAMPLES, IMPORT_EXAMPLES, NODE_START_EXAMPLES, RUN_EXAMPLES,
    SEND_EXAMPLES, STANDBY_EXAMPLES, TAKEOVER_EXAMPLES,
};
use igor_protocol::{Credits, Nanos, NodeId, Tick};
use std::path::PathBuf;
use values::{duration, node_id, price, silence, some_credits, tick};

/// What `igor` alone prints.
pub(crate) const FIRST_SCREEN: &str = "\
igor runs programs that survive: kill one at any instant, and it goes on exactly where it was.

Three things to try:
  igor demo                  a trading agent moves over three nodes that are killed 20 times, and misses nothing
  igor run AGENT.wasm        start an agent of yours; Ctrl-C stops it, the same command goes on
  igor timeline NAME         all that it saw, did and paid, signed

`igor help` lists every command, `igor help COMMAND` has examples.
";

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 refused (policy, custody, limits, price);
4 integrity (corrupt, truncated, forged, diverged); 5 unreachable or timed out.
With --json, stdout has one JSON object a line and nothing else.";

/// Igor: programs that survive their host.
#[derive(Debug, Parser)]
#[command(name = "igor", version, about = "Programs that survive their host.", after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

const EVERYWHERE: &str = "Everywhere";

/// What every verb takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The home directory: keys, journals, checkpoints [default: the XDG data directory, `igor` in it]
    #[arg(long, global = true, env = "IGOR_HOME", value_name = "DIR", help_heading = EVERYWHERE)]
    pub(crate) home: Option<PathBuf>,
    /// The node to talk to: a Unix socket, or `HOST:PORT` with a token in `IGOR_TOKEN` [default: that of the home].
    /// With several, separated by commas, a command follows an agent that moved among them
    #[arg(
        long,
        global = true,
        env = "IGOR_NODE",
        value_name = "ADDR",
        value_delimiter = ',',
        help_heading = EVERYWHERE
    )]
    pub(crate) node: Vec<String>,
    /// Print one JSON object a line, for scripts
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run an agent here, in the foreground; the same command again goes on where it was
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Have a node carry an agent of yours, from anywhere; the same command again is the same agent
    #[command(after_help = DEPLOY_EXAMPLES)]
    Deploy(Deploy),
    /// Be a node that carries agents
    #[command(
        after_help = "Examples:\n  igor node start            # until Ctrl-C; `igor node start --help` says more"
    )]
    Node {
        /// What the node does
        #[command(subcommand)]
        verb: NodeVerb,
    },
    /// Send an agent messages, each processed exactly once
    #[command(after_help = SEND_EXAMPLES)]
    Send(Send),
    /// Send an agent a message and wait for its reply
    #[command(
        after_help = "Examples:\n  igor call strategy report\n  igor call strategy report --id monday   # the same id again gives the same reply"
    )]
    Call(Call),
    /// List the agents of this home, or of a node
    #[command(
        after_help = "Examples:\n  igor ps\n  igor ps --json\n  igor ps --orphans          # branches that a takeover orphaned, and what is on them only"
    )]
    Ps(Ps),
    /// Print what an agent logged
    #[command(
        after_help = "Examples:\n  igor logs strategy\n  igor logs strategy -f      # and what it logs from now on"
    )]
    Logs(Logs),
    /// Show one agent: state, money, custody
    #[command(
        after_help = "Examples:\n  igor show strategy\n  igor show strategy --json\n  igor show igor1wg84x...    # by its id, also one that was never here: other nodes are asked"
    )]
    Show(Named),
    /// Print an agent's journal, one line an entry
    #[command(
        after_help = "Examples:\n  igor timeline strategy\n  igor timeline strategy --from 100 | less\n  igor timeline strategy.igor"
    )]
    Timeline(Timeline),
    /// Give an agent money; one that ended for want of it lives again
    #[command(after_help = "Examples:\n  igor fund strategy 2.5     # 2.5 credits more than it has")]
    Fund(Fund),
    /// Stop an agent's ticks until `resume`; messages are still taken in
    #[command(after_help = "Examples:\n  igor pause strategy")]
    Pause(Named),
    /// Go on after a pause, or try once more after a suspension
    #[command(after_help = "Examples:\n  igor resume strategy")]
    Resume(Named),
    /// End an agent for good, by its owner's order; its journal stays
    #[command(
        after_help = "Examples:\n  igor end strategy          # final: an agent that its owner ended cannot be revived"
    )]
    End(Named),
    /// Hand an agent to another node, while it goes on; it stands still only for the last entries
    #[command(
        after_help = "Examples:\n  igor nodes                          # who there is\n  igor migrate strategy z6Mkp...      # a node by its key, or a part of it"
    )]
    Migrate(Migrate),
    /// Say which nodes go on with an agent by themselves when its own does not
    #[command(after_help = STANDBY_EXAMPLES)]
    Standby {
        /// What to do
        #[command(subcommand)]
        verb: StandbyVerb,
    },
    /// List the other nodes that this one knows: price, room, round trip
    #[command(after_help = "Examples:\n  igor nodes\n  igor nodes --json")]
    Nodes,
    /// Check an agent's whole history: chain, signatures, bills, money; with --execute also every run
    #[command(
        after_help = "Examples:\n  igor verify strategy\n  igor verify strategy.igor --execute   # a file, on any machine, without a home\nRuns that another runtime made cannot be executed here: --execute then exits with 1, and says which were not."
    )]
    Verify(Verify),
    /// Re-execute an agent's life up to a tick, and show its state there
    #[command(after_help = "Examples:\n  igor replay strategy --at 17\n  igor replay strategy.igor --at 17 --json")]
    Replay(Replay),
    /// Go on with an agent whose node is gone for good, by its owner's order, from the best copy that there is
    #[command(after_help = TAKEOVER_EXAMPLES)]
    Takeover(Takeover),
    /// Write an agent's history, program and state to one file; with --release, give the agent away with it
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(Export),
    /// Take a file in after verifying all of it: as an archive, or the agent itself where the file gives it to this node
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(Import),
    /// Delete what is here of an agent that lives elsewhere: its archive, or the beginning of one that came
    #[command(after_help = DELETE_EXAMPLES)]
    Delete(Delete),
    /// Show the public keys of this home, and where the secret ones lie
    #[command(after_help = "Examples:\n  igor key\n  igor key --create          # make them now, not at the first run")]
    Key(Key),
    /// Show the configuration in effect, and where each value comes from
    #[command(after_help = "Examples:\n  igor config\n  igor config --json")]
    Config,
    /// Check what this machine offers, and say what to change
    #[command(after_help = "Examples:\n  igor doctor\n  igor doctor --home /mnt/ssd/igor --json")]
    Doctor,
    /// See an agent move over three nodes that are killed, with your own eyes, in under a minute
    #[command(
        after_help = "Examples:\n  igor demo\n  igor demo --seed 7         # the same kills again\n  igor demo --keep           # leaves its homes, to look around in\n  igor demo --failover       # machines die, and others go on by themselves"
    )]
    Demo(Demo),
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  igor completions bash > ~/.local/share/bash-completion/completions/igor")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The agent's program, a wasm module
    pub(crate) file: PathBuf,
    /// Its name here [default: the file's name without its ending]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What it may do and use, as TOML [default: what the module carries, else the default limits]
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// The credits that it begins with [default: 10]
    #[arg(long, value_name = "CREDITS")]
    pub(crate) budget: Option<Credits>,
    /// What a second of execution costs, in credits [default: 0.001, or that of node.toml]
    #[arg(long, value_name = "CREDITS", value_parser = price)]
    pub(crate) price: Option<u64>,
    /// Time between ticks when nothing else happens [default: that of its manifest, else 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) interval: Option<Nanos>,
    /// Time between checkpoints [default: that of its manifest, else 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) checkpoint_interval: Option<Nanos>,
    /// Stop cleanly after so many more successful ticks
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) ticks: Option<u64>,
    #[command(flatten)]
    pub(crate) survival: Survival,
}

/// Who goes on with a new agent when its node does not.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Survival")]
pub(crate) struct Survival {
    /// Nodes that go on with it when its own does not, by their keys, with commas between them and the first in line first
    /// [default: those of its manifest]. Its journal must be in a bucket
    #[arg(long, value_name = "NODE", value_delimiter = ',', value_parser = node_id)]
    pub(crate) standby: Vec<NodeId>,
    /// All of them are first in line
    #[arg(long)]
    pub(crate) any_order: bool,
    /// How long its node must be silent before the first one goes on [default: 700ms]
    #[arg(long, value_name = "DURATION", value_parser = silence)]
    pub(crate) silent: Option<Nanos>,
    /// Nobody goes on with it, whatever its manifest says
    #[arg(long, conflicts_with_all = ["standby", "any_order", "silent"])]
    pub(crate) no_standby: bool,
}

impl Survival {
    /// What was given of it.
    pub(crate) fn given(&self) -> impl Iterator<Item = &'static str> {
        let flags = [
            ("--standby", !self.standby.is_empty()),
            ("--any-order", self.any_order),
            ("--silent", self.silent.is_some()),
            ("--no-standby", self.no_standby),
        ];
        flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag)
    }
}

/// `node`.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// Carry all agents of this home, and serve the API, until told to stop
    #[command(after_help = NODE_START_EXAMPLES)]
    Start,
    /// Hand all agents of the node that runs here to others; it stays up, and takes none in until it is started again
    #[command(after_help = "Examples:\n  igor node drain      # what no node takes goes on here, and it is said why")]
    Drain,
    /// Say what would happen to each agent here if this node died now: who would take it, and how far behind that is
    #[command(
        after_help = "Examples:\n  igor node check\n  igor node check --json | jq -es 'all(.taken_by)'   # 1 where nobody would go on with some agent"
    )]
    Check,
}

/// `deploy`.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// The agent's program, a wasm module
    pub(crate) file: PathBuf,
    /// Its name there [default: the file's name without its ending]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What it may do and use, as TOML [default: what the module carries, else the default limits]
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// The credits that it begins with [default: 10]
    #[arg(long, value_name = "CREDITS")]
    pub(crate) budget: Option<Credits>,
    /// Time between ticks when nothing else happens [default: that of its manifest, else 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) interval: Option<Nanos>,
    /// Time between checkpoints [default: that of its manifest, else 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) checkpoint_interval: Option<Nanos>,
    #[command(flatten)]
    pub(crate) survival: Survival,
}

/// A verb that takes an agent and nothing else.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The agent's name or id
    pub(crate) name: String,
}

impl Verb {
    /// The name of the agent that it is about. Elsewhere another agent may have this name.
    pub(crate) fn agent_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Send(Send { name, .. })
            | Self::Call(Call { name, .. })
            | Self::Logs(Logs { name, .. })
            | Self::Show(Named { name })
            | Self::Timeline(Timeline { name, .. })
            | Self::Fund(Fund { name, .. })
            | Self::Pause(Named { name })
            | Self::Resume(Named { name })
            | Self::End(Named { name })
            | Self::Migrate(Migrate { name, .. })
            | Self::Standby {
                verb:
                    StandbyVerb::List(Named { name })
                    | StandbyVerb::Add(StandbyAdd { name, .. })
                    | StandbyVerb::Remove(StandbyRemove { name, .. }),
            }
            | Self::Verify(Verify { name, .. })
            | Self::Replay(Replay { name, .. })
            | Self::Takeover(Takeover { name, .. })
            | Self::Delete(Delete { name, .. })
            | Self::Export(Export { name, .. }) => Some(name),
            _ => None,
        }
    }
}

/// `ps`.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// The branches that takeovers orphaned, and what is on them only
    #[arg(long)]
    pub(crate) orphans: bool,
}

/// `send`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["body", "lines"]))]
pub(crate) struct Send {
    /// The agent's name or id
    pub(crate) name: String,
    /// The message; `-` reads it from stdin
    pub(crate) body: Option<String>,
    /// The message's id: the same id again is the same message [default: a new one]
    #[arg(long, conflicts_with = "lines")]
    pub(crate) id: Option<String>,
    /// Send each line of a file as a message; `-` reads stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) lines: Option<PathBuf>,
    /// Lines a second, at most
    #[arg(long, requires = "lines", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Give up after so long without reaching the node [default: 10s for one message, never for lines]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Nanos>,
}

/// `call`.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The agent's name or id
    pub(crate) name: String,
    /// The message; `-` reads it from stdin
    pub(crate) body: String,
    /// The message's id: the same id again gives the same reply [default: a new one]
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Give up after so long without a reply
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub(crate) timeout: Nanos,
}

/// `logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The agent's name or id, or a file of it
    pub(crate) name: String,
    /// Go on with what is logged from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// `timeline`.
#[derive(Debug, Args)]
pub(crate) struct Timeline {
    /// The agent's name or id, or a file of it
    pub(crate) name: String,
    /// Begin with this entry
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub(crate) from: u64,
}

/// `fund`.
#[derive(Debug, Args)]
pub(crate) struct Fund {
    /// The agent's name or id
    pub(crate) name: String,
    /// The credits to add
    #[arg(value_parser = some_credits, required_unless_present = "total")]
    pub(crate) amount: Option<Credits>,
    /// Add what is missing until it was given so many credits in all: given again it adds nothing
    #[arg(long, value_name = "CREDITS", value_parser = some_credits, conflicts_with = "amount")]
    pub(crate) total: Option<Credits>,
}

/// `standby`.
#[derive(Debug, Subcommand)]
pub(crate) enum StandbyVerb {
    /// Name nodes, behind those that are named
    Add(StandbyAdd),
    /// Name nodes no more
    Remove(StandbyRemove),
    /// Show them
    List(Named),
}

/// `standby add`.
#[derive(Debug, Args)]
pub(crate) struct StandbyAdd {
    /// The agent's name or id
    pub(crate) name: String,
    /// The nodes' keys
    #[arg(value_name = "NODE", required_unless_present_any = ["any_order", "in_order", "silent"])]
    pub(crate) nodes: Vec<NodeId>,
    /// All of them are first in line
    #[arg(long, conflicts_with = "in_order")]
    pub(crate) any_order: bool,
    /// They are in line as they are named (the default)
    #[arg(long)]
    pub(crate) in_order: bool,
    /// How long the agent's node must be silent before the first one goes on
    #[arg(long, value_name = "DURATION", value_parser = silence)]
    pub(crate) silent: Option<Nanos>,
}

/// `standby remove`.
#[derive(Debug, Args)]
pub(crate) struct StandbyRemove {
    /// The agent's name or id
    pub(crate) name: String,
    /// The nodes' keys
    #[arg(value_name = "NODE", required = true)]
    pub(crate) nodes: Vec<NodeId>,
}

/// `migrate`.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// The agent's name or id
    pub(crate) name: String,
    /// The node: its key, or a part of it that no other has
    #[arg(value_name = "NODE")]
    pub(crate) to: String,
}

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The agent's name or id, or a file of it
    pub(crate) name: String,
    /// Execute every run again, and compare outcomes, fuel, replies and checkpoints
    #[arg(long)]
    pub(crate) execute: bool,
}

/// `replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The agent's name or id, or a file of it
    pub(crate) name: String,
    /// The tick after which to stop
    #[arg(long, value_name = "TICK", value_parser = tick)]
    pub(crate) at: Tick,
}

/// `takeover`.
#[derive(Debug, Args)]
pub(crate) struct Takeover {
    /// The agent's name or id, where the node has its journal; or a file of it
    #[arg(value_name = "NAME|FILE")]
    pub(crate) name: String,
    /// The agent's name at the node, where a file brings it [default: its own]
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) as_name: Option<String>,
    /// Order it although the node that has the agent still answers, or a later copy is known of
    #[arg(long)]
    pub(crate) force: bool,
    /// Refuse a file that is larger than this, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub(crate) quota: u64,
}

/// `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The agent's name or id
    pub(crate) name: String,
    /// The file to write, by custom with the ending .igor
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Give the agent away: it stands still until the node of --to has taken the file
    #[arg(long, requires = "to")]
    pub(crate) release: bool,
    /// The node that may take it, by its key
    #[arg(long, value_name = "NODE", requires = "release", value_parser = node_id)]
    pub(crate) to: Option<NodeId>,
    /// What that node gets for a second of execution, in credits [default: what the agent pays now]
    #[arg(long, value_name = "CREDITS", requires = "release")]
    pub(crate) price: Option<Credits>,
}

/// `import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file
    pub(crate) file: PathBuf,
    /// The agent's name here [default: its own]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Keep it as history only, whomever the file gives the agent to
    #[arg(long)]
    pub(crate) archive: bool,
    /// Refuse a file that is larger than this, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub(crate) quota: u64,
}

/// `delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The agent's name or id
    pub(crate) name: String,
    /// The branches that takeovers orphaned here, and nothing else of it
    #[arg(long)]
    pub(crate) orphans: bool,
}

/// `key`.
#[derive(Debug, Args)]
pub(crate) struct Key {
    /// Make the keys if there are none
    #[arg(long)]
    pub(crate) create: bool,
}

/// `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The number that decides when to kill [default: a new one each time]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How often to kill
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) kills: u32,
    /// Have machines fail, with a bucket that other nodes go on from; needs SeaweedFS (`weed`) on the path or in `IGOR_WEED`
    #[arg(long, conflicts_with_all = ["seed", "kills"])]
    pub(crate) failover: bool,
    /// Leave the homes of the demo in place
    #[arg(long)]
    pub(crate) keep: bool,
}

#[cfg(test)]
mod tests;
