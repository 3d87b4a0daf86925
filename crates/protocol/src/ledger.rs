//! (being written)
use minicbor::{Decode, Encode};
/// l
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ledger {
    /// b
    #[n(0)]
    pub balance: crate::Credits,
}
