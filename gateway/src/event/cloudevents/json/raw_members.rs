//! The members of a document as they are written. Of two of one name nobody knows which is meant, and a reader that takes
//! one loses the other.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members by their names, and a name that stands there twice.
#[derive(Default)]
pub(super) struct RawMembers<'d> {
    pub(super) by_name: BTreeMap<String, &'d RawValue>,
    pub(super) twice: Option<String>,
}

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawMembers<'de>, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = RawMembers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMembers<'de>, A::Error> {
        let mut members = RawMembers::default();
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            if members.by_name.insert(name.clone(), value).is_some() {
                members.twice = Some(name);
            }
        }
        Ok(members)
    }
}
