//! The tables, as numbered files that run once each, in order.
//!
//! A file runs in one transaction together with the record that it ran, so a crash leaves either all of it or nothing.
//! A released file is never changed; every change is a new file.

use crate::row::Columns as _;
use crate::{Catalog, CatalogError};

/// The files; a file's version is its place, from 1.
pub(crate) const FILES: &[&str] = &[
    include_str!("../migrations/0001_initial.sql"),
    include_str!("../migrations/0002_immutable_tags.sql"),
    include_str!("../migrations/0003_quotas.sql"),
    include_str!("../migrations/0004_upload_by_user.sql"),
    include_str!("../migrations/0005_lists.sql"),
    include_str!("../migrations/0006_collection.sql"),
    include_str!("../migrations/0007_quarantine.sql"),
    include_str!("../migrations/0008_finished_upload.sql"),
    include_str!("../migrations/0009_logins_and_stored_bytes.sql"),
    include_str!("../migrations/0010_reservations.sql"),
    include_str!("../migrations/0011_fair_jobs.sql"),
    include_str!("../migrations/0012_region_token.sql"),
    include_str!("../migrations/0013_key_check.sql"),
    include_str!("../migrations/0014_job_target.sql"),
    include_str!("../migrations/0015_jobs_that_saw_all.sql"),
    include_str!("../migrations/0016_superseded_jobs.sql"),
];

impl Catalog {
    pub(crate) async fn migrate(&self) -> Result<(), CatalogError> {
        self.migrate_with(FILES).await
    }

    /// Creates the tables of a new database, and only checks those of an existing one.
    pub(crate) async fn make_or_check_schema(&self) -> Result<(), CatalogError> {
        if self.has_table("migration").await? { self.check_schema().await } else { self.migrate().await }
    }

    /// Returns the version of the tables, if there are any, and the version that this program needs.
    pub async fn schema_versions(&self) -> Result<(Option<i64>, i64), CatalogError> {
        let known = i64::try_from(FILES.len()).expect("there are few files");
        if !self.has_table("migration").await? {
            return Ok((None, known));
        }
        let row = self.read_optional(|| self.query("SELECT MAX(version) AS version FROM migration")).await?;
        Ok((row.map_or(Ok(None), |row| row.optional_number("version"))?, known))
    }

    pub(crate) async fn has_table(&self, name: &str) -> Result<bool, CatalogError> {
        let sql = "SELECT COUNT(*) AS tables FROM {tables} WHERE name = $1";
        let row = self.read_optional(|| self.query(sql).bind(name)).await?;
        Ok(row.map_or(Ok(0), |row| row.number("tables"))? > 0)
    }

    /// Checks that the tables have the version of the last file.
    pub(crate) async fn check_schema(&self) -> Result<(), CatalogError> {
        let known = i64::try_from(FILES.len()).expect("there are few files");
        let row =
            self.read_optional(|| self.query("SELECT COALESCE(MAX(version), 0) AS version FROM migration")).await?;
        match row.ok_or_else(|| CatalogError::not_found("the catalog's schema"))?.number("version")? {
            found if found > known => Err(CatalogError::NewerSchema { found, known }),
            found if found < known => Err(CatalogError::OlderSchema { found, known }),
            _ => Ok(()),
        }
    }

    /// Brings the tables to the state after the last of these files.
    pub(crate) async fn migrate_with(&self, files: &[&'static str]) -> Result<(), CatalogError> {
        let known = i64::try_from(files.len()).expect("there are few files");
        loop {
            let mut tx = self.begin().await?;
            if let Some(lock) = self.dialect().lock_migrations() {
                tx.all(tx.query(lock)).await?;
            }
            tx.execute(tx.query(
                "CREATE TABLE IF NOT EXISTS migration (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)",
            ))
            .await?;
            let row = tx.optional(tx.query("SELECT COALESCE(MAX(version), 0) AS version FROM migration")).await?;
            let found = row.ok_or_else(|| CatalogError::not_found("the catalog's schema"))?.number("version")?;
            if found > known {
                return Err(CatalogError::NewerSchema { found, known });
            }
            let next = usize::try_from(found).ok().and_then(|done| files.get(done));
            let Some(file) = next else { return tx.commit().await };
            for statement in statements(file) {
                tx.execute(tx.query(statement)).await?;
            }
            let version = found + 1;
            tx.execute(tx.query("INSERT INTO migration (version, applied_at) VALUES ($1, {now})").bind(version))
                .await?;
            tx.commit().await?;
            tracing::info!(version, "catalog: tables brought to this version");
        }
    }
}

/// Splits a file into statements. Each ends with a semicolon at the end of a line; the database ignores comment lines.
fn statements(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}
