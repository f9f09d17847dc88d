//! The command line: `serve`, `check-config`, `region-key`, `admin`, `fsck`.
//!
//! Owns: arguments, exit codes (0 done, 1 failed, 2 the configuration is wrong) and what is printed. Never: what a
//! command does to accounts or requests.

mod admin;
mod credentials;
mod fsck;
mod limits;
mod logging;
mod open;
#[cfg(test)]
pub(crate) use open::test_region;
mod probe;
mod reload;
mod serve;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, ConfigError};

/// Exit code if the configuration is wrong; clap uses the same if the arguments are.
const EXIT_CONFIGURATION: u8 = 2;

/// A container registry that exists in many regions.
#[derive(Debug, Parser)]
#[command(name = "transship", version, about, max_term_width = 100)]
struct Cli {
    /// The configuration file; without it one region named `local` with ./transship-data
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the region
    Serve,
    /// Check the configuration file and say everything that is wrong with it
    CheckConfig {
        /// Look at the data directory, the database and the peers too; changes nothing
        #[arg(long)]
        probe: bool,
    },
    /// Print the region's public key, which its peers pin
    RegionKey {
        /// Print what people compare the key by, as messages about keys that are not pinned do
        #[arg(long)]
        fingerprint: bool,
    },
    /// Manage accounts, users and access keys
    Admin(admin::Admin),
    /// Check every byte and every row of the region; exit code 1 if anything is wrong, 2 if the check could not be made
    Fsck(fsck::Fsck),
    /// Print docs/configuration.md
    #[command(hide = true)]
    ConfigReference,
}

/// Runs the process: the whole of `main`.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) if error.is::<ConfigError>() => {
            complain(&format!("{error}"));
            ExitCode::from(EXIT_CONFIGURATION)
        }
        Err(error) => {
            complain(&format!("transship: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // The one crypto provider for all code that asks for the default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let file = cli.config.as_deref();
    let done = match cli.command {
        Command::Fsck(arguments) => {
            let config = configuration(file)?;
            logging::start_for_commands();
            return Ok(fsck::run(&config, &arguments));
        }
        Command::ConfigReference => print(config::reference::document().trim_end()),
        Command::CheckConfig { probe } => {
            let file = file.ok_or_else(|| anyhow::anyhow!("check-config needs --config FILE"))?;
            let config = config::load(file)?;
            print(&format!("{}: good", file.display()))?;
            if probe { block_on(probe::run(&config)) } else { Ok(()) }
        }
        Command::RegionKey { fingerprint } => {
            let config = configuration(file)?;
            logging::start_for_commands();
            let key = block_on(open::region_key(&config))?;
            print(&if fingerprint { transship_registry::key_fingerprint(&key).unwrap_or_default() } else { key })
        }
        Command::Admin(admin) => {
            let config = configuration(file)?;
            logging::start_for_commands();
            block_on(admin::run(&config, admin))
        }
        Command::Serve => {
            let config = configuration(file)?;
            let log = logging::start(&config.log);
            block_on(serve::serve(config, &log))
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// The configuration from a file, or the default one if there is no file.
fn configuration(file: Option<&Path>) -> Result<Config, ConfigError> {
    file.map_or_else(|| Ok(config::without_file()), config::load)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Runs one command to its end.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    if done.is_err() {
        // Background work, such as resolving a name that nobody answers, must not delay the error.
        runtime.shutdown_background();
    }
    done
}

/// Prints a line for the caller of the command. A closed pipe is not an error of ours.
fn print(line: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
