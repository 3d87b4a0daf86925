//! Many creators of one object at once: one of them wins, whatever the server does in between.

use super::{Check, Plan, Refusal, Run, words};
use bytes::Bytes;
use futures_util::future::join_all;
use igor_store::bucket::{Bucket, Created, Failure};

/// What came of one round.
enum Round {
    Won,
    /// A racer got no answer, so who won cannot be told.
    Unclear(Failure),
}

impl<B: Bucket> Run<'_, B> {
    /// Rounds that were won, and rounds that were unclear.
    pub(super) async fn race(&mut self, plan: Plan) -> Result<(usize, usize), Refusal> {
        let (mut won, mut unclear) = (0, 0);
        while won < plan.rounds {
            let key = self.key(&format!("race/{}", won + unclear));
            match self.round(&key, plan.racers).await? {
                Round::Won => won += 1,
                Round::Unclear(failure) if unclear >= plan.rounds => {
                    return Err(Refusal::Failed { check: Check::Race, failure });
                }
                Round::Unclear(_) => {
                    self.bucket.pause(u32::try_from(unclear).unwrap_or(u32::MAX)).await;
                    unclear += 1;
                }
            }
        }
        Ok((won, unclear))
    }

    async fn round(&self, key: &str, racers: usize) -> Result<Round, Refusal> {
        let bytes = |racer: usize| Bytes::from(format!("racer {racer}"));
        let answers = join_all((0..racers).map(|racer| self.bucket.create(key, bytes(racer)))).await;
        let (mut winners, mut unanswered, mut why) = (vec![], vec![], None);
        for (racer, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(Created::New) => winners.push(bytes(racer)),
                Ok(Created::Exists) => {}
                Err(failure @ Failure::Unknown { .. }) => {
                    unanswered.push(bytes(racer));
                    why = Some(failure);
                }
                Err(failure) => return Err(Refusal::Failed { check: Check::Race, failure }),
            }
        }
        let broken = |expected: String, saw: String| Err(Refusal::Broken { check: Check::Race, expected, saw });
        if winners.len() > 1 {
            return broken(format!("one winner of {racers}"), format!("{} winners", winners.len()));
        }
        let there = self.read(Check::Race, key).await?;
        match (winners.pop(), there, why) {
            (Some(winner), there, why) => {
                if there.as_ref() != Some(&winner) {
                    return broken(format!("the winner's {}", words(Some(&winner))), words(there.as_ref()));
                }
                // Who got no answer has lost: the winner was told so, and its bytes are there.
                Ok(why.map_or(Round::Won, Round::Unclear))
            }
            (None, there, Some(why)) => match there {
                Some(there) if !unanswered.contains(&there) => {
                    broken("bytes of a racer that was not told `exists already`".to_owned(), words(Some(&there)))
                }
                _ => Ok(Round::Unclear(why)),
            },
            (None, _, None) => {
                broken(format!("one winner of {racers}"), "that all were told `exists already`".to_owned())
            }
        }
    }
}
