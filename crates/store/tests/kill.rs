//! Real processes on real files: killed at any instant, two on one home, and a real power cut.
#![allow(clippy::unwrap_used)]

mod machine;

use igor_protocol::Seq;
use igor_sim::random::Random;
use igor_store::{
    Error,
    disk::{Disk, Reader},
};
use machine::{Announced, child_home, listen, read_all, skip, small, start_child, write_for_ever};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

#[tokio::test]
#[ignore = "it is the process that other tests kill"]
async fn child_that_writes() {
    if let Some(home) = child_home() {
        write_for_ever(&home).await;
    }
}

#[test]
#[ignore = "it is the second process of another test"]
fn child_that_opens() {
    if let Some(home) = child_home() {
        let result = Disk::open(&home, &small()).map(drop);
        println!("opened: {}", result.map_or_else(|e| e.to_string(), |()| "yes".into()));
    }
}

#[allow(clippy::disallowed_methods)] // the instant of a kill is the point
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Starts a writer, kills it after the given time, and takes what it announced.
fn kill_after(home: &Path, time: Duration, announced: &mut Announced) {
    let mut child = start_child(home, "child_that_writes");
    let stdout = child.stdout.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| listen(stdout, announced));
        wait(time);
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn three_hundred_kills_lose_nothing_announced() {
    let home = tempfile::tempdir().unwrap();
    let mut random = Random::new(3);
    let mut announced = Announced::default();
    for _ in 0..300 {
        kill_after(home.path(), Duration::from_micros(random.below(80_000)), &mut announced);
        announced.check_newest(home.path());
    }
    announced.check(home.path());
    // And a node that starts now goes on there.
    drop(Disk::open(home.path(), &small()).unwrap());
    announced.check(home.path());
    assert!(announced.count() > 300, "only {} were announced", announced.count());
    assert!(announced.removals() > 0, "no journal was removed");
    eprintln!("300 kills, {} commits announced, all there; {} removals", announced.count(), announced.removals());
}

#[test]
fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let home = tempfile::tempdir().unwrap();
    let options = igor_store::disk::Options { note: "socket /run/igor.sock".into(), ..small() };
    let second = || {
        let output = start_child(home.path(), "child_that_opens").wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let disk = Disk::open(home.path(), &options).unwrap();
    let said = second();
    let pid = std::process::id();
    assert!(
        said.contains(&format!("is in use by process {pid} (socket /run/igor.sock); stop that one first")),
        "{said}"
    );
    assert!(matches!(Reader::open(home.path()), Err(Error::Locked { pid: of, .. }) if of == Some(pid)));
    drop(disk);
    // Readers keep nobody out.
    let _readers = [Reader::open(home.path()).unwrap(), Reader::open(home.path()).unwrap()];
    assert!(second().contains("opened: yes"));
}

#[test]
fn a_reader_sees_what_was_there_while_a_writer_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let mut announced = Announced::default();
    while announced.count() < 400 {
        kill_after(home.path(), Duration::from_millis(100), &mut announced);
    }
    let reader = Reader::open(home.path()).unwrap();
    let all = || reader.list().into_iter().map(|agent| read_all(reader.read(agent, Seq(0))));
    let before = all().collect::<Result<Vec<_>, _>>().unwrap();
    let mut halfway: Vec<_> = reader.list().into_iter().map(|agent| reader.read(agent, Seq(0)).unwrap()).collect();
    for commits in &mut halfway {
        commits.next().unwrap().unwrap();
    }
    let segments = || std::fs::read_dir(home.path().join("log")).unwrap().map(|entry| entry.unwrap().file_name());
    let found: std::collections::BTreeSet<_> = segments().collect();
    // Until every segment that the reader found is moved to the agents' files, and gone.
    while segments().any(|name| found.contains(&name)) {
        kill_after(home.path(), Duration::from_millis(100), &mut announced);
    }
    // What is opened only now may have been removed, and nothing else came in its place.
    for (found, before) in all().zip(&before) {
        match found {
            Ok(commits) => assert_eq!(&commits, before),
            Err(e) => assert!(matches!(e, Error::Removed { .. }), "{e}"),
        }
    }
    for (commits, before) in halfway.into_iter().zip(&before) {
        assert_eq!(&commits.collect::<Result<Vec<_>, _>>().unwrap(), &before[1..]);
    }
    let now = Reader::open(home.path()).unwrap();
    assert!(reader.list().into_iter().all(|agent| now.tail(agent) != reader.tail(agent)));
}

/// An ext4 file system in a file, on a loop device. Unmounted at the end.
struct Ext4 {
    directory: tempfile::TempDir,
}

impl Ext4 {
    fn make() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("it needs root".into());
        }
        let directory = tempfile::tempdir().unwrap();
        let ext4 = Self { directory };
        std::fs::create_dir(ext4.home()).unwrap();
        let image = std::fs::File::create(ext4.image()).unwrap();
        image.set_len(64 << 20).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(ext4.image()))?;
        ext4.mount()?;
        Ok(ext4)
    }

    fn image(&self) -> std::path::PathBuf {
        self.directory.path().join("image")
    }

    fn home(&self) -> std::path::PathBuf {
        self.directory.path().join("mounted")
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.home()))
    }

    /// Stops the file system without flushing anything, as a power cut does. There is no safe call for this, so
    /// a small program does it.
    fn cut_power(&self) -> Result<(), String> {
        let program = "use Fcntl; sysopen(my $d, $ARGV[0], O_RDONLY) or die $!; my $f = pack('I', 2); ioctl($d, 0x8004587d, $f) or die $!";
        run(Command::new("perl").args(["-e", program]).arg(self.home()))
    }

    fn unmount(&self) -> Result<(), String> {
        run(Command::new("umount").arg(self.home()))
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        drop(self.unmount());
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
}

#[test]
fn real_power_cuts_lose_nothing_announced() {
    let ext4 = match Ext4::make() {
        Ok(ext4) => ext4,
        Err(why) => return skip("real power cuts", &why),
    };
    let home = ext4.home().join("home");
    let mut announced = Announced::default();
    let mut random = Random::new(5);
    for _ in 0..8 {
        let mut child = start_child(&home, "child_that_writes");
        let stdout = child.stdout.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| listen(stdout, &mut announced));
            wait(Duration::from_millis(60 + random.below(150)));
            let cut = ext4.cut_power();
            child.kill().unwrap();
            child.wait().unwrap();
            cut.unwrap();
        });
        ext4.unmount().unwrap();
        ext4.mount().unwrap();
        announced.check(&home);
    }
    assert!(announced.count() > 50, "only {} were announced", announced.count());
    eprintln!("8 power cuts, {} commits announced, all there", announced.count());
}
