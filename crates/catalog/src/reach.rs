//! The first connection to a remote database: reports once and soon why it fails.
//!
//! A pool would retry silently until its own time limit, and then report only a timeout.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection as _, Error};
use tokio::time::Instant;

use crate::CatalogError;

/// Longest wait for a database that is starting. With the rest of a start it stays below ten seconds.
const LONGEST: Duration = Duration::from_secs(8);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// Connects once and closes the connection.
pub(crate) async fn reach(options: &AnyConnectOptions, url: &str) -> Result<(), CatalogError> {
    let deadline = Instant::now() + LONGEST;
    let mut reason = format!("no answer within {} s", LONGEST.as_secs());
    loop {
        match tokio::time::timeout_at(deadline, AnyConnection::connect_with(options)).await {
            Ok(Ok(connection)) => {
                // The connection could be opened; how it closes does not matter.
                let _ = connection.close().await;
                return Ok(());
            }
            Ok(Err(error)) => {
                let is_starting = is_starting(&error);
                reason = sentence(&error);
                if is_starting && Instant::now() + PAUSE < deadline {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            Err(_) => {}
        }
        return Err(CatalogError::Unreachable { address: address(url), reason });
    }
}

/// Returns whether the database may still be starting, as after a start of the whole machine.
fn is_starting(error: &Error) -> bool {
    match error {
        Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        // cannot_connect_now
        Error::Database(error) => error.code().is_some_and(|code| code == "57P03"),
        _ => false,
    }
}

fn sentence(error: &Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

/// Returns the parts of a URL that may be shown: host, port and database.
fn address(url: &str) -> String {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let (rest, _) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = if host.is_empty() { "the address that the environment names" } else { host };
    if database.is_empty() { host.to_owned() } else { format!("{host}/{database}") }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn an_address_is_shown_without_user_and_password() {
        for (url, shown) in [
            ("postgres://user:hunter2@db.example.com:5433/transship?sslmode=require", "db.example.com:5433/transship"),
            ("postgresql://user:a%40b@[::1]:5432/t", "[::1]:5432/t"),
            ("postgres://user:p@ss@host", "host"),
            ("postgres:///t?host=/run/postgresql&password=hunter2", "the address that the environment names/t"),
        ] {
            assert_eq!(address(url), shown, "{url}");
        }
    }
}
