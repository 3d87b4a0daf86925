//! The demo, shortened: few kills, the same story and the same checks.

use crate::home::{Home, IGOR, of};
use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

#[test]
fn every_check_of_the_demo_holds() {
    let home = Home::new();
    let told = home.ask(&["demo", "--kills", "4", "--seed", "11"]);
    assert_eq!(told.code, Some(0), "{} {:?}", told.said, told.rows);
    let checks = of(&told.rows, "check");
    assert!(checks.len() >= 10 && checks.iter().all(|row| row["ok"] == true), "{checks:?}");
    assert!(of(&told.rows, "killed").len() >= 4);
    assert_eq!((of(&told.rows, "exhausted").len(), of(&told.rows, "funded").len()), (1, 1));
    let moves: Vec<_> = of(&told.rows, "moved").iter().map(|row| (row["from"].as_str(), row["to"].as_str())).collect();
    let wanted = [("A", "B"), ("B", "C"), ("C", "A"), ("A", "B")].map(|(from, to)| (Some(from), Some(to)));
    assert_eq!(moves, wanted);
    assert_eq!(of(&told.rows, "cut").len(), 1);
    let refused = of(&told.rows, "refused");
    assert_eq!((refused.len(), &refused[0]["code"]), (1, &3.into()));
    assert!(refused[0]["evidence"].as_str().is_some_and(|said| said.contains("signed with A's key")), "{refused:?}");
    assert_eq!(told.rows.last().map(|row| &row["ok"]), Some(&true.into()));
    assert!(!home.path().exists(), "it has homes of its own");
}

#[test]
fn hosts_fail_and_every_check_holds() {
    let home = Home::new();
    if igor_weed::find().is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "SeaweedFS is missing: scripts/weed installs it");
        let told = home.ask(&["demo", "--failover"]);
        assert_eq!(told.code, Some(1));
        assert!(told.said.contains("SeaweedFS") && told.said.contains("IGOR_WEED"), "{}", told.said);
        return;
    }
    let told = home.ask(&["demo", "--failover"]);
    assert_eq!(told.code, Some(0), "{} {:?}", told.said, told.rows);
    let checks = of(&told.rows, "check");
    assert!(checks.len() >= 9 && checks.iter().all(|row| row["ok"] == true), "{checks:?}");
    let faults: Vec<_> = of(&told.rows, "went_on").iter().map(|row| row["fault"].clone()).collect();
    assert_eq!(faults, ["killed", "frozen", "cut off from the bucket", "cut off from its peers"]);
    assert_eq!(of(&told.rows, "stood_down").len(), 4);
    assert_eq!(told.rows.last().map(|row| &row["failovers"]), Some(&4.into()));
}

#[test]
fn whoever_interrupts_the_demo_finds_nothing_left() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut demo = Command::new(IGOR)
        .args(["demo", "--json"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("igor starts");
    let mut stdout = demo.stdout.take().expect("a pipe");
    // It has begun to kill when it says more than how it begins.
    let (mut said, mut piece) = (Vec::new(), [0; 256]);
    while said.split(|byte| *byte == b'\n').count() < 3 {
        let bytes = stdout.read(&mut piece).expect("it can be read");
        assert_ne!(bytes, 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&piece[..bytes]);
    }
    let started = children(demo.id());
    assert!(started.len() >= 3, "it has nodes: {started:?}");
    let id = rustix::process::Pid::from_raw(i32::try_from(demo.id()).expect("an id")).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it can be told");
    assert_eq!(demo.wait().expect("it ends").code(), Some(1));
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0, "nothing is left there");
    let deadline = Instant::now() + Duration::from_secs(10);
    while started.iter().any(|id| fs::exists(format!("/proc/{id}")).unwrap_or(true)) {
        assert!(Instant::now() < deadline, "processes are left: {started:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that a process has started and that still run.
fn children(parent: u32) -> Vec<u32> {
    let of = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name before it may have spaces and brackets.
        let by = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()?;
        (by == parent).then_some(id)
    };
    fs::read_dir("/proc").expect("there are processes").flatten().filter_map(of).collect()
}
