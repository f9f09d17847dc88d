//! Lists the names of the repositories that a user may pull from, in byte order.
//!
//! A page costs as much as it holds, whatever else there is. There are four lists; those that apply are read, each
//! along its own index and for at most one page, and merged.

use std::collections::BTreeSet;

use crate::row::{Columns as _, limit_parameter, place};
use crate::{Catalog, CatalogError};

/// Every name is greater than the empty text, from which a list begins.
const PUBLIC: &str = "SELECT path FROM repository WHERE is_public = 1 AND path > $1 ORDER BY path LIMIT $2";
pub(crate) const OF_ACCOUNT: &str =
    "SELECT path FROM repository WHERE account_id = $3 AND path > $1 ORDER BY path LIMIT $2";
const GRANTED: &str = "SELECT r.path AS path FROM repository_permission p JOIN repository r ON r.id = p.repository_id
    WHERE p.user_id = $4 AND r.account_id = $3 AND r.path > $1 ORDER BY r.path LIMIT $2";
const NAMESPACES: &str = "SELECT n.id AS id, n.name AS name FROM namespace_permission p
    JOIN namespace n ON n.id = p.namespace_id WHERE p.user_id = $1 AND n.account_id = $2";
pub(crate) const OF_NAMESPACE: &str =
    "SELECT name FROM repository WHERE namespace_id = $3 AND name > $1 ORDER BY name LIMIT $2";

/// The statements that walk an index that grows with the region, for the test of their plans. The others walk what one
/// user was granted.
#[cfg(test)]
pub(crate) const WALKS: [&str; 3] = [PUBLIC, OF_ACCOUNT, OF_NAMESPACE];

impl Catalog {
    /// Returns one page of the full names of the repositories that a user may pull from, in byte order. Public ones of
    /// every account are included; with an empty account and user there are only those.
    pub async fn repository_names(
        &self,
        account_id: &str,
        user_id: &str,
        is_admin: bool,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, CatalogError> {
        let after = place(after.unwrap_or_default());
        let mut names = BTreeSet::new();
        self.walk(PUBLIC, after, limit, account_id, user_id, &mut names).await?;
        if is_admin {
            self.walk(OF_ACCOUNT, after, limit, account_id, user_id, &mut names).await?;
        } else if !user_id.is_empty() {
            self.walk(GRANTED, after, limit, account_id, user_id, &mut names).await?;
            self.walk_namespaces(after, limit, account_id, user_id, &mut names).await?;
        }
        Ok(names.into_iter().take(limit).collect())
    }

    async fn walk(
        &self,
        sql: &'static str,
        after: &str,
        limit: usize,
        account_id: &str,
        user_id: &str,
        names: &mut BTreeSet<String>,
    ) -> Result<(), CatalogError> {
        let rows = self
            .read_all(|| {
                let mut statement = self.query(sql).bind(after).bind(limit_parameter(limit));
                if sql.contains("$3") {
                    statement = statement.bind(account_id);
                }
                if sql.contains("$4") {
                    statement = statement.bind(user_id);
                }
                statement
            })
            .await?;
        for row in &rows {
            names.insert(row.text("path")?);
        }
        Ok(())
    }

    /// Adds the repositories of the namespaces where a user has a level, namespace by namespace until the page is full.
    async fn walk_namespaces(
        &self,
        after: &str,
        limit: usize,
        account_id: &str,
        user_id: &str,
        names: &mut BTreeSet<String>,
    ) -> Result<(), CatalogError> {
        let rows = self.read_all(|| self.query(NAMESPACES).bind(user_id).bind(account_id)).await?;
        let mut namespaces = Vec::with_capacity(rows.len());
        for row in &rows {
            // With the slash, because full names are sorted with it: `a-b/x` comes before `a/x`.
            namespaces.push((format!("{}/", row.text("name")?), row.number("id")?));
        }
        namespaces.sort_unstable();
        let mut left = limit;
        for (prefix, id) in namespaces {
            let after = match after.strip_prefix(prefix.as_str()) {
                Some(name) => name,
                None if prefix.as_str() > after => "",
                None => continue,
            };
            let rows =
                self.read_all(|| self.query(OF_NAMESPACE).bind(after).bind(limit_parameter(left)).bind(id)).await?;
            for row in &rows {
                names.insert(format!("{prefix}{}", row.text("name")?));
            }
            left -= rows.len();
            if left == 0 {
                break;
            }
        }
        Ok(())
    }
}
