//! Each rule of the store, left out, breaks something that a test sees, and nothing is wrong while it is kept.
#![allow(clippy::unwrap_used)]

mod forge;
#[path = "../history/mod.rs"]
#[allow(dead_code)] // the other tests use the rest
mod history;
mod holds;
mod home;
mod journals;
mod log;
mod removals;

use history::Violation;
use igor_sim::files::SimDisk;
use igor_store::files::Rule;

/// Which rule the store leaves out, if any.
#[derive(Clone, Copy)]
struct Case(Option<Rule>);

impl Case {
    fn disk(self, seed: u64) -> SimDisk {
        let disk = SimDisk::new(seed);
        self.apply(&disk);
        disk
    }

    fn apply(self, disk: &SimDisk) {
        if let Some(rule) = self.0 {
            disk.leave_out(rule);
        }
    }
}

/// What a scenario finds: nothing, or what went wrong.
type Verdict = Result<(), Violation>;

fn show(rule: Rule, scenario: fn(Case) -> Verdict) {
    if let Err(violation) = scenario(Case(None)) {
        panic!("{rule:?} is kept, and yet: {violation}");
    }
    match scenario(Case(Some(rule))) {
        Ok(()) => panic!("nothing goes wrong without {rule:?}"),
        Err(violation) => eprintln!("without {rule:?}: {violation}"),
    }
}

/// One test a rule. A rule without a test does not compile.
macro_rules! rules {
    ($($rule:ident: $test:ident => $scenario:path;)*) => {
        const _: fn(Rule) = |rule| match rule {
            $(Rule::$rule => (),)*
        };
        $(#[test]
        fn $test() {
            show(Rule::$rule, $scenario);
        })*
    };
}

rules! {
    PublishAfterSync: readers_see_only_what_is_durable => holds::random_crashes;
    AcknowledgeAfterSync: a_commit_is_acknowledged_after_its_sync => holds::a_commit_whose_sync_fails;
    BlobAfterName: a_blob_is_acknowledged_after_its_name => holds::a_blob_before_a_power_cut;
    WatermarksBeforeDrop: a_segment_is_dropped_after_the_watermarks => holds::random_crashes;
    ValuesBeforeDrop: a_segment_is_dropped_after_its_local_values => holds::random_crashes;
    RepeatBeforeBelief: the_end_is_written_again_before_it_is_believed => holds::random_crashes;
    MarkOfTheGroupBefore: a_mark_names_what_is_durable => holds::random_crashes;
    RefuseAfterFailure: a_failed_sync_is_the_last => holds::a_write_after_a_failed_sync;
    CopyInPlace: a_copy_can_be_made_again => holds::random_crashes;
    NameWhenWhole: a_file_has_its_name_when_it_is_whole => holds::random_crashes;
    FileAfterRemoval: a_file_goes_after_the_removal_of_its_journal => holds::random_crashes;

    HomeFormat: another_version_of_a_home => log::another_home;
    FormatMissing: a_home_without_its_format => log::no_format;
    SegmentVersion: another_version_of_a_segment => log::another_segment;
    SegmentHeader: a_bit_in_a_segments_header => log::a_header;
    SegmentLength: a_segment_of_another_length => log::a_longer_segment;
    GroupTag: a_guest_that_forges_groups => log::a_forged_group;
    GroupHeader: a_torn_groups_length => log::a_torn_header;
    GroupHash: a_torn_groups_content => log::a_torn_group;
    GroupLink: a_group_that_is_gone => log::a_lost_group;
    SegmentLink: a_segment_that_is_gone => log::a_lost_segment;
    RepeatedGroup: a_group_that_was_written_again => holds::random_crashes;
    LaterGroup: a_damaged_group_with_a_whole_one_behind => log::a_damaged_header;
    ZerosBehind: a_damaged_group_with_another_behind => log::two_damaged_groups;
    MarkCheck: a_bit_in_a_mark => log::a_damaged_mark;
    Mark: a_log_that_lost_its_end => log::a_lost_end;
    Covered: a_log_that_lost_its_beginning => log::a_lost_beginning;
    CommitLink: a_commit_that_is_gone => log::a_lost_commit;
    CommitEpoch: a_commit_of_the_past => log::an_old_commit;
    WatermarkLink: watermarks_with_another_head => log::another_head;
    WatermarkEpoch: watermarks_with_a_later_epoch => log::a_later_epoch;

    FileShorter: a_file_cut_short => journals::a_short_file;
    FileLonger: a_log_from_a_backup => journals::an_old_log;
    FileUnknown: an_agents_file_without_a_log => journals::no_log;
    FileMissing: an_agents_file_that_is_gone => journals::no_file;
    FileVersion: another_version_of_a_file => journals::another_file;
    FileHeader: a_bit_in_a_files_header => journals::a_header;
    FrameLengths: a_frame_of_two_lengths => journals::a_frame;
    ReadPosition: a_frame_that_miscounts => journals::a_wrong_count;
    ReadLink: a_commit_of_another_branch => journals::another_branch;
    ReadEpoch: a_file_that_goes_back_in_epochs => journals::an_old_epoch;
    ReadEnd: a_last_commit_of_another_branch => journals::another_end;
    BlobHash: a_bit_in_a_blob => journals::a_blob;
    ValueCheck: a_bit_in_a_local_value => journals::a_local_value;
    WatermarkRemoved: watermarks_of_a_journal_that_was_removed => holds::random_crashes;
    MoverRecent: moving_beside_a_removal => holds::random_crashes;
    MoverBorn: a_removal_while_commits_are_moved => holds::random_crashes;
    MoverLink: a_commit_lost_before_it_was_moved => journals::moving_without_a_commit;
    MoverReached: a_group_lost_before_it_was_moved => journals::moving_without_a_group;
    AppendBegin: appending_to_nothing => journals::append_to_nothing;
    AppendEpoch: appending_without_custody => journals::append_in_an_old_epoch;
    AppendLink: appending_somewhere_else => journals::append_elsewhere;
}
