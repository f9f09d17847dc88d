//! Records which tokens of other regions were used already, so that each is valid once in all processes of this region.

use crate::row::Columns as _;
use crate::{Catalog, CatalogError};

/// The outcome of using a token, which is valid only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// It is used for the first time, and is remembered now.
    First,
    /// It was used before.
    Repeated,
    /// The maximum number of tokens of its region is remembered already; nothing is known about this one.
    TooMany,
}

impl Catalog {
    /// Remembers for `kept_ms` that a region's token with this id was used, unless `most` tokens of the region are
    /// remembered already.
    ///
    /// The commit waits for the disk: a machine may be back seconds after a power cut, while the token is valid for
    /// minutes more.
    pub async fn use_region_token(
        &self,
        region: &str,
        id: &str,
        kept_ms: i64,
        most: i64,
    ) -> Result<TokenUse, CatalogError> {
        let sql = "INSERT INTO region_token (region, id, forget_at) SELECT $1, $2, {now} + $3
            WHERE (SELECT COUNT(*) FROM (SELECT 1 AS one FROM region_token WHERE region = $1 AND forget_at > {now}
                LIMIT $4) AS own) < $4
            ON CONFLICT (region, id) DO NOTHING";
        let known = "SELECT COUNT(*) AS known FROM region_token WHERE region = $1 AND id = $2";
        let statement = || self.query(sql).bind(region).bind(id).bind(kept_ms).bind(most);
        if self.write(statement).await? > 0 {
            return Ok(TokenUse::First);
        }
        let row = self.read_optional(|| self.query(known).bind(region).bind(id)).await?;
        let known = row.map_or(Ok(0), |row| row.number("known"))?;
        Ok(if known > 0 { TokenUse::Repeated } else { TokenUse::TooMany })
    }

    /// Forgets tokens that can no longer be valid. Returns their number.
    pub async fn forget_region_tokens(&self) -> Result<u64, CatalogError> {
        self.write(|| self.query("DELETE FROM region_token WHERE forget_at <= {now}")).await
    }
}
