//! What the machine never leaves out, by name.
//!
//! Invariant kept here: [`step`](super::step) keeps every rule.
//!
//! A rule that no test needs is either useless or untested. So the model checker leaves out one at a time, through
//! [`step_by`](super::step_by), and the property that is named for it must fail. Nothing that ships calls that, and no
//! feature, option or input reaches it.

/// One thing that the machine does or compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A node starts an agent only when its accept is durable.
    StartAfterAccept,
    /// An agent is stopped before it is given away.
    StopBeforeGiving,
    /// A node that gave an agent away does not start it, also after a restart.
    GivenStaysGiven,
    /// Only a signed decline brings an agent back; silence does not.
    SilenceIsNoDecline,
    /// A return raises the epoch above that of the handoff.
    ReturnRaisesEpoch,
    /// A handoff of an epoch that is not above all that this node signed is not accepted.
    NewerThanSigned,
    /// A handoff or order of an epoch that is not above the tombstone is not accepted.
    NewerThanTombstone,
    /// What was answered once is answered so again.
    OneAnswer,
    /// What was signed is written before anything else is signed.
    FinishWhatWasSigned,
    /// A branch that is known to be over is not started.
    BuriedIsOver,
    /// Who hears that the agent is elsewhere stops it.
    StopOnNews,
    /// A takeover is heard.
    TakeoverIsHeard,
    /// The records of strangers stop nobody.
    StrangersAreIgnored,
    /// Only the node that was named, or the owner, ends the wait for an answer.
    OnlyTheNamedAnswers,
    /// Two records of one epoch by one node suspend the agent.
    ContradictionSuspends,
    /// Who gave the agent to the custodian has it no more: a later record of it suspends the agent.
    GiversAreOut,
    /// A record that this node signed and does not remember suspends the agent.
    ForgottenSuspends,
    /// A journal that lacks what this node signed is not run.
    JournalBehind,
    /// A journal that has more of this node's records than its keystore is not run.
    KeystoreBehind,
}

impl Rule {
    /// Every rule.
    pub const EACH: [Self; 19] = [
        Self::StartAfterAccept,
        Self::StopBeforeGiving,
        Self::GivenStaysGiven,
        Self::SilenceIsNoDecline,
        Self::ReturnRaisesEpoch,
        Self::NewerThanSigned,
        Self::NewerThanTombstone,
        Self::OneAnswer,
        Self::FinishWhatWasSigned,
        Self::BuriedIsOver,
        Self::StopOnNews,
        Self::TakeoverIsHeard,
        Self::StrangersAreIgnored,
        Self::OnlyTheNamedAnswers,
        Self::ContradictionSuspends,
        Self::GiversAreOut,
        Self::ForgottenSuspends,
        Self::JournalBehind,
        Self::KeystoreBehind,
    ];
}

/// Which rules are kept: all of them, or all but one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules(Option<Rule>);

impl Rules {
    /// All, as [`step`](super::step) keeps them.
    pub const ALL: Self = Self(None);

    /// All but this one, for a test that shows what it is for.
    pub const fn without(rule: Rule) -> Self {
        Self(Some(rule))
    }

    /// Whether a rule is kept.
    pub(super) fn keep(self, rule: Rule) -> bool {
        self.0 != Some(rule)
    }

    /// Whether what a rule is against is there, and the rule is kept.
    pub(super) fn forbid(self, rule: Rule, found: bool) -> bool {
        found && self.keep(rule)
    }
}
