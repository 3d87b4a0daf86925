use super::*;

fn frame(kind: u8, length: u32, body: usize) -> Vec<u8> {
    let mut frame = vec![0, kind, 0, 0, 0, 0, 0, 1];
    frame.extend(length.to_be_bytes());
    frame.resize(HEADER_BYTES + body, 7);
    frame
}

/// How many small frames are seen in these, whatever pieces they come in.
fn check(frames: &[Vec<u8>], small: u32) {
    let bytes = frames.concat();
    for piece in [1, 5, 12, 13, bytes.len()] {
        let mut coarse = Coarse::new((), Arc::new(Counters::new()));
        let seen: u32 = bytes.chunks(piece).map(|part| coarse.follow(part)).sum();
        assert_eq!(seen, small, "in pieces of {piece} bytes");
    }
}

#[test]
fn small_data_frames_are_seen() {
    check(&[frame(DATA, 1, 1), frame(DATA, 0, 0), frame(DATA, 255, 255)], 3);
    check(&[frame(DATA, 256, 256), frame(DATA, 9000, 9000)], 0);
    // Window updates and pings have a number where data frames have their length, and nothing after it.
    check(&[frame(1, 9, 0), frame(2, 9, 0), frame(DATA, 2, 2), frame(3, 0, 0), frame(DATA, 700, 700)], 1);
}

#[tokio::test(start_paused = true)]
async fn reading_waits_but_loses_nothing() {
    use futures_util::AsyncReadExt;
    let count = limits::SMALL_FRAME_BURST * 3;
    let bytes = frame(DATA, 1, 1).repeat(count as usize);
    let counters = Arc::new(Counters::new());
    let mut coarse = Coarse::new(&bytes[..], Arc::clone(&counters));
    let mut read = vec![];
    coarse.read_to_end(&mut read).await.expect("memory can be read");
    assert!(read == bytes, "other bytes came out");
    assert!(counters.read().refused(Refusal::SmallFrames) > 0, "it never waited");
}
