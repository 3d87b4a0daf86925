//! The cache of compiled programs: private, authenticated, shared.

mod common;

use common::{World, agent, begun, load, open, run, wat};
use igor_protocol::{Manifest, entry::Trigger};
use igor_sandbox::{
    Error, Sandbox, Stack,
    compile::{Compiler, Limits},
    error::Host,
};
use igor_spine::guest::{Ended, Input};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

fn program() -> Vec<u8> {
    wat(&agent("", "", "(i32.const 1)"))
}

/// A sandbox that cannot compile: what it loads, it has from the cache.
fn without_compiler(dir: &Path) -> Sandbox {
    let compiler = Compiler::new(PathBuf::from("/nonexistent/compiler"), Limits::default());
    Sandbox::open(&dir.join("compiled"), compiler, Stack::Live).expect("a sandbox")
}

/// Whether the program is loaded from the cache, and runs.
fn is_cached(dir: &Path) -> bool {
    match without_compiler(dir).load(&program(), &Manifest::default()) {
        Ok(program) => {
            let ended = run(&mut begun(&program), Input::Tick(Trigger::Interval), &World::new()).ended;
            assert_eq!(ended, Ended::Returned { more_work: true });
            true
        }
        Err(Error::Host(Host::Compiler { .. })) => false,
        Err(other) => panic!("{other}"),
    }
}

fn artifact(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("compiled")).expect("a cache").map(|file| file.expect("a file").path());
    let compiled: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "cwasm")).collect();
    assert_eq!(compiled.len(), 1);
    compiled[0].clone()
}

fn fill(dir: &Path) {
    open(dir, Stack::Live).load(&program(), &Manifest::default()).expect("loads");
}

#[test]
fn a_program_is_compiled_once() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(!is_cached(dir.path()));
    fill(dir.path());
    assert!(is_cached(dir.path()));
}

#[test]
fn only_this_user_reads_it() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path());
    let mode = |path: &Path| fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    let cache = dir.path().join("compiled");
    assert_eq!((mode(&cache), mode(&cache.join("key")), mode(&artifact(dir.path()))), (0o700, 0o600, 0o600));
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("it is ours");
    fill(dir.path());
    assert_eq!(mode(&cache), 0o700, "made private again");
}

#[test]
fn a_flipped_bit_is_as_good_as_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path());
    let path = artifact(dir.path());
    let good = fs::read(&path).expect("it exists");
    // In the check, at its end, at the artifact's beginning, across it, at the end.
    let step = good.len() / 40;
    for at in [0, 31, 32, 33].into_iter().chain((1..40).map(|part| part * step)).chain([good.len() - 1]) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).expect("written");
        assert!(!is_cached(dir.path()), "byte {at}");
    }
    for length in [0, 1, 31, 32, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..length]).expect("written");
        assert!(!is_cached(dir.path()), "only {length} bytes");
    }
    fs::write(&path, [&good[..], b"x"].concat()).expect("written");
    assert!(!is_cached(dir.path()), "a byte more");
    // It is replaced by a good one.
    fill(dir.path());
    assert!(is_cached(dir.path()));
}

#[test]
fn another_program_in_its_place_is_not_loaded() {
    let dir = tempfile::tempdir().expect("a directory");
    fill(dir.path());
    let path = artifact(dir.path());
    fs::remove_file(&path).expect("removed");
    let other = wat(&agent("", "", "(i32.const 0)"));
    open(dir.path(), Stack::Live).load(&other, &Manifest::default()).expect("loads");
    fs::rename(artifact(dir.path()), &path).expect("renamed");
    assert!(!is_cached(dir.path()), "well compiled by this very home, but it is another program");
}

#[test]
fn a_cache_of_another_home_is_not_believed() {
    let (here, there) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    fill(there.path());
    fill(here.path());
    fs::copy(artifact(there.path()), artifact(here.path())).expect("copied");
    assert!(!is_cached(here.path()));
}

#[test]
fn a_broken_key_is_made_again_and_vouches_for_nothing_old() {
    for broken in [&b""[..], b"short", &[7; 33]] {
        let dir = tempfile::tempdir().expect("a directory");
        fill(dir.path());
        let key = dir.path().join("compiled/key");
        fs::write(&key, broken).expect("written");
        assert!(!is_cached(dir.path()), "with another key nothing is believed");
        assert_eq!(fs::read(&key).expect("a key").len(), 32);
        fill(dir.path());
        assert!(is_cached(dir.path()), "and all is as before");
    }
}

#[test]
fn many_load_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let sandboxes = [open(dir.path(), Stack::Live), open(dir.path(), Stack::Live)];
    std::thread::scope(|scope| {
        for number in 0..12 {
            let sandbox = &sandboxes[number % 2];
            scope.spawn(move || {
                // Four programs, each wanted by several at the same time.
                let text = agent("", "", &format!("(i32.const {})", number % 4));
                let program = sandbox.load(&wat(&text), &Manifest::default()).expect("loads");
                let ended = run(&mut begun(&program), Input::Tick(Trigger::Interval), &World::new()).ended;
                assert_eq!(ended, Ended::Returned { more_work: number % 4 != 0 });
            });
        }
    });
    let files = fs::read_dir(dir.path().join("compiled")).expect("a cache").map(|file| file.expect("a file").path());
    let names: Vec<_> = files.filter(|path| path.extension().is_none_or(|it| it != "cwasm")).collect();
    assert_eq!(names, [dir.path().join("compiled/key")], "nothing temporary is left");
}

#[test]
fn the_same_program_under_another_manifest_is_checked_again() {
    let text = agent(r#"(import "igor" "clock_now" (func $clock (result i64)))"#, "", "(i32.wrap_i64 (call $clock))");
    load(&text);
    let mut manifest = Manifest::default();
    manifest.capabilities.clock = false;
    let refused = common::try_load(&text, &manifest).err().expect("not granted, though it is in the cache").to_string();
    assert!(refused.contains("[capabilities] clock = true"), "{refused}");
}
