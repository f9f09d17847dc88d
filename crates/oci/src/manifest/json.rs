//! Walks JSON without keeping it, and refuses JSON that parsers read differently or that would exhaust them.
//!
//! `serde_json` itself refuses trailing text, byte order marks and malformed numbers. This module also refuses
//! duplicate keys, deep nesting, and very many small values, which take many times the size of their text in memory.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::ManifestError;
use crate::text::excerpt;

/// Manifests nest about four levels deep, and annotations in an unknown field perhaps ten.
const MAX_DEPTH: usize = 64;
/// Enough for [`super::MAX_DESCRIPTORS`] descriptors with all their fields, a platform and some annotations.
const MAX_VALUES: usize = 250_000;

/// Checks that the bytes are one JSON document that every parser reads the same way.
pub(super) fn check(raw: &[u8]) -> Result<(), ManifestError> {
    let refuse = |problem: &dyn fmt::Display| ManifestError::Json(excerpt(&problem.to_string()));
    // `serde_json` does not check the encoding of strings that it skips.
    let text = std::str::from_utf8(raw).map_err(|error| refuse(&error))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut values_left = MAX_VALUES;
    let walk = Walk { depth_left: MAX_DEPTH, values_left: &mut values_left };
    walk.deserialize(&mut deserializer).and_then(|()| deserializer.end()).map_err(|error| refuse(&error))
}

/// The walk through one value and all values inside it.
struct Walk<'a> {
    depth_left: usize,
    values_left: &'a mut usize,
}

impl Walk<'_> {
    /// Starts the walk through a value inside this one.
    fn inner<E: Error>(&mut self) -> Result<Walk<'_>, E> {
        let depth_left =
            self.depth_left.checked_sub(1).ok_or_else(|| E::custom(format_args!("nested deeper than {MAX_DEPTH}")))?;
        Ok(Walk { depth_left, values_left: &mut *self.values_left })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        *self.values_left = self
            .values_left
            .checked_sub(1)
            .ok_or_else(|| D::Error::custom(format_args!("more than {MAX_VALUES} values")))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(Key(key)) = entries.next_key()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format_args!("key \"{key}\" is given twice")));
            }
            keys.insert(key);
            entries.next_value_seed(self.inner()?)?;
        }
        Ok(())
    }
}

/// A key, borrowed from the text unless it holds escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
