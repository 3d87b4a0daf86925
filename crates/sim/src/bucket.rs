//! Object storage that loses requests and answers, and does some of what it was asked for much later.
//!
//! Invariants kept here: of all creates of a key one takes effect, as long as nobody deletes it; who reads after an answer
//! sees what it was about. All else is up to the seed.

use crate::{executor::point, random::Random};
use bytes::Bytes;
use igor_protocol::slot::Rules;
use igor_store::bucket::{Bucket, Created, Failure, PAGE_KEYS_MAX};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How often what goes wrong, in a thousand requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A request that never arrives.
    pub lost: u64,
    /// An answer that never arrives.
    pub unanswered: u64,
    /// A request that arrives long after nobody waits for it any more.
    pub late: u64,
    /// A request that arrives, and once more long after.
    pub twice: u64,
}

/// A bucket. Clones are the same one.
#[derive(Clone)]
pub struct SimBucket(Arc<Mutex<State>>);

/// What stands in a bucket, and what stood first under each key, whatever became of it.
#[derive(Default)]
pub(crate) struct Objects {
    objects: BTreeMap<String, Bytes>,
    first: BTreeMap<String, Bytes>,
}

impl Objects {
    pub(crate) fn create(&mut self, key: &str, bytes: &Bytes) -> Created {
        if self.objects.contains_key(key) {
            return Created::Exists;
        }
        self.replace(key, bytes);
        Created::New
    }

    pub(crate) fn replace(&mut self, key: &str, bytes: &Bytes) {
        self.objects.insert(key.to_owned(), bytes.clone());
        self.first.entry(key.to_owned()).or_insert_with(|| bytes.clone());
    }

    /// Says whether there was one.
    pub(crate) fn delete(&mut self, key: &str) -> bool {
        self.objects.remove(key).is_some()
    }

    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        self.objects.get(key).cloned()
    }

    pub(crate) fn list(&self, prefix: &str, after: &str) -> Vec<String> {
        let keys = self.objects.keys().filter(|key| key.starts_with(prefix) && key.as_str() > after);
        keys.take(PAGE_KEYS_MAX).cloned().collect()
    }

    pub(crate) fn first(&self, key: &str) -> Option<Bytes> {
        self.first.get(key).cloned()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&String, &Bytes)> {
        self.objects.iter()
    }
}

/// An answer that is longer than whoever asked takes.
pub(crate) fn within(key: &str, found: Option<Bytes>, max: u64) -> Result<Option<Bytes>, Failure> {
    match found {
        Some(bytes) if bytes.len() as u64 > max => {
            Err(Failure::TooLarge { key: key.to_owned(), bytes: bytes.len() as u64, max })
        }
        found => Ok(found),
    }
}

struct State {
    objects: Objects,
    late: Vec<Late>,
    faults: Faults,
    random: Random,
    rules: Rules,
}

enum Late {
    Create(String, Bytes),
    Delete(String),
}

impl SimBucket {
    /// An empty one.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::with_rules(seed, faults, Rules::ALL)
    }

    /// An empty one, whose users leave out a rule: for a test that shows what it is for.
    pub fn with_rules(seed: u64, faults: Faults, rules: Rules) -> Self {
        Self::of(Objects::default(), seed, faults, rules)
    }

    /// One in which this stands.
    pub(crate) fn of(objects: Objects, seed: u64, faults: Faults, rules: Rules) -> Self {
        let random = Random::new(seed);
        Self(Arc::new(Mutex::new(State { objects, late: Vec::new(), faults, random, rules })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// All that is late arrives.
    pub fn settle(&self) {
        let mut state = self.lock();
        for late in std::mem::take(&mut state.late) {
            state.arrive(late);
        }
    }

    /// All that stands under keys that begin like this, now.
    pub fn objects(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let all = |(key, bytes): (&String, &Bytes)| (key.clone(), bytes.clone());
        self.lock().objects.all().filter(|(key, _)| key.starts_with(prefix)).map(all).collect()
    }

    /// What stood first under a key, also where it was deleted.
    pub fn first(&self, key: &str) -> Option<Bytes> {
        self.lock().objects.first(key)
    }

    /// Writes what no honest node would.
    pub fn plant(&self, key: &str, bytes: &Bytes) {
        self.lock().objects.create(key, bytes);
    }

    /// Deletes as an operator of the bucket would.
    pub fn lose(&self, key: &str) {
        self.lock().objects.delete(key);
    }

    /// Others have their turn while a request is on its way; what is late may arrive.
    async fn travel(&self) {
        let points = self.lock().random.below(4);
        for _ in 0..points {
            point().await;
        }
        self.lock().some_late();
    }

    /// What becomes of a request: whether it has its effect now, whether its answer arrives, and whether it comes again.
    fn fate(&self) -> Fate {
        let mut state = self.lock();
        let Faults { lost, unanswered, late, twice } = state.faults;
        let dice = state.random.below(1000);
        if dice < lost {
            Fate::Lost
        } else if dice < lost + unanswered {
            Fate::Unanswered
        } else if dice < lost + unanswered + late {
            Fate::Late
        } else if dice < lost + unanswered + late + twice {
            Fate::Twice
        } else {
            Fate::Well
        }
    }
}

enum Fate {
    Well,
    Lost,
    Unanswered,
    Late,
    Twice,
}

impl State {
    fn some_late(&mut self) {
        if self.late.is_empty() || !self.random.one_in(6) {
            return;
        }
        let index = self.random.index(self.late.len());
        let late = self.late.swap_remove(index);
        self.arrive(late);
    }

    fn arrive(&mut self, late: Late) {
        match late {
            Late::Create(key, bytes) => {
                self.objects.create(&key, &bytes);
            }
            Late::Delete(key) => {
                self.objects.delete(&key);
            }
        }
    }
}

fn unknown(why: &str) -> Failure {
    Failure::Unknown { why: why.to_owned() }
}

impl Bucket for SimBucket {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<Created, Failure> {
        self.travel().await;
        let fate = self.fate();
        let done = match fate {
            Fate::Lost => Err(unknown("it was lost")),
            Fate::Late => {
                self.lock().late.push(Late::Create(key.to_owned(), bytes));
                Err(unknown("it is late"))
            }
            Fate::Unanswered => {
                self.lock().objects.create(key, &bytes);
                Err(unknown("its answer was lost"))
            }
            Fate::Twice => {
                let mut state = self.lock();
                state.late.push(Late::Create(key.to_owned(), bytes.clone()));
                Ok(state.objects.create(key, &bytes))
            }
            Fate::Well => Ok(self.lock().objects.create(key, &bytes)),
        };
        self.travel().await;
        done
    }

    async fn replace(&self, key: &str, bytes: Bytes) -> Result<(), Failure> {
        self.travel().await;
        self.lock().objects.replace(key, &bytes);
        Ok(())
    }

    async fn get(&self, key: &str, bytes_max: u64) -> Result<Option<Bytes>, Failure> {
        self.travel().await;
        if matches!(self.fate(), Fate::Lost | Fate::Unanswered) {
            return Err(unknown("nothing came back"));
        }
        let found = self.lock().objects.get(key);
        self.travel().await;
        within(key, found, bytes_max)
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, Failure> {
        self.travel().await;
        Ok(self.lock().objects.list(prefix, after))
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        self.travel().await;
        let fate = self.fate();
        let done = match fate {
            Fate::Lost => Err(unknown("it was lost")),
            Fate::Late => {
                self.lock().late.push(Late::Delete(key.to_owned()));
                Err(unknown("it is late"))
            }
            Fate::Unanswered => {
                self.lock().objects.delete(key);
                Err(unknown("its answer was lost"))
            }
            Fate::Twice | Fate::Well => {
                self.lock().objects.delete(key);
                Ok(())
            }
        };
        self.travel().await;
        done
    }

    fn rules(&self) -> Rules {
        self.lock().rules
    }

    async fn pause(&self, attempt: u32) {
        for _ in 0..=attempt.min(5) {
            point().await;
        }
    }
}
