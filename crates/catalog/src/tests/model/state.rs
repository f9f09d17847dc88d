//! The states, and every step that somebody can take from one.
//!
//! A step is one statement of a transaction, or one call of the store.

/// With three, every mistake shows and the search has 377 thousand states. With four, the most that these actors can
/// hold at once, it has 2.06 million, and everything holds as well.
const LOCATIONS: u8 = 3;
const DIGESTS: [u8; 2] = [0, 1];
const REPOSITORIES: [u8; 2] = [0, 1];

/// A precaution that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    None,
    /// The collector takes a link that had no manifest when it looked.
    UnlinkUnseen,
    /// The collector condemns a blob that had no link when it looked.
    CondemnUnseen,
    /// A manifest is stored after its links were read, not updated.
    PutReadsOnly,
    /// A link is made after the blob was read, not updated.
    MountReadsOnly,
    /// A location may be used again as soon as no blob and no session has it, as where bytes are named by digest.
    LocationsUsedAgain,
    /// The rows are read first, and then the store is listed.
    RowsBeforeList,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    Idle,
    /// The session's row is there.
    Opened {
        repository: u8,
        digest: u8,
        location: u8,
    },
    /// Its bytes too.
    Written {
        repository: u8,
        digest: u8,
        location: u8,
    },
    /// In the transaction: the session's row is deleted, the blob's row inserted or updated.
    Closing {
        repository: u8,
        digest: u8,
        location: u8,
    },
    /// In the transaction: the blob's row is updated.
    Mounting {
        repository: u8,
        digest: u8,
    },
    /// In the transaction: so many links are updated.
    Putting {
        repository: u8,
        touched: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collector {
    Idle,
    LinkSeen { repository: u8, digest: u8 },
    LinkLocked { repository: u8, digest: u8 },
    BlobSeen { digest: u8 },
    BlobLocked { digest: u8 },
    TombstoneSeen { location: u8 },
    BytesDeleted { location: u8 },
    Listed { location: u8 },
    RowsSeen { named: u8 },
}

/// Sets of locations, links and manifests are bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    blobs: [Option<u8>; 2],
    links: u8,
    manifests: u8,
    uploads: u8,
    tombstones: u8,
    bytes: u8,
    pub(super) clients: [Client; 2],
    pub(super) collector: Collector,
}

fn link(repository: u8, digest: u8) -> u8 {
    1 << (repository * 2 + digest)
}

fn bit(number: u8) -> u8 {
    1 << number
}

impl State {
    pub(super) const EMPTY: Self = Self {
        blobs: [None, None],
        links: 0,
        manifests: 0,
        uploads: 0,
        tombstones: 0,
        bytes: 0,
        clients: [Client::Idle, Client::Idle],
        collector: Collector::Idle,
    };

    fn blob(&self, digest: u8) -> Option<u8> {
        self.blobs[usize::from(digest)]
    }

    fn has_manifest(&self, repository: u8) -> bool {
        self.manifests & bit(repository) != 0
    }

    /// Whether no repository links the blob.
    fn is_unlinked(&self, digest: u8) -> bool {
        REPOSITORIES.iter().all(|repository| self.links & link(*repository, digest) == 0)
    }

    /// Locations that a row names as bytes to keep.
    fn named(&self) -> u8 {
        self.blobs.iter().flatten().fold(self.uploads, |named, location| named | bit(*location))
    }

    fn is_blob_locked(&self, digest: u8, mistake: Mistake) -> bool {
        let by_client = |client: &Client| match *client {
            Client::Closing { digest: held, .. } => held == digest,
            Client::Mounting { digest: held, .. } => held == digest && mistake != Mistake::MountReadsOnly,
            _ => false,
        };
        self.clients.iter().any(by_client) || self.collector == Collector::BlobLocked { digest }
    }

    fn is_link_locked(&self, repository: u8, digest: u8, mistake: Mistake) -> bool {
        let by_client = |client: &Client| match *client {
            Client::Putting { repository: held, touched } => {
                held == repository && digest < touched && mistake != Mistake::PutReadsOnly
            }
            _ => false,
        };
        self.clients.iter().any(by_client) || self.collector == Collector::LinkLocked { repository, digest }
    }

    fn is_upload_locked(&self, location: u8) -> bool {
        self.clients.iter().any(|client| matches!(*client, Client::Closing { location: held, .. } if held == location))
    }

    /// Returns a location that nobody knows. It reuses free numbers, so that the model stays finite. This cannot hide
    /// that a location is used twice, because a location that somebody still holds is not free.
    fn fresh(&self, mistake: Mistake) -> Option<u8> {
        let mut used = self.named();
        if mistake == Mistake::LocationsUsedAgain {
            return (0..LOCATIONS).find(|location| used & bit(*location) == 0);
        }
        used |= self.tombstones | self.bytes;
        for client in &self.clients {
            if let Client::Opened { location, .. }
            | Client::Written { location, .. }
            | Client::Closing { location, .. } = *client
            {
                used |= bit(location);
            }
        }
        match self.collector {
            Collector::TombstoneSeen { location }
            | Collector::BytesDeleted { location }
            | Collector::Listed { location } => used |= bit(location),
            _ => {}
        }
        (0..LOCATIONS).find(|location| used & bit(*location) == 0)
    }

    /// What must hold at every moment.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        for repository in REPOSITORIES {
            for digest in DIGESTS {
                let is_linked = self.links & link(repository, digest) != 0;
                if self.has_manifest(repository) && !is_linked {
                    return Err("a manifest names a blob that its repository does not link (I3)");
                }
                if is_linked && self.blob(digest).is_none() {
                    return Err("a link without its blob");
                }
            }
        }
        for location in self.blobs.into_iter().flatten() {
            if self.bytes & bit(location) == 0 {
                return Err("a blob without its bytes (I18)");
            }
        }
        Ok(())
    }

    /// Every state that one step leads to, with the name of the step.
    pub(super) fn successors(&self, mistake: Mistake, add: &mut impl FnMut(&'static str, State)) {
        for who in 0..2 {
            self.client_steps(who, mistake, add);
        }
        self.collector_steps(mistake, add);
    }

    fn with_client(mut self, who: usize, client: Client) -> Self {
        self.clients[who] = client;
        self
    }

    fn client_steps(&self, who: usize, mistake: Mistake, add: &mut impl FnMut(&'static str, State)) {
        let then = |client: Client| self.with_client(who, client);
        match self.clients[who] {
            Client::Idle => {
                for repository in REPOSITORIES {
                    self.idle_steps(who, repository, mistake, add);
                }
                return;
            }
            // The row may be gone by now; the writer learns of it when it closes.
            Client::Opened { repository, digest, location } => {
                let mut next = then(Client::Written { repository, digest, location });
                next.bytes |= bit(location);
                add("client writes bytes", next);
            }
            Client::Written { location, .. } if self.uploads & bit(location) == 0 => {
                add("client finds its session gone", then(Client::Idle));
            }
            Client::Written { repository, digest, location } if !self.is_blob_locked(digest, mistake) => {
                add("client closes its session", then(Client::Closing { repository, digest, location }));
            }
            Client::Closing { repository, digest, location } if !self.is_link_locked(repository, digest, mistake) => {
                let mut next = then(Client::Idle);
                next.uploads &= !bit(location);
                match self.blob(digest) {
                    None => next.blobs[usize::from(digest)] = Some(location),
                    Some(_) => next.tombstones |= bit(location),
                }
                next.links |= link(repository, digest);
                add("client commits its upload", next);
            }
            Client::Mounting { repository, digest } if !self.is_link_locked(repository, digest, mistake) => {
                let mut next = then(Client::Idle);
                next.links |= link(repository, digest);
                add("client commits its mount", next);
            }
            Client::Putting { repository, touched: 2 } => {
                let mut next = then(Client::Idle);
                next.manifests |= bit(repository);
                add("client commits its manifest", next);
            }
            Client::Putting { repository, touched } => {
                if self.links & link(repository, touched) == 0 {
                    add("client is told MANIFEST_BLOB_UNKNOWN", then(Client::Idle));
                } else if !self.is_link_locked(repository, touched, mistake) {
                    let touched = touched + 1;
                    add("client touches a link", then(Client::Putting { repository, touched }));
                }
            }
            _ => {}
        }
        add("client dies", then(Client::Idle));
    }

    fn idle_steps(&self, who: usize, repository: u8, mistake: Mistake, add: &mut impl FnMut(&'static str, State)) {
        for digest in DIGESTS {
            if let Some(location) = self.fresh(mistake) {
                let mut next = self.with_client(who, Client::Opened { repository, digest, location });
                next.uploads |= bit(location);
                add("client opens a session", next);
            }
            let is_linked = |repository| self.links & link(repository, digest) != 0;
            if is_linked(1 - repository) && self.blob(digest).is_some() && !self.is_blob_locked(digest, mistake) {
                add("client mounts", self.with_client(who, Client::Mounting { repository, digest }));
            }
            if is_linked(repository)
                && !self.has_manifest(repository)
                && !self.is_link_locked(repository, digest, mistake)
            {
                add("client deletes a blob", Self { links: self.links & !link(repository, digest), ..*self });
            }
        }
        add("client puts a manifest", self.with_client(who, Client::Putting { repository, touched: 0 }));
        let is_free = DIGESTS.iter().all(|digest| !self.is_link_locked(repository, *digest, mistake));
        if self.has_manifest(repository) && is_free {
            add("client deletes a manifest", Self { manifests: self.manifests & !bit(repository), ..*self });
        }
    }

    fn collector_steps(&self, mistake: Mistake, add: &mut impl FnMut(&'static str, State)) {
        let then = |collector: Collector| Self { collector, ..*self };
        match self.collector {
            Collector::Idle => self.looks(mistake, add),
            Collector::LinkSeen { repository, digest } => {
                if !self.is_link_locked(repository, digest, mistake) {
                    add("collector locks a link", then(Collector::LinkLocked { repository, digest }));
                }
            }
            Collector::LinkLocked { repository, digest } => {
                let mut next = then(Collector::Idle);
                if !self.has_manifest(repository) || mistake == Mistake::UnlinkUnseen {
                    next.links &= !link(repository, digest);
                }
                add("collector unlinks", next);
            }
            Collector::BlobSeen { digest } => {
                if !self.is_blob_locked(digest, mistake) {
                    add("collector locks a blob", then(Collector::BlobLocked { digest }));
                }
            }
            Collector::BlobLocked { digest } => {
                let mut next = then(Collector::Idle);
                let is_garbage = self.is_unlinked(digest) || mistake == Mistake::CondemnUnseen;
                if let Some(location) = self.blob(digest).filter(|_| is_garbage) {
                    next.blobs[usize::from(digest)] = None;
                    next.tombstones |= bit(location);
                }
                add("collector condemns", next);
            }
            Collector::TombstoneSeen { location } => {
                let mut next = then(Collector::BytesDeleted { location });
                next.bytes &= !bit(location);
                add("collector deletes bytes", next);
            }
            Collector::BytesDeleted { location } => {
                let mut next = then(Collector::Idle);
                next.tombstones &= !bit(location);
                add("collector forgets a tombstone", next);
            }
            Collector::Listed { location } => {
                let mut next = then(Collector::Idle);
                if (self.named() | self.tombstones) & bit(location) == 0 {
                    next.tombstones |= bit(location);
                }
                add("collector condemns what no row names", next);
            }
            Collector::RowsSeen { named } => {
                let mut next = then(Collector::Idle);
                next.tombstones |= self.bytes & !named;
                add("collector condemns what no row named", next);
            }
        }
        if self.collector != Collector::Idle {
            add("collector dies", then(Collector::Idle));
        }
    }

    /// What an idle collector may see, and what needs no second step.
    fn looks(&self, mistake: Mistake, add: &mut impl FnMut(&'static str, State)) {
        let then = |collector: Collector| Self { collector, ..*self };
        for digest in DIGESTS {
            for repository in REPOSITORIES {
                if self.links & link(repository, digest) != 0 && !self.has_manifest(repository) {
                    add("collector sees a link", then(Collector::LinkSeen { repository, digest }));
                }
            }
            if self.blob(digest).is_some() && self.is_unlinked(digest) {
                add("collector sees a blob", then(Collector::BlobSeen { digest }));
            }
        }
        for location in 0..LOCATIONS {
            if self.tombstones & bit(location) != 0 {
                add("collector sees a tombstone", then(Collector::TombstoneSeen { location }));
            }
            if self.bytes & bit(location) != 0 && mistake != Mistake::RowsBeforeList {
                add("collector lists the store", then(Collector::Listed { location }));
            }
            if self.uploads & bit(location) != 0 && !self.is_upload_locked(location) {
                let (uploads, tombstones) = (self.uploads & !bit(location), self.tombstones | bit(location));
                add("a session expires", Self { uploads, tombstones, ..*self });
            }
        }
        if mistake == Mistake::RowsBeforeList {
            let named = self.named() | self.tombstones;
            add("collector reads the rows", then(Collector::RowsSeen { named }));
        }
    }

    /// Returns whether the collector, with nobody else at work, leaves only what is needed.
    pub(super) fn becomes_clean(&self) -> bool {
        let mut state = *self;
        // Each step takes something away, and there is little.
        for _ in 0..64 {
            let mut next = None;
            state.collector_steps(Mistake::None, &mut |step, successor| {
                // Listing what a row names changes nothing.
                let is_idle_walk = step == "collector lists the store" && {
                    let Collector::Listed { location } = successor.collector else { return };
                    (state.named() | state.tombstones) & bit(location) != 0
                };
                if next.is_none() && !is_idle_walk && step != "collector dies" {
                    next = Some(successor);
                }
            });
            match next {
                Some(successor) => state = successor,
                None => break,
            }
        }
        let needed = state.blobs.iter().flatten().fold(0, |needed, location| needed | bit(*location));
        let is_needed = |digest: &u8| state.blob(*digest).is_none() || !state.is_unlinked(*digest);
        let links = REPOSITORIES.iter().filter(|repository| state.has_manifest(**repository));
        let links = links.fold(0, |links, repository| links | link(*repository, 0) | link(*repository, 1));
        state.bytes == needed && state.links == links && state.tombstones == 0 && DIGESTS.iter().all(is_needed)
    }

    /// The state as a number. Equal numbers mean states that differ only in the names of locations, or in which client
    /// is which.
    pub(super) fn key(mut self) -> u64 {
        self.rename_locations();
        self.clients.sort_unstable();
        let place = |location: Option<u8>| u64::from(location.map_or(0, |location| location + 1));
        let mut key = 0_u64;
        let mut push = |bits: u32, value: u64| key = key << bits | value;
        push(3, place(self.blobs[0]));
        push(3, place(self.blobs[1]));
        push(4, u64::from(self.links));
        push(2, u64::from(self.manifests));
        for set in [self.uploads, self.tombstones, self.bytes] {
            push(u32::from(LOCATIONS), u64::from(set));
        }
        for client in self.clients {
            let (kind, repository, digest, location) = match client {
                Client::Idle => (0, 0, 0, 0),
                Client::Opened { repository, digest, location } => (1, repository, digest, location),
                Client::Written { repository, digest, location } => (2, repository, digest, location),
                Client::Closing { repository, digest, location } => (3, repository, digest, location),
                Client::Mounting { repository, digest } => (4, repository, digest, 0),
                Client::Putting { repository, touched } => (5, repository, 0, touched),
            };
            push(7, kind << 4 | u64::from(repository << 3 | digest << 2 | location));
        }
        let (kind, value) = match self.collector {
            Collector::Idle => (0, 0),
            Collector::LinkSeen { repository, digest } => (1, repository << 1 | digest),
            Collector::LinkLocked { repository, digest } => (2, repository << 1 | digest),
            Collector::BlobSeen { digest } => (3, digest),
            Collector::BlobLocked { digest } => (4, digest),
            Collector::TombstoneSeen { location } => (5, location),
            Collector::BytesDeleted { location } => (6, location),
            Collector::Listed { location } => (7, location),
            Collector::RowsSeen { named } => (8, named),
        };
        push(8, kind << 4 | u64::from(value));
        key
    }

    /// Gives locations numbers that depend on their roles only.
    fn rename_locations(&mut self) {
        let mut roles: Vec<(u16, u8)> = (0..LOCATIONS).map(|location| (self.role(location), location)).collect();
        roles.sort_unstable();
        let mut names = [0_u8; LOCATIONS as usize];
        for (new, (_, old)) in (0_u8..).zip(&roles) {
            names[usize::from(*old)] = new;
        }
        let name = |location: &mut u8| *location = names[usize::from(*location)];
        let set = |set: &mut u8| {
            *set = (0..LOCATIONS)
                .filter(|old| *set & bit(*old) != 0)
                .fold(0, |new, old| new | bit(names[usize::from(old)]));
        };
        self.blobs.iter_mut().flatten().for_each(name);
        set(&mut self.uploads);
        set(&mut self.tombstones);
        set(&mut self.bytes);
        for client in &mut self.clients {
            if let Client::Opened { location, .. }
            | Client::Written { location, .. }
            | Client::Closing { location, .. } = client
            {
                name(location);
            }
        }
        match &mut self.collector {
            Collector::TombstoneSeen { location }
            | Collector::BytesDeleted { location }
            | Collector::Listed { location } => name(location),
            Collector::RowsSeen { named } => set(named),
            _ => {}
        }
    }

    fn role(&self, location: u8) -> u16 {
        let has = |set: u8| u16::from(set & bit(location) != 0);
        let blob = u16::from(self.blobs[0] == Some(location)) | u16::from(self.blobs[1] == Some(location)) << 1;
        let held = |client: &Client| match *client {
            Client::Opened { repository, digest, location: held } if held == location => 1 + repository * 2 + digest,
            Client::Written { repository, digest, location: held } if held == location => 5 + repository * 2 + digest,
            Client::Closing { repository, digest, location: held } if held == location => 9 + repository * 2 + digest,
            _ => 0,
        };
        let mut held = [held(&self.clients[0]), held(&self.clients[1])];
        held.sort_unstable();
        let swept = match self.collector {
            Collector::TombstoneSeen { location: held }
            | Collector::BytesDeleted { location: held }
            | Collector::Listed { location: held } => u16::from(held == location),
            Collector::RowsSeen { named } => has(named),
            _ => 0,
        };
        has(self.uploads)
            | has(self.tombstones) << 1
            | has(self.bytes) << 2
            | swept << 3
            | blob << 4
            | u16::from(held[0]) << 6
            | u16::from(held[1]) << 10
    }
}
