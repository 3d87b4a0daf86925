//! How typed values stand in JSON: as the text that people read, or as a plain number.

use igor_protocol::{Epoch, Seq, Signature, Tick};
use serde::{Deserialize, Deserializer, Serializer, de::Error};
use std::{fmt::Display, str::FromStr};

pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

macro_rules! number {
    ($module:ident, $type:ident) => {
        pub(super) mod $module {
            use super::{Deserialize, Deserializer, Serializer, $type};

            #[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
            pub(in super::super) fn serialize<S: Serializer>(value: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u64(value.0)
            }

            pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                u64::deserialize(deserializer).map($type)
            }
        }
    };
}

number!(seq, Seq);
number!(tick, Tick);

pub(super) mod tick_option {
    use super::{Deserialize, Deserializer, Serializer, Tick};

    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
    pub(in super::super) fn serialize<S: Serializer>(value: &Option<Tick>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(tick) => serializer.serialize_some(&tick.0),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tick>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Tick))
    }
}

pub(super) mod epoch {
    use super::{Deserialize, Deserializer, Epoch, Error, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
    pub(in super::super) fn serialize<S: Serializer>(value: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Epoch, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed =
            text.split_once('.').and_then(|(term, n)| Some(Epoch { term: term.parse().ok()?, n: n.parse().ok()? }));
        parsed.ok_or_else(|| D::Error::custom("an epoch is written `term.n`"))
    }
}

pub(super) mod signature {
    use super::{Deserialize, Deserializer, Error, Serializer, Signature};

    pub(in super::super) fn serialize<S: Serializer>(value: &Signature, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(value.0))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Signature, D::Error> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(String::deserialize(deserializer)?, &mut bytes).map_err(D::Error::custom)?;
        Ok(Signature(bytes))
    }
}

pub(super) mod option {
    use super::{Deserialize, Deserializer, Display, Error, FromStr, Serializer};

    #[allow(clippy::ref_option)] // the signature that serde calls
    pub(in super::super) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

pub(super) mod list {
    use super::{Deserialize, Deserializer, Display, Error, FromStr, Serializer};

    #[allow(clippy::ptr_arg)] // the signature that serde calls
    pub(in super::super) fn serialize<T: Display, S: Serializer>(
        values: &Vec<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(in super::super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}
