//! Password hashes: argon2id, one at a time, always in the same memory.
//!
//! One hash fills several MiB. If each login allocated them on its own thread, the allocator would keep them and the
//! process would grow with its logins. Kept here, they are allocated once.

#![expect(clippy::disallowed_types, reason = "one short lock that is never held over an await")]

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use argon2::password_hash::{Output, ParamsString, PasswordHash, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use rand::Rng as _;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::address::counted_address;
use crate::error::ServiceError;

/// Maximum length of a password; longer ones are refused before they are hashed.
const MAX_PASSWORD_BYTES: usize = 1024;
/// OWASP's minimum memory for argon2id, with the number of passes that goes with it.
const MEMORY_KIB: u32 = 7168;
/// See [`MEMORY_KIB`].
const PASSES: u32 = 5;
/// Bytes of a hash.
const OUTPUT_BYTES: usize = 32;
/// Maximum memory of a stored hash; one that asks for more is not one of ours.
const MAX_MEMORY_KIB: u32 = 64 << 10;
/// The hash that an unknown user's password is compared with: of a secret that nobody knows, at the usual cost.
const ABSENT_HASH: &str =
    "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHRmb3Jub2JvZHk$Zm9yIGEgdXNlciB0aGF0IGRvZXMgbm90IGV4aXN0ISE";

/// Maximum number of logins that wait for their turn; the last of them waits some seconds.
const MAX_WAITING: usize = 128;
/// The same for one address, so that one client cannot fill the queue alone.
const MAX_WAITING_OF_ADDRESS: usize = 32;
/// Time after which a caller should retry: by then the queue is usually shorter.
const FULL_WAIT_SECONDS: u64 = 2;

/// The one place where passwords are hashed.
#[derive(Clone, Default)]
pub(crate) struct Passwords {
    /// Locked for the duration of one hash.
    blocks: Arc<Mutex<Vec<Block>>>,
    queue: Arc<Queue>,
}

/// The number of waiting logins, by address.
#[derive(Default)]
struct Queue(std::sync::Mutex<HashMap<IpAddr, usize>>);

/// The right to hash, once. Others wait until it is dropped.
pub(crate) struct Turn(Option<OwnedMutexGuard<Vec<Block>>>);

impl Passwords {
    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, ServiceError> {
        if password.is_empty() || password.len() > MAX_PASSWORD_BYTES {
            return Err(ServiceError::InvalidParameter {
                name: "password",
                value: format!("{} bytes long", password.len()),
                expected: format!("1 to {MAX_PASSWORD_BYTES} bytes"),
            });
        }
        let mut turn = Turn(Some(Arc::clone(&self.blocks).lock_owned().await));
        turn.work(move |blocks| hash(&password, blocks)).await
    }

    /// Waits until it is this login's turn.
    ///
    /// # Errors
    /// [`ServiceError::TooManyAttempts`] if too many logins wait already, from this address or in all.
    pub(crate) async fn turn(&self, from: IpAddr) -> Result<Turn, ServiceError> {
        let _waiting = Queue::enter(&self.queue, from)?;
        Ok(Turn(Some(Arc::clone(&self.blocks).lock_owned().await)))
    }
}

impl Turn {
    /// Whether a password matches a stored hash.
    ///
    /// Without a hash it takes the same time and returns `false`, so that nobody can tell an unknown user from a wrong
    /// password.
    pub(crate) async fn verify(&mut self, stored: Option<String>, password: &str) -> Result<bool, ServiceError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        let (known, password) = (stored.is_some(), password.to_owned());
        let stored = stored.unwrap_or_else(|| ABSENT_HASH.to_owned());
        Ok(self.work(move |blocks| verify(&stored, &password, blocks)).await? && known)
    }

    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let internal = |reason: String| ServiceError::Internal(format!("password hash: {reason}"));
        let mut blocks = self.0.take().ok_or_else(|| internal("its turn is over".to_owned()))?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&mut blocks);
            (done, blocks)
        });
        let (done, blocks) = done.await.map_err(|error| internal(error.to_string()))?;
        self.0 = Some(blocks);
        Ok(done)
    }
}

/// One login in the queue; leaves the queue when dropped.
struct Waiting {
    queue: Arc<Queue>,
    from: IpAddr,
}

impl Queue {
    fn enter(queue: &Arc<Self>, from: IpAddr) -> Result<Waiting, ServiceError> {
        let from = counted_address(from);
        queue.with(|waiting| {
            let all: usize = waiting.values().sum();
            let own = waiting.entry(from).or_default();
            if all >= MAX_WAITING || *own >= MAX_WAITING_OF_ADDRESS {
                if *own == 0 {
                    waiting.remove(&from);
                }
                return Err(ServiceError::TooManyAttempts { wait_seconds: FULL_WAIT_SECONDS });
            }
            *own += 1;
            Ok(Waiting { queue: Arc::clone(queue), from })
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<IpAddr, usize>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.with(|waiting| {
            if let Some(own) = waiting.get_mut(&self.from) {
                *own -= 1;
                if *own == 0 {
                    waiting.remove(&self.from);
                }
            }
        });
    }
}

fn hash(password: &str, blocks: &mut Vec<Block>) -> String {
    let mut salt = [0_u8; 16];
    rand::rng().fill(&mut salt);
    let params =
        Params::new(MEMORY_KIB, PASSES, 1, Some(OUTPUT_BYTES)).expect("fixed parameters inside argon2's limits");
    let output = output(&params, password, &salt, blocks).expect("a bounded password and fixed parameters always hash");
    let salt = SaltString::encode_b64(&salt).expect("16 bytes make a valid salt");
    PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).expect("fixed parameters have a text"),
        salt: Some(salt.as_salt()),
        hash: Some(output),
    }
    .to_string()
}

fn verify(stored: &str, password: &str, blocks: &mut Vec<Block>) -> bool {
    let mut fits = || {
        let stored = PasswordHash::new(stored).ok()?;
        let params = Params::try_from(&stored).ok().filter(|params| params.m_cost() <= MAX_MEMORY_KIB)?;
        let mut salt = [0_u8; Salt::MAX_LENGTH];
        let salt = stored.salt?.decode_b64(&mut salt).ok()?;
        let output = output(&params, password, salt, blocks)?;
        // The comparison of two outputs takes the same time wherever they differ.
        Some(stored.algorithm == Algorithm::Argon2id.ident() && stored.hash? == output)
    };
    fits().unwrap_or(false)
}

fn output(params: &Params, password: &str, salt: &[u8], blocks: &mut Vec<Block>) -> Option<Output> {
    let needed = params.block_count();
    if blocks.len() < needed {
        blocks.resize(needed, Block::default());
    }
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut bytes = [0_u8; OUTPUT_BYTES];
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut bytes, &mut blocks[..needed]).ok()?;
    Output::new(&bytes).ok()
}

#[cfg(test)]
mod tests;
