//! Bits and blocks that a disk lost: reported, or harmless, but never a journal that is silently shorter.
#![allow(clippy::unwrap_used)]

mod machine;

use igor_protocol::{AgentId, Chain, Commit, Epoch, Hash, Seq};
use igor_store::{
    Error,
    disk::{Core, Reader},
    files::RealFiles,
};
use machine::{agent, next, read_all, small};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Everything that a home shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    journals: BTreeMap<AgentId, Vec<Commit>>,
    blob: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
}

struct Home {
    directory: tempfile::TempDir,
    blob: Hash,
    shown: Shown,
    /// What it shows if the last group counts as never written.
    without_last: Shown,
}

impl Home {
    /// A home with several segments, agent files, a journal that was removed and one that was begun anew, a blob and a
    /// local value. Its last group is closed, or it is not.
    fn make(closed: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut core = Core::open(Arc::new(RealFiles::new(directory.path())), &small()).unwrap();
        let blob = core.put_blob(&[7; 500]).unwrap();
        core.stage_local("names", b"some").unwrap();
        let mut chains: Vec<_> = (0..3).map(|n| Chain::begin(agent(n))).collect();
        let mut round = |core: &mut Core, bytes: usize| {
            for chain in &mut chains {
                core.stage(&next(chain, bytes)).unwrap();
            }
            core.flush().unwrap();
        };
        let mut removed = [8, 9].map(|n| Chain::begin(agent(n)));
        let mut anew = Chain { epoch: Epoch { term: 1, n: 0 }, ..Chain::begin(agent(9)) };
        for i in 0..70 {
            for chain in removed.iter_mut().filter(|_| i < 10) {
                core.stage(&next(chain, 300)).unwrap();
            }
            if i > 50 {
                core.stage(&next(&mut anew, 300)).unwrap();
            }
            round(&mut core, 400);
            if i == 40 {
                for chain in removed {
                    core.stage_removal(chain.agent).unwrap();
                }
                core.flush().unwrap();
                core.maintain().unwrap();
            }
        }
        let without_last = show(directory.path(), blob).unwrap();
        round(&mut core, 100);
        if closed {
            core.close_idle().unwrap();
        }
        let shown = show(directory.path(), blob).unwrap();
        assert_ne!(shown, without_last);
        Self { directory, blob, shown, without_last }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for directory in ["log", "agents", "blobs", "local"] {
            let entries = fs::read_dir(self.directory.path().join(directory)).unwrap();
            files.extend(entries.map(|entry| entry.unwrap().path()));
        }
        files.sort();
        assert!(files.len() >= 8, "{files:?}");
        files
    }

    fn newest_segment(&self) -> PathBuf {
        let used = |path: &PathBuf| fs::read(path).unwrap()[256..].iter().any(|byte| *byte != 0);
        self.files().into_iter().filter(|path| path.parent().unwrap().ends_with("log")).rfind(used).unwrap()
    }

    /// Changes a file, looks, and changes it back.
    fn with(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<Shown, Error> {
        let good = fs::read(path).unwrap();
        let mut bad = good.clone();
        change(&mut bad);
        // In place: file systems flush a file that is emptied and written anew, and this happens very often.
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        let put = |bytes: &[u8]| {
            file.set_len(bytes.len() as u64).unwrap();
            file.write_all_at(bytes, 0).unwrap();
        };
        put(&bad);
        let shown = show(self.directory.path(), self.blob);
        put(&good);
        shown
    }

    /// The change is reported, or nothing is missing, or it was the last group that was not closed.
    fn check(&self, path: &Path, what: &str, closed: bool, change: impl FnOnce(&mut Vec<u8>)) {
        if let Ok(shown) = self.with(path, change) {
            let torn = !closed && shown == self.without_last;
            assert!(shown == self.shown || torn, "{} {what}: silently lost", path.display());
        }
    }
}

fn show(home: &Path, blob: Hash) -> Result<Shown, Error> {
    let reader = Reader::open(home)?;
    let mut journals = BTreeMap::new();
    for agent in reader.list() {
        journals.insert(agent, read_all(reader.read(agent, Seq(0)))?);
    }
    // A name that is not one of the store's is no local value; that one is gone then, which its owner sees.
    Ok(Shown { journals, blob: reader.get_blob(blob, 1000)?, local: reader.get_local("names")? })
}

#[test]
fn flipped_bits_are_reported_or_harmless() {
    for closed in [true, false] {
        let home = Home::make(closed);
        for path in home.files() {
            let length = fs::metadata(&path).unwrap().len();
            let step = if length > 20_000 { 149 } else { 61.min(1 + length / 8) };
            for at in (0..length).step_by(usize::try_from(step).unwrap()).map(|at| usize::try_from(at).unwrap()) {
                home.check(&path, &format!("bit at {at}"), closed, |bytes| bytes[at] ^= 1 << (at % 8));
            }
        }
    }
}

#[test]
fn every_bit_of_the_end_of_a_closed_log_is_guarded() {
    let home = Home::make(true);
    let path = home.newest_segment();
    let end = fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    for at in end.saturating_sub(700)..=end {
        home.check(&path, &format!("bit at {at}"), true, |bytes| bytes[at] ^= 1 << (at % 8));
    }
}

#[test]
fn truncated_files_are_reported() {
    let home = Home::make(false);
    for path in home.files() {
        let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        for keep in [0, 1, 63, 127, 128, 300, length / 2, length - 1] {
            let shown = home.with(&path, |bytes| bytes.truncate(keep.min(length - 1)));
            assert!(shown.is_err(), "{} cut to {keep} of {length} bytes", path.display());
        }
    }
}

#[test]
fn zeroed_blocks_are_reported_or_the_torn_end() {
    for closed in [true, false] {
        let home = Home::make(closed);
        for path in home.files() {
            let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
            for at in (0..length).step_by(512).filter(|_| length > 4096) {
                let zero = |bytes: &mut Vec<u8>| bytes[at..(at + 512).min(length)].fill(0);
                home.check(&path, &format!("zeros at {at}"), closed, zero);
            }
        }
    }
}

/// A disk that lost its newest writes shows zeros to the end of the file. The mark remembers better.
#[test]
fn zeros_to_the_end_of_a_closed_log_are_reported() {
    let home = Home::make(true);
    let path = home.newest_segment();
    let end = fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    for from in (256..end).step_by(64) {
        home.check(&path, &format!("zeros from {from}"), true, |bytes| bytes[from..].fill(0));
    }
    let shown = home.with(&path, |bytes| bytes[256..].fill(0));
    assert!(matches!(shown, Err(Error::Damaged { .. })), "{shown:?}");
}

#[test]
fn a_missing_file_is_reported() {
    let home = Home::make(true);
    for path in home.files() {
        let kind = path.parent().unwrap().file_name().unwrap().to_owned();
        let bytes = fs::read(&path).unwrap();
        let spare = kind == "log" && bytes[256..].iter().all(|byte| *byte == 0);
        // A blob that is not there is one that was never put; whoever needs it says so.
        if kind == "blobs" || kind == "local" || spare || path == home.newest_segment() {
            continue;
        }
        fs::remove_file(&path).unwrap();
        let shown = show(home.directory.path(), home.blob);
        fs::write(&path, &bytes).unwrap();
        assert!(shown.is_err(), "{}", path.display());
    }
}

/// An error says whose journal, where, in which file, and what to do.
#[test]
fn damage_names_agent_position_and_file() {
    let home = Home::make(true);
    let path = home.files().into_iter().find(|path| path.parent().unwrap().ends_with("agents")).unwrap();
    let error = home.with(&path, |bytes| bytes[400] ^= 1).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Corrupt { seq: Seq(0), .. }), "{text}");
    assert!(text.starts_with("agent igor1") && text.contains(path.to_str().unwrap()), "{text}");
    assert!(text.ends_with("restore this file from a copy"), "{text}");
}

/// Also where the log as a whole is damaged by it: a journal's changed entry is named, in a log that is closed.
#[test]
fn a_changed_entry_is_named_wherever_it_is() {
    let home = Home::make(true);
    let (mut in_log, mut in_file) = (0, 0);
    for path in home.files() {
        let whole = fs::read(&path).unwrap();
        for commit in home.shown.journals.values().flatten().step_by(3) {
            let bytes = commit.encode();
            let Some(at) = whole.windows(bytes.len()).position(|window| window == bytes) else { continue };
            let ended = at + bytes.len() - 34;
            let error = home.with(&path, |bytes| bytes[ended - 1] ^= 1).unwrap_err();
            let last = Seq(commit.next().0 - 1);
            let named = matches!(&error, Error::Corrupt { agent, seq, .. } if (*agent, *seq) == (commit.agent(), last));
            assert!(named, "{}: {error}, not {last}", path.display());
            *(if path.parent().unwrap().ends_with("log") { &mut in_log } else { &mut in_file }) += 1;
        }
    }
    assert!(in_log > 10 && in_file > 10, "{in_log} in the log, {in_file} in files");
}

#[test]
fn a_home_of_another_version_is_refused_with_both_versions() {
    let home = Home::make(true);
    let format = home.directory.path().join("format");
    fs::write(&format, "igor-home 7\n").unwrap();
    let error = Reader::open(home.directory.path()).map(drop).unwrap_err();
    assert!(matches!(error, Error::OtherVersion { found: 7, known: 1, .. }), "{error}");
    let error = igor_store::disk::Disk::open(home.directory.path(), &small()).map(drop).unwrap_err().to_string();
    assert!(error.contains("has format 7, this igor writes format 1"), "{error}");
    // Nothing that came back from another time is overwritten.
    fs::remove_file(&format).unwrap();
    let error = igor_store::disk::Disk::open(home.directory.path(), &small()).map(drop).unwrap_err();
    assert!(matches!(error, Error::NotAHome { .. }), "{error}");
}
