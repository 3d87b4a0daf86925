//! Damage to the log, and to what says which log it is.

use crate::{
    Case, Verdict, forge,
    history::agent,
    home::{Home, must_fail},
};
use igor_protocol::{Chain, Commit, Epoch};
use igor_store::{
    Error,
    disk::{Core, Reader},
};

/// A home whose log has a group for each of these agents.
fn groups(case: Case, agents: &[u64]) -> Home {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    for n in agents {
        home.append(&mut core, *n, 300);
    }
    home
}

/// A home whose log has several segments. No agent has two commits, so only the log itself knows what is missing.
fn segments(case: Case) -> Home {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    let mut agents = 0..;
    for _ in 0..3 {
        home.fill(&mut core, &mut agents);
    }
    home
}

/// Three agents whose first commits are in their files, by the watermarks, and whose later ones are in the log.
fn moved(case: Case) -> Home {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    for n in 0..3 {
        home.fill(&mut core, std::iter::repeat(n));
    }
    core.maintain().unwrap();
    for n in 0..3 {
        home.append(&mut core, n, 100);
    }
    home
}

fn change(home: &Home, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    home.disk.damage(name, change);
}

/// Where the group of this index in the newest segment is.
fn at(home: &Home, index: usize) -> std::ops::Range<usize> {
    let group = &forge::groups(&home.disk.read(&home.newest()).unwrap())[index];
    group.at..group.end()
}

pub(crate) fn another_home(case: Case) -> Verdict {
    let home = groups(case, &[0]);
    home.write("format", b"igor-home 7\n");
    match Reader::open_files(home.disk.files()).map(drop) {
        Err(Error::OtherVersion { found: 7, known: 1, .. }) => Ok(()),
        other => Err(format!("a home of version 7: {other:?}")),
    }
}

pub(crate) fn no_format(case: Case) -> Verdict {
    let home = groups(case, &[0]);
    home.remove("format");
    must_fail("a home without its format", &Core::open(home.disk.files(), &home.options))
}

pub(crate) fn another_segment(case: Case) -> Verdict {
    let home = groups(case, &[0]);
    change(&home, &home.newest(), |bytes| bytes[11] = 7);
    match Reader::open_files(home.disk.files()).map(drop) {
        Err(Error::OtherVersion { found: 7, known: 1, .. }) => Ok(()),
        other => Err(format!("a segment of version 7: {other:?}")),
    }
}

pub(crate) fn a_header(case: Case) -> Verdict {
    let home = groups(case, &[0]);
    change(&home, &home.newest(), |bytes| bytes[12] ^= 1);
    home.refused()
}

pub(crate) fn a_longer_segment(case: Case) -> Verdict {
    let home = groups(case, &[0]);
    change(&home, &home.newest(), |bytes| bytes.extend([0; 512]));
    home.refused()
}

/// A guest writes what looks like groups. When the write is torn, they must not make it look like damage.
pub(crate) fn a_forged_group(case: Case) -> Verdict {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    home.append(&mut core, 0, 100);
    // Wherever the guest's bytes come to lie, one of these begins at a multiple of 8.
    let mut image = forge::group([9; 8], 2, [3; 32], &[]);
    image.push(0);
    assert_eq!(image.len() % 8, 1);
    let start = Chain::begin(agent(1));
    let commit = Commit::from_encoded(start, vec![image.repeat(8)]);
    core.stage(&commit).unwrap();
    core.flush().unwrap();
    home.journals.insert(agent(1), vec![commit]);
    let torn = at(&home, 1);
    change(&home, &home.newest(), |bytes| bytes[torn.start..torn.start + 88].fill(0));
    home.torn(1)
}

/// A write of several sectors, of which the one with the group's length did not arrive, but the one behind it did.
pub(crate) fn a_torn_header(case: Case) -> Verdict {
    let mut home = Home::new(case, 1);
    home.options.segment_bytes_first = 1 << 20;
    let mut core = home.open();
    let torn = (0..).find_map(|i: usize| {
        home.append(&mut core, 0, 1200 + 8 * (i % 13));
        let last = forge::groups(&home.disk.read(&home.newest()).unwrap()).pop().unwrap();
        (last.at % 512 == 496).then_some(last.at + 16)
    });
    let torn = torn.unwrap();
    change(&home, &home.newest(), |bytes| bytes[torn..torn + 512].fill(0));
    home.torn(0)
}

pub(crate) fn a_torn_group(case: Case) -> Verdict {
    let home = groups(case, &[0, 1]);
    let torn = at(&home, 1);
    change(&home, &home.newest(), |bytes| bytes[torn.end - 60] ^= 1);
    home.torn(1)
}

/// The disk put the third group where the second was.
pub(crate) fn a_lost_group(case: Case) -> Verdict {
    let home = groups(case, &[0, 1, 0]);
    let (second, third) = (at(&home, 1), at(&home, 2));
    change(&home, &home.newest(), |bytes| {
        bytes.copy_within(third.clone(), second.start);
        bytes[second.start + third.len()..].fill(0);
    });
    home.nothing_silent()
}

pub(crate) fn a_lost_segment(case: Case) -> Verdict {
    let home = segments(case);
    home.remove(&home.segments()[1]);
    home.nothing_silent()
}

pub(crate) fn a_damaged_header(case: Case) -> Verdict {
    let home = groups(case, &[0, 1, 2]);
    let second = at(&home, 1);
    change(&home, &home.newest(), |bytes| bytes[second.start..second.start + 88].fill(0xff));
    home.nothing_silent()
}

pub(crate) fn two_damaged_groups(case: Case) -> Verdict {
    let home = groups(case, &[0, 1, 2]);
    let (second, third) = (at(&home, 1), at(&home, 2));
    change(&home, &home.newest(), |bytes| {
        bytes[second.end - 60] ^= 1;
        bytes[third.end - 60] ^= 1;
    });
    home.nothing_silent()
}

/// A mark that is damaged says nothing; nothing else is wrong with the home.
pub(crate) fn a_damaged_mark(case: Case) -> Verdict {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    home.append(&mut core, 0, 100);
    core.close_idle().unwrap();
    change(&home, &home.newest(), |bytes| {
        let mark = if bytes[64..112].iter().any(|byte| *byte != 0) { 64 } else { 128 };
        bytes[mark + 3] ^= 1;
    });
    match home.shown() {
        Ok(shown) if shown == home.journals => Ok(()),
        other => Err(format!("a damaged mark was believed: {:?}", other.map(drop))),
    }
}

pub(crate) fn a_lost_end(case: Case) -> Verdict {
    let mut home = groups(case, &[0, 1]);
    let mut core = home.open();
    home.append(&mut core, 2, 100);
    core.close_idle().unwrap();
    change(&home, &home.newest(), |bytes| bytes[256..].fill(0));
    home.nothing_silent()
}

pub(crate) fn a_lost_beginning(case: Case) -> Verdict {
    let home = segments(case);
    home.remove(&home.segments()[0]);
    home.nothing_silent()
}

/// The log has groups and hashes that are right around commits that are not.
fn forged(home: &Home, change: impl FnOnce(&mut Vec<forge::Group>)) -> Verdict {
    home.disk.damage(&home.newest(), |bytes| forge::segment(bytes, change));
    home.refused()
}

pub(crate) fn a_lost_commit(case: Case) -> Verdict {
    let home = groups(case, &[0, 0, 0]);
    forged(&home, |groups| drop(groups.remove(1)))
}

pub(crate) fn an_old_commit(case: Case) -> Verdict {
    let home = Home::new(case, 1);
    let mut core = home.open();
    let epoch = |n| Epoch { term: 0, n };
    let first = Commit::from_encoded(Chain { epoch: epoch(2), ..Chain::begin(agent(0)) }, vec![vec![1; 50]]);
    let second = Commit::from_encoded(first.end(), vec![vec![2; 50]]);
    let old = Commit::from_encoded(Chain { epoch: epoch(1), ..first.end() }, vec![vec![2; 50]]);
    for commit in [&first, &second] {
        core.stage(commit).unwrap();
        core.flush().unwrap();
    }
    forged(&home, |groups| groups[1].records = vec![(1, old.encode())])
}

/// Changes the entry of the last agent in the watermarks.
fn forged_watermarks(case: Case, change: impl FnOnce(&mut [u8])) -> Verdict {
    let home = moved(case);
    forged(&home, |groups| {
        let watermarks = groups.iter_mut().flat_map(|group| &mut group.records).find(|(kind, _)| *kind == 2);
        let (_, content) = watermarks.unwrap();
        change(content.last_chunk_mut::<104>().unwrap());
    })
}

pub(crate) fn another_head(case: Case) -> Verdict {
    forged_watermarks(case, |entry| entry[60] ^= 1)
}

pub(crate) fn a_later_epoch(case: Case) -> Verdict {
    forged_watermarks(case, |entry| entry[55] = 9)
}
