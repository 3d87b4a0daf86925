//! Nodes that do what no honest one does with agents, over real sockets against a real node: what they are refused and
//! why, that it is in the log and in a metric, that nothing runs here by their word, and that an honest agent ticks on.
//!
//! Each attack runs in a process of its own, attacker and node together, so that what they ever had in memory can be
//! read. The bounds are the same for all; they are far above what is measured and printed, since machines differ.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which it does not know helpers of tests to be

#[path = "../common/mod.rs"]
mod common;

mod forge;
mod histories;
mod offers;
mod scene;
mod targets;

use std::process::Command;

macro_rules! attacks {
    ($($group:ident :: $name:ident,)*) => {
        mod attack {
            $(#[test]
            fn $name() {
                super::alone(concat!("attack::", stringify!($name)), super::$group::$name());
            })*
        }
    };
}

attacks! {
    offers::that_never_finish,
    offers::of_strangers_leave_nothing,
    offers::of_an_agent_that_is_somebody_elses,
    offers::that_lie_about_size,
    offers::with_a_forged_signature,
    offers::that_keep_out_who_has_it_now,
    histories::given_by_a_node_that_is_not_the_custodian,
    histories::with_a_wrong_bill,
    histories::given_again_after_custody_moved_on,
    histories::other_than_the_one_that_is_here,
    histories::of_before_to_a_node_that_lost_its_home,
    histories::told_that_nobody_signed_or_that_end_all_numbers,
    targets::that_welcome_what_they_do_not_want,
    targets::that_answer_for_somebody_else,
}

/// Runs the attack in a process of its own.
fn alone(name: &str, attack: impl Future<Output = ()>) {
    const ALONE: &str = "IGOR_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let attack = async { tokio::time::timeout(scene::PATIENCE * 2, attack).await.expect("the attack ends") };
        return runtime.block_on(attack);
    }
    let myself = std::env::current_exe().unwrap();
    let run = Command::new(myself).args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    print!("{}", String::from_utf8_lossy(&run.stdout));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}
