//! `transship admin organization`: making, listing and deleting organizations (namespaces), and permissions in them.

use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::json;
use transship_oci::{NamespaceName, RepositoryPath};
use transship_registry::{Level, Registry};

use super::{Output, time};

#[derive(Debug, Args)]
pub(super) struct Name {
    /// The organization
    #[arg(long, alias = "organization", alias = "name")]
    namespace: NamespaceName,
}

#[derive(Debug, Subcommand)]
pub(super) enum OrganizationCommand {
    /// Make an organization; the user gets level 7 on it
    Create {
        #[command(flatten)]
        name: Name,
        /// The account that owns it
        #[arg(long)]
        account: String,
        /// A user of that account, in whose name it is made
        #[arg(long)]
        user: String,
    },
    /// List organizations
    List {
        /// Only those of this account
        #[arg(long)]
        account: Option<String>,
    },
    /// Delete an organization that holds no repository
    Delete(Name),
    /// Give a user of the owning account a level on an organization or a repository
    Grant(GrantArguments),
}

#[derive(Debug, Args)]
pub(super) struct GrantArguments {
    #[command(flatten)]
    name: Name,
    /// Only this repository of the organization
    #[arg(long)]
    repository: Option<RepositoryPath>,
    /// The user
    #[arg(long)]
    user: String,
    /// `read` (1), `write` (3), `manage` (7), or `none` to take it back
    #[arg(long)]
    level: WantedLevel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WantedLevel(Option<Level>);

impl FromStr for WantedLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "read" | "1" => Ok(Self(Some(Level::Read))),
            "write" | "3" => Ok(Self(Some(Level::Write))),
            "manage" | "7" => Ok(Self(Some(Level::Manage))),
            "none" => Ok(Self(None)),
            _ => Err("expected read (1), write (3), manage (7) or none"),
        }
    }
}

pub(super) async fn run(registry: &Registry, output: Output, command: OrganizationCommand) -> anyhow::Result<()> {
    match command {
        OrganizationCommand::Create { name, account, user } => {
            registry.content().create_namespace_for(&account, &user, &name.namespace).await?;
            let row = json!({ "namespace": name.namespace.as_str(), "account": account, "creator": user });
            output.one(&["namespace", "account", "creator"], row)
        }
        OrganizationCommand::List { account } => {
            let found = registry.content().all_namespaces(account.as_deref()).await?;
            let rows = found.into_iter().map(|(account, summary)| {
                json!({
                    "namespace": summary.namespace.name.as_str(),
                    "account": account,
                    "creator": summary.namespace.creator_name,
                    "repositories": summary.repository_count,
                    "users": summary.user_count,
                    "created": time(summary.namespace.created_at_ms),
                })
            });
            output.many(&["namespace", "account", "creator", "repositories", "users", "created"], rows.collect())
        }
        OrganizationCommand::Delete(name) => {
            registry.content().delete_any_namespace(&name.namespace).await?;
            output.one(&["namespace", "deleted"], json!({ "namespace": name.namespace.as_str(), "deleted": true }))
        }
        OrganizationCommand::Grant(arguments) => grant(registry, output, arguments).await,
    }
}

pub(super) async fn grant(registry: &Registry, output: Output, arguments: GrantArguments) -> anyhow::Result<()> {
    let GrantArguments { name, repository, user, level } = arguments;
    let user = registry.content().set_grant(&name.namespace, repository.as_ref(), &user, level.0).await?;
    let row = json!({
        "namespace": name.namespace.as_str(),
        "repository": repository.map(|path| path.to_string()),
        "account": user.account_name,
        "user": user.name,
        "level": level.0.map_or(0, |level| level as i64),
    });
    output.one(&["namespace", "repository", "account", "user", "level"], row)
}
