//! Bad inputs (docs/quality/bad-inputs.md): one region with content, requests as raw bytes, and what holds for every
//! answer whatever was asked. Rows come from `tests/data/bad-inputs.toml`, and more of each group from a generator.

pub mod forge;
pub mod judge;
pub mod rows;
pub mod stage;
pub mod text;

pub use judge::{Judge, Shape};
pub use rows::Request;
pub use stage::{Actor, Stage};
pub use text::Context;
