//! Converts columns to values, and values to columns.

use std::str::FromStr;

use sqlx::Row as _;
use sqlx::any::AnyRow;
use transship_oci::Digest;

use crate::CatalogError;

/// Reads columns by name.
pub(crate) trait Columns {
    fn text(&self, column: &str) -> Result<String, CatalogError>;
    fn optional_text(&self, column: &str) -> Result<Option<String>, CatalogError>;
    fn number(&self, column: &str) -> Result<i64, CatalogError>;
    fn optional_number(&self, column: &str) -> Result<Option<i64>, CatalogError>;

    fn flag(&self, column: &str) -> Result<bool, CatalogError> {
        Ok(self.number(column)? != 0)
    }

    fn size(&self, column: &str) -> Result<u64, CatalogError> {
        let number = self.number(column)?;
        u64::try_from(number).map_err(|_| CatalogError::Corrupt { what: format!("{column} {number}") })
    }

    /// Parses a text, which followed its grammar when it was stored.
    fn parsed<T: FromStr>(&self, column: &str) -> Result<T, CatalogError> {
        parse(column, &self.text(column)?)
    }

    fn optional_parsed<T: FromStr>(&self, column: &str) -> Result<Option<T>, CatalogError> {
        self.optional_text(column)?.map(|text| parse(column, &text)).transpose()
    }
}

impl Columns for AnyRow {
    fn text(&self, column: &str) -> Result<String, CatalogError> {
        Ok(self.try_get(column)?)
    }

    fn optional_text(&self, column: &str) -> Result<Option<String>, CatalogError> {
        Ok(self.try_get(column)?)
    }

    fn number(&self, column: &str) -> Result<i64, CatalogError> {
        Ok(self.try_get(column)?)
    }

    fn optional_number(&self, column: &str) -> Result<Option<i64>, CatalogError> {
        Ok(self.try_get(column)?)
    }
}

fn parse<T: FromStr>(column: &str, text: &str) -> Result<T, CatalogError> {
    text.parse().map_err(|_| CatalogError::Corrupt { what: format!("{column} {text:?}") })
}

/// A size as the column holds it.
pub(crate) fn size_column(size_bytes: u64) -> Result<i64, CatalogError> {
    i64::try_from(size_bytes).map_err(|_| CatalogError::Invalid { what: format!("size of {size_bytes} bytes") })
}

/// A number of things that are held in memory, as a column holds it.
pub(crate) fn count_column(count: usize) -> i64 {
    i64::try_from(count).expect("memory holds fewer than 2^63 things")
}

/// A number of rows as a LIMIT takes it.
pub(crate) fn limit_parameter(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Many values as one parameter, for `{list:$n}`.
pub(crate) fn list_parameter<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> String {
    let mut json = String::from("[");
    for value in values {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&serde_json::Value::from(value.as_ref()).to_string());
    }
    json.push(']');
    json
}

/// Refuses a text that PostgreSQL cannot hold, so that both databases accept the same texts.
pub(crate) fn storable<'a>(what: &str, text: &'a str) -> Result<&'a str, CatalogError> {
    if text.contains('\0') {
        return Err(CatalogError::Invalid { what: format!("{what} with a NUL character") });
    }
    Ok(text)
}

/// Cuts a text off before its first NUL, which PostgreSQL cannot hold. No stored name has a NUL, so the same names
/// follow in byte order.
pub(crate) fn place(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
}

/// Turns "no row was changed" into "there is no such row".
pub(crate) fn one_changed(changed: u64, what: impl FnOnce() -> String) -> Result<(), CatalogError> {
    if changed == 0 { Err(CatalogError::not_found(what())) } else { Ok(()) }
}

/// The assignment that marks a repository as changed. Each change raises the time, whatever the clock says, so that two
/// states never have the same time. A replication job uses it to see whether anything was pushed since its run began.
macro_rules! touched {
    () => {
        "updated_at = CASE WHEN updated_at < {now} THEN {now} ELSE updated_at + 1 END"
    };
}
pub(crate) use touched;

/// Returns the digests in the column `digest`, sorted.
pub(crate) fn list_of(rows: &[AnyRow]) -> Result<Vec<Digest>, CatalogError> {
    let mut digests = rows.iter().map(|row| row.parsed("digest")).collect::<Result<Vec<Digest>, _>>()?;
    digests.sort_unstable();
    Ok(digests)
}
