//! Which tokens of other regions were used already, so that each is good once, whichever process of this region it meets.

use crate::row::Columns as _;
use crate::{Catalog, CatalogError};

/// What became of a token that says it is used for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// It was, and is remembered now.
    First,
    /// It was used before.
    Repeated,
    /// Its region has used as many as are remembered; nothing is known about this one.
    TooMany,
}

impl Catalog {
    /// Remembers for `kept_ms` that a region's token with this id was used, unless `most` tokens of the region are remembered.
    ///
    /// The commit waits for the disk: a machine may be back in seconds after a power cut, and the token good for minutes more.
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

    /// Forgets tokens that could not be good any more.
    pub async fn forget_region_tokens(&self) -> Result<u64, CatalogError> {
        self.write(|| self.query("DELETE FROM region_token WHERE forget_at <= {now}")).await
    }
}
