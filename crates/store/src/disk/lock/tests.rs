use super::*;

#[test]
fn a_writer_waits_for_readers_and_then_says_what_it_waited_for() {
    let home = tempfile::tempdir().unwrap();
    drop(Lock::exclusive(home.path(), "").unwrap());
    let reader = Lock::shared(home.path()).unwrap();
    assert!(reader.is_some());
    let refused = Lock::exclusive_after(home.path(), "", 2).unwrap_err();
    assert!(matches!(refused, Error::Locked { pid: None, .. }), "{refused}");
    let words = refused.to_string();
    assert!(words.contains("is in use by another process (a command that reads it)"), "{words}");
    drop(reader);
    Lock::exclusive_after(home.path(), "", 0).unwrap();
}

#[test]
fn a_writer_without_a_note_is_no_process_zero() {
    let home = tempfile::tempdir().unwrap();
    let writer = Lock::exclusive(home.path(), "").unwrap();
    // As when there was no room for the note.
    writer.file.set_len(0).unwrap();
    let refused = Lock::exclusive(home.path(), "").unwrap_err();
    assert!(matches!(refused, Error::Locked { pid: None, .. }), "{refused}");
    assert!(refused.to_string().contains("in use by another process; stop"), "{refused}");
}
