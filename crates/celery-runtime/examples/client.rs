//! Calls one task and prints its result. The worker may be Python's or that of the example `worker`.
//!
//!     cargo run --example client -- amqp://guest:guest@localhost:5672 math add '[2, 3]'
#![allow(clippy::print_stdout, reason = "it prints the result")]

use std::{env, error::Error, time::Duration};

use celery_runtime::{
    broker::{ConnectOptions, connect},
    client::{Client, SendOptions},
};
use serde_json::{Map, Value};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, queue, task, args] = arguments.as_slice() else {
        return Err("usage: client URL QUEUE TASK ARGUMENTS".into());
    };
    let args: Vec<Value> = serde_json::from_str(args)?;
    let client = Client::new(connect(url, ConnectOptions::default()).await?).await?;
    let options = SendOptions { expires_in: Some(Duration::from_secs(60)), ..SendOptions::default() };
    let mut sent = client.send(queue, task, args, Map::new(), options).await?;
    println!("{}", sent.get(Duration::from_secs(60)).await?);
    Ok(())
}
