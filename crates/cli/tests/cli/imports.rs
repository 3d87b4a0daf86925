//! What `import` keeps, and what it leaves behind where it keeps nothing.

use crate::home::{Home, STRATEGY};
use igor_protocol::{
    Hash,
    archive::{self, Frame, Parser, Writer},
};
use std::{collections::BTreeMap, fs, path::Path};

fn exported(home: &Home, name: &str) -> String {
    let file = home.beside(name);
    home.get(&["export", "s", "--out", &file]);
    file
}

/// A file with other blobs: those of `file` that are kept, and more.
fn with_blobs(file: &str, to: &str, keep: impl Fn(Hash) -> bool, more: &[Vec<u8>]) {
    let (mut writer, mut out) = Writer::begin();
    for blob in more {
        for part in archive::parts(Hash::of_blob(blob), blob) {
            out.extend(writer.part(&part));
        }
    }
    let mut parser = Parser::default();
    parser.feed(&fs::read(file).expect("the file is there"));
    while let Some(frame) = parser.next().expect("the file is whole") {
        match frame {
            Frame::Blob(part) if !keep(part.hash) => {}
            Frame::Blob(part) => out.extend(writer.part(&part)),
            Frame::Commit(commit) => out.extend(writer.commit(&commit)),
        }
    }
    out.extend(writer.finish());
    fs::write(to, out).expect("it can be written");
}

/// All that a home keeps of agents, by path.
fn kept(home: &Home) -> BTreeMap<String, Vec<u8>> {
    fn add(folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for path in fs::read_dir(folder).expect("it can be listed").map(|file| file.expect("a file").path()) {
            if path.is_dir() {
                add(&path, files);
            } else {
                files.insert(path.display().to_string(), fs::read(&path).expect("it can be read"));
            }
        }
    }
    let mut files = BTreeMap::new();
    for folder in ["blobs", "archives", "local"] {
        add(&home.path().join(folder), &mut files);
    }
    files
}

#[test]
fn an_archive_has_one_name() {
    let home = Home::with_strategy(2);
    let file = exported(&home, "s.igor");
    let elsewhere = Home::new();
    elsewhere.get(&["import", &file, "--name", "old"]);
    let before = kept(&elsewhere);
    elsewhere.fails(&["import", &file, "--name", "older"], 3, &["kept here already, as old"]);
    assert_eq!(kept(&elsewhere), before);
    elsewhere.fails(&["show", "older"], 1, &["older"]);
    for args in [&["import", &file, "--name", "old"][..], &["import", &file]] {
        assert_eq!(elsewhere.get(args)["name"], "old");
        assert_eq!(kept(&elsewhere), before, "there was nothing to do");
    }
}

#[test]
fn a_name_left_over_from_a_crash_is_given_up() {
    let home = Home::with_strategy(1);
    let file = exported(&home, "s.igor");
    let elsewhere = Home::new();
    elsewhere.get(&["import", &file, "--name", "old"]);
    // As after a crash right before the journal was there.
    for archive in fs::read_dir(elsewhere.path().join("archives")).expect("it is there") {
        fs::remove_file(archive.expect("a file").path()).expect("it can be removed");
    }
    elsewhere.get(&["import", &file, "--name", "new"]);
    let names = kept(&elsewhere).into_keys().filter(|path| path.contains("/name-")).count();
    assert_eq!((names, elsewhere.get(&["show", "new"])["status"].as_str()), (1, Some("archived")));
}

#[test]
fn only_what_the_journal_names_is_kept() {
    let home = Home::with_strategy(2);
    let file = exported(&home, "s.igor");
    let padded = home.beside("padded.igor");
    let stray = b"nobody names this".to_vec();
    with_blobs(&file, &padded, |_| true, std::slice::from_ref(&stray));
    let elsewhere = Home::new();
    elsewhere.get(&["import", &padded]);
    assert!(!kept(&elsewhere).values().any(|bytes| *bytes == stray));
    let again = elsewhere.beside("again.igor");
    elsewhere.get(&["export", "s", "--out", &again]);
    assert_eq!(fs::read(again).ok(), fs::read(file).ok());
}

#[test]
fn what_is_refused_leaves_no_home() {
    let home = Home::with_strategy(2);
    let file = exported(&home, "s.igor");
    let program = Hash::of_blob(&fs::read(STRATEGY).expect("the strategy is there"));
    let without = home.beside("without.igor");
    with_blobs(&file, &without, |hash| hash != program, &[]);
    let elsewhere = Home::new();
    elsewhere.fails(&["import", &without], 4, &[&program.to_string(), "missing"]);
    elsewhere.fails(&["import", &file, "--name", "../s"], 3, &["letters"]);
    elsewhere.fails(&["import", &file, "--quota", "0"], 2, &["--quota"]);
    assert!(!elsewhere.path().exists(), "nothing is left behind");
}

#[test]
fn what_is_refused_leaves_a_home_as_it_was() {
    let home = Home::with_strategy(2);
    let early = exported(&home, "early.igor");
    home.get(&["run", STRATEGY, "--name", "s", "--interval", "1ms", "--ticks", "1"]);
    let late = exported(&home, "late.igor");
    let with_s = Home::with_strategy(1);
    let archive = Home::new();
    archive.get(&["import", &late]);
    for (home, file, words) in
        [(&home, &early, "lives here"), (&with_s, &late, "belongs to"), (&archive, &early, "has more than the file")]
    {
        let before = kept(home);
        home.fails(&["import", file], 3, &[words]);
        assert_eq!(kept(home), before, "{words}");
    }
    // A node has the home, and stays.
    let mut actor = with_s.run(&[STRATEGY, "--name", "s", "--interval", "10ms"]);
    with_s.fails(&["import", &late, "--name", "other"], 3, &["in use by process"]);
    actor.kill().expect("it can be killed");
}
