//! Databases on the throw-away PostgreSQL that `make test` starts.

use crate::clients;
use crate::environment;

/// Makes an empty database and returns its URL.
pub async fn fresh_database() -> String {
    let server = environment::required("TRANSSHIP_TEST_POSTGRES", "scripts/with-postgres.sh cargo test …");
    let name = format!("region_{}", uuid::Uuid::new_v4().simple());
    let create = format!("CREATE DATABASE {name}");
    clients::must(clients::command("psql", &["--quiet", "--no-psqlrc", "--dbname", &server, "--command", &create]))
        .await;
    with_database(&server, &name)
}

/// The URL with another database in it.
fn with_database(server: &str, name: &str) -> String {
    let (address, options) = server.split_once('?').map_or((server, String::new()), |(a, o)| (a, format!("?{o}")));
    let (head, _) = address.rsplit_once('/').expect("the URL names a database");
    format!("{head}/{name}{options}")
}
