//! Removals that no store wrote, and files that came back.

use crate::{Case, Verdict, forge, history::agent, home::Home};
use std::iter::repeat;

/// A home with an agent's file and two groups after it was dealt with: its removal, and its journal anew.
fn removed(records: impl FnOnce(&mut Vec<forge::Group>)) -> Verdict {
    let mut home = Home::new(Case(None), 1);
    let mut core = home.open();
    home.fill(&mut core, repeat(0));
    core.maintain().unwrap();
    core.stage_removal(agent(0)).unwrap();
    core.flush().unwrap();
    home.append(&mut core, 1, 100);
    home.disk.damage(&home.newest(), |bytes| forge::segment(bytes, records));
    home.refused()
}

/// The group with the removal: behind the end of what was moved, and the watermarks.
const REMOVAL: usize = 2;

#[test]
fn a_removal_of_a_wrong_length_is_damage() {
    removed(|groups| {
        assert_eq!(groups[REMOVAL].records, [(3, agent(0).as_bytes().to_vec())]);
        groups[REMOVAL].records[0].1.pop();
    })
    .unwrap();
}

#[test]
fn a_record_of_an_unknown_kind_is_damage() {
    removed(|groups| groups[REMOVAL].records[0].0 = 6).unwrap();
}

/// A name that is longer than the record, and one that no value has.
#[test]
fn a_local_value_that_is_none_is_damage() {
    for content in [vec![], vec![9, b'a'], vec![1, b'/', 7], vec![0]] {
        removed(|groups| groups[REMOVAL].records.push((4, content))).unwrap();
    }
    removed(|groups| groups[REMOVAL].records.push((5, b"UPPER".to_vec()))).unwrap();
}

/// As if the journal went on: the commit before the removal, once more after it.
#[test]
fn a_journal_does_not_go_on_after_its_removal() {
    removed(|groups| {
        let before = groups[0].records.clone();
        groups[REMOVAL].records.extend(before);
    })
    .unwrap();
}

/// Without a removal that explains it, a file of another journal is not passed over.
#[test]
fn a_file_of_a_journal_of_the_past_is_damage() {
    let mut home = Home::new(Case(None), 1);
    let mut core = home.open();
    home.fill(&mut core, repeat(0));
    core.maintain().unwrap();
    let (file, bytes) = (home.file(0), home.disk.read(&home.file(0)).unwrap());
    core.stage_removal(agent(0)).unwrap();
    core.flush().unwrap();
    home.journals.remove(&agent(0));
    home.fill(&mut core, repeat(0));
    core.maintain().unwrap();
    assert_ne!(home.file(0), file);
    home.write(&file, &bytes);
    home.refused().unwrap();
}
