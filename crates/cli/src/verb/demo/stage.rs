//! Igor from outside: real processes of this binary, one home, and what they print.
//!
//! Invariants kept here:
//! - Only public commands are used, and only what they print and how they exit is believed.
//! - Every process that is started here is ended here, by its own handle.

use serde_json::Value;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Longest time that a command may take before something is wrong.
const COMMAND_WITHIN: Duration = Duration::from_mins(2);

/// A binary and the home that it works on.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    igor: PathBuf,
    home: PathBuf,
    /// Where the children's stderr goes, for those who look.
    log: PathBuf,
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
        Self { igor: igor.to_owned(), home: home.to_owned(), log: log.to_owned() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.igor);
        command.args(args).arg("--json").arg("--home").arg(&self.home).stdin(Stdio::null());
        // Only what is said here counts, whoever starts this.
        command.env_remove("IGOR_NODE").env_remove("IGOR_TOKEN");
        command
    }

    /// Runs a command to its end.
    pub(crate) fn ask(&self, args: &[&str]) -> Result<Answer, String> {
        let output = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = output.map_err(|e| format!("igor {}: {e}", args[0]))?;
        let output = child.wait_with_output().map_err(|e| format!("igor {}: {e}", args[0]))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rows = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
        let rows = rows.map_err(|e| format!("igor {} printed something that is not JSON: {e}", args[0]))?;
        Ok(Answer { code: output.status.code(), rows, said: String::from_utf8_lossy(&output.stderr).into_owned() })
    }

    /// Starts a command that goes on, whose lines are read as they come.
    pub(crate) fn start(&self, args: &[&str]) -> Result<Actor, String> {
        let log = File::options().create(true).append(true).open(&self.log).map_err(|e| e.to_string())?;
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(log).spawn().map_err(|e| e.to_string())?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let (tell, lines) = channel();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                // A line that a kill cut in two is no line.
                if let Some(row) = line.ok().and_then(|line| serde_json::from_str(&line).ok())
                    && tell.send(row).is_err()
                {
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
    lines: Receiver<Value>,
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
    /// The next line, waiting until `deadline`.
    pub(crate) fn hear(&self, deadline: Instant) -> Heard {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(row) => Heard::Row(row),
            Err(RecvTimeoutError::Timeout) => Heard::Silence,
            Err(RecvTimeoutError::Disconnected) => Heard::End,
        }
    }

    /// Kills it with SIGKILL and hears what it had still printed. A process that ended by itself is no error.
    pub(crate) fn kill(&mut self) -> Result<Vec<Value>, String> {
        self.child.kill().map_err(|e| e.to_string())?;
        self.end().map(|(_, rows)| rows)
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub(crate) fn interrupt(&self) -> Result<(), String> {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).ok_or("no process id")?;
        rustix::process::kill_process(id, rustix::process::Signal::INT).map_err(|e| e.to_string())
    }

    /// Waits for its end, and hears the rest.
    pub(crate) fn end(&mut self) -> Result<(ExitStatus, Vec<Value>), String> {
        let (mut rows, deadline) = (Vec::new(), Instant::now() + COMMAND_WITHIN);
        loop {
            match self.hear(deadline) {
                Heard::Row(row) => rows.push(row),
                Heard::End => break,
                Heard::Silence => return Err(format!("a process did not end within {} s", COMMAND_WITHIN.as_secs())),
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
