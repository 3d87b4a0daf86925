//! What keeps journals in a bucket right, by name.
//!
//! Invariant kept here: on a bucket that does not say otherwise, every rule is kept.
//!
//! A rule that no test needs is either useless or untested. So each has a name here, and a test leaves out one at a time
//! and shows what goes wrong: most in the model, where all that may happen does, the rest in seeded stories. Only a
//! simulated bucket can leave one out: it says which are kept, and no feature, option or input reaches that.

/// Something that writers, readers and collectors do in a certain order, or compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Nothing is released before the bucket has it.
    ReleaseWhenThere,
    /// Nothing is released before all below it is there.
    LowerFirst,
    /// Who does not know what came of an append forgets what it knows, and fences itself before it writes again.
    DoubtForgets,
    /// A process appends only after a change of custody of its own.
    FenceFirst,
    /// A change of custody goes out alone, and nothing after it before it was checked.
    ChangeAlone,
    /// Who changed custody looks afterwards whether slots were collected from there on.
    CheckAfterChange,
    /// Who gave an agent away appends nothing more.
    GivenIsGiven,
    /// What stands in a slot and does not count is passed over, by who writes and by who reads.
    PassOverVoid,
    /// A slot counts only if it links to the one that counts before it.
    Linked,
    /// The next bundle is asked for after the slots were read that it may have, and not before.
    AskAfterwards,
    /// A bundle counts as read when its last slot is durable here.
    BundleWhenRead,
    /// A slot is deleted only after the bundle that has it is there.
    BundleFirst,
    /// The first slot is not collected.
    FirstStays,
    /// Slots that change custody are not collected.
    ChangesStay,
    /// Void slots are not collected.
    VoidStays,
    /// Each commit has copies of its own of the blobs that it names.
    OwnBlobs,
}

impl Rule {
    /// Every rule.
    pub const EACH: [Self; 16] = [
        Self::ReleaseWhenThere,
        Self::LowerFirst,
        Self::DoubtForgets,
        Self::FenceFirst,
        Self::ChangeAlone,
        Self::CheckAfterChange,
        Self::GivenIsGiven,
        Self::PassOverVoid,
        Self::Linked,
        Self::AskAfterwards,
        Self::BundleWhenRead,
        Self::BundleFirst,
        Self::FirstStays,
        Self::ChangesStay,
        Self::VoidStays,
        Self::OwnBlobs,
    ];
}

/// Which rules are kept: all of them, or all but one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules(Option<Rule>);

impl Rules {
    /// All, as they are kept on real buckets.
    pub const ALL: Self = Self(None);

    /// All but this one, for a test that shows what it is for.
    pub const fn without(rule: Rule) -> Self {
        Self(Some(rule))
    }

    /// Whether a rule is kept.
    pub fn keep(self, rule: Rule) -> bool {
        self.0 != Some(rule)
    }

    /// Whether what a rule is against is there, and the rule is kept.
    pub fn forbid(self, rule: Rule, found: bool) -> bool {
        found && self.keep(rule)
    }
}
