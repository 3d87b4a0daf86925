//! Looks, every few seconds, at what a node holds, and judges in the end whether any of it grows.
//!
//! What is looked at is the node that is never killed, at moments when nothing moves: it gives and takes all the time,
//! and a process that is killed leaks nothing. The first quarter of the time is warming up. Of the rest, the middle of
//! the last third is held against the middle of the first one, so that no single value decides.
//!
//! Of memory what counts is the process's own: pages of files, the program's code above all, come as they are first used and
//! go when the kernel wants them.
//!
//! Nothing is pruned by default, so the disk grows with every entry that is committed: what must not grow is what it
//! takes *per entry*, and what lies beside journals and blobs.

use crate::{field::build, report::Seen, trial::Trial};
use std::{
    fmt::Write as _,
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Memory that goes up and down with the log: its index has 32 bytes for each commit that is not in its agent's file yet, at
/// most those of two segments of 32 MiB, and room to grow. What stays of each move or message is added up by some thousand
/// of them, so it shows all the same.
const INDEX_KIB_MAX: u64 = 5 << 10;
/// Pauses that a look is the middle of.
const PAUSES: usize = 15;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Memory,
    Files,
    Threads,
    Beside,
    PerEntry,
    Pause,
}

impl What {
    const ALL: [Self; 6] = [Self::Memory, Self::Files, Self::Threads, Self::Beside, Self::PerEntry, Self::Pause];

    const fn words(self) -> &'static str {
        match self {
            Self::Memory => "memory of its own (RssAnon), KiB",
            Self::Files => "open files",
            Self::Threads => "threads",
            Self::Beside => "files in the home beside journals and blobs",
            Self::PerEntry => "disk per committed entry, bytes",
            Self::Pause => "pause of a move, microseconds",
        }
    }

    /// What the last value may be where the first one was this.
    const fn most(self, first: u64) -> u64 {
        match self {
            Self::Memory => first + first / 10 + INDEX_KIB_MAX,
            Self::Files | Self::Threads | Self::Beside => first + 4,
            Self::PerEntry => first + first / 10,
            // What else the machine does shows here first.
            Self::Pause => first * 2,
        }
    }
}

/// What was seen at one time.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Duration,
    values: [u64; What::ALL.len()],
}

/// A run that goes on for a given time.
pub(crate) struct Soak {
    begun: Instant,
    whole: Duration,
    looks: Vec<Look>,
}

impl Soak {
    pub(crate) fn new(whole: Duration) -> Self {
        Self { begun: Instant::now(), whole, looks: Vec::new() }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.whole
    }

    /// Looks at the first node, if it is time.
    pub(crate) fn look(&mut self, trial: &Trial) -> Result<(), String> {
        let at = self.begun.elapsed();
        if self.looks.last().is_some_and(|last| at < last.at + LOOK_EVERY) {
            return Ok(());
        }
        let host = &trial.hosts[0];
        let process = Path::new("/proc").join(host.process().to_string());
        let status = fs::read_to_string(process.join("status")).map_err(|e| e.to_string())?;
        let number = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).ok_or_else(|| format!("no {field}"))
        };
        let files = fs::read_dir(process.join("fd")).map_err(|e| e.to_string())?.count() as u64;
        let disk = Disk::of(&host.home).map_err(|e| e.to_string())?;
        let entries = host.show()?.map_or(1, |shown| shown.seq + 1);
        let pauses = trial.pauses();
        let mut pauses = pauses[pauses.len().saturating_sub(PAUSES)..].to_vec();
        pauses.sort_unstable();
        let pause =
            pauses.get(pauses.len() / 2).map_or(0, |pause| u64::try_from(pause.as_micros()).unwrap_or(u64::MAX));
        let values = What::ALL.map(|what| match what {
            What::Memory => number("RssAnon:"),
            What::Files => Ok(files),
            What::Threads => number("Threads:"),
            What::Beside => Ok(disk.others),
            What::PerEntry => Ok(disk.bytes / entries),
            What::Pause => Ok(pause),
        });
        let mut look = Look { at, values: [0; What::ALL.len()] };
        for (to, value) in look.values.iter_mut().zip(values) {
            *to = value?;
        }
        println!("soak: {} s, {} moves, {entries} entries, {:?}", at.as_secs(), trial.moved(), look.values);
        self.looks.push(look);
        Ok(())
    }

    /// The middle of the first third after warming up, and of the last one.
    fn ends(&self, what: What) -> (u64, u64) {
        let warm: Vec<_> = self.looks.iter().filter(|look| look.at >= self.whole / 4).collect();
        let third = warm.len().div_ceil(3);
        let middle = |looks: &[&Look]| {
            let mut values: Vec<_> = looks.iter().map(|look| look.values[what as usize]).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        (middle(&warm[..third.min(warm.len())]), middle(&warm[warm.len().saturating_sub(third)..]))
    }

    /// Whether everything stayed as it was.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let grown: Vec<_> = What::ALL
            .into_iter()
            .map(|what| (what, self.ends(what)))
            .filter(|(what, (first, last))| *last > what.most(*first))
            .map(|(what, (first, last))| format!("{}: {first}, then {last}", what.words()))
            .collect();
        if grown.is_empty() { Ok(()) } else { Err(format!("it grows: {}", grown.join("; "))) }
    }

    pub(crate) fn in_words(&self, seen: &Seen, seed: u64, took: Duration) -> String {
        let mut text = format!(
            "
`scripts/move-test --soak TIME` moves the agent around three nodes on loopback, under load, and kills one of two of them in
about every second move. The third one is never killed: it is looked at every {} s, when nothing moves. The first quarter
of the time is warming up; of the rest, the median of the last third is held against that of the first. The run fails if it
is above the bound. This is what the last one saw (seed {seed}, {} minutes, {} looks, {}).

| what | first | last | bound |
| --- | --- | --- | --- |
",
            LOOK_EVERY.as_secs(),
            took.as_secs() / 60,
            self.looks.len(),
            build()
        );
        for what in What::ALL {
            let (first, last) = self.ends(what);
            let _ = writeln!(text, "| {} | {first} | {last} | {} |", what.words(), what.most(first));
        }
        text += "
Nothing is pruned by default: journals, states and what they name stay, so the disk grows with every committed entry. What
is judged is how much it takes for each, and whether anything else is left behind. Memory is the process's own; it goes up and
down with the log by 32 bytes for each commit that is not in its agent's file yet, some 4 MiB at most.

";
        text + &seen.table()
    }
}

/// What lies in a home.
#[derive(Default)]
struct Disk {
    bytes: u64,
    /// Files that are neither journals nor blobs.
    others: u64,
}

impl Disk {
    fn of(home: &Path) -> io::Result<Self> {
        let mut disk = Self::default();
        for entry in fs::read_dir(home)? {
            let entry = entry?;
            let kept = matches!(entry.file_name().to_str(), Some("agents" | "blobs"));
            disk.add(&entry.path(), kept)?;
        }
        Ok(disk)
    }

    fn add(&mut self, path: &Path, kept: bool) -> io::Result<()> {
        let about = match fs::symlink_metadata(path) {
            Ok(about) => about,
            // Taken away meanwhile: a segment that was moved, say.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        if about.is_dir() {
            for entry in fs::read_dir(path)? {
                self.add(&entry?.path(), kept)?;
            }
        } else {
            use std::os::unix::fs::MetadataExt;
            self.bytes += about.blocks() * 512;
            self.others += u64::from(!kept);
        }
        Ok(())
    }
}
