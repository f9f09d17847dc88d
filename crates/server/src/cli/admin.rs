//! `transship admin`: accounts, users and access keys, straight in the catalog that the configuration names.
//!
//! Owns: arguments and output. Never: the rules for names, passwords and keys.

mod immutable_tags;
mod organization;
mod quota;
mod rekey;

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use transship_registry::{AccessKey, Registry, User};

use super::{open, print};
use crate::config::Config;

/// Maximum size of a file with a password or a secret key.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// `transship admin …`.
#[derive(Debug, Args)]
pub(super) struct Admin {
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Accounts: create, list
    #[command(subcommand)]
    Account(AccountCommand),
    /// Users: create, list, disable, enable, set-password
    #[command(subcommand)]
    User(UserCommand),
    /// Access keys: create, list, disable, enable, rotate
    #[command(subcommand)]
    AccessKey(AccessKeyCommand),
    /// Organizations: create, list, delete, grant
    #[command(subcommand, alias = "namespace")]
    Organization(organization::OrganizationCommand),
    /// The same as `organization grant`
    #[command(hide = true)]
    Grant(organization::GrantArguments),
    /// Replace secrets.key and seal every secret key again; all tokens end
    Rekey(rekey::Rekey),
    /// Tags that may neither move nor be deleted: show, set, clear
    #[command(subcommand)]
    ImmutableTags(immutable_tags::ImmutableTagsCommand),
    /// What organizations use and may use: list, set
    #[command(subcommand)]
    Quota(quota::QuotaCommand),
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Make an account
    Create {
        /// Its name
        #[arg(long)]
        name: String,
    },
    /// List the accounts
    List,
}

#[derive(Debug, Args)]
struct UserName {
    /// The account
    #[arg(long)]
    account: String,
    /// The user
    #[arg(long, alias = "user")]
    name: String,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct PasswordSource {
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Make a user
    Create {
        #[command(flatten)]
        user: UserName,
        #[command(flatten)]
        password: PasswordSource,
        /// Level 7 on everything of the account
        #[arg(long)]
        admin: bool,
    },
    /// List users
    List {
        /// Only those of this account
        #[arg(long)]
        account: Option<String>,
    },
    /// Shut a user out, with all its tokens and access keys
    Disable(UserName),
    /// Let a user in again
    Enable(UserName),
    /// Give a user another password; its tokens end
    SetPassword {
        #[command(flatten)]
        user: UserName,
        #[command(flatten)]
        password: PasswordSource,
    },
}

#[derive(Debug, Args)]
struct KeyName {
    /// The access key
    #[arg(long)]
    access_key: String,
}

#[derive(Debug, Subcommand)]
enum AccessKeyCommand {
    /// Make an access key; its secret key is printed once
    Create {
        /// The account
        #[arg(long)]
        account: String,
        /// The user
        #[arg(long, alias = "name")]
        user: String,
        /// Use this access key instead of a generated one
        #[arg(long, requires = "secret_key_file")]
        access_key: Option<String>,
        /// Read its secret key from this file
        #[arg(long, value_name = "FILE", requires = "access_key")]
        secret_key_file: Option<PathBuf>,
    },
    /// List access keys
    List {
        /// Only those of this account's user
        #[arg(long, requires = "user")]
        account: Option<String>,
        /// The user
        #[arg(long, alias = "name", requires = "account")]
        user: Option<String>,
    },
    /// Switch an access key off
    Disable(KeyName),
    /// Switch an access key on
    Enable(KeyName),
    /// Give an access key a new secret key, which is printed once
    Rotate(KeyName),
}

/// Runs one command.
pub(super) async fn run(config: &Config, admin: Admin) -> anyhow::Result<()> {
    let output = Output { json: admin.json };
    if let What::Rekey(arguments) = admin.what {
        return rekey::run(config, output, arguments).await;
    }
    let registry = open::region_beside(config).await?;
    match admin.what {
        What::Organization(command) => organization::run(&registry, output, command).await,
        What::Grant(arguments) => organization::grant(&registry, output, arguments).await,
        What::Rekey(_) => unreachable!("it was run above, without opening the region"),
        What::Account(command) => account(&registry, output, command).await,
        What::User(command) => user(&registry, output, command).await,
        What::AccessKey(command) => access_key(&registry, output, command).await,
        What::ImmutableTags(command) => immutable_tags::run(&registry, output, command).await,
        What::Quota(command) => quota::run(&registry, output, command).await,
    }
}

async fn account(registry: &Registry, output: Output, command: AccountCommand) -> anyhow::Result<()> {
    let columns = ["name", "id", "created"];
    let describe = |account: &transship_catalog::Account| json!({ "name": account.name, "id": account.id, "created": time(account.created_at_ms) });
    match command {
        AccountCommand::Create { name } => {
            output.one(&columns, describe(&registry.identity().create_account(&name).await?))
        }
        AccountCommand::List => {
            output.many(&columns, registry.identity().list_accounts().await?.iter().map(describe).collect())
        }
    }
}

async fn user(registry: &Registry, output: Output, command: UserCommand) -> anyhow::Result<()> {
    let columns = ["account", "name", "id", "admin", "enabled", "password"];
    let describe = |user: &User| {
        json!({
            "account": user.account_name,
            "name": user.name,
            "id": user.id,
            "admin": user.is_admin,
            "enabled": user.enabled,
            "password": user.password_hash.is_some(),
        })
    };
    let named = async |name: &UserName| registry.identity().find_user(&name.account, &name.name).await;
    match command {
        UserCommand::Create { user, password, admin } => {
            let made = registry.identity().create_user(&user.account, &user.name, password.read()?, admin).await?;
            output.one(&columns, describe(&made))
        }
        UserCommand::List { account } => {
            let users = registry.identity().list_users(account.as_deref()).await?;
            output.many(&columns, users.iter().map(describe).collect())
        }
        UserCommand::Disable(name) => {
            registry.identity().set_user_enabled(&named(&name).await?.id, false).await?;
            output.one(&columns, describe(&named(&name).await?))
        }
        UserCommand::Enable(name) => {
            registry.identity().set_user_enabled(&named(&name).await?.id, true).await?;
            output.one(&columns, describe(&named(&name).await?))
        }
        UserCommand::SetPassword { user, password } => {
            let password = password.read()?.context("give --password-file FILE or --password-stdin")?;
            registry.identity().set_password(&named(&user).await?.id, password).await?;
            output.one(&columns, describe(&named(&user).await?))
        }
    }
}

async fn access_key(registry: &Registry, output: Output, command: AccessKeyCommand) -> anyhow::Result<()> {
    let secret_columns = ["access_key", "secret_key"];
    match command {
        AccessKeyCommand::Create { account, user, access_key, secret_key_file } => {
            let user = registry.identity().find_user(&account, &user).await?;
            let given = match access_key.zip(secret_key_file) {
                None => None,
                Some((access_key, file)) => Some((access_key, read_secret_file(&file)?)),
            };
            let (access_key, secret_key) = registry.identity().create_access_key(&user.id, given).await?;
            output.one(&secret_columns, json!({ "access_key": access_key, "secret_key": secret_key }))
        }
        AccessKeyCommand::List { account, user } => {
            let owner = match account.zip(user) {
                None => None,
                Some((account, user)) => Some(registry.identity().find_user(&account, &user).await?.id),
            };
            let keys = registry.identity().list_access_keys(owner.as_deref()).await?;
            list_keys(registry, output, &keys).await
        }
        AccessKeyCommand::Disable(key) => set_enabled(registry, output, &key.access_key, false).await,
        AccessKeyCommand::Enable(key) => set_enabled(registry, output, &key.access_key, true).await,
        AccessKeyCommand::Rotate(key) => {
            let secret_key = registry.identity().rotate_access_key(&key.access_key).await?;
            output.one(&secret_columns, json!({ "access_key": key.access_key, "secret_key": secret_key }))
        }
    }
}

async fn set_enabled(registry: &Registry, output: Output, access_key: &str, enabled: bool) -> anyhow::Result<()> {
    registry.identity().set_access_key_enabled(access_key, enabled).await?;
    output.one(&["access_key", "enabled"], json!({ "access_key": access_key, "enabled": enabled }))
}

async fn list_keys(registry: &Registry, output: Output, keys: &[AccessKey]) -> anyhow::Result<()> {
    let users = registry.identity().list_users(None).await?;
    let rows = keys.iter().map(|key| {
        let user = users.iter().find(|user| user.id == key.user_id);
        json!({
            "access_key": key.access_key,
            "account": user.map(|user| &user.account_name),
            "user": user.map(|user| &user.name),
            "enabled": key.enabled,
            "expires": key.expires_at_ms.map(time),
            "created": time(key.created_at_ms),
        })
    });
    output.many(&["access_key", "account", "user", "enabled", "expires", "created"], rows.collect())
}

impl PasswordSource {
    fn read(&self) -> anyhow::Result<Option<String>> {
        if let Some(file) = &self.password_file {
            return read_secret_file(file).map(Some);
        }
        if !self.password_stdin {
            return Ok(None);
        }
        let mut text = String::new();
        std::io::stdin().take(MAX_SECRET_BYTES).read_to_string(&mut text).context("cannot read standard input")?;
        one_line(&text, "standard input").map(Some)
    }
}

fn read_secret_file(path: &PathBuf) -> anyhow::Result<String> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = String::new();
    file.take(MAX_SECRET_BYTES).read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
    one_line(&text, &path.display().to_string())
}

fn one_line(text: &str, source: &str) -> anyhow::Result<String> {
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        bail!("{source} is empty");
    }
    Ok(line.to_owned())
}

fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.to_string())
}

/// A table for people, or JSON for programs.
#[derive(Clone, Copy, Debug)]
struct Output {
    json: bool,
}

impl Output {
    fn one(self, columns: &[&str], row: Value) -> anyhow::Result<()> {
        if self.json { print(&row.to_string()) } else { print(&table(columns, &[row])) }
    }

    fn many(self, columns: &[&str], rows: Vec<Value>) -> anyhow::Result<()> {
        if self.json { print(&Value::Array(rows).to_string()) } else { print(&table(columns, &rows)) }
    }
}

fn table(columns: &[&str], rows: &[Value]) -> String {
    let cell = |row: &Value, column: &str| match &row[column] {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|name| name.to_uppercase().replace('_', " ")).collect()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|index| lines.iter().map(|line| line[index].chars().count()).max().unwrap_or_default())
        .collect();
    let format = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(format).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use crate::cli::Cli;

    #[test]
    fn tables_line_up() {
        let rows = [json!({ "access_key": "A", "on": true }), json!({ "access_key": "LONGER", "on": null })];
        assert_eq!(super::table(&["access_key", "on"], &rows), "ACCESS KEY  ON\nA           yes\nLONGER      -");
    }

    #[test]
    fn arguments_are_taken_in_any_place() {
        for line in [
            "transship serve",
            "transship --config f serve",
            "transship serve --config f",
            "transship admin --config f account create --name a",
            "transship admin account list --json --config f",
            "transship admin user create --account a --name n --password-file p --admin",
            "transship admin user create --account a --name n --password-stdin",
            "transship admin user set-password --account a --name n --password-stdin",
            "transship admin access-key create --account a --user u --access-key k --secret-key-file s",
            "transship admin access-key list",
            "transship admin access-key rotate --access-key k",
            "transship admin immutable-tags set --repository team/app --tag v* --tag release --except *-rc",
            "transship admin quota set --namespace team --bytes 20GiB --repositories unlimited --tags default",
            "transship admin quota list",
            "transship admin immutable-tags show --repository team/app --json",
            "transship admin organization create --namespace team --account a --user u",
            "transship admin organization create --name team --account a --user u",
            "transship admin organization list --account a --json",
            "transship admin organization delete --namespace team",
            "transship admin organization grant --namespace team --user u --level write",
            "transship admin grant --namespace team --repository app/x --user u --level none",
            "transship admin rekey",
            "transship admin rekey --lost",
            "transship admin rekey --region --prepare",
            "transship check-config --config f --probe",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        for line in [
            "transship",
            "transship admin user create --account a --name n --password-stdin --password-file p",
            "transship admin access-key create --account a --user u --access-key k",
            "transship admin access-key list --account a",
            "transship admin immutable-tags set --repository team/app",
            "transship admin immutable-tags clear --repository TEAM",
            "transship admin organization create --namespace team --account a",
            "transship admin organization grant --namespace team --user u --level 5",
            "transship admin rekey --prepare",
            "transship admin rekey --region --lost",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
