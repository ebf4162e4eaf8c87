//! `rugged generate-keys`.

use std::path::PathBuf;

use clap::Args;
use durable_fs::RealFs;
use fleet::{Config, KeyRole};
use root_worker::{CeremonyError, GeneratedKey, KeyKind, KeyRequest};
use serde::Serialize;

use crate::error::CliError;
use crate::output::{Output, table};
use crate::role_arguments::key_role;
use service::exit_code::CommandExit;

/// Generate key pairs for the roles
///
/// Private keys go to signing_keys_path/ROLE/NAME (mode 0400), public keys to verification_keys_path/ROLE/NAME.json.
/// Existing keys are never overwritten: if one of the files exists, the command generates no key.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged generate-keys
  rugged generate-keys --role root --type ecdsa --name root-2027")]
pub struct GenerateKeysArgs {
    /// Role to generate keys for; may be repeated [default: all roles]
    #[arg(long = "role", value_name = "ROLE", value_parser = key_role())]
    pub roles: Vec<KeyRole>,
    /// Type of the keys
    #[arg(long = "type", value_name = "TYPE", default_value = "ed25519")]
    pub kind: KeyKind,
    /// Name of a key; may be repeated [default: keys.ROLE, else ROLE, ROLE1, … up to the role's threshold]
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
}

/// A new key, as `--json` prints it.
#[derive(Serialize)]
struct NewKeyReport {
    role: KeyRole,
    name: String,
    keyid: String,
    private_path: PathBuf,
    public_path: PathBuf,
}

impl From<GeneratedKey> for NewKeyReport {
    fn from(key: GeneratedKey) -> Self {
        let GeneratedKey { role, name, keyid, private_path, public_path } = key;
        Self { role, name, keyid, private_path, public_path }
    }
}

/// Generates keys.
///
/// # Errors
/// When a key exists already, a name is invalid, or a file cannot be written.
pub fn run(config: &Config, args: GenerateKeysArgs, output: Output) -> Result<CommandExit, CliError> {
    let request = KeyRequest { roles: args.roles, kind: args.kind, names: args.names };
    let keys = root_worker::generate_keys(&RealFs, config, &request).map_err(|error| {
        let exists = matches!(error, CeremonyError::Exists(_));
        let error = CliError::from(error);
        if exists { error.hint("choose another --name, or limit the command to one --role") } else { error }
    })?;
    let keys: Vec<NewKeyReport> = keys.into_iter().map(NewKeyReport::from).collect();
    output.result(&keys, |keys| {
        let mut rows = vec![["ROLE", "NAME", "KEY ID", "PRIVATE KEY", "PUBLIC KEY"].map(str::to_owned).to_vec()];
        rows.extend(keys.iter().map(|key| {
            let paths = [&key.private_path, &key.public_path].map(|path| path.display().to_string());
            let [private, public] = paths;
            vec![key.role.to_string(), key.name.clone(), key.keyid.clone(), private, public]
        }));
        table(&rows)
    })?;
    Ok(CommandExit::Success)
}
