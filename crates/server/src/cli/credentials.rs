//! The generated credentials of a region that was started without a file: written once, readable by the owner only.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rand::distr::{Alphanumeric, SampleString as _};
use transship_registry::{Bootstrap, Registry};

/// Name of the file in the data directory.
const FILE: &str = "initial-credentials";
/// Names of the first account and its administrator.
const ACCOUNT: &str = "default";
const USER: &str = "admin";
/// 24 characters of 62 are 142 bits.
const PASSWORD_CHARS: usize = 24;
/// The lengths that the hosted service uses.
const ACCESS_KEY_CHARS: usize = 20;
const SECRET_KEY_CHARS: usize = 40;

/// Creates the first account if there is none, and returns the file with its credentials.
pub(super) async fn bootstrap(registry: &Registry, data_dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !registry.identity().list_accounts().await?.is_empty() {
        return Ok(None);
    }
    let path = data_dir.join(FILE);
    // The file is written first: an account whose credentials nobody has would be lost. A file without an account comes
    // from a start that was interrupted in between, and is used.
    let bootstrap = match std::fs::read_to_string(&path) {
        Ok(text) => read(&text).with_context(|| format!("{} is damaged; remove it and start again", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let made = make();
            write(&path, &made).with_context(|| format!("cannot write {}", path.display()))?;
            made
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    registry.identity().bootstrap(bootstrap).await?;
    Ok(Some(path))
}

/// The first steps after a start without a file, for the person who started it.
pub(super) fn first_steps(made: Option<&Path>, host: &str) -> String {
    let credentials = match made {
        Some(path) => format!("the credentials of the first user are in {}", path.display()),
        None => {
            format!("the credentials of the first user were written to {FILE} in the data directory at the first start")
        }
    };
    format!(
        "{credentials}\n\
         next, from the same directory in another terminal (IMAGE is any image you have):\n  \
         transship admin organization create --namespace team --account {ACCOUNT} --user {USER}\n  \
         docker login -u {ACCOUNT}/{USER} {host}    # the password is in that file\n  \
         docker tag IMAGE {host}/team/hello:1\n  \
         docker push {host}/team/hello:1"
    )
}

fn make() -> Bootstrap {
    let text = |chars| Alphanumeric.sample_string(&mut rand::rng(), chars);
    let access_key = text(ACCESS_KEY_CHARS).to_ascii_uppercase();
    Bootstrap {
        account: ACCOUNT.to_owned(),
        user: USER.to_owned(),
        password: text(PASSWORD_CHARS),
        access_key: Some((access_key, text(SECRET_KEY_CHARS))),
    }
}

fn write(path: &Path, bootstrap: &Bootstrap) -> std::io::Result<()> {
    let (access_key, secret_key) = bootstrap.access_key.as_ref().expect("made with one");
    let text = format!(
        "# Made once, at the first start of `transship serve`. Keep these elsewhere and delete this file.\n\
         account = \"{}\"\nuser = \"{}\"\npassword = \"{}\"\naccess_key = \"{access_key}\"\nsecret_key = \"{secret_key}\"\n",
        bootstrap.account, bootstrap.user, bootstrap.password
    );
    // Written whole or not at all: the next start would read a half-written file.
    let temporary = path.with_extension("new");
    let _ = std::fs::remove_file(&temporary);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn read(text: &str) -> anyhow::Result<Bootstrap> {
    let table: toml::Table = text.parse()?;
    let value = |key: &str| {
        let found = table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        found.with_context(|| format!("{key} is missing"))
    };
    Ok(Bootstrap {
        account: value("account")?,
        user: value("user")?,
        password: value("password")?,
        access_key: Some((value("access_key")?, value("secret_key")?)),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn an_account_is_made_once_and_never_without_its_credentials() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = crate::config::without_file();
        config.data_dir = directory.path().join("data");
        let file = config.data_dir.join(super::FILE);
        // A start that was interrupted after it had written the file: the next one uses that file.
        crate::cli::open::prepare_data_dir(&config).unwrap();
        let made = super::make();
        super::write(&file, &made).unwrap();

        let registry = crate::cli::open::region(&config, config.listen).await.unwrap();
        assert_eq!(super::bootstrap(&registry, &config.data_dir).await.unwrap(), Some(file.clone()));
        let login = registry
            .identity()
            .authenticate_password(std::net::Ipv4Addr::LOCALHOST.into(), "default", "admin", &made.password)
            .await
            .unwrap();
        assert!(login.is_some_and(|login| login.principal.is_admin));
        let (access_key, secret_key) = made.access_key.unwrap();
        assert_eq!(registry.identity().access_key(&access_key).await.unwrap().unwrap().1, secret_key);

        std::fs::remove_file(&file).unwrap();
        assert_eq!(super::bootstrap(&registry, &config.data_dir).await.unwrap(), None);
        assert!(!file.exists());
    }

    #[test]
    fn what_is_written_is_read_back_and_nobody_else_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("initial-credentials");
        let made = super::make();
        super::write(&path, &made).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = super::read(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((read.account, read.user, read.password), (made.account, made.user, made.password));
        assert_eq!(read.access_key, made.access_key);
        assert!(super::read("account = \"a\"").is_err());
    }
}
