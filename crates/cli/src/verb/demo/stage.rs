//! Igor from outside: real processes of this binary, their homes, and what they print.
//!
//! Invariants kept here:
//! - Only public commands are used, and only what they print and how they exit is believed.
//! - Every process that is started here is ended here, by its own handle.
//! - Nothing waits on once [`INTERRUPTED`] is set.

use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Longest time that a command may take before something is wrong.
const COMMAND_WITHIN: Duration = Duration::from_mins(2);
/// The same for one whose answer may be a whole life.
const ANSWER_WITHIN: Duration = Duration::from_mins(10);
/// How often it is seen that everything is to end.
const SLICE: Duration = Duration::from_millis(100);

/// Somebody wants all of this to end: every process that is waited for is killed.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// A binary, the home that it works on, and the node that it talks to.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    igor: PathBuf,
    home: PathBuf,
    /// The socket of a node that has another home.
    node: Option<PathBuf>,
    /// Where the stderr of what is started goes, for those who look, and how much is said there.
    log: PathBuf,
    filter: &'static str,
    environment: &'static [(&'static str, &'static str)],
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) rows: Vec<Value>,
    pub(crate) said: String,
}

impl Answer {
    /// The last row of a command that must have succeeded.
    pub(crate) fn last(mut self) -> Result<Value, String> {
        match (self.code, self.rows.pop()) {
            (Some(0), Some(row)) => Ok(row),
            (code, _) => Err(format!("exit code {code:?}: {}", self.said.trim())),
        }
    }
}

impl Stage {
    pub(crate) fn new(igor: &Path, home: &Path, log: &Path) -> Self {
        let (igor, home, log) = (igor.to_owned(), home.to_owned(), log.to_owned());
        Self { igor, home, node: None, log, filter: "warn", environment: &[] }
    }

    /// The same, where whatever is started finds this in its environment.
    pub(crate) fn with(&self, environment: &'static [(&'static str, &'static str)]) -> Self {
        Self { environment, ..self.clone() }
    }

    /// The same, talking to the node at this socket, whatever home that has.
    pub(crate) fn at(&self, socket: &Path) -> Self {
        Self { node: Some(socket.to_owned()), ..self.clone() }
    }

    /// The same with another log, which says what `filter` asks for.
    pub(crate) fn logging(&self, log: &Path, filter: &'static str) -> Self {
        Self { log: log.to_owned(), filter, ..self.clone() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.igor);
        command.args(args).arg("--json").arg("--home").arg(&self.home).stdin(Stdio::null());
        if let Some(node) = &self.node {
            command.arg("--node").arg(node);
        }
        // Only what is said here counts, whoever starts this.
        command.env_remove("IGOR_NODE").env_remove("IGOR_TOKEN").env("IGOR_LOG", self.filter);
        command.envs(self.environment.iter().copied());
        command
    }

    /// Runs a command to its end, and keeps what it prints.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<Answer, String> {
        let mut rows = Vec::new();
        let (code, said) = self.read(args, |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(Answer { code, rows, said })
    }

    /// Runs a command to its end, and hands each line on. Gives its exit code, and what it said on stderr.
    pub(crate) fn read(
        &self,
        args: &[&str],
        mut take: impl FnMut(Value) -> Result<(), String>,
    ) -> Result<(Option<i32>, String), String> {
        let failed = |e: &dyn std::fmt::Display| format!("igor {}: {e}", args[0]);
        // A file takes any amount of words without anybody reading along.
        let mut said = tempfile::tempfile().map_err(|e| failed(&e))?;
        let mut actor = self.spawn(args, said.try_clone().map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            match actor.line(deadline.min(Instant::now() + SLICE)) {
                Ok(line) => serde_json::from_str(&line).map_err(|e| e.to_string()).and_then(&mut take),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if INTERRUPTED.load(Ordering::Relaxed) => Err("interrupted".to_owned()),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => Err("it does not end".to_owned()),
                Err(RecvTimeoutError::Timeout) => Ok(()),
            }
            .map_err(|e| failed(&e))?;
        }
        let status = actor.child.wait().map_err(|e| failed(&e))?;
        let mut words = String::new();
        said.rewind().and_then(|()| said.read_to_string(&mut words)).map_err(|e| failed(&e))?;
        Ok((status.code(), words))
    }

    /// Starts a command that goes on, whose lines are read as they come.
    pub(crate) fn start(&self, args: &[&str]) -> Result<Actor, String> {
        let log = File::options().create(true).append(true).open(&self.log).map_err(|e| e.to_string())?;
        self.spawn(args, log).map_err(|e| e.to_string())
    }

    fn spawn(&self, args: &[&str], stderr: File) -> std::io::Result<Actor> {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(stderr).spawn()?;
        let stdout = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let (tell, lines) = channel();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if line.is_err() || line.is_ok_and(|line| tell.send(line).is_err()) {
                    return;
                }
            }
        });
        Ok(Actor { child, lines, reader: Some(reader) })
    }
}

/// A process that runs.
pub(crate) struct Actor {
    child: Child,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

/// What came next of a process.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A line.
    Row(Value),
    /// Nothing until then.
    Silence,
    /// It has ended, and all that it printed was heard.
    End,
}

impl Actor {
    fn line(&self, deadline: Instant) -> Result<String, RecvTimeoutError> {
        self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    /// The next line, waiting until `deadline`.
    pub(crate) fn hear(&self, deadline: Instant) -> Heard {
        loop {
            match self.line(deadline).map(|line| serde_json::from_str(&line)) {
                Ok(Ok(row)) => return Heard::Row(row),
                // A line that a kill cut in two is no line.
                Ok(Err(_)) => {}
                Err(RecvTimeoutError::Timeout) => return Heard::Silence,
                Err(RecvTimeoutError::Disconnected) => return Heard::End,
            }
        }
    }

    /// Kills it with SIGKILL and hears what it had still printed. A process that ended by itself is no error.
    pub(crate) fn kill(&mut self) -> Result<Vec<Value>, String> {
        self.child.kill().map_err(|e| e.to_string())?;
        self.end().map(|(_, rows)| rows)
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub(crate) fn interrupt(&self) -> Result<(), String> {
        self.signal(rustix::process::Signal::INT)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> Result<(), String> {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).ok_or("no process id")?;
        rustix::process::kill_process(id, signal).map_err(|e| e.to_string())
    }

    /// Waits for its end, and hears the rest.
    pub(crate) fn end(&mut self) -> Result<(ExitStatus, Vec<Value>), String> {
        self.end_within(COMMAND_WITHIN)
    }

    /// Waits so long for its end, and hears the rest.
    pub(crate) fn end_within(&mut self, within: Duration) -> Result<(ExitStatus, Vec<Value>), String> {
        let (mut rows, deadline) = (Vec::new(), Instant::now() + within);
        loop {
            match self.hear(deadline) {
                Heard::Row(row) => rows.push(row),
                Heard::End => break,
                Heard::Silence => return Err(format!("a process did not end within {} s", within.as_secs())),
            }
        }
        let status = self.child.wait().map_err(|e| e.to_string())?;
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
        Ok((status, rows))
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|e| e.to_string())
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended long ago; then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
