//! Statements, on their own or in a transaction.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Transaction};
use tokio::sync::OwnedSemaphorePermit;

use crate::dialect::Dialect;
use crate::{CatalogError, Quotas};

/// A statement with its parameters.
pub(crate) type Statement<'q> = Query<'q, Any, AnyArguments>;

impl Dialect {
    /// A statement of this crate.
    pub(crate) fn query<'q>(self, text: &'static str) -> Statement<'q> {
        sqlx::query(AssertSqlSafe(self.render(text)))
    }

    /// A statement that was put together from fixed pieces of this crate; values are always parameters.
    pub(crate) fn query_from_pieces<'q>(self, text: &str) -> Statement<'q> {
        sqlx::query(AssertSqlSafe(self.replace(text)))
    }
}

/// A transaction that will write. Dropped without [`Tx::commit`], it changes nothing.
#[derive(Debug)]
pub(crate) struct Tx {
    // First, so that it is rolled back before the next writer gets its turn.
    transaction: Transaction<'static, Any>,
    dialect: Dialect,
    quotas: Quotas,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Tx {
    pub(crate) fn new(
        transaction: Transaction<'static, Any>,
        dialect: Dialect,
        quotas: Quotas,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { transaction, dialect, quotas, _turn: turn }
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) const fn default_quotas(&self) -> Quotas {
        self.quotas
    }

    /// A statement of this crate.
    pub(crate) fn query<'q>(&self, text: &'static str) -> Statement<'q> {
        self.dialect.query(text)
    }

    /// Runs a statement and returns the number of rows it changed.
    pub(crate) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, CatalogError> {
        Ok(statement.execute(&mut *self.transaction).await?.rows_affected())
    }

    /// Runs a statement and returns its first row, if there is one.
    ///
    /// It still reads all rows, because SQLite finishes a writing statement only when it has been stepped to its end.
    pub(crate) async fn optional(&mut self, statement: Statement<'_>) -> Result<Option<AnyRow>, CatalogError> {
        Ok(statement.fetch_all(&mut *self.transaction).await?.into_iter().next())
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn all(&mut self, statement: Statement<'_>) -> Result<Vec<AnyRow>, CatalogError> {
        Ok(statement.fetch_all(&mut *self.transaction).await?)
    }

    /// Commits the changes.
    pub(crate) async fn commit(self) -> Result<(), CatalogError> {
        Ok(self.transaction.commit().await?)
    }
}
