//! The demo, shortened: few kills, the same checks.

use crate::home::{Home, of};

#[test]
fn every_check_of_the_demo_holds() {
    let home = Home::new();
    let told = home.ask(&["demo", "--kills", "4", "--seed", "11"]);
    assert_eq!(told.code, Some(0), "{} {:?}", told.said, told.rows);
    let checks = of(&told.rows, "check");
    assert!(checks.len() >= 6 && checks.iter().all(|row| row["ok"] == true), "{checks:?}");
    assert!(of(&told.rows, "killed").len() >= 4);
    assert_eq!((of(&told.rows, "exhausted").len(), of(&told.rows, "funded").len()), (1, 1));
    assert_eq!(told.rows.last().map(|row| &row["ok"]), Some(&true.into()));
    assert!(!home.path().exists(), "it has a home of its own");
}
