//! Assembles a region from its configuration: directory, lock, keys, catalog, store.

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

/// Locked by the one process that serves an embedded catalog.
const LOCK_FILE: &str = "serve.lock";

/// Creates the data directory, for its owner only, if it does not exist. Refuses one that other users of the machine
/// can access: they could read images, or replace our files with theirs.
pub(super) fn prepare_data_dir(config: &Config) -> anyhow::Result<()> {
    let data_dir = &config.data_dir;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("cannot make the data directory {}", data_dir.display()))?;
    check_data_dir(config)
}

/// Checks that only its owner can access the data directory, unless the configuration allows others.
pub(super) fn check_data_dir(config: &Config) -> anyhow::Result<()> {
    let data_dir = config.data_dir.display();
    let metadata = std::fs::metadata(&config.data_dir).with_context(|| format!("cannot look at {data_dir}"))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 && !config.allow_shared_data_dir {
        bail!(
            "the data directory {data_dir} has mode {mode:03o}, so other users of this machine can look into it: run chmod 700 on it, or \
             set region.allow_shared_data_dir = true"
        );
    }
    Ok(())
}

/// Makes this process the only one that serves from the directory; the lock is released when the file is closed.
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

/// Opens catalog, keys and store to serve them: brings the tables up to date, and creates what a first start lacks.
/// `listen` is the address of the region if no public URL is configured.
pub(super) async fn region(config: &Config, listen: SocketAddr) -> anyhow::Result<Registry> {
    prepare_data_dir(config)?;
    let catalog = Catalog::open(&config.catalog_url()).await;
    put_together(config, listen, catalog, FsStore::open(blobs(config))).await
}

/// A new region in a directory, for tests of request handlers.
#[cfg(test)]
pub(crate) async fn test_region(directory: &std::path::Path) -> Registry {
    let mut config = crate::config::without_file();
    config.data_dir = directory.join("data");
    region(&config, config.listen).await.expect("a new region opens")
}

/// Opens a region for a command that may run beside a serving process: creates what a first start lacks, and leaves
/// existing tables as they are.
pub(super) async fn region_beside(config: &Config) -> anyhow::Result<Registry> {
    prepare_data_dir(config)?;
    let catalog = Catalog::open_beside(&config.catalog_url()).await;
    put_together(config, config.listen, catalog, FsStore::open(blobs(config))).await
}

/// Opens an existing region without changing its catalog's schema or its store.
pub(super) async fn unchanged_region(config: &Config) -> anyhow::Result<Registry> {
    check_data_dir(config)?;
    let catalog = Catalog::open_unchanged(&config.catalog_url()).await;
    put_together(config, config.listen, catalog, FsStore::open_unchanged(blobs(config))).await
}

/// Opens the catalog of an existing region without changing its schema.
pub(super) async fn unchanged_catalog(config: &Config) -> anyhow::Result<Catalog> {
    catalog_or_reason(config, Catalog::open_unchanged(&config.catalog_url()).await)
}

/// Returns the public key of the region; creates the keys if there is no region yet.
pub(super) async fn region_key(config: &Config) -> anyhow::Result<String> {
    prepare_data_dir(config)?;
    let complete = Keys::FILES.iter().all(|file| config.data_dir.join(file).exists());
    // A catalog elsewhere may not be reachable yet; `serve` checks in any case that these keys belong to it.
    let keys = if !complete && config.catalog_is_embedded() && config.data_dir.join("catalog.db").exists() {
        Keys::of_catalog(&config.data_dir, &unchanged_catalog(config).await?).await?
    } else {
        Keys::load_or_create(&config.data_dir)?
    };
    Ok(keys.region_public_key())
}

fn catalog_or_reason(config: &Config, catalog: Result<Catalog, CatalogError>) -> anyhow::Result<Catalog> {
    let where_ = if config.catalog_is_embedded() { "in data_dir" } else { "at catalog.url" };
    catalog.with_context(|| format!("cannot open the catalog {where_}"))
}

async fn put_together(
    config: &Config,
    listen: SocketAddr,
    catalog: Result<Catalog, CatalogError>,
    store: Result<FsStore, StoreError>,
) -> anyhow::Result<Registry> {
    let catalog = catalog_or_reason(config, catalog)?;
    let store = store.with_context(|| format!("cannot open the store {}", blobs(config).display()))?;
    let keys = Keys::of_catalog(&config.data_dir, &catalog).await?;
    Registry::open(config.settings(listen), catalog, Arc::new(store), keys).map_err(anyhow::Error::msg)
}

/// The directory of the blobs.
pub(super) fn blobs(config: &Config) -> PathBuf {
    config.data_dir.join("blobs")
}
