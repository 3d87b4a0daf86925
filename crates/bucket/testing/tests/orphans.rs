//! SeaweedFS ends with what started it, however that ends.

use igor_bucket_testing::weed;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "IGOR_TEST_WEED_CHILD";
const SAYS: &str = "weed runs as ";

fn ends(pid: u32) {
    let began = Instant::now();
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat"));
    while stat().is_ok_and(|stat| stat.contains("(weed)") && !stat.contains(") Z")) {
        assert!(began.elapsed() < Duration::from_mins(1), "SeaweedFS outlives its test as {pid}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn it_ends_when_it_is_dropped() {
    let Some(weed) = weed() else { return };
    let pid = weed.pid();
    assert!(std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains("(weed)"));
    drop(weed);
    ends(pid);
}

#[test]
fn it_ends_when_its_test_is_killed() {
    if std::env::var_os(CHILD).is_some() {
        let Some(weed) = weed() else { return };
        println!("\n{SAYS}{}", weed.pid());
        loop {
            std::thread::park();
        }
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "it_ends_when_its_test_is_killed", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = lines.find_map(|line| line.unwrap().strip_prefix(SAYS)?.parse().ok());
    child.kill().unwrap();
    child.wait().unwrap();
    // None where SeaweedFS is missing, which was said.
    if let Some(pid) = pid {
        ends(pid);
    }
}
