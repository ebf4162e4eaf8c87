//! `rugged generate-keys`.

use std::path::PathBuf;

use durable_fs::RealFs;
use fleet::Config;
use root_worker::{GeneratedKey, KeyKind, KeyRequest};
use serde::Serialize;

use crate::args::{GenerateKeys, KeyType};
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, table};

#[derive(Serialize)]
struct Key {
    role: String,
    name: String,
    keyid: String,
    private_path: PathBuf,
    public_path: PathBuf,
}

impl From<GeneratedKey> for Key {
    fn from(key: GeneratedKey) -> Self {
        let GeneratedKey { role, name, keyid, private_path, public_path } = key;
        Self { role, name, keyid, private_path, public_path }
    }
}

pub fn run(config: &Config, args: GenerateKeys, output: Output) -> Result<u8, CliError> {
    let kind = match args.kind {
        KeyType::Ed25519 => KeyKind::Ed25519,
        KeyType::Ecdsa => KeyKind::EcdsaP256,
    };
    let request = KeyRequest { roles: args.roles, kind, names: args.names };
    let keys = root_worker::generate_keys(&RealFs, config, &request).map_err(|error| {
        let exists = matches!(error, root_worker::CeremonyError::Exists(_));
        let error = CliError::from(error);
        if exists { error.hint("give another --name, or make keys for one --role only") } else { error }
    })?;
    let keys: Vec<Key> = keys.into_iter().map(Key::from).collect();
    output.result(&keys, |keys| {
        let mut rows = vec![["ROLE", "NAME", "KEY ID", "PRIVATE KEY", "PUBLIC KEY"].map(str::to_owned).to_vec()];
        rows.extend(keys.iter().map(|key| {
            let paths = [&key.private_path, &key.public_path].map(|path| path.display().to_string());
            let [private, public] = paths;
            vec![key.role.clone(), key.name.clone(), key.keyid.clone(), private, public]
        }));
        table(&rows)
    })?;
    Ok(exit_code::OK)
}
