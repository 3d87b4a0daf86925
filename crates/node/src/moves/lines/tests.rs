use super::*;

#[test]
fn a_flood_leaves_a_line_a_second() {
    let (lines, start) = (Lines::default(), Instant::now());
    for _ in 0..LINES_AT_ONCE {
        assert_eq!(lines.next(start), Some(0));
    }
    for _ in 0..1000 {
        assert_eq!(lines.next(start + Duration::from_millis(999)), None);
    }
    assert_eq!(lines.next(start + Duration::from_secs(1)), Some(1000));
    assert_eq!(lines.next(start + Duration::from_millis(1999)), None);
    assert_eq!(lines.next(start + Duration::from_secs(2)), Some(1));
    assert_eq!(lines.next(start), None, "a clock that goes back gives nothing");
    assert_eq!(
        [0; 17].map(|_| lines.next(start + Duration::from_mins(9)).is_some()).iter().filter(|x| **x).count(),
        16
    );
}
