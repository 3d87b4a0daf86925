//! What the store holds back until something else is durable, and what it compares before it believes it.
//!
//! Invariant kept here: on files that do not say otherwise, every rule is kept.
//!
//! A rule that no test needs is either useless or untested. So each has a name here, [`Files`](super::Files) says
//! which are kept, and a test leaves out one at a time and shows what goes wrong (`tests/rules`; the syncs are left
//! out in `tests/crash.rs`). Only a simulated disk can leave one
//! out: it comes with the files and not with a feature or an option, so what is tested is the program that ships, and
//! nothing that a user sets can reach it. In production a kept rule costs the comparison of one byte.

/// Something that the store does in a certain order, or compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// Readers see a commit only after its sync.
    PublishAfterSync,
    /// A commit is acknowledged only after its sync.
    AcknowledgeAfterSync,
    /// A blob is acknowledged, so that an entry may name it, only after the sync of its name.
    BlobAfterName,
    /// Segments are dropped only when the log says durably that the agent files have their commits.
    WatermarksBeforeDrop,
    /// Segments are dropped only when the local values that they have are durable in files.
    ValuesBeforeDrop,
    /// What a restart found at the end of the log is written again before it is believed.
    RepeatBeforeBelief,
    /// The mark that goes with a group names the one before it, which is durable.
    MarkOfTheGroupBefore,
    /// After a failed sync everything is refused.
    RefuseAfterFailure,
    /// Commits are copied to the place in the agent's file where the log says that it ends.
    CopyInPlace,
    /// A file is given its name only when it is whole.
    NameWhenWhole,
    /// The file of a journal goes only when the journal's removal is durable.
    FileAfterRemoval,

    /// The version of a home.
    HomeFormat,
    /// A home without its format file is not made anew over what it has.
    FormatMissing,
    /// The version of a segment.
    SegmentVersion,
    /// A segment's header, by its checksum.
    SegmentHeader,
    /// A segment's length.
    SegmentLength,
    /// A group's tag: guests, who cannot know it, cannot forge a group.
    GroupTag,
    /// A group's count and length, by their checksum.
    GroupHeader,
    /// A group, by its hash.
    GroupHash,
    /// A group follows the one before it in its segment.
    GroupLink,
    /// A segment's first group follows the last one of the segment before.
    SegmentLink,
    /// A segment's first group is the last one of the segment before, written again.
    RepeatedGroup,
    /// No whole group comes after one that is not.
    LaterGroup,
    /// Nothing but zeros comes after a torn group.
    ZerosBehind,
    /// A mark, by its checksum.
    MarkCheck,
    /// The log reaches the group that a mark names.
    Mark,
    /// The log begins where the watermarks end.
    Covered,
    /// A commit in the log links to the agent's commit before it.
    CommitLink,
    /// Its epoch is not of the past.
    CommitEpoch,
    /// The log goes on at the position and the hash that the watermarks have.
    WatermarkLink,
    /// It goes on in the epoch that they have, or a later one.
    WatermarkEpoch,
    /// An agent's file has the bytes that the watermarks promise.
    FileShorter,
    /// It has no more than the log explains.
    FileLonger,
    /// It belongs to an agent that the log knows.
    FileUnknown,
    /// It is there if the watermarks name it.
    FileMissing,
    /// The version of an agent's file.
    FileVersion,
    /// Its header, by its checksum.
    FileHeader,
    /// The two lengths of a frame are the same.
    FrameLengths,
    /// A commit that is read is of the agent and the position that were asked for.
    ReadPosition,
    /// It links to the one read before.
    ReadLink,
    /// Its epoch is not of the past.
    ReadEpoch,
    /// The last one that is read ends where the journal ends.
    ReadEnd,
    /// A blob has the hash that is its name.
    BlobHash,
    /// A local value, by the checksum of its file.
    ValueCheck,
    /// Watermarks say nothing of a journal that was removed after the groups that they cover.
    WatermarkRemoved,
    /// The mover copies commits of the journal that is there, and none of one that was removed.
    MoverRecent,
    /// What a file holds is said of the journal that it was copied from, and not of the one that came after.
    MoverBorn,
    /// The mover copies only commits that link.
    MoverLink,
    /// The mover finds every group that was in a segment.
    MoverReached,
    /// A journal begins at its beginning.
    AppendBegin,
    /// An append has the journal's epoch or a later one.
    AppendEpoch,
    /// An append starts at the position and the hash where the journal ends.
    AppendLink,
}

/// Which rules are kept: all of them, or all but one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules(Option<Rule>);

impl Rules {
    /// All, as they are kept on real files.
    pub const ALL: Self = Self(None);

    /// All but this one, for a test that shows what it is for.
    pub const fn without(rule: Rule) -> Self {
        Self(Some(rule))
    }

    /// Whether a rule is kept.
    pub(crate) fn keep(self, rule: Rule) -> bool {
        self.0 != Some(rule)
    }

    /// Whether what a rule is against is there, and the rule is kept.
    pub(crate) fn forbid(self, rule: Rule, found: bool) -> bool {
        found && self.keep(rule)
    }
}
