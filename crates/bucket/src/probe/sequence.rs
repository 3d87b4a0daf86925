//! One request after the other: what a server says that it did, and what it did.

use super::{ATTEMPTS_MAX, Check, Refusal, Run, expect, words};
use bytes::Bytes;
use igor_store::bucket::{Bucket, Created};

#[expect(clippy::trivially_copy_pass_by_ref)] // as `expect` gives it
fn said(created: &Created) -> String {
    match created {
        Created::New => "`created`".to_owned(),
        Created::Exists => "`exists already`".to_owned(),
    }
}

impl<B: Bucket> Run<'_, B> {
    /// The checks that held, and how often a listing had to be asked for.
    pub(super) async fn sequence(&mut self) -> Result<(Vec<Check>, u32), Refusal> {
        let key = self.key("one");
        let object = |bytes: &'static str| Some(Bytes::from_static(bytes.as_bytes()));
        let is = |check, saw: Option<Bytes>, expected: Option<Bytes>| {
            expect(check, &saw, &expected, |object| words(object.as_ref()))
        };
        let mut checks = vec![];

        expect(Check::Create, &self.create(Check::Create, &key, "first").await?, &Created::New, said)?;
        checks.push(Check::Create);

        let again = self.create(Check::CreateAgain, &key, "second").await?;
        expect(Check::CreateAgain, &again, &Created::Exists, said)?;
        checks.push(Check::CreateAgain);

        is(Check::Unchanged, self.read(Check::Unchanged, &key).await?, object("first"))?;
        checks.push(Check::Unchanged);

        let absent = self.key("absent");
        is(Check::Absent, self.read(Check::Absent, &absent).await?, None)?;
        checks.push(Check::Absent);

        self.replace(Check::Replace, &key, "third").await?;
        is(Check::Replace, self.read(Check::Replace, &key).await?, object("third"))?;
        checks.push(Check::Replace);

        let listings = self.listings().await?;
        checks.push(Check::List);

        self.delete(Check::Delete, &key).await?;
        is(Check::Delete, self.read(Check::Delete, &key).await?, None)?;
        checks.push(Check::Delete);

        self.delete(Check::DeleteAbsent, &key).await?;
        checks.push(Check::DeleteAbsent);

        let after = self.create(Check::CreateAfterDelete, &key, "fourth").await?;
        expect(Check::CreateAfterDelete, &after, &Created::New, said)?;
        is(Check::CreateAfterDelete, self.read(Check::CreateAfterDelete, &key).await?, object("fourth"))?;
        checks.push(Check::CreateAfterDelete);
        Ok((checks, listings))
    }

    /// A listing may be late, but it gets there, it is in order, and it starts behind its offset.
    async fn listings(&mut self) -> Result<u32, Refusal> {
        let prefix = format!("{}list/", self.root);
        let mut keys = vec![];
        for name in ["list/a", "list/b", "list/c"] {
            let key = self.key(name);
            expect(Check::List, &self.create(Check::List, &key, "listed").await?, &Created::New, said)?;
            keys.push(key);
        }
        let mut asked = 1;
        for (after, expected) in [(String::new(), &keys[..]), (keys[0].clone(), &keys[1..])] {
            loop {
                let shown = self.list(&prefix, &after).await?;
                if shown == expected {
                    break;
                }
                // What is shown is in order and of what there is; only something may lack as yet.
                let mut rest = expected.iter();
                let only_late = shown.iter().all(|key| rest.any(|expected| expected == key));
                if !only_late || asked > ATTEMPTS_MAX {
                    let words = |keys: &[String]| format!("a listing of {keys:?}");
                    return Err(Refusal::Broken { check: Check::List, expected: words(expected), saw: words(&shown) });
                }
                self.bucket.pause(asked).await;
                asked += 1;
            }
        }
        Ok(asked)
    }
}
