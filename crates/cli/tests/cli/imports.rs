//! What `import` keeps, and what it leaves behind where it keeps nothing.

use crate::home::{Home, STRATEGY};
use igor_protocol::{
    Hash,
    archive::{self, Frame, Parser, Writer},
};
use igor_store::{
    disk::{Core, Options, Reader},
    files::RealFiles,
};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

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

/// All that a home keeps of agents: files by path, and what it shows of them.
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
    add(&home.path().join("blobs"), &mut files);
    files.extend(values(home));
    for agent in home.ask(&["ps"]).rows {
        let shown = home.get(&["show", agent["agent"].as_str().expect("an id")]);
        files.insert(agent["agent"].to_string(), shown.to_string().into_bytes());
    }
    files
}

/// The local values of a home that no node has.
fn values(home: &Home) -> BTreeMap<String, Vec<u8>> {
    let reader = Reader::open(&home.path()).expect("it is a home");
    let names = reader.list_local().expect("they can be listed").into_iter();
    names.map(|name| (name.clone(), reader.get_local(&name).expect("it reads").expect("it is there"))).collect()
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
        let row = elsewhere.get(args);
        assert_eq!((&row["name"], &row["added"]), (&"old".into(), &0.into()));
        assert_eq!(kept(&elsewhere), before, "there was nothing to do");
    }
}

#[test]
fn a_name_left_over_from_a_crash_is_given_up() {
    let home = Home::with_strategy(1);
    let file = exported(&home, "s.igor");
    let whole = Home::new();
    whole.get(&["import", &file, "--name", "old"]);
    // As after a crash right before the journal was there.
    let elsewhere = Home::with_strategy(1);
    let mut core = Core::open(Arc::new(RealFiles::new(elsewhere.path())), &Options::default()).expect("it opens");
    for (name, bytes) in values(&whole) {
        core.stage_local(&name, &bytes).expect("there is room");
    }
    core.flush().expect("it is durable");
    drop(core);
    elsewhere.get(&["import", &file, "--name", "new"]);
    let names = kept(&elsewhere).into_keys().filter(|path| path.starts_with("name-")).count();
    assert_eq!((names, elsewhere.get(&["show", "new"])["status"].as_str()), (2, Some("archived")));
    elsewhere.fails(&["show", "old"], 1, &["old"]);
}

/// One more tick of the strategy.
fn tick(home: &Home) {
    home.get(&["run", STRATEGY, "--name", "s", "--interval", "1ms", "--ticks", "1"]);
}

/// Also what an import that was cut off has left: the beginning of a true journal.
#[test]
fn a_longer_file_goes_on_where_the_journal_here_ends() {
    let home = Home::with_strategy(2);
    let early = exported(&home, "early.igor");
    tick(&home);
    let late = exported(&home, "late.igor");
    let elsewhere = Home::new();
    let begun = elsewhere.get(&["import", &early]);
    assert_eq!(begun["added"], begun["entries"]);
    let row = elsewhere.get(&["import", &late]);
    let entries = |row: &serde_json::Value| row["entries"].as_u64().expect("a number");
    assert_eq!(row["added"].as_u64(), Some(entries(&row) - entries(&begun)));
    assert_eq!(elsewhere.get(&["show", "s"])["tick"], 3);
    assert_eq!(elsewhere.get(&["verify", "s", "--execute"])["ok"], true);
    assert_eq!(elsewhere.ask(&["timeline", "s"]).rows, home.ask(&["timeline", "s"]).rows);
    // What has less says nothing new.
    let before = kept(&elsewhere);
    assert_eq!(elsewhere.get(&["import", &early])["added"], 0);
    assert_eq!(kept(&elsewhere), before);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it can be made");
    for file in fs::read_dir(from).expect("it can be listed").map(|file| file.expect("a file").path()) {
        let to = to.join(file.file_name().expect("a name"));
        if file.is_dir() {
            copy(&file, &to);
        } else if file.is_file() {
            fs::copy(&file, to).expect("it can be copied");
        }
    }
}

/// Two branches of one agent, as after a home was put back from a copy.
#[test]
fn another_branch_is_refused_with_the_first_entry_that_differs() {
    let home = Home::with_strategy(2);
    let entries = home.get(&["verify", "s"])["entries"].as_u64().expect("a number");
    let other = Home::new();
    copy(&home.path(), &other.path());
    tick(&home);
    tick(&other);
    let (ours, theirs) = (exported(&home, "ours.igor"), exported(&other, "theirs.igor"));
    let elsewhere = Home::new();
    elsewhere.get(&["import", &ours]);
    let before = kept(&elsewhere);
    let at = format!("another history than the file from seq=`{entries}` on");
    elsewhere.fails(&["import", &theirs], 3, &[&at]);
    assert_eq!(kept(&elsewhere), before);
}

/// A copy may be old. What the node did after it was made is not forgotten by taking it.
#[test]
fn what_this_node_has_custody_of_does_not_come_back_from_a_file() {
    let home = Home::with_strategy(2);
    let file = exported(&home, "s.igor");
    tick(&home);
    home.fails(&["import", &file], 3, &["lives here"]);
    let bare = Home::new();
    copy(&home.path().join("keys"), &bare.path().join("keys"));
    bare.fails(&["import", &file], 3, &["this node has custody", "igor verify"]);
    assert!(bare.ask(&["ps"]).rows.is_empty());
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
    tick(&home);
    let late = exported(&home, "late.igor");
    let with_s = Home::with_strategy(1);
    for (home, file, words) in [(&home, &early, "lives here"), (&with_s, &late, "belongs to")] {
        let before = kept(home);
        home.fails(&["import", file], 3, &[words]);
        assert_eq!(kept(home), before, "{words}");
    }
}

#[test]
fn a_node_takes_files_in_while_it_runs() {
    let home = Home::with_strategy(2);
    let file = exported(&home, "s.igor");
    let with_s = Home::with_strategy(1);
    let mut actor = with_s.run(&[STRATEGY, "--name", "s", "--interval", "10ms"]);
    with_s.fails(&["import", &file], 3, &["belongs to"]);
    let row = with_s.get(&["import", &file, "--name", "other"]);
    assert_eq!((&row["added"], &row["custody"]), (&row["entries"], &false.into()));
    assert_eq!(with_s.get(&["show", "other"])["status"], "archived");
    let cut = with_s.file("cut.igor", &fs::read(&file).expect("it is there")[..5000]);
    with_s.fails(&["import", &cut, "--name", "cut"], 4, &["cut.igor", "the file"]);
    actor.kill().expect("it can be killed");
    assert_eq!(with_s.get(&["verify", "other", "--execute"])["ok"], true);
    let incoming = fs::read_dir(with_s.path().join("incoming")).expect("it is there").count();
    assert_eq!(incoming, 0, "nothing is left there");
}
