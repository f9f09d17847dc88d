//! Requests and answers that know their own fields: one declaration gives the type, its serde form and its schema.
//!
//! Owns: how a type of this crate becomes a schema of the OpenAPI document. Never: which types there are.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use transship_oci::{NamespaceName, Tag};

/// A field of a JSON object.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it is, as a sentence.
    pub about: &'static str,
    /// Whether an object without it is refused.
    pub is_mandatory: bool,
    /// The schema of its value.
    pub shape: fn() -> Value,
}

/// A JSON object with known fields.
pub trait Record {
    /// Its name in the OpenAPI document.
    const NAME: &'static str;
    /// What it is, as a sentence.
    const ABOUT: &'static str;
    /// Its fields, in the order in which they are written.
    const FIELDS: &'static [Field];
}

/// A type that has a JSON schema.
pub trait Shape {
    /// The schema to write where the type is used.
    fn shape() -> Value;
}

macro_rules! shapes {
    ($($type:ty => $shape:tt,)+) => {
        $(impl Shape for $type {
            fn shape() -> Value {
                json!($shape)
            }
        })+
    };
}

shapes! {
    String => { "type": "string" },
    Tag => { "type": "string" },
    NamespaceName => { "type": "string" },
    bool => { "type": "boolean" },
    i32 => { "type": "integer", "format": "int32" },
    i64 => { "type": "integer", "format": "int64" },
    u64 => { "type": "integer", "format": "int64" },
    f64 => { "type": "number", "format": "double" },
    () => { "type": "null" },
}

impl<T: Shape> Shape for Vec<T> {
    fn shape() -> Value {
        json!({ "type": "array", "items": T::shape() })
    }
}

/// A field that is left out rather than null.
impl<T: Shape> Shape for Option<T> {
    fn shape() -> Value {
        T::shape()
    }
}

impl<T: Shape> Shape for BTreeMap<String, T> {
    fn shape() -> Value {
        json!({ "type": "object", "additionalProperties": T::shape() })
    }
}

/// Declares a JSON object. The type of each field is followed by its key. If an object may lack the field, brackets
/// follow, with what serde needs to read such an object.
macro_rules! record {
    (
        $(#[doc = $about:literal])+
        #[derive($($derive:ident),+)]
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                pub $field:ident: $type:ty = $key:literal $([$($optional:tt)+])?,
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive($($derive),+)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[serde(rename = $key $(, $($optional)+)?)]
                pub $field: $type,
            )+
        }

        impl $crate::record::Record for $name {
            const NAME: &'static str = stringify!($name);
            const ABOUT: &'static str = concat!($($about),+).trim_ascii();
            const FIELDS: &'static [$crate::record::Field] = &[
                $($crate::record::Field {
                    name: $key,
                    about: concat!($($doc),+).trim_ascii(),
                    is_mandatory: true $(&& $crate::record::never(stringify!($($optional)+)))?,
                    shape: <$type as $crate::record::Shape>::shape,
                },)+
            ];
        }

        impl $crate::record::Shape for $name {
            fn shape() -> serde_json::Value {
                serde_json::json!({ "$ref": concat!("#/components/schemas/", stringify!($name)) })
            }
        }
    };
}

/// Returns false: a field with something in brackets is not mandatory.
pub(crate) const fn never(_: &str) -> bool {
    false
}

pub(crate) use record;
