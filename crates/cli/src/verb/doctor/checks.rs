//! The single checks.

use super::Grade;
use crate::{source::wait, words};
use igor_node::home::Home;
use igor_protocol::Nanos;
use igor_spine::standby::STORE_SILENT;
use rustix::{
    fs::{fdatasync, statfs, statvfs},
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};
use serde::Serialize;
use std::{fs, io::Write, path::Path, thread, time::Duration, time::Instant};

/// What one check found.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) grade: Grade,
    pub(super) value: String,
    /// The measured number, in the unit that the check is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

const SYNCS: usize = 32;
/// About what a tick writes, in bytes.
const SYNC_BYTES: usize = 512;
/// Above this a durable tick is slow.
const SYNC_SLOW: Nanos = Nanos::from_millis(5);
/// Below this a disk cannot be syncing at all.
const SYNC_FAKE: Nanos = Nanos(2_000);
/// Above this an answer of a bucket is slow.
const BUCKET_SLOW: Nanos = Nanos::from_millis(200);
/// Above this nobody can tell a node that is gone from a bucket that takes its time.
const BUCKET_TOO_SLOW: Nanos = STORE_SILENT;
const SPACE_LOW: u64 = 1 << 30;
const SPACE_BAD: u64 = 64 << 20;
const FILES_LOW: u64 = 1024;
const MEMORY_LOW: u64 = 512 << 20;
const CLOCK_WATCH: Duration = Duration::from_millis(200);
const CLOCK_JUMP: Nanos = Nanos::from_millis(20);
/// 2024-01-01: an earlier wall clock was never set.
const YEAR_2024_SECONDS: u64 = 1_704_067_200;
const MAGIC_TMPFS: u64 = 0x0102_1994;
const MAGIC_RAMFS: u64 = 0x8584_58f6;
const MAGIC_NFS: u64 = 0x6969;

impl Finding {
    fn new(check: &'static str, grade: Grade, value: impl Into<String>, number: Option<u64>) -> Self {
        Self { check, grade, value: value.into(), number, advice: None }
    }

    fn advise(self, advice: impl Into<String>) -> Self {
        match self.grade {
            Grade::Good => self,
            _ => Self { advice: Some(advice.into()), ..self },
        }
    }
}

/// Every check, for a home that is or would be at `path`.
pub(super) fn all(path: &Path) -> Vec<Finding> {
    // A home that is not there yet would be made in the nearest directory that is.
    let there = path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/"));
    let all = [
        home(path),
        sync(there),
        filesystem(there),
        space(there),
        memory(),
        files(),
        processes(),
        clock(),
        socket(path),
    ];
    all.into_iter().chain(bucket(path)).collect()
}

fn home(path: &Path) -> Finding {
    let name = path.display();
    match Home::existing(path) {
        Ok(home) => match home.config() {
            Ok(_) => Finding::new("home", Grade::Good, name.to_string(), None),
            Err(e) => Finding::new("home", Grade::Bad, e.to_string(), None).advise("correct node.toml, or remove it"),
        },
        Err(igor_node::home::Error::Absent { .. }) => {
            Finding::new("home", Grade::Good, format!("{name}, which the first `igor run` makes"), None)
        }
        Err(e) => Finding::new("home", Grade::Bad, e.to_string(), None).advise("use another --home"),
    }
}

/// Whether the bucket that is configured answers; nothing where none is.
fn bucket(path: &Path) -> Option<Finding> {
    let config = Home::existing(path).ok()?.config().ok()?.store;
    let found = match wait(igor_node::bucket::look(&config)) {
        Ok(None) => return None,
        Ok(Some((address, id, took))) => {
            let took = Nanos(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            let new = if id.is_none() { "; new: a node probes it before its first use" } else { "" };
            let value = format!("{address} answers in {}{new}", words::duration(took));
            let grade = if took > BUCKET_SLOW { Grade::Warn } else { Grade::Good };
            let advice = if took > BUCKET_TOO_SLOW {
                "no standby goes on by itself with a bucket that takes longer than half a second; use one that is nearer"
            } else {
                "each tick that becomes durable waits for the bucket; use one that is nearer"
            };
            Finding::new("bucket", grade, value, Some(took.0)).advise(advice)
        }
        Err(error) => Finding::new("bucket", Grade::Bad, error.to_string(), None)
            .advise("see [store] in node.toml, and docs/guides/failover.md"),
    };
    Some(found)
}

fn sync(directory: &Path) -> Finding {
    match sync_times(directory) {
        Err(e) => Finding::new("sync", Grade::Bad, format!("cannot write in {}: {e}", directory.display()), None)
            .advise("use a --home where you may write"),
        Ok(mut times) => {
            times.sort_unstable();
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            let value = format!(
                "a write is durable after {} (median; worst {})",
                words::duration(median),
                words::duration(worst)
            );
            let grade = if median > SYNC_SLOW || median < SYNC_FAKE { Grade::Warn } else { Grade::Good };
            let advice = if median < SYNC_FAKE {
                "no disk is that fast: this one does not sync, and a power cut will lose what was promised"
            } else {
                "every tick waits for it; put --home on a local SSD"
            };
            Finding::new("sync", grade, value, Some(median.0)).advise(advice)
        }
    }
}

/// As the log does it: over space that was written before, so that only data is synced.
fn sync_times(directory: &Path) -> std::io::Result<Vec<Nanos>> {
    use std::os::unix::fs::FileExt;
    let mut file = tempfile::tempfile_in(directory)?;
    file.write_all(&vec![0; SYNCS * SYNC_BYTES])?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(SYNCS);
    for i in 0..SYNCS {
        let begun = Instant::now();
        file.write_all_at(&[7; SYNC_BYTES], (i * SYNC_BYTES) as u64)?;
        fdatasync(&file)?;
        times.push(Nanos(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)));
    }
    Ok(times)
}

fn filesystem(directory: &Path) -> Finding {
    let Ok(found) = statfs(directory) else {
        return Finding::new("file system", Grade::Warn, "unknown", None).advise("the system does not say; see `sync`");
    };
    #[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)] // a magic number, whatever its C type is
    let magic = found.f_type as u64 & 0xffff_ffff;
    match magic {
        MAGIC_TMPFS | MAGIC_RAMFS => Finding::new("file system", Grade::Warn, "in memory", None)
            .advise("it survives kills, but no power cut and no reboot; put --home on a disk"),
        MAGIC_NFS => Finding::new("file system", Grade::Warn, "NFS", None)
            .advise("locks and syncs over a network depend on its server; put --home on a local disk"),
        other => Finding::new("file system", Grade::Good, format!("local (type {other:#x})"), None),
    }
}

fn space(directory: &Path) -> Finding {
    let Ok(found) = statvfs(directory) else {
        return Finding::new("space", Grade::Warn, "unknown", None).advise("the system does not say how much is free");
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let grade = match free {
        ..SPACE_BAD => Grade::Bad,
        SPACE_BAD..SPACE_LOW => Grade::Warn,
        _ => Grade::Good,
    };
    Finding::new("space", grade, format!("{} free", words::bytes(free)), Some(free))
        .advise("journals grow as long as agents live; free some, or use another --home")
}

fn memory() -> Finding {
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let Some(free) = available else {
        return Finding::new("memory", Grade::Good, "not told by this system", None);
    };
    let grade = if free < MEMORY_LOW { Grade::Warn } else { Grade::Good };
    Finding::new("memory", grade, format!("{} available", words::bytes(free)), Some(free))
        .advise("an agent takes up to 64 MiB by default, twice at a checkpoint; compiling a new one up to 1 GiB")
}

fn files() -> Finding {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let grade = if limit < FILES_LOW { Grade::Warn } else { Grade::Good };
    let value = if limit == u64::MAX { "no limit on open files".to_owned() } else { format!("{limit} open files") };
    Finding::new("open files", grade, value, Some(limit)).advise("raise it: ulimit -n 4096")
}

fn processes() -> Finding {
    let count = thread::available_parallelism().map_or(1, usize::from);
    let grade = if count < 2 { Grade::Warn } else { Grade::Good };
    Finding::new("processors", grade, count.to_string(), Some(count as u64))
        .advise("on one processor an agent and the writing of its journal wait for each other")
}

fn clock() -> Finding {
    let read = |id| {
        let now = clock_gettime(id);
        let nanos = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
        u64::try_from(nanos).unwrap_or(0)
    };
    let before = (read(ClockId::Realtime), read(ClockId::Boottime));
    thread::sleep(CLOCK_WATCH);
    let after = (read(ClockId::Realtime), read(ClockId::Boottime));
    let (wall, steady) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let source = source.map_or_else(|_| "unknown source".to_owned(), |text| text.trim().to_owned());
    let jump = Nanos(wall.abs_diff(steady));
    let (grade, value, advice) = if after.0 / 1_000_000_000 < YEAR_2024_SECONDS {
        (Grade::Bad, "the wall clock was never set".to_owned(), "set the date: journals carry it")
    } else if jump > CLOCK_JUMP {
        let value =
            format!("the wall clock jumped by {} within {}", words::duration(jump), words::duration(Nanos(steady)));
        (Grade::Warn, value, "journals keep their own rising time, but dates will be off; let NTP slew it")
    } else if !matches!(
        source.as_str(),
        "tsc" | "arch_sys_counter" | "kvm-clock" | "hyperv_clocksource_tsc_page" | "unknown source"
    ) {
        (
            Grade::Warn,
            format!("steady, read through {source}"),
            "a slow clock source costs each run about a microsecond; prefer tsc",
        )
    } else {
        (Grade::Good, format!("steady, read through {source}"), "")
    };
    Finding::new("clock", grade, value, Some(jump.0)).advise(advice)
}

fn socket(path: &Path) -> Finding {
    let Ok(home) = Home::existing(path) else {
        return Finding::new("socket", Grade::Good, "made with the home", None);
    };
    let socket = home.socket();
    match home.check_socket() {
        Err(e) => Finding::new("socket", Grade::Bad, e.to_string(), None).advise("remove it, or use a shorter --home"),
        Ok(()) if socket.starts_with(home.path()) => {
            Finding::new("socket", Grade::Good, socket.display().to_string(), None)
        }
        Ok(()) => Finding::new(
            "socket",
            Grade::Good,
            format!("{} (the home's path is too long for one)", socket.display()),
            None,
        ),
    }
}
