//! Small bodies, read whole: logins, management calls, calls of other regions and manifests, never blobs.
//!
//! Owns: how large such a body may be, how long it may take, and whose budget it counts against (`room`). Never: its
//! content.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header;
use http::request::Parts;
use http_body_util::BodyExt as _;
use transship_registry::counted_address;

use super::context;
use super::room::{Held, NoRoom, Room};

/// Budget of all bodies whose senders have not proved who they are.
const STRANGERS_BYTES: usize = 16 << 20;
/// Budget of one unproved address: four signed calls of the largest kind, or thousands of logins.
const ADDRESS_BYTES: usize = 4 << 20;
/// Budget of all bodies of callers that have proved who they are.
const PROVED_BYTES: usize = 24 << 20;
/// Budget of one account: a manifest of the largest size beside hundreds of the usual one.
const ACCOUNT_BYTES: usize = 8 << 20;
/// Room is taken, and memory allocated, in pieces of this size.
const PIECE_BYTES: usize = 32 * 1024;
/// Time limit for the body of a stranger, from its first byte to its last: 1 MiB at 35 KB/s.
const STRANGER_TIME: Duration = Duration::from_secs(30);
/// Time limit for the body of a proved caller: a manifest of 4 MiB at 35 KB/s.
const PROVED_TIME: Duration = Duration::from_mins(2);
/// Seconds after which a sender that found no room should retry: a body that moves is gone by then.
pub const RETRY_AFTER_SECONDS: u64 = 2;

/// The body budgets of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bodies {
    strangers: Room<IpAddr>,
    accounts: Room<String>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { strangers: Room::new(STRANGERS_BYTES, ADDRESS_BYTES), accounts: Room::new(PROVED_BYTES, ACCOUNT_BYTES) }
    }
}

/// The sender of a body, as far as its head proves it.
#[derive(Clone, Copy, Debug)]
pub enum Sender<'a> {
    /// An unknown sender: only the body can prove who it is.
    Stranger,
    /// A user of this account, or another region, named by its id.
    Proved(&'a str),
}

impl Sender<'_> {
    const fn time(self) -> Duration {
        match self {
            Self::Stranger => STRANGER_TIME,
            Self::Proved(_) => PROVED_TIME,
        }
    }
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WholeBodyError {
    /// It has more bytes than the limit.
    #[error("the body is longer than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The client stopped sending.
    #[error("the body ended early")]
    Broken,
    /// It was not complete in time.
    #[error("the body did not come whole within {seconds} s; send it again, faster")]
    TooSlow {
        /// The time limit.
        seconds: u64,
    },
    /// Others needed its room, or there was none.
    #[error(
        "too many unfinished request bodies from the same sender, or in the region; send the request again in some seconds"
    )]
    NoRoom,
}

impl From<NoRoom> for WholeBodyError {
    fn from(_: NoRoom) -> Self {
        Self::NoRoom
    }
}

/// A body that was read whole; dropping it gives back its room.
#[derive(Debug)]
pub struct Whole {
    /// The bytes.
    pub bytes: Bytes,
    _held: Option<Place>,
}

#[derive(Debug)]
enum Place {
    Stranger(#[expect(dead_code, reason = "holding it is what it is for")] Held<IpAddr>),
    Proved(#[expect(dead_code, reason = "holding it is what it is for")] Held<String>),
}

impl std::ops::Deref for Whole {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl Whole {
    /// The body of a request that has none.
    pub const fn empty() -> Self {
        Self { bytes: Bytes::new(), _held: None }
    }

    /// Moves the body to the budget of an account: it has proved its sender, and may be processed for a long time.
    ///
    /// # Errors
    /// [`WholeBodyError::NoRoom`] if the account has no room for it.
    pub fn hand_over(self, parts: &Parts, account: &str) -> Result<Self, WholeBodyError> {
        if self.bytes.is_empty() {
            return Ok(self);
        }
        let held = bodies(parts).accounts.enter(account.to_owned())?;
        held.grow(self.bytes.len())?;
        held.came_whole();
        Ok(Self { bytes: self.bytes, _held: Some(Place::Proved(held)) })
    }
}

/// Reads a body of at most `limit_bytes`; reads nothing if the head announces more.
///
/// `body` discards what a refused request still sends, so that its sender sees the answer.
///
/// # Errors
/// If the body is too large, ends early, is too slow, or finds no room.
pub async fn read_whole(
    parts: &Parts,
    body: Body,
    limit_bytes: usize,
    sender: Sender<'_>,
) -> Result<Whole, WholeBodyError> {
    read_within(sender.time(), parts, body, limit_bytes, sender).await
}

async fn read_within(
    time: Duration,
    parts: &Parts,
    body: Body,
    limit_bytes: usize,
    sender: Sender<'_>,
) -> Result<Whole, WholeBodyError> {
    if http_body::Body::is_end_stream(&body) {
        return Ok(Whole::empty());
    }
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|announced: u64| usize::try_from(announced).map_or(true, |bytes| bytes > limit_bytes)) {
        return Err(WholeBodyError::TooLarge { limit_bytes });
    }
    let bodies = bodies(parts);
    let reading = async {
        match sender {
            Sender::Stranger => {
                let held = bodies.strangers.enter(counted_address(context::client()))?;
                Ok(Whole { bytes: read(body, limit_bytes, &held).await?, _held: Some(Place::Stranger(held)) })
            }
            Sender::Proved(account) => {
                let held = bodies.accounts.enter(account.to_owned())?;
                Ok(Whole { bytes: read(body, limit_bytes, &held).await?, _held: Some(Place::Proved(held)) })
            }
        }
    };
    let in_time = tokio::time::timeout(time, reading).await;
    in_time.unwrap_or_else(|_| Err(WholeBodyError::TooSlow { seconds: time.as_secs() }))
}

fn bodies(parts: &Parts) -> Bodies {
    parts.extensions.get::<Bodies>().cloned().unwrap_or_default()
}

async fn read<K: Eq + std::hash::Hash + Clone>(
    mut body: Body,
    limit_bytes: usize,
    held: &Held<K>,
) -> Result<Bytes, WholeBodyError> {
    let mut whole = Pieces::default();
    loop {
        let frame = tokio::select! {
            // A frame that has arrived is taken before the body is told to leave.
            biased;
            frame = body.frame() => frame,
            () = held.must_leave() => return Err(WholeBodyError::NoRoom),
        };
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| WholeBodyError::Broken)?.into_data() else { continue };
        if whole.bytes + data.len() > limit_bytes {
            return Err(WholeBodyError::TooLarge { limit_bytes });
        }
        whole.append(&data, held)?;
    }
    held.came_whole();
    Ok(whole.join())
}

/// The bytes of a body that have arrived. They are copied, because a frame keeps the whole read buffer of its
/// connection alive. Pieces of one size leave no holes in the heap when bodies come and go.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pieces {
    fn append<K: Eq + std::hash::Hash + Clone>(&mut self, mut data: &[u8], held: &Held<K>) -> Result<(), NoRoom> {
        while !data.is_empty() {
            let free = self.pieces.last().map_or(0, |last| last.capacity() - last.len());
            if free == 0 {
                // Most bodies are small, and arrive as one frame.
                let bytes = if self.pieces.is_empty() { data.len().min(PIECE_BYTES) } else { PIECE_BYTES };
                held.grow(bytes)?;
                self.pieces.push(Vec::with_capacity(bytes));
                continue;
            }
            let (now, later) = data.split_at(free.min(data.len()));
            if let Some(last) = self.pieces.last_mut() {
                last.extend_from_slice(now);
            }
            self.bytes += now.len();
            data = later;
        }
        Ok(())
    }

    fn join(mut self) -> Bytes {
        if self.pieces.len() > 1 { self.pieces.concat().into() } else { self.pieces.pop().unwrap_or_default().into() }
    }
}

#[cfg(test)]
mod tests;
