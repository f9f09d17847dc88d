//! Puts a region together from its configuration: directory, lock, keys, catalog, store.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use transship_catalog::{Catalog, CatalogError};
use transship_registry::{Keys, Registry};
use transship_store::{FsStore, StoreError};

use crate::config::Config;

/// Held by the one process that serves an embedded catalog.
const LOCK_FILE: &str = "serve.lock";

/// Makes the data directory, for its owner only, unless it is there.
pub(super) fn prepare_data_dir(data_dir: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("cannot make the data directory {}", data_dir.display()))?;
    let mode = std::fs::metadata(data_dir)?.permissions().mode();
    if mode & 0o077 != 0 {
        let data_dir = data_dir.display();
        tracing::warn!("other users of this machine can look into {data_dir}, mode {:03o}: chmod 700 it", mode & 0o777);
    }
    Ok(())
}

/// Makes this process the only one that serves from the directory; the lock ends with the file.
pub(super) fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join(LOCK_FILE);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let owner = owner.trim();
            let who = if owner.is_empty() { "another process".to_owned() } else { format!("process {owner}") };
            bail!(
                "{who} serves {} already; one SQLite catalog has one owner: stop it, or give each region its own data_dir",
                data_dir.display()
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Opens keys, catalog and store, and makes what is missing. `listen` is where the region is reached when no public URL is
/// configured.
pub(super) async fn region(config: &Config, listen: SocketAddr) -> anyhow::Result<Registry> {
    prepare_data_dir(&config.data_dir)?;
    let catalog = Catalog::open(&config.catalog_url()).await;
    put_together(config, listen, catalog, FsStore::open(blobs(config)))
}

/// Opens a region that is there already, and changes neither its catalog's schema nor its store.
pub(super) async fn unchanged_region(config: &Config) -> anyhow::Result<Registry> {
    let catalog = Catalog::open_unchanged(&config.catalog_url()).await;
    put_together(config, config.listen, catalog, FsStore::open_unchanged(blobs(config)))
}

fn put_together(
    config: &Config,
    listen: SocketAddr,
    catalog: Result<Catalog, CatalogError>,
    store: Result<FsStore, StoreError>,
) -> anyhow::Result<Registry> {
    let where_ = if config.catalog_is_embedded() { "in data_dir" } else { "at catalog.url" };
    let catalog = catalog.with_context(|| format!("cannot open the catalog {where_}"))?;
    let store = store.with_context(|| format!("cannot open the store {}", blobs(config).display()))?;
    let keys = Keys::load_or_create(&config.data_dir)?;
    Registry::open(config.settings(listen), catalog, Arc::new(store), keys).map_err(anyhow::Error::msg)
}

/// Where the bytes lie.
pub(super) fn blobs(config: &Config) -> PathBuf {
    config.data_dir.join("blobs")
}
