//! The compile child of the tests: what `igor` does when its first argument is the hidden one.

fn main() -> std::process::ExitCode {
    igor_sandbox::compile::child_main()
}
