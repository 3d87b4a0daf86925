//! A node that starts waits for what it asked, and not longer.

use super::*;
use futures_util::FutureExt;

#[tokio::test]
async fn whoever_waits_for_answers_waits_until_they_were_heard() {
    let (peers, _hearing) = NodePeers::new();
    assert_eq!(peers.answered().now_or_never(), Some(()), "nothing was asked");
    let (first, second) = (Question::new(&peers.open), Question::new(&peers.open));
    assert_eq!(peers.answered().now_or_never(), None);
    drop(first);
    assert_eq!(peers.answered().now_or_never(), None, "one is open");
    drop(second);
    assert_eq!(peers.answered().now_or_never(), Some(()));
}
