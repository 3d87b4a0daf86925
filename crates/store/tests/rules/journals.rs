//! Damage to agents' files and blobs; the mover; commits that do not belong.

use crate::{
    Case, Verdict, forge,
    history::agent,
    home::{Home, entry, must_fail},
};
use igor_protocol::{Chain, Commit, Epoch, Hash, Seq};
use igor_store::{
    Error,
    disk::{Core, Reader},
};
use std::iter::repeat;

/// A home with a file for an agent, and more commits of it in the log.
fn moved(case: Case) -> Home {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    home.fill(&mut core, repeat(0));
    core.maintain().unwrap();
    home.append(&mut core, 0, 100);
    home
}

/// A home with a file that holds the whole journal of an agent: commits of one entry each, all of the same size.
fn filed(case: Case) -> (Home, Vec<Commit>) {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    for _ in 0..6 {
        home.append(&mut core, 0, 100);
    }
    home.fill(&mut core, repeat(1));
    core.maintain().unwrap();
    let commits = home.journals[&agent(0)].clone();
    (home, commits)
}

/// Puts another commit in the place of one in the file.
fn put(home: &Home, index: usize, commit: &Commit) {
    let frame = forge::frame(commit);
    home.disk.damage(&home.file(0), |bytes| {
        let at = 128 + index * frame.len();
        bytes[at..at + frame.len()].copy_from_slice(&frame);
    });
}

fn read(home: &Home, from: Seq) -> Result<Vec<Commit>, Error> {
    Reader::open_files(home.disk.files())?.read(agent(0), from)?.collect()
}

pub(crate) fn a_short_file(case: Case) -> Verdict {
    let home = moved(case);
    home.disk.damage(&home.only("agents/"), |bytes| bytes.truncate(bytes.len() - 1));
    home.refused()
}

/// Somebody put back an older copy of the log, next to newer files.
pub(crate) fn an_old_log(case: Case) -> Verdict {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    home.append(&mut core, 0, 100);
    let copy: Vec<_> = home.segments().into_iter().map(|name| (home.disk.read(&name).unwrap(), name)).collect();
    home.fill(&mut core, repeat(0));
    home.fill(&mut core, repeat(0));
    core.maintain().unwrap();
    for name in home.segments() {
        home.remove(&name);
    }
    for (bytes, name) in copy {
        home.write(&name, &bytes);
    }
    home.nothing_silent()
}

pub(crate) fn no_log(case: Case) -> Verdict {
    let home = moved(case);
    for name in home.segments() {
        home.remove(&name);
    }
    home.nothing_silent()
}

pub(crate) fn no_file(case: Case) -> Verdict {
    let home = moved(case);
    home.remove(&home.only("agents/"));
    home.refused()
}

pub(crate) fn another_file(case: Case) -> Verdict {
    let home = moved(case);
    home.disk.damage(&home.only("agents/"), |bytes| bytes[11] = 7);
    match read(&home, Seq(0)) {
        Err(Error::OtherVersion { found: 7, known: 1, .. }) => Ok(()),
        other => Err(format!("a file of version 7: {:?}", other.map(drop))),
    }
}

pub(crate) fn a_header(case: Case) -> Verdict {
    let (home, _) = filed(case);
    home.disk.damage(&home.file(0), |bytes| bytes[75] ^= 1);
    must_fail("a file whose header was changed", &read(&home, Seq(0)))
}

pub(crate) fn a_frame(case: Case) -> Verdict {
    let (home, commits) = filed(case);
    let end = 128 + forge::frame(&commits[0]).len();
    home.disk.damage(&home.file(0), |bytes| bytes[end - 1] ^= 1);
    must_fail("a frame of two lengths", &read(&home, Seq(0)))
}

/// The last frame says that it has two entries: who walks back from it comes to the wrong commit.
pub(crate) fn a_wrong_count(case: Case) -> Verdict {
    let (home, commits) = filed(case);
    home.disk.damage(&home.file(0), |bytes| {
        let at = bytes.len() - 5;
        bytes[at] = 2;
    });
    match read(&home, commits[4].first()) {
        Ok(found) if found.first() != Some(&commits[4]) => Err("another commit came than was asked for".into()),
        _ => Ok(()),
    }
}

pub(crate) fn another_branch(case: Case) -> Verdict {
    let (home, commits) = filed(case);
    let start = Chain { head: Hash([9; 32]), ..commits[3].start() };
    put(&home, 3, &Commit::from_encoded(start, vec![entry(start, 100)]));
    must_fail("a commit of another branch", &read(&home, Seq(0)))
}

pub(crate) fn an_old_epoch(case: Case) -> Verdict {
    let (home, _) = filed(case);
    let epoch = |n| Epoch { term: 0, n };
    let first = Commit::from_encoded(Chain { epoch: epoch(2), ..Chain::begin(agent(0)) }, vec![vec![1; 50]]);
    let old = Commit::from_encoded(Chain { epoch: epoch(1), ..first.end() }, vec![vec![2; 50]]);
    let file = forge::agent_file(&[first, old.clone()]);
    home.write(&home.file(0), &file);
    home.disk.damage(&home.newest(), |bytes| {
        forge::segment(bytes, |groups| {
            let watermarks = groups.iter_mut().flat_map(|group| &mut group.records).find(|(kind, _)| *kind == 2);
            let mut entries = watermarks.unwrap().1[8..].chunks_mut(104);
            let entry = entries.find(|entry| entry.starts_with(agent(0).as_bytes())).unwrap();
            forge::watermark(entry, old.end(), file.len() as u64);
        });
    });
    match read(&home, Seq(0)) {
        Err(e) if !e.to_string().contains("an epoch of the past") => Err(format!("it is refused, but with: {e}")),
        read => must_fail("a file that goes back in epochs", &read),
    }
}

pub(crate) fn another_end(case: Case) -> Verdict {
    let (home, commits) = filed(case);
    put(&home, 5, &Commit::from_encoded(commits[5].start(), vec![vec![b'!'; 100]]));
    must_fail("a last commit of another branch", &read(&home, Seq(0)))
}

pub(crate) fn a_blob(case: Case) -> Verdict {
    let home = Home::new(case, 1);
    let core = home.open();
    let hash = core.put_blob(&[7; 100]).unwrap();
    home.disk.damage(&home.only("blobs/"), |bytes| bytes[50] ^= 1);
    must_fail("a damaged blob", &core.get_blob(hash, 1000))
}

pub(crate) fn a_local_value(case: Case) -> Verdict {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    core.stage_local("value", &[7; 100]).unwrap();
    home.fill(&mut core, repeat(0));
    core.maintain().unwrap();
    assert_eq!(core.get_local("value").unwrap(), Some(vec![7; 100]));
    home.disk.damage(&home.only("local/"), |bytes| bytes[50] ^= 1);
    must_fail("a damaged local value", &core.get_local("value"))
}

pub(crate) fn moving_without_a_commit(case: Case) -> Verdict {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    home.fill(&mut core, repeat(0));
    home.disk.damage(&home.segments()[0], |bytes| {
        forge::segment(bytes, |groups| groups[1].records.clear());
    });
    must_fail("a segment without one of its commits", &core.maintain())
}

pub(crate) fn moving_without_a_group(case: Case) -> Verdict {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    home.fill(&mut core, repeat(0));
    home.disk.damage(&home.segments()[0], |bytes| {
        let last = forge::groups(bytes).pop().unwrap().at;
        bytes[last..].fill(0);
    });
    must_fail("a segment without its last group", &core.maintain())
}

pub(crate) fn append_to_nothing(case: Case) -> Verdict {
    let mut home = Home::new(case, 1);
    let mut core = home.open();
    home.next(0, 100);
    must_fail("the second commit of a journal without a first", &core.stage(&home.next(0, 100)))
}

/// Appends an epoch-2 commit, then one that `change` makes of the chain behind it.
fn append(case: Case, what: &str, change: impl FnOnce(Chain) -> Chain) -> Verdict {
    let mut core: Core = Home::new(case, 1).open();
    let first =
        Commit::from_encoded(Chain { epoch: Epoch { term: 0, n: 2 }, ..Chain::begin(agent(0)) }, vec![vec![1; 50]]);
    core.stage(&first).unwrap();
    must_fail(what, &core.stage(&Commit::from_encoded(change(first.end()), vec![vec![2; 50]])))
}

pub(crate) fn append_in_an_old_epoch(case: Case) -> Verdict {
    append(case, "a commit in an epoch of the past", |end| Chain { epoch: Epoch { term: 0, n: 1 }, ..end })
}

pub(crate) fn append_elsewhere(case: Case) -> Verdict {
    append(case, "a commit that links to another head", |end| Chain { head: Hash([9; 32]), ..end })?;
    append(case, "a commit at another position", |end| Chain { next: end.next.next(), ..end })
}
