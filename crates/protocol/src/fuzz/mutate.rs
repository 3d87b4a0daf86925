//! Seeded mutation: valid samples, damaged in the ways in which decoders go wrong.

/// Longest mutation, in bytes: room for a sample and a splice, while each case stays quick.
const BYTES_MAX: usize = 16 << 10;

/// Makes byte strings near the samples.
pub(super) struct Mutator<'a> {
    samples: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutator<'a> {
    pub(super) const fn new(seed: u64, samples: &'a [Vec<u8>]) -> Self {
        Self { samples, state: seed }
    }

    /// A sample with one to four changes, or, without samples, noise.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.sample();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = at + self.below((bytes.len() - at).min(32) + 1);
        match self.below(9) {
            0 => self.edit(bytes, |byte, random| byte ^ (1 << (random % 8))),
            1 => self.edit(bytes, |_, random| random),
            // Counts and lengths that are off by one.
            2 => self.edit(bytes, |byte, random| byte.wrapping_add(if random % 2 == 0 { 1 } else { 255 })),
            // The heads of CBOR items: wide integers, lengths, arrays, tags, breaks.
            3 => self.edit(bytes, |_, random| {
                let heads = [0x00, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1f, 0x40, 0x5b, 0x5f, 0x60, 0x7b, 0x80, 0x9b];
                let more = [0x9f, 0xa0, 0xbf, 0xc2, 0xdb, 0xf4, 0xf5, 0xf6, 0xf7, 0xfb, 0xff, b'0', b'9', b'.'];
                if random < 128 { heads[usize::from(random) % 14] } else { more[usize::from(random) % 14] }
            }),
            4 => drop(bytes.drain(at..end)),
            5 => bytes.truncate(at),
            6 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            7 => {
                let noise: Vec<u8> = (0..=self.below(8)).map(|_| self.byte()).collect();
                bytes.splice(at..at, noise);
            }
            _ => {
                let other = self.sample();
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }

    /// Changes one byte, if there is one.
    fn edit(&mut self, bytes: &mut [u8], change: impl Fn(u8, u8) -> u8) {
        let (at, random) = (self.below(bytes.len().max(1)), self.byte());
        if let Some(byte) = bytes.get_mut(at) {
            *byte = change(*byte, random);
        }
    }

    fn sample(&mut self) -> Vec<u8> {
        match self.samples.len() {
            0 => (0..self.below(64)).map(|_| self.byte()).collect(),
            count => self.samples[self.below(count)].clone(),
        }
    }

    fn byte(&mut self) -> u8 {
        self.random().to_le_bytes()[0]
    }

    /// Below `bound`, which is at least 1. The bias of the remainder does not matter here.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random() % (bound as u64)).unwrap_or(0)
    }

    /// `SplitMix64`: tiny, and any seed is a good one.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
