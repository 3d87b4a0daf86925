//! What is done to a cluster, chosen from its seed before anything runs.
//!
//! Invariants kept here:
//! - A plan is a list: whatever is left out of it, the rest stays as it is. That is what makes a failure small.
//! - Choices are of the plan where they can be, so that they do not depend on what happens.

use super::dice::Dice;
use igor_protocol::Nanos;
use std::fmt;

/// How long faults go on.
const COURSE: Nanos = Nanos::from_secs(40);

/// What can be wrong, by its name in reports and options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // each is what its name says, and `plan` says how
pub enum Kind {
    Kill,
    PowerCut,
    CrashInWrite,
    Pause,
    Partition,
    OneWay,
    Messages,
    Skew,
    FullDisk,
    FailedSync,
    SlowDisk,
    SlowPeer,
    Cut,
    BitRot,
    Unwilling,
    Spoils,
    Price,
    Move,
    Takeover,
    Outage,
    CutFromBucket,
    Requests,
    SlowBucket,
    Ruin,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Kill,
        Self::PowerCut,
        Self::CrashInWrite,
        Self::Pause,
        Self::Partition,
        Self::OneWay,
        Self::Messages,
        Self::Skew,
        Self::FullDisk,
        Self::FailedSync,
        Self::SlowDisk,
        Self::SlowPeer,
        Self::Cut,
        Self::BitRot,
        Self::Unwilling,
        Self::Spoils,
        Self::Price,
        Self::Move,
        Self::Takeover,
        Self::Outage,
        Self::CutFromBucket,
        Self::Requests,
        Self::SlowBucket,
        Self::Ruin,
    ];

    /// Its name in reports and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::PowerCut => "power-cut",
            Self::CrashInWrite => "crash-in-write",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Messages => "messages",
            Self::Skew => "skew",
            Self::FullDisk => "full-disk",
            Self::FailedSync => "failed-sync",
            Self::SlowDisk => "slow-disk",
            Self::SlowPeer => "slow-peer",
            Self::Cut => "cut",
            Self::BitRot => "bit-rot",
            Self::Unwilling => "unwilling",
            Self::Spoils => "spoils",
            Self::Price => "price",
            Self::Move => "move",
            Self::Takeover => "takeover",
            Self::Outage => "outage",
            Self::CutFromBucket => "cut-from-bucket",
            Self::Requests => "requests",
            Self::SlowBucket => "slow-bucket",
            Self::Ruin => "ruin",
        }
    }

    /// Whether it is done to clusters with a bucket, to those without, or to both.
    pub const fn is_for(self, bucket: bool) -> bool {
        match self {
            Self::Outage | Self::CutFromBucket | Self::Requests | Self::SlowBucket | Self::Ruin => bucket,
            Self::BitRot => !bucket,
            _ => true,
        }
    }

    /// Whether it is a fault, and not what an operator or an owner wants.
    pub const fn is_fault(self) -> bool {
        !matches!(self, Self::Unwilling | Self::Spoils | Self::Price | Self::Move | Self::Takeover)
    }
}

/// When something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At this moment.
    At(Nanos),
    /// Some time after a move of this number has come to a phase: 0 offered, 1 going ahead, 2 frozen, 3 given.
    InMove {
        /// Which move.
        number: usize,
        /// Which phase.
        phase: u8,
        /// How long after.
        after: Nanos,
    },
}

/// Which machine it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The one of this number, by the number of machines.
    Number(usize),
    /// The one that gives in the move that it belongs to.
    Source,
    /// The one that takes.
    Target,
    /// The one that an agent lives at.
    Home(usize),
}

/// One thing that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// What.
    pub kind: Kind,
    /// When.
    pub when: When,
    /// To whom.
    pub who: Who,
    /// Another machine, an agent, a number: what the kind needs.
    pub other: usize,
    /// For how long, or how much.
    pub time: Nanos,
    /// A choice more.
    pub choice: u64,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |nanos: Nanos| nanos.0 / 1_000_000;
        match self.when {
            When::At(at) => write!(f, "at {} ms: ", millis(at))?,
            When::InMove { number, phase, after } => {
                write!(f, "{} ms after phase {phase} of move {number}: ", millis(after))?;
            }
        }
        let Self { who, other, choice, .. } = self;
        write!(f, "{} {who:?} other={other} time={} ms choice={choice}", self.kind.name(), millis(self.time))
    }
}

/// All that is done to a cluster.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Machines.
    pub nodes: usize,
    /// Agents.
    pub agents: usize,
    /// Whether the agents' journals are in a bucket.
    pub bucket: bool,
    /// Whether takeovers are ordered of live nodes too, where two branches may come of it: then only what is promised for
    /// that is checked.
    pub forks: bool,
    /// What is done.
    pub ops: Vec<Op>,
    /// When it is over.
    pub until: Nanos,
    /// Nothing was left out.
    pub whole: bool,
}

/// What may be in a plan.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only these kinds; none: all.
    pub kinds: Option<Vec<Kind>>,
    /// Only these operations of the plan, by their numbers; none: all.
    pub keep: Option<Vec<usize>>,
    /// Whether there is a bucket; none: one seed of two has one.
    pub bucket: Option<bool>,
}

impl Wanted {
    /// Whether nothing is left out.
    pub const fn is_all(&self) -> bool {
        self.kinds.is_none() && self.keep.is_none()
    }

    fn has(&self, kind: Kind) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind) || !kind.is_fault())
    }
}

impl Plan {
    /// The plan of a seed, with the numbers of its operations.
    pub fn new(seed: u64, wanted: &Wanted) -> (Self, Vec<usize>) {
        let mut dice = Dice::new(seed, 2);
        let nodes = 3 + dice.index(3);
        let agents = 1 + dice.index(3);
        let bucket = wanted.bucket.unwrap_or_else(|| Dice::new(seed, 0x6275_636b).permille(500));
        let forks = dice.permille(125) && !bucket;
        let rots = dice.permille(250) && !bucket;
        let mut ops = Vec::new();
        let moves = 8 + dice.index(6);
        for number in 0..moves {
            let at = 2_000_000_000 + COURSE.0 / moves as u64 * number as u64;
            let when = When::At(Nanos(at + dice.below(COURSE.0 / moves as u64)));
            ops.push(op(&mut dice, Kind::Move, when, Who::Home(number % agents), nodes));
        }
        let faults = 40 + dice.index(12);
        for _ in 0..faults {
            let kind = fault(&mut dice, rots);
            let op = if dice.below(2) == 0 {
                let (number, phase) = (dice.index(moves), u8::try_from(dice.below(4)).unwrap_or(0));
                let after = Nanos(dice.below(120_000_000) >> dice.below(6));
                let who = dice.pick(&[Who::Source, Who::Target]).unwrap_or(Who::Source);
                op(&mut dice, kind, When::InMove { number, phase, after }, who, nodes)
            } else {
                let when = When::At(Nanos(dice.within(1_000_000_000, COURSE.0)));
                let (node, home) = (dice.index(nodes), dice.index(agents));
                let who = dice.pick(&[Who::Number(node), Who::Home(home)]).unwrap_or(Who::Source);
                op(&mut dice, kind, when, who, nodes)
            };
            ops.push(op);
        }
        for kind in [Kind::Unwilling, Kind::Unwilling, Kind::Spoils, Kind::Spoils, Kind::Price, Kind::Price] {
            // Often between an offer and its answer.
            let (when, who) = if dice.below(2) == 0 {
                let (number, phase) = (dice.index(moves), u8::try_from(dice.below(3)).unwrap_or(0));
                (When::InMove { number, phase, after: Nanos(dice.below(20_000_000) >> dice.below(8)) }, Who::Target)
            } else {
                let when = When::At(Nanos(dice.within(1_000_000_000, COURSE.0)));
                (when, Who::Number(dice.index(nodes)))
            };
            ops.push(op(&mut dice, kind, when, who, nodes));
        }
        for _ in 0..dice.index(3) {
            let when = When::At(Nanos(dice.within(8_000_000_000, COURSE.0)));
            let who = Who::Home(dice.index(agents));
            ops.push(op(&mut dice, Kind::Takeover, when, who, nodes));
        }
        if bucket {
            ops.extend(of_bucket(&mut Dice::new(seed, 7), nodes, agents));
        }
        let numbered = ops.into_iter().enumerate();
        let numbered = numbered.filter(|(_, op)| wanted.has(op.kind));
        let kept = |number: &usize| wanted.keep.as_ref().is_none_or(|keep| keep.contains(number));
        let (numbers, ops) = numbered.filter(|(number, _)| kept(number)).unzip();
        let until = Nanos(COURSE.0 + 2_000_000_000);
        (Self { nodes, agents, bucket, forks, ops, until, whole: wanted.is_all() }, numbers)
    }
}

/// What is done to a bucket and the ways to it, and to machines that are lost with all that they have.
fn of_bucket(dice: &mut Dice, nodes: usize, agents: usize) -> Vec<Op> {
    let mut ops = Vec::new();
    let faults = 10 + dice.index(6);
    for _ in 0..faults {
        let kinds = [
            Kind::Outage,
            Kind::CutFromBucket,
            Kind::CutFromBucket,
            Kind::Requests,
            Kind::Requests,
            Kind::SlowBucket,
            // Frozen while others go on, and woken.
            Kind::Pause,
            Kind::Pause,
        ];
        let kind = dice.pick(&kinds).unwrap_or(Kind::Outage);
        let when = When::At(Nanos(dice.within(2_000_000_000, COURSE.0)));
        let (node, home) = (dice.index(nodes), dice.index(agents));
        let who = dice.pick(&[Who::Number(node), Who::Home(home), Who::Home(home)]).unwrap_or(Who::Home(home));
        ops.push(op(dice, kind, when, who, nodes));
    }
    for _ in 0..dice.index(3) {
        let when = When::At(Nanos(dice.within(4_000_000_000, COURSE.0)));
        let who = Who::Home(dice.index(agents));
        ops.push(op(dice, Kind::Ruin, when, who, nodes));
    }
    ops
}

fn fault(dice: &mut Dice, rots: bool) -> Kind {
    let kinds = [
        Kind::Kill,
        Kind::Kill,
        Kind::PowerCut,
        Kind::PowerCut,
        Kind::PowerCut,
        Kind::CrashInWrite,
        Kind::CrashInWrite,
        Kind::CrashInWrite,
        Kind::Pause,
        Kind::Pause,
        Kind::Partition,
        Kind::Partition,
        Kind::OneWay,
        Kind::Messages,
        Kind::Messages,
        Kind::Skew,
        Kind::FullDisk,
        Kind::FailedSync,
        Kind::SlowDisk,
        Kind::SlowPeer,
        Kind::Cut,
        Kind::Cut,
        Kind::Cut,
        Kind::BitRot,
    ];
    match dice.pick(&kinds).unwrap_or(Kind::Kill) {
        Kind::BitRot if !rots => Kind::Kill,
        kind => kind,
    }
}

fn op(dice: &mut Dice, kind: Kind, when: When, who: Who, nodes: usize) -> Op {
    let other = dice.index(nodes);
    // Mostly short, sometimes long.
    let time = Nanos(dice.within(50_000_000, 12_000_000_000) >> dice.below(6));
    Op { kind, when, who, other, time, choice: dice.number() }
}
