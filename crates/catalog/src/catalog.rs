//! The handle on the database.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{AnyPool, Executor as _};
use tokio::sync::Semaphore;

use crate::dialect::Dialect;
use crate::retry::repeated;
use crate::tx::{Statement, Tx};
use crate::{CatalogError, Quotas};

/// How long an operation waits for a connection, or for its turn to write. As long as SQLite's `busy_timeout`.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The catalog of one region. Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
    quotas: Quotas,
}

#[derive(Debug)]
struct Inner {
    pool: AnyPool,
    dialect: Dialect,
    /// One turn: SQLite has one writer at a time, and its own way of waiting is to sleep and try again, which is unfair.
    /// None where the database does this itself.
    turns: Option<Arc<Semaphore>>,
}

impl Catalog {
    /// Opens `sqlite:///path/catalog.db?mode=rwc` or `postgres://…`, and brings its tables up to date.
    ///
    /// # Errors
    /// [`CatalogError::NewerSchema`] when a newer program has been here.
    pub async fn open(url: &str) -> Result<Self, CatalogError> {
        sqlx::any::install_default_drivers();
        let dialect = Dialect::from_url(url).ok_or_else(|| {
            // Only the scheme: the rest may hold a password.
            let scheme = url.split(':').next().unwrap_or_default();
            CatalogError::Invalid {
                what: format!("a catalog under {scheme:?}, which is neither sqlite: nor postgres:,"),
            }
        })?;
        let options = AnyConnectOptions::from_str(url)?;
        let pool = AnyPoolOptions::new()
            .max_connections(dialect.connections())
            .acquire_timeout(LONGEST_WAIT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    for statement in dialect.prepare_connection() {
                        connection.execute(*statement).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        let turns = (dialect == Dialect::Sqlite).then(|| Arc::new(Semaphore::new(1)));
        let catalog = Self { inner: Arc::new(Inner { pool, dialect, turns }), quotas: Quotas::default() };
        catalog.migrate().await?;
        Ok(catalog)
    }

    /// The same catalog, where namespaces may use so much unless something else is said about one.
    #[must_use]
    pub fn with_quotas(self, quotas: Quotas) -> Self {
        Self { quotas, ..self }
    }

    pub(crate) const fn default_quotas(&self) -> Quotas {
        self.quotas
    }

    /// Whether the database answers and has the tables.
    pub async fn probe(&self) -> Result<(), CatalogError> {
        let found = self.read_optional(|| self.query("SELECT version FROM migration LIMIT 1")).await?;
        found.map(|_| ()).ok_or_else(|| CatalogError::not_found("the catalog's schema"))
    }

    /// Closes every connection, so that nothing is left to recover at the next start.
    pub async fn close(&self) {
        self.inner.pool.close().await;
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
        let turn = match &self.inner.turns {
            None => None,
            Some(turns) => {
                let turn = tokio::time::timeout(LONGEST_WAIT, Arc::clone(turns).acquire_owned()).await;
                Some(turn.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?)
            }
        };
        let transaction = self.inner.pool.begin_with(self.inner.dialect.begin()).await?;
        Ok(Tx::new(transaction, self.inner.dialect, self.quotas, turn))
    }

    /// Runs a reading statement for its first row, again after a passing failure.
    pub(crate) async fn read_optional<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Option<AnyRow>, CatalogError> {
        repeated!(Read, Ok::<_, CatalogError>(statement().fetch_optional(&self.inner.pool).await?))
    }

    /// Runs a reading statement for its rows, again after a passing failure.
    pub(crate) async fn read_all<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Vec<AnyRow>, CatalogError> {
        repeated!(Read, Ok::<_, CatalogError>(statement().fetch_all(&self.inner.pool).await?))
    }

    /// Runs one changing statement in a transaction of its own, and tells how many rows it changed.
    pub(crate) async fn write<'q>(&self, statement: impl Fn() -> Statement<'q>) -> Result<u64, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let changed = tx.execute(statement()).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(changed)
        })
    }

    /// Runs one changing statement in a transaction of its own, for its first row.
    pub(crate) async fn write_returning<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Option<AnyRow>, CatalogError> {
        repeated!(Write, {
            let mut tx = self.begin().await?;
            let row = tx.optional(statement()).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(row)
        })
    }
}
