//! The command line: every verb with its flags, and the texts of the help.
//!
//! Invariant: what is parsed here is within its bounds; verbs do not check syntax again.

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use igor_node::home::price_per_ns;
use igor_protocol::{Credits, Nanos, NodeId, Tick, limits::SILENT_MIN};
use std::path::PathBuf;

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

const RUN_EXAMPLES: &str = "\
Examples:
  igor run agents/heartbeat/heartbeat.wasm
  igor run strategy.wasm --budget 5 --price 0.002 --interval 100ms
  igor run strategy.wasm --name s --ticks 10 --json
  igor run strategy.wasm --standby did:key:z6Mkp...,did:key:z6Mkq...   # they go on when this node dies

--budget, --price, --manifest and who stands by count when the agent is created. For one that
exists they are ignored; use `igor fund` to give it more, `igor standby` to name other nodes.
Standby nodes need a bucket: [store] url in node.toml. Durations are written 0, 10ms, 1s, 5m.";

const NODE_START_EXAMPLES: &str = "\
Examples:
  igor node start                             # stays in the foreground; Ctrl-C stops it, with all agents
  igor node start --home /var/lib/igor --json # for a supervisor: packaging/igor.service

It carries every agent of its home, also after a crash. What it costs, whom it serves and how much
it takes on stands in node.toml (`igor config` shows it). Logs go to stderr; IGOR_LOG sets the level.";

const DEPLOY_EXAMPLES: &str = "\
Examples:
  igor deploy strategy.wasm                   # on the node that has this home
  IGOR_TOKEN=... igor deploy strategy.wasm --node 10.0.0.5:7070 --budget 5 --interval 100ms
  igor deploy strategy.wasm --standby did:key:z6Mkp...   # that node goes on with it when this one dies
  igor fund strategy 5 --node 10.0.0.5:7070   # orders are signed here as well, by your owner key

The node must serve your owner key (`igor key` shows it): policy.owners in its node.toml. You pay
what it asks; `igor deploy` says how much that is.";

const STANDBY_EXAMPLES: &str = "\
Examples:
  igor standby add strategy did:key:z6Mkp... did:key:z6Mkq...   # the first in line first
  igor standby add strategy did:key:z6Mkp... --silent 2s        # only after two seconds of silence
  igor standby remove strategy did:key:z6Mkq...
  igor standby list strategy

The agent's journal must be in a bucket that these nodes use as well ([store] url in node.toml), and each
of them must list the agent's node (policy.nodes). It is an order, signed with your owner key.";

const TAKEOVER_EXAMPLES: &str = "\
Examples:
  igor takeover strategy                       # this node has an archive of it: it was here before
  igor takeover strategy.igor                  # from an export
  igor takeover strategy.igor --home ~/owner --node b/node.sock   # your owner key here, the agent there

The node that is asked goes on with the agent, at its price, from the last entry of the copy. What the
old node did after that entry counts nowhere: when it comes back and hears of the order it stops the
agent, keeps its branch as a file and says which messages and replies are on it only (`igor show NAME`
and `igor ps --orphans` there). So take the latest copy that anyone has, and order it only when the node
is gone for good; to move from a node that lives, `igor migrate` loses nothing.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  igor export strategy --out strategy.igor
  igor export strategy --out strategy.igor --release --to did:key:z6Mkp...   # then there: igor import strategy.igor

A copy carries history, never custody: nobody can run the agent from it. With --release the agent stands
still, and the node that is named, and only that one, goes on with it from the file. The same command
again writes the file again. `igor key` and `igor nodes` show the keys of nodes.";

const DELETE_EXAMPLES: &str = "\
Examples:
  igor delete strategy
  igor delete strategy --json
  igor delete strategy --orphans              # branches that a takeover orphaned; `igor ps --orphans` lists them

An agent that lives here, or whose move has no answer yet, stays: exit code 3. What this node signed of the agent's
custody stays too, so that it can come here again and nobody runs it twice; `igor show` still says where it is. There
may be no other copy: `igor export` makes one.";

const IMPORT_EXAMPLES: &str = "\
Examples:
  igor import strategy.igor
  igor import strategy.igor --name old --json
  igor import strategy.igor                    # released to this node: it goes on here

Where this node does not take an agent that the file gives it (policy, price, room), nothing changes and
the file stays good: let its operator change node.toml, and import it again. Importing twice is one
import. If the node never takes it: delete the file, then `igor takeover` at the node that gave it.";

const SEND_EXAMPLES: &str = "\
Examples:
  igor send strategy 2000-03-01,89.62,94.09,88.94,90.81,53444900
  igor send strategy --lines prices.csv            # again: only what is missing is sent
  igor send strategy --lines prices.csv --rate 50  # lines a second
  echo hello | igor send strategy -

A message is known by its sender and id, so that sending it again changes nothing. Without
--id, each `send` is a message of its own. Lines are numbered in a stream named by the
file's hash.";

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
    /// How long its node must be silent before the first one goes on [default: as they have it, 800ms]
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
        after_help = "Examples:\n  igor node check\n  igor node check --json | jq -e .taken_by   # 1 where nobody would go on with an agent"
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
    #[arg(value_name = "NODE")]
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
    /// Have machines fail, with a bucket that other nodes go on from; needs SeaweedFS (`weed`) on the path or in IGOR_WEED
    #[arg(long, conflicts_with_all = ["seed", "kills"])]
    pub(crate) failover: bool,
    /// Leave the homes of the demo in place
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A duration: digits with a unit, or `0`.
pub(crate) fn duration(text: &str) -> Result<Nanos, String> {
    const UNITS: [(&str, u64); 6] = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    if text == "0" {
        return Ok(Nanos::ZERO);
    }
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let nanos = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, nanos)| *nanos);
    let (Some(nanos), false) = (nanos, digits.is_empty()) else {
        return Err("not a duration; write digits with ns, us, ms, s, m or h, such as 10ms, or 0".to_owned());
    };
    let sum = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(nanos)).map(Nanos);
    sum.ok_or_else(|| "too long; a duration is at most 584 years".to_owned())
}

/// How long a node may be silent before others go on with its agents.
fn silence(text: &str) -> Result<Nanos, String> {
    let time = duration(text)?;
    let too_short = || {
        format!(
            "too short; it is at least {} ms, since a node says only five times a second that it is well",
            SILENT_MIN.0 / 1_000_000
        )
    };
    (time >= SILENT_MIN).then_some(time).ok_or_else(too_short)
}

/// A price of execution, in credits a second, as units a nanosecond.
pub(crate) fn price(text: &str) -> Result<u64, String> {
    price_per_ns(text).map_err(|e| e.to_string())
}

fn node_id(text: &str) -> Result<NodeId, String> {
    text.parse().map_err(|e| format!("not a node's key: {e}; `igor nodes` and `igor key` show such keys"))
}

fn some_credits(text: &str) -> Result<Credits, String> {
    match text.parse() {
        Ok(Credits::ZERO) => Err("nothing to add; give an amount above zero".to_owned()),
        Ok(amount) => Ok(amount),
        Err(e) => Err(igor_protocol::units::CreditsParseError::to_string(&e)),
    }
}

fn tick(text: &str) -> Result<Tick, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("not a tick; they are numbered from 1".to_owned()),
        Ok(number) => Ok(Tick(number)),
    }
}

#[cfg(test)]
mod tests;
