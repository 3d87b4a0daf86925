use super::*;
use futures_util::FutureExt;
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// What reading these bytes gives, as text.
fn check(bytes: &[u8], max: usize, expected: &str) {
    let mut io = bytes;
    let mut assembly = Assembly::new(max);
    let mut said = vec![];
    loop {
        match assembly.step(&mut io).now_or_never().expect("memory does not wait") {
            Ok(Step::Some(_)) => {}
            Ok(Step::Frame(frame)) => said.push(String::from_utf8(frame).expect("text")),
            Ok(Step::End) => {
                said.push("end".into());
                break;
            }
            Err(error) => {
                said.push(error.to_string());
                break;
            }
        }
    }
    assert_eq!(said.join(", "), expected, "{bytes:?}");
}

#[test]
fn frames_are_read() {
    check(b"\0\0\0\x02hi\0\0\0\x01!\0\0\0\0", 2, "hi, !, end");
    check(b"\0\0\0\0ignored", 2, "end");
}

#[test]
fn what_is_cut_is_not_an_end() {
    check(b"", 2, "cut off before its end");
    check(b"\0\0", 2, "cut off before its end");
    check(b"\0\0\0\x02h", 2, "cut off before its end");
    check(b"\0\0\0\x02hi", 2, "hi, cut off before its end");
}

#[test]
fn a_length_is_refused_before_it_is_allocated() {
    check(b"\0\0\0\x03", 2, "a frame of 3 bytes, at most 2 are allowed");
    check(b"\xff\xff\xff\xffx", 1 << 20, "a frame of 4294967295 bytes, at most 1048576 are allowed");
    let mut assembly = Assembly::new(1 << 30);
    let mut io: &[u8] = b"\x40\0\0\0only this";
    while let Ok(Step::Some(_)) = assembly.step(&mut io).now_or_never().expect("memory does not wait") {}
    assert!(assembly.body.capacity() <= 2 * STEP_BYTES, "{} bytes for 9", assembly.body.capacity());
}

#[test]
fn headers_are_bounded_too() {
    assert_eq!(header(b"hi", 2).expect("fits"), [0, 0, 0, 2]);
    assert!(header(b"", 2).is_err(), "an empty frame would be the end");
    assert!(header(b"abc", 2).is_err());
}

/// Gives one byte at a time, and makes its reader wait before each.
struct Hesitant<'a>(&'a [u8], bool);

impl AsyncRead for Hesitant<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.1 = !self.1;
        if self.1 {
            return Poll::Pending;
        }
        let Some((byte, rest)) = self.0.split_first() else { return Poll::Ready(Ok(0)) };
        buffer[0] = *byte;
        self.0 = rest;
        Poll::Ready(Ok(1))
    }
}

#[test]
fn a_read_that_was_given_up_goes_on() {
    let mut io = Hesitant(b"\0\0\0\x04abcd\0\0\0\0", false);
    let mut assembly = Assembly::new(9);
    let (mut frames, mut given_up) = (vec![], 0);
    loop {
        match assembly.step(&mut io).now_or_never() {
            None => given_up += 1,
            Some(Ok(Step::Some(_))) => assert!(assembly.is_begun()),
            Some(Ok(Step::Frame(frame))) => frames.push(frame),
            Some(Ok(Step::End)) => break,
            Some(Err(error)) => panic!("{error}"),
        }
    }
    assert_eq!((frames, given_up), (vec![b"abcd".to_vec()], 12));
}
