//! A binary that is nothing but the compile child.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(igor_sandbox::compile::CHILD_ARG) {
        return igor_sandbox::compile::child_main();
    }
    ExitCode::from(2)
}
