//! An agent that chooses where it lives: it leaves a node that is about to stop, and one that costs more than another.
//!
//! What it pays is fixed until it moves ([`Context::nodes`] lists that first), so its own costs rise only where it was
//! moved to a dearer node, and others become cheaper when they say so. It goes where a second costs at least a tenth
//! less: a move is a short pause, and a checkpoint paid for on both sides.

use igor_sdk::{Agent, Batch, Context, Listed, Next, log};
use serde::{Deserialize, Serialize};

/// Another node must be cheaper by this many percent.
const MARGIN_PERCENT: i128 = 10;
/// What a second of work takes of a billion units of fuel, on the machines that nodes are.
const BILLION_FUEL_PER_SECOND: i128 = 10;

/// All that the agent remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Wanderer {
    /// The node of the last tick; empty before the first.
    home: String,
    ticks: u64,
    moves: u64,
    messages: u64,
}

impl Agent for Wanderer {
    fn init(_: &mut impl Context) -> Self {
        Wanderer::default()
    }

    fn tick(&mut self, context: &mut impl Context) -> Next {
        self.ticks += 1;
        let nodes = context.nodes();
        let Some((here, others)) = nodes.split_first() else { return Next::Wait };
        self.arrive(context, here);
        let mut batch = Batch::default();
        while batch.next(context).is_some() {
            self.messages += 1;
            let report = format!(
                r#"{{"node":"{}","ticks":{},"moves":{},"messages":{}}}"#,
                self.home, self.ticks, self.moves, self.messages
            );
            if let Err(error) = context.reply(report.as_bytes()) {
                log!(context, "the report was not sent: {error}");
            }
        }
        let drains = context.node_draining();
        if let Some(other) = choose(here, others, drains) {
            let why = if drains { "this node is about to stop" } else { "it is cheaper there" };
            log!(context, "to {} at {} a second: {why}", other.node, other.per_second);
            if let Err(error) = context.migrate_to(&other.node) {
                log!(context, "not asked for: {error}");
            }
        }
        batch.then()
    }
}

impl Wanderer {
    fn arrive(&mut self, context: &mut impl Context, here: &Listed) {
        if self.home == here.node {
            return;
        }
        self.moves += u64::from(!self.home.is_empty());
        log!(context, "on {} at {} a second", here.node, here.per_second);
        self.home.clone_from(&here.node);
    }
}

/// Where to go, if anywhere. Asked anew in each tick, since a wish lasts no longer; a node that refused is not among
/// the others for a while, so the next best has its turn.
fn choose<'a>(here: &Listed, others: &'a [Listed], drains: bool) -> Option<&'a Listed> {
    let best = others.iter().min_by_key(|other| cost(other))?;
    let cheaper = cost(best) * 100 < cost(here) * (100 - MARGIN_PERCENT);
    (drains || cheaper).then_some(best)
}

/// A second of work, in microcredits.
fn cost(node: &Listed) -> i128 {
    i128::from(node.per_second.0) + BILLION_FUEL_PER_SECOND * i128::from(node.per_billion_fuel.0)
}

igor_sdk::agent!(Wanderer);
igor_sdk::manifest!(include_str!("../agent.toml"));

#[cfg(test)]
mod tests {
    use igor_sdk::{Microcredits, mock::Node};

    use super::*;

    fn other(name: &str, per_second: i64) -> Listed {
        Listed {
            node: format!("did:key:{name}"),
            per_second: Microcredits(per_second),
            per_billion_fuel: Microcredits(0),
        }
    }

    #[test]
    fn it_goes_where_it_is_cheaper_and_stays_where_it_is_not() {
        let mut node = Node::<Wanderer>::start();
        node.host.others = vec![other("b", 91), other("c", 100)];
        node.tick();
        assert_eq!(node.host.move_to, None, "a tenth less at least");
        node.host.others = vec![other("b", 89), other("c", 80)];
        node.tick();
        assert_eq!(node.host.move_to.as_deref(), Some("did:key:c"));
        // It was refused there, and is not shown it any more.
        node.host.others.pop();
        node.tick();
        assert_eq!(node.host.move_to.as_deref(), Some("did:key:b"));
        node.migrate();
        node.host.send("where?");
        node.tick();
        assert_eq!(node.host.move_to, None);
        assert_eq!(node.host.replies(), [r#"{"node":"did:key:b","ticks":4,"moves":1,"messages":1}"#]);
    }

    #[test]
    fn it_leaves_a_node_that_drains_at_any_price() {
        let mut node = Node::<Wanderer>::start();
        node.host.draining = true;
        node.tick();
        assert_eq!(node.host.move_to, None, "there is nowhere to go");
        node.host.others = vec![other("b", 500), other("c", 400)];
        node.tick();
        assert_eq!(node.host.move_to.as_deref(), Some("did:key:c"));
        node.migrate();
        node.tick();
        assert_eq!((node.agent.moves, node.host.move_to.as_deref()), (1, None), "the dearer one is no way out");
    }

    #[test]
    fn fuel_counts() {
        let by_fuel = Listed { per_billion_fuel: Microcredits(10), ..other("b", 1) };
        assert_eq!(choose(&other("a", 100), std::slice::from_ref(&by_fuel), false), None);
        assert_eq!(choose(&other("a", 200), std::slice::from_ref(&by_fuel), false), Some(&by_fuel));
    }
}
