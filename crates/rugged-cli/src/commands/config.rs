//! `rugged config`.

use fleet::Config;
use serde::Serialize;

use crate::error::CliError;
use crate::exit_code;
use crate::output::{Output, one_line, table};

#[derive(Serialize)]
struct Document {
    file: Option<String>,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct Setting {
    key: &'static str,
    value: String,
    origin: String,
}

pub fn run(config: &Config, output: Output) -> Result<u8, CliError> {
    let settings = config.settings().iter();
    let document = Document {
        file: config.file().map(|path| path.display().to_string()),
        settings: settings
            .map(|setting| Setting {
                key: setting.key,
                value: setting.value.clone(),
                origin: setting.origin.to_string(),
            })
            .collect(),
    };
    output.result(&document, |document| {
        let row = |s: &Setting| vec![s.key.to_owned(), shown(&s.value), s.origin.clone()];
        let head = vec!["KEY".to_owned(), "VALUE".to_owned(), "ORIGIN".to_owned()];
        table(&std::iter::once(head).chain(document.settings.iter().map(row)).collect::<Vec<_>>())
    })?;
    Ok(exit_code::OK)
}

fn shown(value: &str) -> String {
    if value.is_empty() { "-".to_owned() } else { one_line(value) }
}
