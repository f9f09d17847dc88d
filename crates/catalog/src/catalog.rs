//! The handle on the database.

use std::str::FromStr as _;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{AnyConnection, AnyPool, Connection as _, Executor as _};
use tokio::sync::{Mutex, Semaphore};

use crate::dialect::Dialect;
use crate::reach;
use crate::retry::repeated;
use crate::row::Columns as _;
use crate::tx::{Statement, Tx};
use crate::version::VersionFile;
use crate::{CatalogError, Quotas};

/// Longest wait of an operation for a connection or for its turn to write: the same as SQLite's `busy_timeout`.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The catalog of one region. Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
    quotas: Arc<RwLock<Quotas>>,
}

/// What a commit promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// It survives a power cut. For everything that is acknowledged to somebody.
    Durable,
    /// It survives the end of the process, but a power cut may undo it, together with what came after it. For facts
    /// that are worthless once the processes of that time are gone: who writes to a session, and a session without
    /// bytes.
    Volatile,
}

#[derive(Debug)]
struct Inner {
    pool: AnyPool,
    /// Connections whose commits do not wait for the disk; `None` where that is a setting of the transaction.
    volatile_pool: Option<AnyPool>,
    dialect: Dialect,
    /// One permit: SQLite allows one writer at a time, and waits by sleeping and retrying, which is unfair. `None`
    /// where the database queues writers itself.
    turns: Option<Arc<Semaphore>>,
    /// Reads the version of an embedded database.
    version_file: OnceLock<VersionFile>,
    /// A connection that no pool closes, so that the version file exists as long as the catalog is open.
    keeper: Mutex<Option<AnyConnection>>,
    /// Identifies the key with which this process seals secrets.
    sealing_check: OnceLock<String>,
}

impl Catalog {
    /// Opens `sqlite:///path/catalog.db?mode=rwc` or `postgres://…`, and brings its tables up to date.
    ///
    /// # Errors
    /// [`CatalogError::NewerSchema`] if a newer program has changed the tables.
    pub async fn open(url: &str) -> Result<Self, CatalogError> {
        let catalog = Self::connect(url).await?;
        catalog.migrate().await?;
        catalog.with_version().await
    }

    /// Opens the catalog for a command that runs beside the region.
    ///
    /// It creates the tables of a new database, but never migrates existing tables, because a process of another
    /// version may be working on them.
    ///
    /// # Errors
    /// [`CatalogError::OlderSchema`] and [`CatalogError::NewerSchema`] if its tables are not those of this program.
    pub async fn open_beside(url: &str) -> Result<Self, CatalogError> {
        let catalog = Self::connect(url).await?;
        catalog.make_or_check_schema().await?;
        catalog.with_version().await
    }

    /// Opens the catalog, and changes nothing in it.
    ///
    /// # Errors
    /// [`CatalogError::OlderSchema`] and [`CatalogError::NewerSchema`] if its tables are not those of this program.
    pub async fn open_unchanged(url: &str) -> Result<Self, CatalogError> {
        let catalog = Self::connect(url).await?;
        catalog.check_schema().await?;
        catalog.with_version().await
    }

    /// Opens the catalog whatever version its tables have, and changes nothing in it.
    pub async fn open_to_look(url: &str) -> Result<Self, CatalogError> {
        Self::connect(url).await
    }

    pub(crate) async fn connect(url: &str) -> Result<Self, CatalogError> {
        sqlx::any::install_default_drivers();
        let dialect = Dialect::from_url(url).ok_or_else(|| {
            // Only the scheme: the rest may hold a password.
            let scheme = url.split(':').next().unwrap_or_default();
            CatalogError::Invalid {
                what: format!("a catalog under {scheme:?}, which is neither sqlite: nor postgres:,"),
            }
        })?;
        let options = AnyConnectOptions::from_str(url)?;
        if dialect == Dialect::Postgres {
            reach::reach(&options, url).await?;
        }
        let connected = pool(dialect, dialect.connections(), &[]).connect_with(options.clone()).await?;
        // One connection is enough: writers take turns anyway.
        let volatile_pool =
            dialect.volatile_connection().map(|statements| pool(dialect, 1, statements).connect_lazy_with(options));
        let turns = (dialect == Dialect::Sqlite).then(|| Arc::new(Semaphore::new(1)));
        let inner = Inner {
            pool: connected,
            volatile_pool,
            dialect,
            turns,
            version_file: OnceLock::new(),
            keeper: Mutex::new(None),
            sealing_check: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner), quotas: Arc::default() })
    }

    async fn with_version(self) -> Result<Self, CatalogError> {
        if self.dialect() == Dialect::Sqlite
            && let Some(path) = self.database_file().await?
        {
            let mut keeper = AnyConnection::connect_with(&self.inner.pool.connect_options()).await?;
            for statement in self.dialect().prepare_connection() {
                keeper.execute(*statement).await?;
            }
            // The first query opens the file.
            keeper.execute("SELECT COUNT(*) FROM migration").await?;
            *self.inner.keeper.lock().await = Some(keeper);
            self.inner.version_file.get_or_init(|| VersionFile::of_database(&path));
        }
        Ok(self)
    }

    /// Returns this catalog with default quotas, which apply to namespaces without a limit of their own.
    #[must_use]
    pub fn with_quotas(self, quotas: Quotas) -> Self {
        Self { quotas: Arc::new(RwLock::new(quotas)), ..self }
    }

    /// Replaces the default quotas, for every clone of this handle.
    pub fn set_quotas_by_default(&self, quotas: Quotas) {
        *self.quotas.write().unwrap_or_else(PoisonError::into_inner) = quotas;
    }

    pub(crate) fn default_quotas(&self) -> Quotas {
        *self.quotas.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that the database answers and has the tables.
    pub async fn probe(&self) -> Result<(), CatalogError> {
        let found = self.read_optional(|| self.query("SELECT version FROM migration LIMIT 1")).await?;
        found.map(|_| ()).ok_or_else(|| CatalogError::not_found("the catalog's schema"))
    }

    /// Closes every connection, so that nothing is left to recover at the next start.
    pub async fn close(&self) {
        if let Some(pool) = &self.inner.volatile_pool {
            pool.close().await;
        }
        let keeper = self.inner.keeper.lock().await.take();
        if let Some(keeper) = keeper
            && let Err(error) = keeper.close().await
        {
            tracing::warn!("catalog: a connection did not close cleanly: {error}");
        }
        self.inner.pool.close().await;
    }

    /// Closes the connections of the pools, as the pools themselves do with idle ones.
    #[cfg(test)]
    pub(crate) async fn empty_pools(&self) {
        for pool in std::iter::once(&self.inner.pool).chain(&self.inner.volatile_pool) {
            while pool.size() > 0 {
                match pool.try_acquire() {
                    Some(connection) => connection.close().await.expect("an idle connection closes"),
                    // A connection that was just released comes back in a moment.
                    None => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        }
    }

    /// Closes the connection that keeps the version file.
    #[cfg(test)]
    pub(crate) async fn drop_keeper(&self) {
        let keeper = self.inner.keeper.lock().await.take();
        keeper.expect("an embedded database has one").close().await.expect("an idle connection closes");
    }

    /// Returns the file of an embedded database.
    pub(crate) async fn database_file(&self) -> Result<Option<String>, CatalogError> {
        let row = self.read_optional(|| self.query("PRAGMA database_list")).await?;
        row.map(|row| row.text("file")).transpose().map(|file| file.filter(|file| !file.is_empty()))
    }

    pub(crate) fn version_file(&self) -> Option<&VersionFile> {
        self.inner.version_file.get()
    }

    pub(crate) fn sealing_check(&self) -> &OnceLock<String> {
        &self.inner.sealing_check
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// A statement of this crate.
    pub(crate) fn query<'q>(&self, text: &'static str) -> Statement<'q> {
        self.inner.dialect.query(text)
    }

    /// Begins a transaction that will write.
    pub(crate) async fn begin(&self) -> Result<Tx, CatalogError> {
        self.begin_with(Commit::Durable).await
    }

    async fn begin_with(&self, commit: Commit) -> Result<Tx, CatalogError> {
        let turn = match &self.inner.turns {
            None => None,
            Some(turns) => {
                let turn = tokio::time::timeout(LONGEST_WAIT, Arc::clone(turns).acquire_owned()).await;
                Some(turn.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?)
            }
        };
        let dialect = self.inner.dialect;
        let pool = self.inner.volatile_pool.as_ref().filter(|_| commit == Commit::Volatile);
        let transaction = pool.unwrap_or(&self.inner.pool).begin_with(dialect.begin()).await?;
        let mut tx = Tx::new(transaction, dialect, self.default_quotas(), turn);
        if commit == Commit::Volatile
            && let Some(statement) = dialect.volatile_transaction()
        {
            tx.execute(tx.query(statement)).await?;
        }
        Ok(tx)
    }

    /// Runs a reading statement and returns its first row. Retries after transient failures.
    pub(crate) async fn read_optional<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Option<AnyRow>, CatalogError> {
        repeated!(Read, Ok::<_, CatalogError>(statement().fetch_optional(&self.inner.pool).await?))
    }

    /// Runs a reading statement and returns its rows. Retries after transient failures.
    pub(crate) async fn read_all<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Vec<AnyRow>, CatalogError> {
        repeated!(Read, Ok::<_, CatalogError>(statement().fetch_all(&self.inner.pool).await?))
    }

    /// Runs one writing statement in its own transaction, and returns the number of rows changed.
    pub(crate) async fn write<'q>(&self, statement: impl Fn() -> Statement<'q>) -> Result<u64, CatalogError> {
        self.write_with(Commit::Durable, statement).await
    }

    /// Does the same as [`Catalog::write`] with the given kind of commit.
    pub(crate) async fn write_with<'q>(
        &self,
        commit: Commit,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<u64, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin_with(commit).await?;
            let changed = tx.execute(statement()).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(changed)
        })
    }

    /// Runs one writing statement in its own transaction, and returns its first row.
    pub(crate) async fn write_returning<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Option<AnyRow>, CatalogError> {
        self.write_returning_with(Commit::Durable, statement).await
    }

    /// Does the same as [`Catalog::write_returning`] with the given kind of commit.
    pub(crate) async fn write_returning_with<'q>(
        &self,
        commit: Commit,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Option<AnyRow>, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin_with(commit).await?;
            let row = tx.optional(statement()).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(row)
        })
    }
}

/// Returns a pool whose new connections run the statements of the dialect, then those of `more`.
fn pool(dialect: Dialect, most: u32, more: &'static [&'static str]) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(LONGEST_WAIT)
        // An embedded database does not drop connections.
        .test_before_acquire(dialect == Dialect::Postgres)
        // When the disk fails or is full, SQLite ends a transaction by itself, and sqlx waits for its end forever. Such
        // a connection is not reused.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .after_connect(move |connection, _| {
            Box::pin(async move {
                for statement in dialect.prepare_connection().iter().chain(more) {
                    connection.execute(*statement).await?;
                }
                Ok(())
            })
        })
}
