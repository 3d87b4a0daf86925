//! The seeded world: simulated guest, files, clock and entropy around the real spine and store.
