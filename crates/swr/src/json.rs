//! Parses JSON from outside: one document, and no key twice, so that two readers of a body cannot see two different
//! calls. Refuses great numbers of tiny values, which take many times the memory of their text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{ApiError, ErrorCode};

/// Maximum cost of all values of a body, where a text or a number costs one. A call with 100 000 tags, the maximum of
/// `sync_max_tags`, costs little more than 100 000. A cost of one is about 60 bytes of memory.
const MAX_COST: u32 = 120_000;
/// Cost of a field's key, in addition to its value.
const KEY_COST: u32 = 1;
/// Cost of an array, in addition to its elements.
const ARRAY_COST: u32 = 2;
/// Cost of an object, in addition to its fields: from the first field on it has room for eleven.
const OBJECT_COST: u32 = 10;

/// Parses a body. Text that is not JSON is 4001018; a repeated key, or too many values, is 4000014.
pub(crate) fn parse(body: &[u8]) -> Result<Value, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let mut left = MAX_COST;
    let value =
        Strict { left: &mut left }.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| {
        let code = if error.is_data() { ErrorCode::BadParameter } else { ErrorCode::BodyNotJson };
        ApiError::new(code, format!("the body cannot be read as JSON: {error}"))
    })
}

struct Strict<'a> {
    /// The cost that is left.
    left: &'a mut u32,
}

impl Strict<'_> {
    fn spend<E: serde::de::Error>(&mut self, cost: u32) -> Result<(), E> {
        *self.left = self.left.checked_sub(cost).ok_or_else(|| E::custom("it has too many values"))?;
        Ok(())
    }

    /// The same budget, for a value inside this one.
    const fn inner(&mut self) -> Strict<'_> {
        Strict { left: self.left }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<Value, D::Error> {
        self.spend(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        self.spend(ARRAY_COST)?;
        let mut elements = Vec::new();
        while let Some(element) = access.next_element_seed(self.inner())? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        self.spend(OBJECT_COST)?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            self.spend(KEY_COST)?;
            let value = access.next_value_seed(self.inner())?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("key {key:?} stands twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
