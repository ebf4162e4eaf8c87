//! Small files from `rugged up --http`, one after another on a kept connection, as a client fetches them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::Result;
use crate::fleets::binary;
use crate::report::{Line, Report};
use crate::samples::Samples;

/// Ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fetches `timestamp.json` `count` times.
///
/// # Errors
/// Whatever went wrong.
pub fn measure(report: &mut Report, dir: &Path, count: usize) -> Result<()> {
    let rugged = binary("rugged")?;
    let demo = Command::new(&rugged).args(["demo", "--dir"]).arg(dir.join("demo")).output()?;
    if !demo.status.success() {
        return Err(format!("rugged demo: {}", String::from_utf8_lossy(&demo.stderr)).into());
    }
    let mut up = Command::new(&rugged);
    up.arg("--config").arg(dir.join("demo/config.yaml")).args(["--json", "up", "--http", "127.0.0.1:0"]);
    let mut up = Running(up.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let mut line = String::new();
    BufReader::new(up.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let told: serde_json::Value = serde_json::from_str(&line)?;
    let host =
        told["http"].as_str().ok_or("no address")?.trim_start_matches("http://").trim_end_matches('/').to_owned();

    let mut stream = BufReader::new(TcpStream::connect(&host)?);
    let request = format!("GET /metadata/timestamp.json HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut samples = Samples::default();
    let mut body = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        stream.get_mut().write_all(request.as_bytes())?;
        body.resize(head(&mut stream)?, 0);
        stream.read_exact(&mut body)?;
        samples.push(began.elapsed());
    }
    report.add(Line::new("small_file_http", "kept connection").of(count).took(&samples).aim("p50 1 ms"));
    Ok(())
}

/// Reads the head of an answer of 200; the length of its body.
fn head(stream: &mut impl std::io::BufRead) -> Result<usize> {
    let (mut status, mut length) = (String::new(), None);
    stream.read_line(&mut status)?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    length.filter(|_| status.starts_with("HTTP/1.1 200")).ok_or_else(|| status.into())
}
