//! Uuids in JSON: their text form. For `#[serde(with = "gfid")]`; the data path's type itself knows nothing of serde.

use std::str::FromStr;

use datapath::wire::Gfid;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes the canonical text.
pub fn serialize<S: Serializer>(gfid: &Gfid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(gfid)
}

/// Reads the canonical text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Gfid, D::Error> {
    let text = String::deserialize(deserializer)?;
    Gfid::from_str(&text).map_err(|_| serde::de::Error::custom(format!("'{text}' is not a uuid")))
}
