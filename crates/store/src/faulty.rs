//! A store that fails when it is told to, for tests.
//!
//! Owns: which call fails and how. Never: random failures. The same plan gives the same failures.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use crate::lock::ShortLock;
use crate::{BlobStore, BlobWriter, ByteStream, Checkpoint, Location, StoreError, StoreErrorKind};

/// A call that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`BlobStore::create`].
    Create,
    /// [`BlobStore::resume`].
    Resume,
    /// [`BlobStore::read`], before the first byte.
    Read,
    /// One piece of a stream that [`BlobStore::read`] returned.
    ReadPiece,
    /// [`BlobStore::presign`].
    Presign,
    /// [`BlobStore::delete`].
    Delete,
    /// [`BlobStore::list`].
    List,
    /// [`BlobStore::probe`].
    Probe,
    /// [`BlobWriter::write`].
    Write,
    /// [`BlobWriter::checkpoint`].
    Checkpoint,
    /// [`BlobWriter::finish`].
    Finish,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The disk is full. A write stores the first half of its bytes, and then fails.
    NoSpace,
    /// The storage does not respond, and nothing was done.
    Io,
    /// The storage does not respond, but everything was done.
    LostAnswer,
    /// The operating system returns this error number, and nothing was done.
    Os(i32),
}

/// A store that fails when it is told to. Clones share the plan.
#[derive(Clone, Debug)]
pub struct FaultyStore {
    inner: Arc<dyn BlobStore>,
    plan: Arc<ShortLock<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    /// How often each operation was called.
    calls: HashMap<Operation, u64>,
    faults: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    operation: Operation,
    first_call: u64,
    last_call: u64,
    fault: Fault,
}

#[derive(Debug)]
struct FaultyWriter {
    inner: Box<dyn BlobWriter>,
    store: FaultyStore,
    location: Location,
    failed: Option<(StoreErrorKind, String)>,
}

impl FaultyStore {
    /// A store that does what `inner` does.
    pub fn new(inner: Arc<dyn BlobStore>) -> Self {
        Self { inner, plan: Arc::new(ShortLock::new(Plan::default())) }
    }

    /// Makes the `nth` call from now fail; 1 is the next one.
    pub fn fail(&self, operation: Operation, nth: u64, fault: Fault) {
        self.plan.with(|plan| plan.add(operation, nth, Some(nth), fault));
    }

    /// Makes the `nth` call from now and all later ones fail, until [`FaultyStore::heal`].
    pub fn fail_from(&self, operation: Operation, nth: u64, fault: Fault) {
        self.plan.with(|plan| plan.add(operation, nth, None, fault));
    }

    /// Removes all planned failures.
    pub fn heal(&self) {
        self.plan.with(|plan| plan.faults.clear());
    }

    /// How often an operation was called, including the calls that failed.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.plan.with(|plan| plan.calls.get(&operation).copied().unwrap_or(0))
    }

    /// Counts a call and returns the fault that is planned for it.
    fn meet(&self, operation: Operation) -> Option<Fault> {
        self.plan.with(|plan| {
            let call = plan.calls.entry(operation).or_default();
            *call += 1;
            let call = *call;
            let hits = |planned: &&Planned| {
                planned.operation == operation && (planned.first_call..=planned.last_call).contains(&call)
            };
            plan.faults.iter().find(hits).map(|planned| planned.fault)
        })
    }

    fn writer(&self, location: &Location, inner: Box<dyn BlobWriter>) -> Box<dyn BlobWriter> {
        Box::new(FaultyWriter { inner, store: self.clone(), location: location.clone(), failed: None })
    }
}

impl Plan {
    fn add(&mut self, operation: Operation, nth: u64, last: Option<u64>, fault: Fault) {
        let so_far = self.calls.get(&operation).copied().unwrap_or(0);
        let last_call = last.map_or(u64::MAX, |last| so_far.saturating_add(last));
        self.faults.push(Planned { operation, first_call: so_far.saturating_add(nth), last_call, fault });
    }
}

impl Fault {
    fn error(self, operation: Operation) -> StoreError {
        let error = match self {
            Self::NoSpace => io::Error::from(io::ErrorKind::StorageFull),
            Self::Io | Self::LostAnswer => io::Error::other("a planned failure"),
            Self::Os(code) => io::Error::from_raw_os_error(code),
        };
        StoreError::from_io(format!("{operation:?} of a faulty store"), error)
    }

    /// Fails; does the work first if only the response is to be lost.
    async fn strike<T>(
        self,
        operation: Operation,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self == Self::LostAnswer {
            work.await?;
        }
        Err(self.error(operation))
    }
}

/// Does the work, or fails as planned.
async fn tried<T>(
    fault: Option<Fault>,
    operation: Operation,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match fault {
        None => work.await,
        Some(fault) => fault.strike(operation, work).await,
    }
}

#[async_trait]
impl BlobStore for FaultyStore {
    async fn create(&self, location: &Location) -> Result<Box<dyn BlobWriter>, StoreError> {
        let fault = self.meet(Operation::Create);
        let inner = tried(fault, Operation::Create, self.inner.create(location)).await?;
        Ok(self.writer(location, inner))
    }

    async fn resume(&self, location: &Location, checkpoint: &Checkpoint) -> Result<Box<dyn BlobWriter>, StoreError> {
        let fault = self.meet(Operation::Resume);
        let inner = tried(fault, Operation::Resume, self.inner.resume(location, checkpoint)).await?;
        Ok(self.writer(location, inner))
    }

    async fn read(&self, location: &Location, range: Option<Range<u64>>) -> Result<ByteStream, StoreError> {
        let fault = self.meet(Operation::Read);
        let pieces = tried(fault, Operation::Read, self.inner.read(location, range)).await?;
        // The stream ends after an error.
        Ok(Box::pin(stream::unfold(Some((self.clone(), pieces)), |reading| async {
            let (store, mut pieces) = reading?;
            let piece = pieces.next().await?;
            match (store.meet(Operation::ReadPiece), piece) {
                (None, Ok(piece)) => Some((Ok(piece), Some((store, pieces)))),
                (None, Err(error)) => Some((Err(error), None)),
                (Some(fault), _) => Some((Err(fault.error(Operation::ReadPiece)), None)),
            }
        })))
    }

    async fn presign(&self, location: &Location, ttl: Duration) -> Result<Option<String>, StoreError> {
        let fault = self.meet(Operation::Presign);
        tried(fault, Operation::Presign, self.inner.presign(location, ttl)).await
    }

    async fn delete(&self, location: &Location) -> Result<(), StoreError> {
        let fault = self.meet(Operation::Delete);
        tried(fault, Operation::Delete, self.inner.delete(location)).await
    }

    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        let fault = self.meet(Operation::List);
        tried(fault, Operation::List, self.inner.list(after, limit)).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let fault = self.meet(Operation::Probe);
        tried(fault, Operation::Probe, self.inner.probe()).await
    }
}

impl FaultyWriter {
    fn check(&self) -> Result<(), StoreError> {
        match &self.failed {
            None => Ok(()),
            Some((kind, reason)) => {
                let location = self.location.clone();
                Err(StoreError::Poisoned { location, kind: *kind, reason: reason.clone() })
            }
        }
    }

    fn remember<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &done {
            self.failed = Some((error.kind(), error.to_string()));
        }
        done
    }
}

#[async_trait]
impl BlobWriter for FaultyWriter {
    fn expect(&mut self, size_bytes: u64) {
        self.inner.expect(size_bytes);
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.check()?;
        let fault = self.store.meet(Operation::Write);
        if fault == Some(Fault::NoSpace) {
            let half = bytes.slice(..bytes.len() / 2);
            let torn = self.inner.write(half).await;
            self.remember(torn)?;
        }
        let done = tried(fault, Operation::Write, self.inner.write(bytes)).await;
        self.remember(done)
    }

    async fn checkpoint(&mut self) -> Result<Checkpoint, StoreError> {
        self.check()?;
        let fault = self.store.meet(Operation::Checkpoint);
        let done = tried(fault, Operation::Checkpoint, self.inner.checkpoint()).await;
        self.remember(done)
    }

    async fn finish(self: Box<Self>) -> Result<u64, StoreError> {
        self.check()?;
        let fault = self.store.meet(Operation::Finish);
        tried(fault, Operation::Finish, self.inner.finish()).await
    }

    fn offset_bytes(&self) -> u64 {
        self.inner.offset_bytes()
    }
}

#[cfg(test)]
mod tests;
