//! What the help of each verb ends with.

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  igor run agents/heartbeat/heartbeat.wasm
  igor run strategy.wasm --budget 5 --price 0.002 --interval 100ms
  igor run strategy.wasm --name s --ticks 10 --json
  igor run strategy.wasm --standby did:key:z6Mkp...,did:key:z6Mkq...   # they go on when this node dies

--budget, --price, --manifest and who stands by count when the agent is created. For one that
exists they are ignored; use `igor fund` to give it more, `igor standby` to name other nodes.
Standby nodes need a bucket: [store] url in node.toml. Durations are written 0, 10ms, 1s, 5m.";

pub(super) const NODE_START_EXAMPLES: &str = "\
Examples:
  igor node start                             # stays in the foreground; Ctrl-C stops it, with all agents
  igor node start --home /var/lib/igor --json # for a supervisor: packaging/igor.service

It carries every agent of its home, also after a crash. What it costs, whom it serves and how much
it takes on stands in node.toml (`igor config` shows it). Logs go to stderr; IGOR_LOG sets the level.";

pub(super) const DEPLOY_EXAMPLES: &str = "\
Examples:
  igor deploy strategy.wasm                   # on the node that has this home
  IGOR_TOKEN=... igor deploy strategy.wasm --node 10.0.0.5:7070 --budget 5 --interval 100ms
  igor deploy strategy.wasm --standby did:key:z6Mkp...   # that node goes on with it when this one dies
  igor fund strategy 5 --node 10.0.0.5:7070   # orders are signed here as well, by your owner key

The node must serve your owner key (`igor key` shows it): policy.owners in its node.toml. You pay
what it asks; `igor deploy` says how much that is.";

pub(super) const STANDBY_EXAMPLES: &str = "\
Examples:
  igor standby add strategy did:key:z6Mkp... did:key:z6Mkq...   # the first in line first
  igor standby add strategy did:key:z6Mkp... --silent 2s        # only after two seconds of silence
  igor standby remove strategy did:key:z6Mkq...
  igor standby list strategy

The agent's journal must be in a bucket that these nodes use as well ([store] url in node.toml), and each
of them must list the agent's node (policy.nodes). It is an order, signed with your owner key.";

pub(super) const TAKEOVER_EXAMPLES: &str = "\
Examples:
  igor takeover strategy                       # this node has an archive of it: it was here before
  igor takeover strategy.igor                  # from an export
  igor takeover igor1wg84x...                  # its journal is in the bucket of this node
  igor takeover strategy.igor --home ~/owner --node b/node.sock   # your owner key here, the agent there

The node that is asked goes on with the agent, at its price, from the last entry of the copy. What the
old node did after that entry counts nowhere: when it comes back and hears of the order it stops the
agent, keeps its branch as a file and says which messages and replies are on it only (`igor show NAME`
and `igor ps --orphans` there). So take the latest copy that anyone has, and order it only when the node
is gone for good; to move from a node that lives, `igor migrate` loses nothing. Where its journal is in a
bucket there is one, and one branch: a node that lives loses the agent, and nothing is lost.";

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  igor export strategy --out strategy.igor
  igor export strategy --out strategy.igor --release --to did:key:z6Mkp...   # then there: igor import strategy.igor

A copy carries history, never custody: nobody can run the agent from it. With --release the agent stands
still, and the node that is named, and only that one, goes on with it from the file. The same command
again writes the file again. `igor key` and `igor nodes` show the keys of nodes.";

pub(super) const DELETE_EXAMPLES: &str = "\
Examples:
  igor delete strategy
  igor delete strategy --json
  igor delete strategy --orphans              # branches that a takeover orphaned; `igor ps --orphans` lists them

An agent that lives here, or whose move has no answer yet, stays: exit code 3. What this node signed of the agent's
custody stays too, so that it can come here again and nobody runs it twice; `igor show` still says where it is. There
may be no other copy: `igor export` makes one.";

pub(super) const IMPORT_EXAMPLES: &str = "\
Examples:
  igor import strategy.igor
  igor import strategy.igor --name old --json
  igor import strategy.igor                    # released to this node: it goes on here

Where this node does not take an agent that the file gives it (policy, price, room), nothing changes and
the file stays good: let its operator change node.toml, and import it again. Importing twice is one
import. If the node never takes it: delete the file, then `igor takeover` at the node that gave it.";

pub(super) const SEND_EXAMPLES: &str = "\
Examples:
  igor send strategy 2000-03-01,89.62,94.09,88.94,90.81,53444900
  igor send strategy --lines prices.csv            # again: only what is missing is sent
  igor send strategy --lines prices.csv --rate 50  # lines a second
  echo hello | igor send strategy -

A message is known by its sender and id, so that sending it again changes nothing. Without
--id, each `send` is a message of its own. Lines are numbered in a stream named by the
file's hash.";
