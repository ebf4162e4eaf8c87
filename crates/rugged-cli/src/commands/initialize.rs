//! `rugged initialize`.

use std::sync::Arc;
use std::time::Duration;

use durable_fs::{Fs, RealFs};
use fleet::Config;
use fleet::contract::{
    REFRESH_EXPIRY, RefreshExpiry, RefreshExpiryResult, SNAPSHOT_QUEUE, TARGETS_QUEUE, TIMESTAMP_QUEUE,
};
use root_worker::Initialized;
use serde::Serialize;
use service::clock::{Clock as _, SystemClock};

use crate::args::Initialize;
use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, note};
use crate::reach::Reach;
use crate::verify::{self, Opened, Place, RoleState};

#[derive(Serialize)]
struct Document {
    root_version: u64,
    root_path: String,
    pinned_path: String,
    expires: String,
    keys: Vec<Keys>,
    /// The roles clients see; empty when nobody was waited for.
    visible: Vec<RoleState>,
}

#[derive(Serialize)]
struct Keys {
    role: String,
    threshold: u64,
    keyids: Vec<String>,
}

pub async fn run(config: &Arc<Config>, args: Initialize, output: Output) -> Result<u8, CliError> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let made = root_worker::initialize(&fs, config, SystemClock.now()).map_err(|error| {
        let exists = matches!(error, root_worker::CeremonyError::Exists(_));
        let error = CliError::from(error);
        if exists { error.hint("this repository has its root; see it with `rugged status`") } else { error }
    })?;
    let root_path = made.root_path.display().to_string();
    let visible = if args.no_wait {
        Vec::new()
    } else {
        let waited = async {
            let mut reach = Reach::signing(config).await?;
            let result = first_versions(&mut reach, &fs, config, super::deadline(config, args.timeout)).await;
            reach.close().await;
            result
        };
        waited.await.inspect_err(|_| note(&format!("{root_path} is written and pinned; the roles have yet to sign")))?
    };
    output.result(&document(made, visible), text)?;
    Ok(exit_code::OK)
}

/// Has each role look at the new root, and waits until a client can verify what they signed.
///
/// # Errors
/// When they do not answer, or what they signed does not verify.
pub async fn first_versions(
    reach: &mut Reach,
    fs: &Arc<dyn Fs>,
    config: &Config,
    deadline: Duration,
) -> Result<Vec<RoleState>, CliError> {
    let arguments = RefreshExpiry { force: false };
    for queue in [TARGETS_QUEUE, SNAPSHOT_QUEUE, TIMESTAMP_QUEUE] {
        let _: RefreshExpiryResult = reach.call(queue, REFRESH_EXPIRY, &arguments, deadline).await?;
    }
    match verify::open(fs, &Place::of(config), SystemClock.now())? {
        Opened::Verified(client) => Ok(verify::roles(&client)),
        Opened::Failed(_, error) | Opened::BadRoot(error) => {
            Err(CliError::finding(format!("the new repository does not verify: {error}"))
                .hint("`rugged status` shows what the roles say"))
        }
    }
}

fn document(made: Initialized, visible: Vec<RoleState>) -> Document {
    Document {
        root_version: made.root_version,
        root_path: made.root_path.display().to_string(),
        pinned_path: made.pinned_path.display().to_string(),
        expires: made.expires.to_string(),
        keys: made
            .roles
            .into_iter()
            .map(|role| Keys { role: role.role, threshold: role.threshold, keyids: role.keyids })
            .collect(),
        visible,
    }
}

fn text(document: &Document) -> String {
    let mut out = format!(
        "root {} written to {} and pinned at {}, expires {}\n",
        document.root_version, document.root_path, document.pinned_path, document.expires
    );
    for role in &document.visible {
        let expires = role.expires.as_deref().unwrap_or("-");
        out.push_str(&format!("{} {} signed, expires {expires}\n", role.role, role.version));
    }
    if document.visible.is_empty() {
        out.push_str("each role signs its version 1 as soon as its worker sees the root\n");
    }
    out
}
