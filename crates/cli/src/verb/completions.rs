//! `completions`: a script for a shell.

use crate::{args::Cli, failure::Failure, output};
use clap::CommandFactory;
use clap_complete::{Shell, generate};

/// Prints the script.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "igor", &mut script);
    output::raw(&String::from_utf8_lossy(&script))
}
